// SPDX-License-Identifier: Apache-2.0
// PreTokenizer: cuts text into the pieces inside which merges may happen.
//
// A GGUF file names its rule (`tokenizer.ggml.pre`); a tokenizer.json lists steps. Both become a list of SplitSteps.
// The rules of GPT-2, Llama 3, Qwen and o200k are written by hand as one pass over code point classes, since they see
// every byte of every prompt; all others are regular expressions, and tests hold the hand-written ones against the
// same expressions run by PCRE2. An unknown name is an error that says it: a default would silently change the ids.
// Source: the `pre_tokenizer` entries of the published tokenizer.json files (the expressions are theirs);
// llama.cpp's table of names; huggingface/tokenizers `pre_tokenizers/` and `NormalizedString::split`.
#pragma once

#include "tritium/text/normalizer.h"
#include "tritium/text/piece_table.h"

TRITIUM_NAMESPACE_BEGIN

/// What becomes of the parts that a pattern matches.
enum class SplitBehavior : std::uint8_t { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// The splitting rules written by hand.
enum class SplitRule : std::uint8_t { gpt2, llama3, qwen2, qwen35, o200k, digits_then_gpt2 };

struct SplitStep {
  enum class Kind : std::uint8_t {
    rule,          ///< one of the hand-written rules
    regex,         ///< matches of `pattern`, see behavior and invert
    literal,       ///< occurrences of `pattern`, see behavior and invert
    digits,        ///< numeric characters: one by one (isolated) or as runs (contiguous)
    punctuation,   ///< punctuation characters, see behavior
    white_space,   ///< cut at white space, which is dropped
    words,         ///< runs of word characters and runs of others; white space is dropped
    fixed_length,  ///< every `length` code points
    metaspace,     ///< spaces become `pattern`, one is put in front as `prepend` says; cut before each when `cut`
    byte_level,  ///< a space in front when `prepend` is not never; GPT-2's rule when `cut`; then bytes, not characters
    byte_level_alias,  ///< later steps look at bytes spelled in GPT-2's printable alphabet
  };
  enum class Prepend : std::uint8_t { never, first, always };
  Kind kind = Kind::rule;
  SplitRule rule = SplitRule::gpt2;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;
  bool cut = true;
  Prepend prepend = Prepend::never;
  std::uint32_t length = 0;
  std::string pattern;
};

/// GPT-2's printable alphabet: every byte as a code point below U+0144.
constexpr char32_t byte_to_alias(unsigned char byte) {
  const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
  if (printable) return byte;
  return byte <= 0x20 ? 0x100u + byte : byte <= 0xA0 ? 0x121u + (byte - 0x7Fu) : 0x143u;
}
/// The byte that a code point of that alphabet stands for, or -1.
constexpr int alias_to_byte(char32_t c) {
  if ((c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF)) return static_cast<int>(c);
  if (c >= 0x100 && c <= 0x120) return static_cast<int>(c - 0x100);
  if (c >= 0x121 && c <= 0x142) return static_cast<int>(c - 0x121 + 0x7F);
  return c == 0x143 ? 0xAD : -1;
}

namespace detail {

// One code point with its class, at a byte position of valid UTF-8.
struct ClassedChar {
  char32_t value = 0;
  std::uint8_t length = 0;  // 0 at the end of the text
  std::uint8_t cls = 0;
};

inline ClassedChar classed_at(std::string_view text, std::size_t at) {
  if (at >= text.size()) return {};
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 0x80) return {byte, 1, kAsciiClasses[byte]};
  const CodePoint unit = decode_utf8(text.substr(at));
  return {unit.value, unit.length, char_class(unit.value)};
}

// End of the longest run from `at` whose classes meet `wanted` and avoid `unwanted`.
template <class Test>
inline std::size_t run_end(std::string_view text, std::size_t at, Test&& test) {
  for (ClassedChar c = classed_at(text, at); c.length != 0 && test(c); c = classed_at(text, at)) at += c.length;
  return at;
}
inline std::size_t letters_end(std::string_view text, std::size_t at, std::uint8_t mask) {
  return run_end(text, at, [mask](const ClassedChar& c) { return (c.cls & mask) != 0; });
}
inline std::size_t others_end(std::string_view text, std::size_t at, std::uint8_t unwanted) {
  return run_end(text, at, [unwanted](const ClassedChar& c) { return (c.cls & unwanted) == 0; });
}

// 's 't 're 've 'm 'll 'd at `at`: bytes taken, or 0. Without case, s also matches U+017F, as Unicode folds it.
inline std::size_t contraction(std::string_view text, std::size_t at, bool any_case) {
  if (at + 1 >= text.size() || text[at] != '\'') return 0;
  if (any_case && static_cast<unsigned char>(text[at + 1]) == 0xC5 && at + 2 < text.size() &&
      static_cast<unsigned char>(text[at + 2]) == 0xBF) {
    return 3;
  }
  const auto folded = [&](std::size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char a = folded(at + 1);
  const char b = folded(at + 2);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
  return 0;
}

// White space at `at`: the end of the match of \s+(?!\S)|\s+, where the run ends at `end` and its last character
// starts at `last`. A run before visible text leaves its last character for the next piece, unless it is alone.
struct SpaceRun {
  std::size_t end;
  std::size_t last;
  std::size_t after_newline;  // behind the last \r or \n of the run, 0: none
};
inline SpaceRun space_run(std::string_view text, std::size_t at) {
  SpaceRun run{at, at, 0};
  for (ClassedChar c = classed_at(text, at); c.length != 0 && (c.cls & kSpace) != 0; c = classed_at(text, run.end)) {
    run.last = run.end;
    run.end += c.length;
    if (c.value == '\n' || c.value == '\r') run.after_newline = run.end;
  }
  return run;
}
inline std::size_t space_match(std::string_view text, std::size_t at, const SpaceRun& run) {
  return run.end == text.size() || run.last == at ? run.end : run.last;
}

// The end of the piece that starts at `at`, one function for each rule; `text` is all that lookaheads may see.

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
inline std::size_t gpt2_piece(std::string_view text, std::size_t at) {
  if (const std::size_t taken = contraction(text, at, false); taken != 0) return at + taken;
  const std::size_t start = text[at] == ' ' ? at + 1 : at;
  const ClassedChar c = classed_at(text, start);
  if (c.length != 0 && (c.cls & kSpace) == 0) {
    if ((c.cls & kLetter) != 0) return letters_end(text, start, kLetter);
    if ((c.cls & kNumber) != 0) return letters_end(text, start, kNumber);
    return others_end(text, start, kSpace | kLetter | kNumber);
  }
  return space_match(text, at, space_run(text, at));
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?W+|\p{N}{1,D}| ?[^\s W \p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
// with W = \p{L} (Llama 3, D = 3; Qwen2, D = 1) or [\p{L}\p{M}] (Qwen3.5, D = 1).
inline std::size_t llama3_piece(std::string_view text, std::size_t at, std::uint8_t word, int max_digits) {
  if (const std::size_t taken = contraction(text, at, true); taken != 0) return at + taken;
  const ClassedChar c = classed_at(text, at);
  if ((c.cls & word) != 0) return letters_end(text, at + c.length, word);
  if ((c.cls & kNumber) != 0) {
    std::size_t end = at + c.length;
    for (int digits = 1; digits < max_digits; ++digits) {
      const ClassedChar next = classed_at(text, end);
      if ((next.cls & kNumber) == 0) break;
      end += next.length;
    }
    return end;
  }
  if (c.value != '\r' && c.value != '\n') {
    const ClassedChar next = classed_at(text, at + c.length);
    if ((next.cls & word) != 0) return letters_end(text, at + c.length, word);
  }
  const std::size_t start = c.value == ' ' ? at + 1 : at;
  const auto unwanted = static_cast<std::uint8_t>(kSpace | kNumber | word);
  if (const std::size_t end = others_end(text, start, unwanted); end != start) {
    return run_end(text, end, [](const ClassedChar& n) { return n.value == '\r' || n.value == '\n'; });
  }
  const SpaceRun run = space_run(text, at);
  return run.after_newline != 0 ? run.after_newline : space_match(text, at, run);
}

// o200k: words split by case, with the contraction behind the word.
// P?U*l+C?|P?U+l*C?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
// P = [^\r\n\p{L}\p{N}], U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}], l = [\p{Ll}\p{Lm}\p{Lo}\p{M}], C = (?i:'s|...)
inline std::size_t o200k_word(std::string_view text, std::size_t at, bool needs_lower) {
  const auto upper = [](const ClassedChar& c) {
    return (c.cls & kMark) != 0 || ((c.cls & kLetter) != 0 && (c.cls & kLower) == 0);
  };
  const auto lower = [](const ClassedChar& c) {
    return (c.cls & kMark) != 0 || ((c.cls & kLetter) != 0 && (c.cls & kUpper) == 0);
  };
  std::size_t end = at;
  std::size_t after_both = 0;  // behind the last character of the run that could also be lower case
  for (ClassedChar c = classed_at(text, end); c.length != 0 && upper(c); c = classed_at(text, end)) {
    end += c.length;
    if (lower(c)) after_both = end;
  }
  const std::size_t tail = run_end(text, end, lower);
  if (!needs_lower) return tail == at || end == at ? 0 : tail;
  if (tail != end) return tail;
  return after_both;  // U* gives characters back until l+ can begin
}
inline std::size_t o200k_piece(std::string_view text, std::size_t at) {
  const ClassedChar c = classed_at(text, at);
  const bool prefix = c.value != '\r' && c.value != '\n' && (c.cls & (kLetter | kNumber)) == 0;
  for (const bool needs_lower : {true, false}) {
    std::size_t end = prefix ? o200k_word(text, at + c.length, needs_lower) : 0;
    if (end == 0) end = o200k_word(text, at, needs_lower);
    if (end != 0) return end + contraction(text, end, true);
  }
  if ((c.cls & kNumber) != 0) return llama3_piece(text, at, kLetter, 3);
  const std::size_t start = c.value == ' ' ? at + 1 : at;
  if (const std::size_t end = others_end(text, start, kSpace | kLetter | kNumber); end != start) {
    return run_end(text, end,
                   [](const ClassedChar& n) { return n.value == '\r' || n.value == '\n' || n.value == '/'; });
  }
  const SpaceRun run = space_run(text, at);
  return run.after_newline != 0 ? run.after_newline : space_match(text, at, run);
}

}  // namespace detail

/// Cuts `text` (valid UTF-8) by a hand-written rule: calls emit(begin, end) for each piece, in order.
template <class F>
void split_by_rule(SplitRule rule, std::string_view text, F&& emit) {
  const auto run = [&](auto&& piece_end) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = piece_end(at);
      emit(at, end);
      at = end;
    }
  };
  switch (rule) {
    case SplitRule::gpt2: run([&](std::size_t at) { return detail::gpt2_piece(text, at); }); break;
    case SplitRule::llama3: run([&](std::size_t at) { return detail::llama3_piece(text, at, kLetter, 3); }); break;
    case SplitRule::qwen2: run([&](std::size_t at) { return detail::llama3_piece(text, at, kLetter, 1); }); break;
    case SplitRule::qwen35:
      run([&](std::size_t at) { return detail::llama3_piece(text, at, kLetter | kMark, 1); });
      break;
    case SplitRule::o200k: run([&](std::size_t at) { return detail::o200k_piece(text, at); }); break;
    case SplitRule::digits_then_gpt2: {
      std::size_t limit = 0;  // digits cut the text first, so no piece looks past the next one
      run([&](std::size_t at) {
        if (at >= limit) {
          const detail::ClassedChar c = detail::classed_at(text, at);
          if ((c.cls & kNumber) != 0) return at + c.length;
          limit = detail::others_end(text, at, kNumber);
        }
        return detail::gpt2_piece(text.substr(0, limit), at);
      });
      break;
    }
  }
}

namespace detail {

inline constexpr std::string_view kGpt2Pattern =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kLlama3Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kQwen2Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kQwen35Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kO200kPattern =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|"
    "'d)?|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|"
    "'d)?|"
    "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/// The regular expression that a hand-written rule stands for; digits_then_gpt2 is two stages and has none.
inline std::string_view rule_pattern(SplitRule rule) {
  switch (rule) {
    case SplitRule::gpt2: return kGpt2Pattern;
    case SplitRule::llama3: return kLlama3Pattern;
    case SplitRule::qwen2: return kQwen2Pattern;
    case SplitRule::qwen35: return kQwen35Pattern;
    case SplitRule::o200k: return kO200kPattern;
    case SplitRule::digits_then_gpt2: return {};
  }
  return {};
}

inline constexpr std::string_view kDigitTriplesPattern = "[0-9][0-9][0-9]";
inline constexpr std::string_view kThreeDigitsPattern = "\\p{N}{1,3}";
inline constexpr std::string_view kCjkPattern = "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+";
inline constexpr std::string_view kDeepseek3Pattern =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
// DeepSeek LLM lists the letters of the bicameral scripts by range; the bracket is the one of its tokenizer.json.
inline constexpr std::string_view kDeepseekLettersPattern =
    "\\s?[A-Za-z\\xB5\\xC0-\\xD6\\xD8-\\xF6\\xF8-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}"
    "\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}"
    "\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}"
    "\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}"
    "\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"
    "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}"
    "\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}"
    "\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}"
    "\\x{2124}\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-\\x{A787}"
    "\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}"
    "\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}"
    "\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}]+";
inline constexpr std::string_view kDeepseekPunctuationPattern =
    "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+";
inline constexpr std::string_view kDeepseekCjkPattern = "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+";
inline constexpr std::string_view kBloomPattern =
    " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+";
inline constexpr std::string_view kTekkenPattern =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kBailingPattern =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|"
    "\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kSeedCoderPattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kMinicpm5Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}+| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
inline constexpr std::string_view kJais2Pattern =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|"
    "\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}";

/// What the name of a pre-tokenizer in a GGUF file stands for.
struct NamedPreTokenizer {
  std::string_view name;
  std::array<std::string_view, 6> stages;  // a rule's own expression, or others; run one after the other
  bool ignore_merges = false;              // a piece that is a token is taken without merging
  bool add_bos = false;                    // the default when the file does not say
};

inline constexpr std::array kNamedPreTokenizers{
    NamedPreTokenizer{"gpt-2", {kGpt2Pattern}},
    NamedPreTokenizer{"phi-2", {kGpt2Pattern}},
    NamedPreTokenizer{"mpt", {kGpt2Pattern}},
    NamedPreTokenizer{"olmo", {kGpt2Pattern}},
    NamedPreTokenizer{"jais", {kGpt2Pattern}},
    NamedPreTokenizer{"trillion", {kGpt2Pattern}},
    NamedPreTokenizer{"granite-docling", {kGpt2Pattern}},
    NamedPreTokenizer{"exaone4", {kGpt2Pattern}},
    NamedPreTokenizer{"mellum", {kGpt2Pattern}},
    NamedPreTokenizer{"gigachat", {kGpt2Pattern}},
    NamedPreTokenizer{"a.x-4.0", {kGpt2Pattern}},
    NamedPreTokenizer{"smollm", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"starcoder", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"refact", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"command-r", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"codeshell", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"exaone", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"minerva-7b", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"mellum2", {"\\p{N}", kGpt2Pattern}},
    NamedPreTokenizer{"llama3", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"llama-v3", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"llama-bpe", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"falcon3", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"falcon-h1", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"pixtral", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"midm-2.0", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"lfm2", {kLlama3Pattern}, true, true},
    NamedPreTokenizer{"dbrx", {kLlama3Pattern}},
    NamedPreTokenizer{"smaug-bpe", {kLlama3Pattern}},
    NamedPreTokenizer{"chatglm-bpe", {kLlama3Pattern}},
    NamedPreTokenizer{"glm4", {kLlama3Pattern}, true},
    NamedPreTokenizer{"glm5", {kLlama3Pattern}, true},
    NamedPreTokenizer{"qwen2", {kQwen2Pattern}},
    NamedPreTokenizer{"deepseek-r1-qwen", {kQwen2Pattern}},
    NamedPreTokenizer{"megrez", {kQwen2Pattern}},
    NamedPreTokenizer{"stablelm2", {kQwen2Pattern}},
    NamedPreTokenizer{"hunyuan", {kQwen2Pattern}},
    NamedPreTokenizer{"solar-open", {kQwen2Pattern}},
    NamedPreTokenizer{"grok-2", {kQwen2Pattern}},
    NamedPreTokenizer{"kormo", {kQwen2Pattern}},
    NamedPreTokenizer{"f2llmv2", {kQwen2Pattern}},
    NamedPreTokenizer{"qwen35", {kQwen35Pattern}},
    NamedPreTokenizer{"gpt-4o", {kO200kPattern}},
    NamedPreTokenizer{"llama4", {kO200kPattern}},
    NamedPreTokenizer{"kanana2", {kO200kPattern}},
    NamedPreTokenizer{"minimax-m2", {kO200kPattern}},
    NamedPreTokenizer{"talkie", {kO200kPattern}},
    NamedPreTokenizer{"tekken", {kTekkenPattern}, true, true},
    NamedPreTokenizer{"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", kGpt2Pattern, kDigitTriplesPattern}},
    NamedPreTokenizer{"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", kGpt2Pattern, "\\p{N}+", kDigitTriplesPattern}},
    NamedPreTokenizer{
        "deepseek-llm",
        {"[\\r\\n]", kDeepseekLettersPattern, kDeepseekPunctuationPattern, "\\s+$", kDeepseekCjkPattern, "\\p{N}+"}},
    NamedPreTokenizer{"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", kDeepseekCjkPattern, "\\p{N}"}},
    NamedPreTokenizer{"deepseek-v3", {kThreeDigitsPattern, kCjkPattern, kDeepseek3Pattern}},
    NamedPreTokenizer{"hunyuan-dense", {kThreeDigitsPattern, kCjkPattern, kDeepseek3Pattern}},
    NamedPreTokenizer{"joyai-llm", {kThreeDigitsPattern, kCjkPattern, kDeepseek3Pattern}},
    NamedPreTokenizer{"hy_v4", {kThreeDigitsPattern, kCjkPattern, kDeepseek3Pattern}},
    NamedPreTokenizer{"bloom", {kBloomPattern}},
    NamedPreTokenizer{"poro-chat", {kBloomPattern}},
    NamedPreTokenizer{"gpt3-finnish", {kBloomPattern}},
    NamedPreTokenizer{"viking", {kBloomPattern, "\\p{N}"}},
    NamedPreTokenizer{"bailingmoe", {kBailingPattern}},
    NamedPreTokenizer{"bailingmoe2", {kBailingPattern}},
    NamedPreTokenizer{"llada-moe", {kBailingPattern}},
    NamedPreTokenizer{"seed-coder", {kSeedCoderPattern}},
    NamedPreTokenizer{"minicpm5", {kThreeDigitsPattern, kMinicpm5Pattern}, true},
    NamedPreTokenizer{"jais-2", {kJais2Pattern}},
    NamedPreTokenizer{"laguna", {"[^\\n]+|[\\n]+", kQwen2Pattern}},
};

}  // namespace detail

/// The entry of a GGUF pre-tokenizer name, or null.
inline const detail::NamedPreTokenizer* find_pre_tokenizer(std::string_view name) {
  for (const auto& entry : detail::kNamedPreTokenizers) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

/// The hand-written rule that matches the same as `pattern`, if there is one.
inline std::optional<SplitRule> rule_of_pattern(std::string_view pattern) {
  for (const SplitRule rule :
       {SplitRule::gpt2, SplitRule::llama3, SplitRule::qwen2, SplitRule::qwen35, SplitRule::o200k}) {
    if (pattern == detail::rule_pattern(rule)) return rule;
  }
  return std::nullopt;
}

/// Where a text stands in the whole input.
struct TextPlace {
  bool input_start = true;  ///< nothing came before it
  bool passage_start =
      true;  ///< it begins the input or follows a special token; else it follows bytes that are not UTF-8
};

/// Text cut into pieces. The text may be a rewritten copy, when a step changes characters.
struct Pieces {
  struct Span {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  std::string_view text;
  std::vector<Span> spans;  ///< in order; parts of the text may be missing where a step drops them
  bool aliased = false;     ///< characters stand for bytes (byte_level_alias)

  [[nodiscard]] std::string_view operator[](std::size_t i) const {
    return text.substr(spans[i].begin, spans[i].end - spans[i].begin);
  }

  std::string owned;       // backs `text` after a rewrite
  std::vector<Span> next;  // reused by the steps
  Regex::Scratch scratch;
};

class PreTokenizer {
 public:
  /// The rule with that name in GGUF files. Errors: unsupported, naming it.
  static Result<PreTokenizer> by_name(std::string_view name) {
    const detail::NamedPreTokenizer* entry = find_pre_tokenizer(name);
    if (entry == nullptr) {
      return make_error(Errc::unsupported, "unknown pre-tokenizer", "tokenizer.ggml.pre",
                        "a name that this build knows", in_quotes(name, 80));
    }
    std::vector<SplitStep> steps;
    for (const std::string_view pattern : entry->stages) {
      if (pattern.empty()) break;
      SplitStep step;
      step.kind = SplitStep::Kind::regex;
      step.pattern = pattern;
      steps.push_back(std::move(step));
    }
    return create(std::move(steps));
  }

  /// Compiles steps. Expressions that a hand-written rule covers are replaced by it.
  static Result<PreTokenizer> create(std::vector<SplitStep> steps) {
    PreTokenizer result;
    for (SplitStep& step : steps) {
      if (step.kind == SplitStep::Kind::regex && step.behavior == SplitBehavior::isolated && !step.invert) {
        if (const auto rule = rule_of_pattern(step.pattern)) {
          step.kind = SplitStep::Kind::rule;
          step.rule = *rule;
        }
      }
      const bool digits_before =
          !result.steps_.empty() && result.steps_.back().step.behavior == SplitBehavior::isolated &&
          !result.steps_.back().step.invert &&
          (result.steps_.back().step.kind == SplitStep::Kind::digits ||
           (result.steps_.back().step.kind == SplitStep::Kind::regex && result.steps_.back().step.pattern == "\\p{N}"));
      if (digits_before && step.kind == SplitStep::Kind::rule && step.rule == SplitRule::gpt2) {
        result.steps_.pop_back();
        step.rule = SplitRule::digits_then_gpt2;
      }
      Compiled compiled;
      if (step.kind == SplitStep::Kind::regex) {
        TRITIUM_ASSIGN(Regex regex, Regex::compile(step.pattern));
        compiled.regex = std::move(regex);
      } else if (step.kind == SplitStep::Kind::words) {
        TRITIUM_ASSIGN(Regex regex, Regex::compile("[\\w\\x{200C}\\x{200D}]+|[^\\w\\s\\x{200C}\\x{200D}]+"));
        compiled.regex = std::move(regex);
      }
      compiled.step = std::move(step);
      result.steps_.push_back(std::move(compiled));
    }
    return result;
  }

  /// Same as create() but never replaces an expression: the oracle of the hand-written rules.
  static Result<PreTokenizer> create_with_regex_only(const std::vector<std::string>& patterns) {
    PreTokenizer result;
    for (const std::string& pattern : patterns) {
      Compiled compiled;
      compiled.step.kind = SplitStep::Kind::regex;
      compiled.step.pattern = pattern;
      TRITIUM_ASSIGN(Regex regex, Regex::compile(pattern));
      compiled.regex = std::move(regex);
      result.steps_.push_back(std::move(compiled));
    }
    return result;
  }

  [[nodiscard]] bool empty() const { return steps_.empty(); }

  /// Cuts `text` (valid UTF-8, below 2 GiB; it must outlive `out`).
  Status split(std::string_view text, TextPlace place, Pieces& out) const {
    if (text.size() > std::numeric_limits<std::int32_t>::max()) {
      return Error{Errc::out_of_range, "text is too long to be tokenized at once: more than 2 GiB"};
    }
    out.text = text;
    out.aliased = false;
    out.spans.clear();
    if (!text.empty()) out.spans.push_back({0, static_cast<std::uint32_t>(text.size())});
    for (const Compiled& compiled : steps_) TRITIUM_TRY(run(compiled, place, out));
    return {};
  }

 private:
  using Kind = SplitStep::Kind;
  struct Compiled {
    SplitStep step;
    std::optional<Regex> regex;
  };

  // Collects "part, is it a match" events of one piece and turns them into pieces by the behavior.
  struct Collector {
    std::vector<Pieces::Span>& out;
    SplitBehavior behavior;
    bool invert;
    bool first = true;
    bool previous_match = false;

    void add(std::uint32_t begin, std::uint32_t end, bool match) {
      if (invert) match = !match;
      switch (behavior) {
        case SplitBehavior::removed:
          if (!match) out.push_back({begin, end});
          break;
        case SplitBehavior::isolated: out.push_back({begin, end}); break;
        case SplitBehavior::contiguous:
          if (!first && match == previous_match) out.back().end = end;
          else out.push_back({begin, end});
          break;
        case SplitBehavior::merged_with_previous:
          if (!first && match && !previous_match) out.back().end = end;
          else out.push_back({begin, end});
          break;
        case SplitBehavior::merged_with_next:
          // A match joins what is behind it, unless that is a match too.
          if (!first && previous_match && !match) out.back().end = end;
          else out.push_back({begin, end});
          break;
      }
      previous_match = match;
      first = false;
    }
  };

  static Status run(const Compiled& compiled, TextPlace place, Pieces& out) {
    const SplitStep& step = compiled.step;
    if (step.kind == Kind::metaspace || step.kind == Kind::byte_level || step.kind == Kind::byte_level_alias) {
      rewrite(step, place, out);
      if (step.kind == Kind::byte_level_alias || !step.cut) return {};
    }
    out.next.clear();
    for (const Pieces::Span span : out.spans) {
      const std::string_view piece = out.text.substr(span.begin, span.end - span.begin);
      Collector collector{out.next, step.behavior, step.invert};
      const auto add = [&](std::size_t begin, std::size_t end, bool match) {
        if (begin != end) {
          collector.add(span.begin + static_cast<std::uint32_t>(begin), span.begin + static_cast<std::uint32_t>(end),
                        match);
        }
      };
      switch (step.kind) {
        case Kind::rule:
        case Kind::byte_level: {
          split_by_rule(
              step.kind == Kind::rule ? step.rule : SplitRule::gpt2, piece, [&](std::size_t begin, std::size_t end) {
                out.next.push_back(
                    {span.begin + static_cast<std::uint32_t>(begin), span.begin + static_cast<std::uint32_t>(end)});
              });
          break;
        }
        case Kind::regex:
        case Kind::words: {
          if (step.kind == Kind::words) {
            collector.behavior = SplitBehavior::removed;
            collector.invert = true;
          }
          std::size_t done = 0;
          for (std::size_t from = 0; from < piece.size();) {
            TRITIUM_ASSIGN(const Regex::Match match, compiled.regex->find(piece, from, out.scratch));
            if (!match.found) break;
            if (match.end == match.begin) {  // an empty match cuts, but is no piece
              add(done, match.begin, false);
              done = match.begin;
              if (match.end >= piece.size()) break;
              from = match.end + decode_utf8(piece.substr(match.end)).length;
              continue;
            }
            add(done, match.begin, false);
            add(match.begin, match.end, true);
            done = from = match.end;
          }
          add(done, piece.size(), false);
          break;
        }
        case Kind::literal: {
          std::size_t done = 0;
          while (!step.pattern.empty()) {
            const std::size_t at = piece.find(step.pattern, done);
            if (at == std::string_view::npos) break;
            add(done, at, false);
            add(at, at + step.pattern.size(), true);
            done = at + step.pattern.size();
          }
          add(done, piece.size(), false);
          break;
        }
        case Kind::metaspace:
          collector.behavior = SplitBehavior::merged_with_next;
          split_points(piece, add, [mark = decode_utf8(step.pattern).value](char32_t c) { return c == mark; });
          break;
        case Kind::digits: split_points(piece, add, [](char32_t c) { return (char_class(c) & kNumber) != 0; }); break;
        case Kind::punctuation:
          split_points(piece, add, [](char32_t c) {
            return (char_class(c) & kPunct) != 0 || (c < 0x80 && (char_class(c) & kSymbol) != 0);
          });
          break;
        case Kind::white_space:
          collector.behavior = SplitBehavior::removed;
          split_points(piece, add, [](char32_t c) { return is_white_space(c); });
          break;
        case Kind::fixed_length: {
          std::size_t begin = 0;
          std::uint32_t count = 0;
          for (std::size_t at = 0; at < piece.size();) {
            at += decode_utf8(piece.substr(at)).length;
            if (++count == step.length || at == piece.size()) {
              add(begin, at, false);
              begin = at;
              count = 0;
            }
          }
          break;
        }
        case Kind::byte_level_alias: break;
      }
    }
    std::swap(out.spans, out.next);
    return {};
  }

  // Every code point that passes the test is a match of its own; what lies between is one part.
  template <class Add, class Test>
  static void split_points(std::string_view piece, Add&& add, Test&& test) {
    std::size_t done = 0;
    for (std::size_t at = 0; at < piece.size();) {
      const CodePoint unit = decode_utf8(piece.substr(at));
      if (test(unit.value)) {
        add(done, at, false);
        add(at, at + unit.length, true);
        done = at + unit.length;
      }
      at += unit.length;
    }
    add(done, piece.size(), false);
  }

  // Steps that change characters write the pieces anew, one behind the other.
  static void rewrite(const SplitStep& step, TextPlace place, Pieces& out) {
    const bool needed = step.kind != Kind::byte_level || step.prepend != SplitStep::Prepend::never;
    if (!needed) return;
    std::string text;
    text.reserve(out.text.size() + out.text.size() / 4 + 8);
    std::vector<Pieces::Span> spans;
    spans.reserve(out.spans.size());
    for (std::size_t i = 0; i < out.spans.size(); ++i) {
      const std::string_view piece = out[i];
      const std::size_t begin = text.size();
      const bool wanted =
          step.prepend == SplitStep::Prepend::always
              ? i != 0 || place.passage_start
              : step.prepend == SplitStep::Prepend::first && place.input_start && i == 0 && out.spans[i].begin == 0;
      if (step.kind == Kind::byte_level) {
        if (wanted && piece[0] != ' ') text.push_back(' ');
        text.append(piece);
      } else if (step.kind == Kind::metaspace) {
        if (wanted && piece[0] != ' ' && !piece.starts_with(step.pattern)) text.append(step.pattern);
        for (const char c : piece) {
          if (c == ' ') text.append(step.pattern);
          else text.push_back(c);
        }
      } else {
        for (const char c : piece) append_utf8(byte_to_alias(static_cast<unsigned char>(c)), text);
      }
      spans.push_back({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(text.size())});
    }
    out.spans = std::move(spans);
    out.owned = std::move(text);
    out.text = out.owned;
    out.aliased = out.aliased || step.kind == Kind::byte_level_alias;
  }

  std::vector<Compiled> steps_;
};

TRITIUM_NAMESPACE_END
