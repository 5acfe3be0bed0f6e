// SPDX-License-Identifier: Apache-2.0
// Regex: a compiled regular expression of a tokenizer file, on PCRE2 with limits.
//
// tokenizer.json files are written for Oniguruma (Ruby syntax). Most of it means the same in PCRE2; what does not is
// rewritten (\s, \w, \d, \b and script names follow Unicode properties) or refused by name, so that no pattern silently
// means something else. Patterns come from files: their length, nesting and backtracking are limited. Subjects must be
// valid UTF-8, which the tokenizer guarantees.
// Source: Oniguruma's doc/RE, PCRE2's pcre2pattern.
#pragma once

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "tritium/text/unicode.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

// The content of a bracket expression for \s, \S and \w.
inline constexpr std::string_view kSpaceSet =
    "\\x09-\\x0D\\x20\\x85\\xA0\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";
inline constexpr std::string_view kNotSpaceSet =
    "\\x00-\\x08\\x0E-\\x1F\\x21-\\x84\\x86-\\x9F\\xA1-\\x{167F}\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}"
    "\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";
inline constexpr std::string_view kWordSet = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";

inline Error regex_error(std::string_view pattern, std::string_view why) {
  return {Errc::unsupported,
          "regular expression cannot be used (" + std::string(why) + ": " + escape_control(pattern, 200) + ")"};
}

// General categories keep their name; anything longer is a script, which PCRE2 would otherwise extend (scx).
inline Result<std::string> translate_property(std::string_view name, std::string_view pattern) {
  std::string bare(name);
  const bool negated = !bare.empty() && bare[0] == '^';
  if (negated) bare.erase(0, 1);
  if (bare.empty() || bare.size() > 32) return regex_error(pattern, "unknown character property");
  static constexpr std::array<std::string_view, 7> kLongNames{"Letter",    "Mark",   "Number", "Punctuation",
                                                              "Separator", "Symbol", "Other"};
  for (const std::string_view long_name : kLongNames) {
    if (bare == long_name) bare = bare == "Other" ? "C" : bare == "Separator" ? "Z" : bare.substr(0, 1);
  }
  if (bare.size() > 2 && bare != "Alphabetic" && bare != "Any") bare.insert(0, "sc:");
  return (negated ? "{^" : "{") + bare + "}";
}

/// Rewrites an Oniguruma pattern for PCRE2, or says what has no equivalent.
inline Result<std::string> translate_oniguruma(std::string_view pattern) {
  std::string out;
  bool in_set = false;
  std::size_t set_start = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\') {
      if (i + 1 == pattern.size()) return regex_error(pattern, "it ends with a backslash");
      const char e = pattern[++i];
      if (e == 's') {
        out.append(in_set ? "" : "[").append(kSpaceSet).append(in_set ? "" : "]");
      } else if (e == 'S') {
        out.append(in_set ? "" : "[^").append(in_set ? kNotSpaceSet : kSpaceSet).append(in_set ? "" : "]");
      } else if (e == 'd') {
        out.append("\\p{Nd}");
      } else if (e == 'D') {
        out.append("\\P{Nd}");
      } else if (e == 'w' || (e == 'W' && !in_set)) {
        out.append(in_set ? "" : e == 'w' ? "[" : "[^").append(kWordSet).append(in_set ? "" : "]");
      } else if ((e == 'b' || e == 'B') && !in_set) {
        const std::string w = "[" + std::string(kWordSet) + "]";
        out.append(e == 'b' ? "(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))"
                            : "(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))");
      } else if (e == 'p' || e == 'P') {
        const std::size_t close = pattern.find('}', i);
        if (i + 1 >= pattern.size() || pattern[i + 1] != '{' || close == std::string_view::npos) {
          return regex_error(pattern, "malformed character property");
        }
        TRITIUM_ASSIGN(const std::string property, translate_property(pattern.substr(i + 2, close - i - 2), pattern));
        out.append("\\").append(1, e).append(property);
        i = close;
      } else if (e == 'u' && i + 4 < pattern.size() &&
                 pattern.substr(i + 1, 4).find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos) {
        out.append("\\x{").append(pattern.substr(i + 1, 4)).append("}");
        i += 4;
      } else if ((e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z')) {
        // Escapes that mean the same in both; the others (\h, \R, \X, \K, \g ...) do not, or are not worth it.
        if (std::string_view("ntrfvaexAzZ").find(e) == std::string_view::npos ||
            (in_set && (e == 'A' || e == 'z' || e == 'Z'))) {
          return regex_error(pattern, std::string("escape \\") + e + " is not supported");
        }
        if (e == 'v') {
          out.append("\\x0B");  // a single vertical tab in Oniguruma, a class in PCRE2
        } else {
          out.append("\\").append(1, e);
        }
      } else {
        out.append("\\").append(1, e);  // an escaped punctuation or digit
      }
    } else if (in_set) {
      if (c == '[') {
        if (i + 1 < pattern.size() && pattern[i + 1] == ':') {
          const std::size_t close = pattern.find(":]", i);
          if (close == std::string_view::npos) return regex_error(pattern, "malformed POSIX class");
          out.append(pattern.substr(i, close + 2 - i));
          i = close + 1;
          continue;
        }
        return regex_error(pattern, "nested character sets are not supported");
      }
      if (c == '&' && i + 1 < pattern.size() && pattern[i + 1] == '&') {
        return regex_error(pattern, "intersections of character sets are not supported");
      }
      if (c == ']' && i > set_start) in_set = false;
      out.push_back(c);
    } else if (c == '[') {
      in_set = true;
      out.push_back(c);
      set_start = i + 1;
      if (set_start < pattern.size() && pattern[set_start] == '^') {
        out.push_back('^');
        ++i;
        ++set_start;
      }
    } else if (c == '(' && i + 2 < pattern.size() && pattern[i + 1] == '?') {
      // (?i) is shared; m means "dot matches newline" in Ruby and x would change how the rest is read.
      for (std::size_t k = i + 2; k < pattern.size() && ((pattern[k] >= 'a' && pattern[k] <= 'z') || pattern[k] == '-');
           ++k) {
        if (pattern[k] != 'i' && pattern[k] != '-')
          return regex_error(pattern, "only the option i is supported in a group");
      }
      out.push_back(c);
    } else if (c == '{' && i + 1 < pattern.size() && pattern[i + 1] == ',') {
      return regex_error(pattern, "an interval needs a lower bound");
    } else if (c == '}' && i + 1 < pattern.size() && pattern[i + 1] == '+') {
      return regex_error(pattern, "a possessive interval is not supported");
    } else {
      out.push_back(c);
    }
  }
  if (in_set) return regex_error(pattern, "a character set is not closed");
  return out;
}

}  // namespace detail

class Regex {
 public:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    bool found = false;
  };

  /// Compiles `pattern`, written for Oniguruma. Errors name the construct that is not supported.
  static Result<Regex> compile(std::string_view pattern) {
    if (pattern.empty() || pattern.size() > kMaxPatternBytes) {
      return detail::regex_error(pattern, "expected 1 to " + std::to_string(kMaxPatternBytes) + " bytes");
    }
    if (!is_valid_utf8(pattern)) return detail::regex_error(pattern, "it is not valid UTF-8");
    TRITIUM_ASSIGN(const std::string translated, detail::translate_oniguruma(pattern));
    std::unique_ptr<pcre2_compile_context, Free> context(pcre2_compile_context_create(nullptr));
    if (!context) return Error{Errc::out_of_memory, "not enough memory for a regular expression"};
    pcre2_set_parens_nest_limit(context.get(), 50);
    pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
    int code = 0;
    PCRE2_SIZE offset = 0;
    Regex regex;
    regex.code_.reset(
        pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &code, &offset, context.get()),
        Free{});
    if (!regex.code_) {
      std::array<PCRE2_UCHAR, 200> text{};
      pcre2_get_error_message(code, text.data(), text.size());
      return detail::regex_error(pattern, reinterpret_cast<const char*>(text.data()));
    }
    // Without just-in-time compilation (no executable memory) PCRE2 interprets: slower, same matches.
    (void)pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
    return regex;
  }

  /// Memory that matching needs, for any pattern; one for each thread. Allocated at the first match.
  class Scratch {
   private:
    friend class Regex;
    struct Release {
      void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
      void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
      void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
    };
    bool prepare() {
      if (context_) return data_ != nullptr;
      data_.reset(pcre2_match_data_create(1, nullptr));  // the whole match; groups are of no interest
      context_.reset(pcre2_match_context_create(nullptr));
      stack_.reset(pcre2_jit_stack_create(std::size_t{32} << 10, std::size_t{4} << 20, nullptr));
      if (!context_) return false;
      if (stack_) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
      pcre2_set_match_limit(context_.get(), 20'000'000);
      pcre2_set_heap_limit(context_.get(), std::uint32_t{64} << 10);  // KiB
      return data_ != nullptr;
    }
    std::unique_ptr<pcre2_match_data, Release> data_;
    std::unique_ptr<pcre2_match_context, Release> context_;
    std::unique_ptr<pcre2_jit_stack, Release> stack_;
  };

  /// The first match in `subject` (valid UTF-8) that starts at `from` or later. Lookarounds see `subject` alone.
  Result<Match> find(std::string_view subject, std::size_t from, Scratch& scratch) const {
    if (!scratch.prepare()) return Error{Errc::out_of_memory, "not enough memory to match a regular expression"};
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(subject.data()), subject.size(), from,
                         PCRE2_NO_UTF_CHECK | options, scratch.data_.get(), scratch.context_.get());
    };
    int count = match(0);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT)
      count = match(PCRE2_NO_JIT);  // the interpreter has a heap, with its own limit
    if (count == PCRE2_ERROR_NOMATCH) return Match{};
    if (count < 0) {
      std::array<PCRE2_UCHAR, 200> text{};
      pcre2_get_error_message(count, text.data(), text.size());
      return Error{Errc::out_of_range, std::string("text cannot be split by the tokenizer's regular expression (") +
                                           reinterpret_cast<const char*>(text.data()) + ")"};
    }
    const PCRE2_SIZE* at = pcre2_get_ovector_pointer(scratch.data_.get());
    return Match{at[0], at[1], at[1] >= at[0]};
  }

 private:
  static constexpr std::size_t kMaxPatternBytes = std::size_t{64} << 10;
  struct Free {
    void operator()(pcre2_code* p) const { pcre2_code_free(p); }
    void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
  };
  std::shared_ptr<pcre2_code> code_;  // never changes after compile(), so copies and threads may share it
};

TRITIUM_NAMESPACE_END
