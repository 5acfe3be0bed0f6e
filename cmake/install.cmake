# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where: headers, libraries, a CMake package with components, pkg-config files; and archives
# of the same tree by `cpack -G TGZ` and `cpack -G DEB`.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/tritium)

# One file of targets for each component: who takes the kernels alone is not asked for PCRE2.
install(TARGETS tritium EXPORT tritium-headers FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(tritium_components headers)
set(pc_files tritium)
if(TRITIUM_KERNELS)
  install(TARGETS tritium_kernels EXPORT tritium-kernels ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  list(APPEND tritium_components kernels)
  list(APPEND pc_files tritium-kernels)
endif()
if(TRITIUM_TEXT)
  install(TARGETS tritium_text EXPORT tritium-text)
  list(APPEND tritium_components text)
endif()
if(TARGET tritium_c)
  install(TARGETS tritium_c EXPORT tritium-c ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  list(APPEND tritium_components c)
  list(APPEND pc_files tritium-c)
endif()
if(TARGET tritium_shared)
  install(TARGETS tritium_shared EXPORT tritium-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
  list(APPEND tritium_components shared)
  list(APPEND pc_files tritium-shared)
endif()
foreach(component ${tritium_components})
  install(EXPORT tritium-${component} NAMESPACE tritium:: DESTINATION ${package_folder})
endforeach()
if(TARGET tritium_cli)
  install(TARGETS tritium_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} OPTIONAL)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tritium-config.cmake.in
                              ${PROJECT_BINARY_DIR}/package/tritium-config.cmake INSTALL_DESTINATION ${package_folder})
# Before version 1 a minor version may change the interface.
set(independent)
if(NOT TRITIUM_KERNELS)
  set(independent ARCH_INDEPENDENT)
endif()
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/tritium-config-version.cmake
                                 COMPATIBILITY SameMinorVersion ${independent})
install(FILES ${PROJECT_BINARY_DIR}/package/tritium-config.cmake
              ${PROJECT_BINARY_DIR}/package/tritium-config-version.cmake ${CMAKE_CURRENT_LIST_DIR}/packages.cmake
        DESTINATION ${package_folder})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

file(RELATIVE_PATH pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
foreach(name ${pc_files})
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in ${PROJECT_BINARY_DIR}/package/${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR TGZ)
  set(CPACK_PACKAGE_CONTACT "the maintainers of ${PROJECT_NAME}")
  set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/package)
  set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
  set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
  set(CPACK_DEBIAN_PACKAGE_DEPENDS "libpcre2-dev, libutf8proc-dev, nlohmann-json3-dev")
  find_program(TRITIUM_SHLIBDEPS dpkg-shlibdeps)
  if(TRITIUM_SHLIBDEPS AND NOT CMAKE_CROSSCOMPILING)  # which C and C++ runtimes, and how new
    set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  else()
    string(APPEND CPACK_DEBIAN_PACKAGE_DEPENDS ", libstdc++6")
  endif()
  set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libhwy-dev (>= 1.2)")
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  include(CPack)
endif()
