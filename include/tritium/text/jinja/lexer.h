// SPDX-License-Identifier: Apache-2.0
// Template source to tokens: text, `{{ }}`, `{% %}`, `{# #}`, raw blocks and Jinja's whitespace control.
//
// The rules are those of an environment with trim_blocks and lstrip_blocks and without a kept trailing newline, the one
// that chat templates are written for: a block tag alone on its line leaves nothing behind, `-` strips all whitespace
// on its side, `+` keeps it. Brackets are matched here, since `}}` ends an expression only when none is open. Source:
// Jinja 3.1's documented lexical rules (jinja.palletsprojects.com/en/stable/templates/#whitespace-control).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tritium/core/status.h"
#include "tritium/text/jinja/python_text.h"

TRITIUM_NAMESPACE_BEGIN

namespace jinja {

struct Token {
  enum class Type : std::uint8_t {
    data,
    variable_begin,
    variable_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    real,
    op,
    end
  };
  Type type = Type::end;
  std::uint32_t line = 1;
  std::string text;  ///< of data, names and operators; the value of a string
  std::int64_t integer = 0;
  double real = 0;
};

/// `text` for a message: control characters escaped, no half of a character at the end.
inline std::string one_line(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  for (int i = 0; i < 3 && !utf8_valid(text); ++i) text.remove_suffix(1);
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out.push_back(c);
    } else if (c == '\n') {
      out.append("\\n");
    } else {
      out.append("\\x").push_back(kHex[byte >> 4]);
      out.push_back(kHex[byte & 15]);
    }
  }
  return out;
}

/// An error in a template: "WHAT (template line N: expected EXPECTED, found FOUND)".
inline Error template_error(Errc code, std::string_view what, std::uint32_t line, std::string_view expected,
                            std::string_view found) {
  return make_error(code, one_line(what), "template line " + std::to_string(line), one_line(expected), one_line(found));
}
inline Error template_error(Errc code, std::string_view what, std::uint32_t line) {
  return make_error(code, one_line(what), "template line " + std::to_string(line));
}

class Lexer {
 public:
  /// Tokens of `source`, the last of which is `end`. Errors: invalid_argument for text that is no template.
  static Result<std::vector<Token>> run(std::string_view source) {
    Lexer lexer(source);
    TRITIUM_TRY(lexer.tokenize());
    return std::move(lexer.tokens_);
  }

 private:
  explicit Lexer(std::string_view source) {
    source_.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {  // \r\n and \r are newlines; one at the very end is dropped
      if (source[i] == '\r') {
        source_.push_back('\n');
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        source_.push_back(source[i]);
      }
    }
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
    text_ = source_;
  }

  Status tokenize() {
    while (at_ < text_.size()) TRITIUM_TRY(root());
    push(Token::Type::end, "");
    return {};
  }

  // Text up to the next tag, and the tag's opening.
  Status root() {
    std::size_t open = at_;
    while (true) {
      open = text_.find('{', open);
      if (open == std::string_view::npos || open + 1 >= text_.size()) {
        open = text_.size();
        break;
      }
      const char c = text_[open + 1];
      if (c == '{' || c == '%' || c == '#') break;
      ++open;
    }
    std::string_view data = text_.substr(at_, open - at_);
    if (open == text_.size()) {
      if (!data.empty()) push(Token::Type::data, data);
      at_ = open;
      return {};
    }
    const char kind = text_[open + 1];
    std::size_t raw_end = 0;
    const bool raw = kind == '%' && raw_tag(open, raw_end);
    const char sign = open + 2 < text_.size() ? text_[open + 2] : '\0';
    const bool signed_tag = sign == '-' || sign == '+';
    const std::string_view kept = strip_before(data, signed_tag ? sign : '\0', kind == '{');
    if (!kept.empty()) push(Token::Type::data, kept);
    count_lines(data);
    if (raw) {
      advance(open, raw_end);
      return raw_block();
    }
    advance(open, open + (signed_tag ? 3 : 2));
    if (kind == '#') return comment();
    push(kind == '{' ? Token::Type::variable_begin : Token::Type::block_begin, "");
    return tag(kind == '{');
  }

  // The text before a tag, after the tag's own whitespace control.
  std::string_view strip_before(std::string_view data, char sign, bool variable) const {
    if (sign == '-') {
      while (!data.empty()) {
        const std::size_t i = previous(data, data.size());
        if (!is_space(utf8_decode(data, i))) break;
        data = data.substr(0, i);
      }
    } else if (sign != '+' && !variable) {
      const std::size_t newline = data.rfind('\n');
      const std::size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      if ((line > 0 || line_starting_) && line < data.size()) {
        bool blank = true;
        for (std::size_t i = line; i < data.size() && blank; i += utf8_size(data[i]))
          blank = is_space(utf8_decode(data, i));
        if (blank) data = data.substr(0, line);
      }
    }
    return data;
  }

  // Whether `{% raw %}` starts at `open`, and where it ends.
  bool raw_tag(std::size_t open, std::size_t& end) const {
    std::size_t i = open + 2;
    if (i < text_.size() && (text_[i] == '-' || text_[i] == '+')) ++i;
    i = skip_space(i);
    if (text_.substr(i, 3) != "raw") return false;
    i = skip_space(i + 3);
    if (text_.substr(i, 3) == "-%}") {
      end = skip_space(i + 3);
      return true;
    }
    end = i + 2;
    return text_.substr(i, 2) == "%}";
  }

  Status raw_block() {
    for (std::size_t open = text_.find("{%", at_); open != std::string_view::npos; open = text_.find("{%", open + 1)) {
      std::size_t i = open + 2;
      char sign = '\0';
      if (i < text_.size() && (text_[i] == '-' || text_[i] == '+')) sign = text_[i++];
      i = skip_space(i);
      if (text_.substr(i, 6) != "endraw") continue;
      i = skip_space(i + 6);
      std::size_t end = 0;
      if (!close(i, '%', end)) continue;
      const std::string_view data = text_.substr(at_, open - at_);
      const std::string_view kept = strip_before(data, sign, false);
      if (!kept.empty()) push(Token::Type::data, kept);
      count_lines(data);
      advance(open, end);
      return {};
    }
    return template_error(Errc::invalid_argument, "a raw block has no end", line_, "{% endraw %}",
                          "the end of the template");
  }

  Status comment() {
    for (std::size_t i = at_; i + 1 < text_.size(); ++i) {
      std::size_t end = 0;
      if ((text_[i] == '+' || text_[i] == '-' || text_[i] == '#') && close(i, '#', end)) {
        advance(at_, end);
        return {};
      }
    }
    return template_error(Errc::invalid_argument, "a comment has no end", line_, "#}", "the end of the template");
  }

  // Whether a block or comment closes at `i` (`+%}`, `-%}` and the space after it, `%}` and one newline after it).
  bool close(std::size_t i, char mark, std::size_t& end) const {
    const char sign = i < text_.size() ? text_[i] : '\0';
    if (sign == '+' || sign == '-') ++i;
    if (i + 1 >= text_.size() || text_[i] != mark || text_[i + 1] != '}') return false;
    end = i + 2;
    if (sign == '-') end = skip_space(end);
    else if (sign != '+' && end < text_.size() && text_[end] == '\n') ++end;
    return true;
  }

  // Inside `{{ }}` or `{% %}`.
  Status tag(bool variable) {
    while (at_ < text_.size()) {
      std::size_t end = 0;
      if (brackets_.empty()) {
        if (variable && (text_.substr(at_, 2) == "}}" || text_.substr(at_, 3) == "-}}")) {
          end = text_[at_] == '-' ? skip_space(at_ + 3) : at_ + 2;
          push(Token::Type::variable_end, "");
          advance(at_, end);
          return {};
        }
        if (!variable && close(at_, '%', end)) {
          push(Token::Type::block_end, "");
          advance(at_, end);
          return {};
        }
      }
      TRITIUM_TRY(token());
    }
    return {};  // the parser says what is missing
  }

  Status token() {
    const char32_t c = utf8_decode(text_, at_);
    if (is_space(c)) {
      advance(at_, skip_space(at_));
      return {};
    }
    if (c >= '0' && c <= '9') return number();
    if (c == '\'' || c == '"') return string(static_cast<char>(c));
    if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < text_.size() && is_name_part(utf8_decode(text_, end))) end += utf8_size(text_[end]);
      push(Token::Type::name, text_.substr(at_, end - at_));
      advance(at_, end);
      return {};
    }
    return op();
  }

  // Digits with single underscores between them, from `i`; returns where they end (`i` itself when there are none).
  template <class IsDigit>
  std::size_t digits(std::size_t i, IsDigit is) const {
    std::size_t end = i;
    while (end < text_.size()) {
      const std::size_t digit = end > i && text_[end] == '_' ? end + 1 : end;
      if (digit >= text_.size() || !is(text_[digit])) break;
      end = digit + 1;
    }
    return end;
  }

  Status number() {
    const auto decimal = [](char d) { return d >= '0' && d <= '9'; };
    const auto after = [&](std::size_t i) { return i < text_.size() ? text_[i] : '\0'; };
    const std::size_t whole = digits(at_, decimal);
    std::size_t end = whole;
    bool real = false;
    if (at_ == 0 || text_[at_ - 1] != '.') {  // `x.1.2` is two subscripts
      if (after(end) == '.' && decimal(after(end + 1))) {
        end = digits(end + 1, decimal);
        real = true;
      }
      if (after(end) == 'e' || after(end) == 'E') {
        const std::size_t sign = after(end + 1) == '+' || after(end + 1) == '-' ? 1 : 0;
        if (decimal(after(end + 1 + sign))) {
          end = digits(end + 1 + sign, decimal);
          real = true;
        }
      }
    }
    Token t;
    t.line = line_;
    if (real) {
      t.type = Token::Type::real;
      parse_float(text_.substr(at_, end - at_), t.real);
    } else {
      t.type = Token::Type::integer;
      end = whole;
      const char mark = static_cast<char>(after(at_ + 1) | 32);
      if (text_[at_] == '0') {
        const std::size_t start = at_ + 2 + (after(at_ + 2) == '_' ? 1u : 0u);
        const auto binary = [](char d) { return d == '0' || d == '1'; };
        const auto octal = [](char d) { return d >= '0' && d <= '7'; };
        const auto hex = [&](char d) { return decimal(d) || ((d | 32) >= 'a' && (d | 32) <= 'f'); };
        const std::size_t based = mark == 'b'   ? digits(start, binary)
                                  : mark == 'o' ? digits(start, octal)
                                  : mark == 'x' ? digits(start, hex)
                                                : start;
        end = based > start ? based : digits(at_, [](char d) { return d == '0'; });
      }
      if (parse_integer(text_.substr(at_, end - at_), 0, t.integer) != IntegerText::ok) {
        return template_error(Errc::unsupported, "an integer is too large", line_, "one of 64 bits",
                              text_.substr(at_, std::min<std::size_t>(end - at_, 40)));
      }
    }
    tokens_.push_back(std::move(t));
    advance(at_, end);
    return {};
  }

  // A string literal with Python's escapes.
  Status string(char quote) {
    const auto bad = [&](std::string_view what) {
      return template_error(Errc::invalid_argument, "a string has a bad escape", line_, what, "something else");
    };
    std::string out;
    std::size_t i = at_ + 1;
    while (i < text_.size() && text_[i] != quote) {
      if (text_[i] != '\\') {
        out.push_back(text_[i++]);
        continue;
      }
      if (++i >= text_.size()) break;
      const char c = text_[i++];
      switch (c) {
        case '\n': break;
        case '\\':
        case '\'':
        case '"': out.push_back(c); break;
        case 'a': out.push_back('\a'); break;
        case 'b': out.push_back('\b'); break;
        case 'f': out.push_back('\f'); break;
        case 'n': out.push_back('\n'); break;
        case 'r': out.push_back('\r'); break;
        case 't': out.push_back('\t'); break;
        case 'v': out.push_back('\v'); break;
        case 'x':
        case 'u':
        case 'U': {
          const std::size_t size = c == 'x' ? 2 : c == 'u' ? 4 : 8;
          std::uint32_t value = 0;
          const std::string_view hex = text_.substr(i, size);
          const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
          if (hex.size() != size || error != std::errc() || end != hex.data() + size || value > 0x10FFFF) {
            return bad(c == 'x'   ? "\\x and 2 hexadecimal digits"
                       : c == 'u' ? "\\u and 4 hexadecimal digits"
                                  : "\\U and 8 hexadecimal digits of a character");
          }
          if (value >= 0xD800 && value < 0xE000) return bad("a character, not half of a surrogate pair");
          append_utf8(out, value);
          i += size;
          break;
        }
        case 'N': return bad("no character by name");
        default:
          if (c >= '0' && c <= '7') {
            char32_t value = static_cast<char32_t>(c - '0');
            for (int k = 0; k < 2 && i < text_.size() && text_[i] >= '0' && text_[i] <= '7'; ++k) {
              value = value * 8 + static_cast<char32_t>(text_[i++] - '0');
            }
            append_utf8(out, value);
          } else if (static_cast<unsigned char>(c) >=
                     0x80) {  // Python decodes such text twice: the escape stays visible
            --i;
            const char32_t point = utf8_decode(text_, i);
            std::string escaped;
            append_repr(escaped, text_.substr(i, utf8_size(text_[i])), true);
            out.append(point < 0x100 ? "\\x" : point < 0x10000 ? "\\u" : "\\U").append(escaped, 3, escaped.size() - 4);
            i += utf8_size(text_[i]);
          } else {
            out.push_back('\\');
            out.push_back(c);
          }
      }
    }
    if (i >= text_.size()) {
      return template_error(Errc::invalid_argument, "a string has no end", line_, std::string_view(&quote, 1),
                            "the end of the template");
    }
    push(Token::Type::string, out);
    advance(at_, i + 1);
    return {};
  }

  Status op() {
    static constexpr std::string_view kOps[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                                "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const std::string_view candidate : kOps) {
      if (text_.substr(at_, candidate.size()) != candidate) continue;
      const char c = candidate[0];
      if (c == '(' || c == '[' || c == '{') brackets_.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
      if (c == ')' || c == ']' || c == '}') {
        if (brackets_.empty() || brackets_.back() != c) {
          return template_error(Errc::invalid_argument, "a bracket does not match", line_,
                                brackets_.empty() ? "none" : std::string_view(&brackets_.back(), 1), candidate);
        }
        brackets_.pop_back();
      }
      push(Token::Type::op, candidate);
      advance(at_, at_ + candidate.size());
      return {};
    }
    std::string found;
    append_repr(found, text_.substr(at_, utf8_size(text_[at_])), true);
    return template_error(Errc::invalid_argument, "a character has no meaning here", line_, "an expression", found);
  }

  static std::size_t previous(std::string_view text, std::size_t end) {
    do --end;
    while ((static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u);
    return end;
  }
  std::size_t skip_space(std::size_t i) const {
    while (i < text_.size() && is_space(utf8_decode(text_, i))) i += utf8_size(text_[i]);
    return i;
  }
  void count_lines(std::string_view passed) {
    for (const char c : passed) line_ += c == '\n' ? 1 : 0;
  }
  // Moves on to `end`, counting the lines from `begin`.
  void advance(std::size_t begin, std::size_t end) {
    count_lines(text_.substr(begin, end - begin));
    line_starting_ = end > 0 && text_[end - 1] == '\n';
    at_ = end;
  }
  void push(Token::Type type, std::string_view text) {
    Token t;
    t.type = type;
    t.line = line_;
    t.text = text;
    tokens_.push_back(std::move(t));
  }

  std::string source_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::uint32_t line_ = 1;
  bool line_starting_ = true;
  std::string brackets_;
  std::vector<Token> tokens_;
};

}  // namespace jinja

TRITIUM_NAMESPACE_END
