// SPDX-License-Identifier: Apache-2.0
// JsonTree: a JSON document whose end needs no memory.
//
// nlohmann::basic_json takes a tree apart on a stack that it allocates, in its destructor: where memory is short, that ends
// the process. Taken apart here first, leaves before what holds them, nothing is left for that stack. A template over the
// JSON type, so that this layer includes none.
#pragma once

#include <cstddef>
#include <utility>

#include "tritium/core/config.h"

TRITIUM_NAMESPACE_BEGIN

/// Empties every array and object in `value`, from the innermost on. As deep as the value is nested.
template <class J>
void take_apart(J& value) noexcept {
  if (value.is_array()) {
    auto& elements = *value.template get_ptr<typename J::array_t*>();
    for (J& element : elements) take_apart(element);
    elements.clear();
  } else if (value.is_object()) {
    auto& members = *value.template get_ptr<typename J::object_t*>();
    for (auto& member : members) take_apart(member.second);
    members.clear();
  }
}

/// Room for `n` members, where the type of objects has such a thing: one that grows would copy what it holds.
template <class J>
void reserve_members(J& object, std::size_t n) {
  auto& members = *object.template get_ptr<typename J::object_t*>();
  if constexpr (requires { members.reserve(n); }) members.reserve(n);
}

/// Makes `to`, a part of a JsonTree, a copy of `from`. What memory was refused for is left out and throws: a copy of
/// nlohmann's own that fails destroys what it has, with memory that is not there. As deep as `from` is nested.
template <class J>
void copy_into(const J& from, J& to) {
  if (from.is_array()) {
    to = J(J::value_t::array);
    auto& elements = *to.template get_ptr<typename J::array_t*>();
    elements.reserve(from.size());
    for (const J& element : *from.template get_ptr<const typename J::array_t*>())
      copy_into(element, elements.emplace_back(nullptr));
  } else if (from.is_object()) {
    to = J(J::value_t::object);
    reserve_members(to, from.size());
    auto& members = *to.template get_ptr<typename J::object_t*>();
    for (const auto& member : *from.template get_ptr<const typename J::object_t*>())
      copy_into(member.second, members.emplace(member.first, nullptr).first->second);
  } else {
    to = from;
  }
}

/// A value that is taken apart at its end. Reads as the value itself.
template <class J>
class JsonTree {
 public:
  JsonTree() = default;
  /// Takes the value over; so do moves.
  JsonTree(J value) noexcept : value_(std::move(value)) {}  // NOLINT: implicit on purpose
  /// Leaves `other` a value that needs no memory.
  JsonTree(JsonTree&& other) noexcept : value_(std::move(other.value_)) {}
  /// Exchanges the values: `other` takes this one's apart.
  JsonTree& operator=(JsonTree&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  JsonTree(const JsonTree&) = delete;
  JsonTree& operator=(const JsonTree&) = delete;
  ~JsonTree() { take_apart(value_); }

  /// The value.
  operator const J&() const { return value_; }  // NOLINT: implicit on purpose
  /// The value.
  [[nodiscard]] const J& get() const { return value_; }
  /// The value, to be changed.
  [[nodiscard]] J& get() { return value_; }
  /// The value, which its new owner has to take apart.
  [[nodiscard]] J take() { return std::move(value_); }

 private:
  J value_;
};

TRITIUM_NAMESPACE_END
