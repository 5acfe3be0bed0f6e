// SPDX-License-Identifier: Apache-2.0
// Normalizer: what happens to text before it is split: Unicode forms, character maps, replacements, stripping.
//
// A normalizer is a list of steps that a tokenizer.json names, or the fixed procedure of SentencePiece. Canonical
// reordering of combining marks is done here with a sort, not by utf8proc, whose exchange sort is quadratic: a million
// marks in the wrong order must not take a million times a million steps.
// Source: Unicode Standard Annex 15; huggingface/tokenizers `normalizers/`; sentencepiece `normalizer.cc`; the
// character map is a double array of the darts-clone kind with replacement strings behind it.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "tritium/text/regex.h"

TRITIUM_NAMESPACE_BEGIN

enum class NormalForm : std::uint8_t { nfc, nfd, nfkc, nfkd };

namespace detail {

// Appends the normal form of `text` to `out`.
inline Status normalize_run(NormalForm form, std::string_view text, std::string& out) {
  const bool compose = form == NormalForm::nfc || form == NormalForm::nfkc;
  const int decompose_options =
      UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
      (form == NormalForm::nfkc || form == NormalForm::nfkd ? UTF8PROC_COMPAT : utf8proc_option_t{});

  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const CodePoint unit = decode_utf8(rest);
    rest.remove_prefix(unit.length);
    std::array<utf8proc_int32_t, 32> parts{};
    int boundary = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(unit.value), parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
        static_cast<utf8proc_option_t>(decompose_options), &boundary);
    if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size())) {
      return Error{Errc::invalid_argument, "text cannot be brought to a Unicode normal form"};
    }
    points.insert(points.end(), parts.begin(), parts.begin() + count);
  }
  const auto combining = [](utf8proc_int32_t c) {
    return c < 0x300 ? utf8proc_propval_t{0} : utf8proc_get_property(c)->combining_class;
  };
  for (std::size_t i = 0; i < points.size();) {
    if (combining(points[i]) == 0) {
      ++i;
      continue;
    }
    std::size_t end = i + 1;
    while (end < points.size() && combining(points[end]) != 0) ++end;
    if (end - i > 1) {
      std::stable_sort(points.begin() + static_cast<std::ptrdiff_t>(i),
                       points.begin() + static_cast<std::ptrdiff_t>(end),
                       [&](utf8proc_int32_t a, utf8proc_int32_t b) { return combining(a) < combining(b); });
    }
    i = end;
  }
  std::size_t length = points.size();
  if (compose) {
    const utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (composed < 0) return Error{Errc::invalid_argument, "text cannot be brought to a Unicode normal form"};
    length = static_cast<std::size_t>(composed);
  }
  for (std::size_t i = 0; i < length; ++i) append_utf8(static_cast<char32_t>(points[i]), out);
  return {};
}

}  // namespace detail

/// Replaces `text` (valid UTF-8) by its normal form. Time O(n log n); only the parts around characters beyond ASCII are
/// worked on, since ASCII is its own normal form unless a mark follows.
inline Status normalize_unicode(NormalForm form, std::string& text) {
  const auto ascii = [&](std::size_t i) { return static_cast<unsigned char>(text[i]) < 0x80; };
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (ascii(at)) continue;
    const std::size_t begin = std::max(done, at == 0 ? 0 : at - 1);  // with the ASCII character that a mark may join
    std::size_t end = at;
    while (end < text.size() && !(ascii(end) && (end + 1 == text.size() || ascii(end + 1)))) ++end;
    if (out.capacity() == 0) out.reserve(text.size());
    out.append(text, done, begin - done);
    TRITIUM_TRY(detail::normalize_run(form, std::string_view(text).substr(begin, end - begin), out));
    done = at = end;
  }
  if (done == 0) return {};
  out.append(text, done);
  text = std::move(out);
  return {};
}

/// SentencePiece's compiled character map: longest-prefix rules "these bytes -> that string".
class CharsMap {
 public:
  struct Match {
    std::size_t length = 0;  ///< bytes of text that the rule covers, 0: no rule
    std::string_view replacement;
  };

  /// Layout: u32 little-endian byte length of the double array, its u32 units, then NUL-terminated strings.
  static Result<CharsMap> parse(std::string_view blob) {
    const auto bad = [](std::string_view expected, std::size_t found) {
      return make_error(Errc::invalid_file, "character map is damaged", "precompiled_charsmap", expected,
                        std::to_string(found));
    };
    if (blob.size() < 4 || blob.size() > (std::size_t{64} << 20)) return bad("4 bytes to 64 MiB", blob.size());
    std::uint32_t trie_bytes = 0;
    std::memcpy(&trie_bytes, blob.data(), 4);
    if (trie_bytes > blob.size() - 4)
      return bad("a trie of at most " + std::to_string(blob.size() - 4) + " bytes", trie_bytes);
    if (trie_bytes % 4 != 0 || trie_bytes == 0) return bad("a trie of whole 4-byte units", trie_bytes);
    CharsMap map;
    map.units_.resize(trie_bytes / 4);
    std::memcpy(map.units_.data(), blob.data() + 4, trie_bytes);
    map.strings_.assign(blob.substr(4 + std::size_t{trie_bytes}));
    if (map.strings_.empty() || map.strings_.back() != '\0')
      return bad("strings that end with a zero byte", map.strings_.size());
    return map;
  }

  /// The longest rule that matches the start of `text`.
  [[nodiscard]] Match longest(std::string_view text) const { return walk(text, true); }
  /// The shortest one (what huggingface/tokenizers applies to a whole grapheme).
  [[nodiscard]] Match shortest(std::string_view text) const { return walk(text, false); }

 private:
  static std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }
  static bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
  static std::uint32_t label_of(std::uint32_t unit) { return unit & ((1u << 31) | 0xFF); }

  [[nodiscard]] Match walk(std::string_view text, bool want_longest) const {
    Match match;
    std::uint32_t node = offset_of(units_[0]);
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<unsigned char>(text[i]);
      if (c == 0) break;
      node ^= c;
      if (node >= units_.size() || label_of(units_[node]) != c) break;
      const bool leaf = has_leaf(units_[node]);
      node ^= offset_of(units_[node]);
      if (node >= units_.size()) break;
      if (leaf) {
        const std::uint32_t at = units_[node] & ((1u << 31) - 1);
        if (at >= strings_.size()) break;  // a damaged map: treat as no rule
        match = {i + 1, std::string_view(strings_.c_str() + at)};
        if (!want_longest) break;
      }
    }
    return match;
  }

  std::vector<std::uint32_t> units_;
  std::string strings_;
};

/// One step of a tokenizer.json normalizer.
struct NormalizeStep {
  enum class Kind : std::uint8_t {
    nfc,
    nfd,
    nfkc,
    nfkd,
    lowercase,
    strip_accents,
    nmt,
    strip,          ///< white space off the ends, see left and right
    prepend,        ///< `content` before a text that is not empty
    replace,        ///< every `pattern`, literally, by `content`
    replace_regex,  ///< every match of the regular expression `pattern` by `content`
    charsmap,       ///< `content` is a compiled character map, applied by grapheme
  };
  Kind kind = Kind::nfc;
  std::string pattern;
  std::string content;
  bool left = true;
  bool right = true;
};

/// The steps, compiled.
class Normalizer {
 public:
  static Result<Normalizer> create(std::vector<NormalizeStep> steps) {
    Normalizer normalizer;
    for (NormalizeStep& step : steps) {
      Compiled compiled;
      if (step.kind == NormalizeStep::Kind::replace_regex) {
        TRITIUM_ASSIGN(Regex regex, Regex::compile(step.pattern));
        compiled.regex = std::move(regex);
      } else if (step.kind == NormalizeStep::Kind::charsmap) {
        TRITIUM_ASSIGN(CharsMap map, CharsMap::parse(step.content));
        compiled.map = std::make_shared<const CharsMap>(std::move(map));
      }
      compiled.step = std::move(step);
      normalizer.steps_.push_back(std::move(compiled));
    }
    return normalizer;
  }
  [[nodiscard]] bool empty() const { return steps_.empty(); }

  /// Runs every step over `text` (valid UTF-8), in place. `passage_start` false: the text goes on behind bytes that are
  /// not UTF-8, so nothing is put before it. A text may grow at most 32-fold, so that a replacement in a hostile file
  /// cannot eat the memory.
  Status apply(std::string& text, bool passage_start, Regex::Scratch& scratch) const {
    const std::size_t limit = 32 * text.size() + (std::size_t{1} << 16);
    for (const Compiled& compiled : steps_) {
      if (compiled.step.kind == NormalizeStep::Kind::prepend && !passage_start) continue;
      TRITIUM_TRY(run(compiled, limit, scratch, text));
      if (text.size() > limit) return too_long();
    }
    return {};
  }

 private:
  struct Compiled {
    NormalizeStep step;
    std::optional<Regex> regex;
    std::shared_ptr<const CharsMap> map;
  };
  static Error too_long() { return {Errc::out_of_range, "normalized text is more than 32 times as long as the text"}; }

  static Status run(const Compiled& compiled, std::size_t limit, Regex::Scratch& scratch, std::string& text) {
    const NormalizeStep& step = compiled.step;
    switch (step.kind) {
      case NormalizeStep::Kind::nfc: return normalize_unicode(NormalForm::nfc, text);
      case NormalizeStep::Kind::nfd: return normalize_unicode(NormalForm::nfd, text);
      case NormalizeStep::Kind::nfkc: return normalize_unicode(NormalForm::nfkc, text);
      case NormalizeStep::Kind::nfkd: return normalize_unicode(NormalForm::nfkd, text);
      case NormalizeStep::Kind::lowercase:
        map_points(text, [](char32_t c, std::string& out) {
          append_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
          if (c == 0x130) append_utf8(0x307, out);  // the one lower-case mapping of two code points
        });
        return {};
      case NormalizeStep::Kind::strip_accents:
        map_points(text, [](char32_t c, std::string& out) {
          if ((char_class(c) & kMark) == 0) append_utf8(c, out);
        });
        return {};
      case NormalizeStep::Kind::nmt:
        map_points(text, [](char32_t c, std::string& out) {
          if ((c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
            return;
          const bool space = c == 9 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                             (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
                             c == 0xFFFD;
          append_utf8(space ? U' ' : c, out);
        });
        return {};
      case NormalizeStep::Kind::strip: strip(step.left, step.right, text); return {};
      case NormalizeStep::Kind::prepend:
        if (!text.empty()) text.insert(0, step.content);
        return {};
      case NormalizeStep::Kind::replace: return replace_all(step.pattern, step.content, limit, text);
      case NormalizeStep::Kind::replace_regex:
        return replace_matches(*compiled.regex, step.content, limit, scratch, text);
      case NormalizeStep::Kind::charsmap: return map_graphemes(*compiled.map, limit, text);
    }
    return {};
  }

  template <class F>
  static void map_points(std::string& text, F&& put) {
    std::string out;
    out.reserve(text.size());
    for (std::string_view rest = text; !rest.empty();) {
      const CodePoint unit = decode_utf8(rest);
      put(unit.value, out);
      rest.remove_prefix(unit.length);
    }
    text = std::move(out);
  }

  static void strip(bool left, bool right, std::string& text) {
    std::size_t begin = 0;
    while (left && begin < text.size()) {
      const CodePoint unit = decode_utf8(std::string_view(text).substr(begin));
      if (!is_white_space(unit.value)) break;
      begin += unit.length;
    }
    std::size_t end = text.size();
    while (right && end > begin) {
      std::size_t start = end - 1;
      while (start > begin && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
      if (!is_white_space(decode_utf8(std::string_view(text).substr(start)).value)) break;
      end = start;
    }
    text = text.substr(begin, end - begin);
  }

  static Status replace_all(std::string_view pattern, std::string_view content, std::size_t limit, std::string& text) {
    if (pattern.empty()) return {};
    std::size_t at = text.find(pattern);
    if (at == std::string::npos) return {};
    std::string out;
    out.reserve(text.size());
    std::size_t from = 0;
    for (; at != std::string::npos; at = text.find(pattern, from)) {
      out.append(text, from, at - from).append(content);
      if (out.size() > limit) return too_long();
      from = at + pattern.size();
    }
    out.append(text, from);
    text = std::move(out);
    return {};
  }

  static Status replace_matches(const Regex& regex, std::string_view content, std::size_t limit,
                                Regex::Scratch& scratch, std::string& text) {
    std::string out;
    std::size_t copied = 0;
    std::size_t from = 0;
    while (from <= text.size()) {
      TRITIUM_ASSIGN(const Regex::Match match, regex.find(text, from, scratch));
      if (!match.found) break;
      out.append(text, copied, match.begin - copied).append(content);
      if (out.size() > limit) return too_long();
      copied = match.end;
      from = match.end;
      if (match.begin == match.end) {  // an empty match: step over one code point
        if (from >= text.size()) break;
        from += decode_utf8(std::string_view(text).substr(from)).length;
      }
    }
    out.append(text, copied);
    text = std::move(out);
    return {};
  }

  // A short grapheme is looked up whole, then each of its code points; the first rule found replaces all of it.
  static Status map_graphemes(const CharsMap& map, std::size_t limit, std::string& text) {
    std::string out;
    out.reserve(text.size());
    const std::string_view all = text;
    std::size_t at = 0;
    while (at < all.size()) {
      CodePoint unit = decode_utf8(all.substr(at));
      std::size_t end = at + unit.length;
      utf8proc_int32_t state = 0;
      while (end < all.size()) {
        const CodePoint next = decode_utf8(all.substr(end));
        if (utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(unit.value),
                                             static_cast<utf8proc_int32_t>(next.value), &state)) {
          break;
        }
        end += next.length;
        unit = next;
      }
      const std::string_view grapheme = all.substr(at, end - at);
      at = end;
      const CharsMap::Match whole = grapheme.size() < 6 ? map.shortest(grapheme) : CharsMap::Match{};
      if (whole.length != 0) {
        out.append(whole.replacement);
      } else {
        for (std::string_view rest = grapheme; !rest.empty();) {
          const std::size_t length = decode_utf8(rest).length;
          const CharsMap::Match one = map.shortest(rest.substr(0, length));
          out.append(one.length != 0 ? one.replacement : rest.substr(0, length));
          rest.remove_prefix(length);
        }
      }
      if (out.size() > limit) return too_long();
    }
    text = std::move(out);
    return {};
  }

  std::vector<Compiled> steps_;
};

TRITIUM_NAMESPACE_END
