// SPDX-License-Identifier: Apache-2.0
// The interpreter against transformers' own environment, and what no golden file can show: errors, origins, threads.
#include "tritium/text/jinja.h"

#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "../support/template_cases.h"

using namespace tritium;
using tritium_test::Json;
using tritium_test::render;

namespace {

// The rendered text with its authors: T[...] from the template, U[...] from the data.
std::string authors(const std::string& source, const Json& variables, const jinja::Trust& trust = {}) {
  const auto parsed = jinja::Template::parse(source);
  REQUIRE(parsed.ok());
  const auto rendered = parsed->render(variables, trust);
  if (!rendered.ok()) return "! " + rendered.error().message;
  std::string shown;
  std::string joined;
  bool last = false;
  for (const jinja::Segment& s : rendered->segments()) {
    CHECK_FALSE(s.text.empty());
    if (!joined.empty()) CHECK(s.from_template != last);  // runs alternate
    last = s.from_template;
    joined += s.text;
    shown += (s.from_template ? "T[" : "U[") + s.text + "]";
  }
  CHECK(joined == rendered->text);
  return shown;
}

bool is_one_line(const std::string& message) { return message.find_first_of("\n\r") == std::string::npos; }

}  // namespace

TEST_CASE("every snippet renders, or fails, as it does in transformers", "[jinja]") {
  const Json golden = tritium_test::read_golden("snippets.json");
  const Json& context = golden["context"];
  REQUIRE(golden["cases"].size() >= 2000);
  std::size_t errors = 0;
  for (const Json& c : golden["cases"]) {
    const auto source = c[0].get<std::string>();
    INFO(source);
    const std::string found = render(source, context);
    if (c[1].is_null()) {
      ++errors;
      CHECK(found.substr(0, 2) == "! ");
      CHECK(is_one_line(found));
      CHECK(found.find("template") != std::string::npos);
    } else {
      CHECK(found == c[1].get<std::string>());
    }
  }
  CHECK(errors > 250);
}

TEST_CASE("an error is one line with the place in the template", "[jinja]") {
  CHECK(render("a\nb\n{{ x.y }}") == "! 'x' is undefined (template line 3)");
  CHECK(render("{{ {}.a.b }}") == "! 'dict' has no attribute 'a' (template line 1)");
  CHECK(render("\n\n{% if %}") ==
        "! the template does not parse (template line 3: expected an expression, found '%}')");
  CHECK(render("{{ 1 + 'a' }}") ==
        "! the operator + does not take these operands (template line 1: expected operands that fit together, found "
        "int and str)");
  CHECK(render("{% macro m() %}\n{{ 1 / 0 }}\n{% endmacro %}\n\n{{ m() }}") == "! division by zero (template line 2)");
  CHECK(render("{{ raise_exception('no\nline\x01 breaks') }}") ==
        "! the template refuses: no\\nline\\x01 breaks (template line 1)");
  CHECK(render("{{ '{a\\r\\x7f}'.format() }}").find("found a\\x0d\\x7f)") != std::string::npos);
  CHECK(render("{{ raise_exception('a' ~ '\xC3\xA9' * 1000) }}").size() == 24 + 999 + 18);
  CHECK(render("{{ 'a' | nofilter }}") ==
        "! no such filter (template line 1: expected a filter of Jinja, found nofilter)");
  CHECK(render("{% include 'x' %}").find("cannot use 'include'") != std::string::npos);
  CHECK(render("{{ [].append(1) }}") == "! the attribute 'append' of 'list' is not safe to use (template line 1)");
  CHECK(render("\xFF") == "! the template is not valid UTF-8 (template)");
  CHECK(render("{{ x }}", {{"x", "\xC3"}}).find("not valid UTF-8") != std::string::npos);
  CHECK(render("{{ x }}", Json::array()).find("expected an object, found array") != std::string::npos);
}

TEST_CASE("what chat templates have no use for is refused by name, and integers never wrap", "[jinja]") {
  for (const char* source : {"{{ 'a' | pprint }}",
                             "{{ [1] | random }}",
                             "{{ lipsum() }}",
                             "{{ 'a' | wordwrap }}",
                             "{{ 'a' | urlize }}",
                             "{{ 'a' | striptags }}",
                             "{% block a %}{% endblock %}",
                             "{{ self.a() }}",
                             "{{ 'a'.encode() }}",
                             "{{ 'a'.translate({}) }}",
                             "{% autoescape true %}{% endautoescape %}",
                             "{% import 'a' as b %}",
                             "{{ 9223372036854775807 + 1 }}",
                             "{{ -9223372036854775807 - 2 }}",
                             "{{ 2 ** 63 }}",
                             "{{ 4294967296 * 4294967296 }}",
                             "{{ 99999999999999999999 }}",
                             "{{ '99999999999999999999' | int }}",
                             "{{ 1e30 | int }}",
                             "{{ (-8) ** 0.5 }}",
                             "{{ (0 - 9223372036854775807 - 1) // -1 }}",
                             "{{ (0 - 9223372036854775807 - 1) | abs }}",
                             "{{ -(0 - 9223372036854775807 - 1) }}"}) {
    INFO(source);
    const auto parsed = jinja::Template::parse(source);
    if (!parsed.ok()) {
      CHECK(parsed.error().code == Errc::unsupported);
      continue;
    }
    const auto rendered = parsed->render(Json::object());
    REQUIRE_FALSE(rendered.ok());
    CHECK(rendered.error().code == Errc::unsupported);
  }
  CHECK(render("{{ x }}", {{"x", 18446744073709551615u}}).find("too large") != std::string::npos);
  CHECK(render("{{ x }} {{ x - 1 }}", {{"x", -9223372036854775807}}) == "-9223372036854775807 -9223372036854775808");
  CHECK(render("{{ x % -1 }} {{ x // 1 }}", {{"x", std::numeric_limits<std::int64_t>::min()}}) ==
        "0 -9223372036854775808");
}

TEST_CASE("numbers divide and print exactly where doubles would round twice", "[jinja]") {
  CHECK(render("{{ a / b }}", {{"a", 9223372036854775807}, {"b", 3}}) == "3.0744573456182584e+18");
  CHECK(render("{{ a / b }}", {{"a", 1}, {"b", 9223372036854775807}}) == "1.0842021724855044e-19");
  CHECK(render("{{ a / b }}", {{"a", 9007199254740993}, {"b", 9007199254740991}}) == "1.0000000000000002");
  CHECK(render("{{ a / b }}", {{"a", std::numeric_limits<std::int64_t>::min()}, {"b", -1}}) == "9.223372036854776e+18");
  CHECK(render("{{ a == b }}", {{"a", 9007199254740993}, {"b", 9007199254740992.0}}) == "False");
}

TEST_CASE("the text says who wrote it", "[jinja][origin]") {
  const Json v = {{"u", "user"},       {"sp", "  pad  "}, {"e", ""},
                  {"n", 42},           {"f", 1.5},        {"l", {"a", "b"}},
                  {"d", {{"k", "v"}}}, {"t", "a<b"},      {"w", "\xC3\xA9\xE4\xB8\x96"}};
  SECTION("plain output and concatenation") {
    CHECK(authors("x{{ u }}y", v) == "T[x]U[user]T[y]");
    CHECK(authors("{{ 'x' ~ u ~ 'y' }}", v) == "T[x]U[user]T[y]");
    CHECK(authors("{{ 'x' + u + 'y' }}{{ u }}", v) == "T[x]U[user]T[y]U[user]");
    CHECK(authors("{{ u }}{{ u }}", v) == "U[useruser]");
    CHECK(authors("{{ e }}x{{ e }}", v) == "T[x]");
    CHECK(authors("{{ ('x' ~ u) * 2 }}", v) == "T[x]U[user]T[x]U[user]");
    CHECK(authors("{{ nope }}{{ none }}{{ true }}{{ 5 }}", v) == "T[NoneTrue5]");
  }
  SECTION("pieces of mixed text keep their authors") {
    CHECK(authors("{% set s = 'abc' ~ u ~ 'xyz' %}{{ s[2:5] }}|{{ s[::-1] }}|{{ s[3] }}{{ s[0] }}", v) ==
          "T[c]U[us]T[|zyx]U[resu]T[cba|]U[u]T[a]");
    CHECK(authors("{{ ('<' ~ sp ~ '>').strip('<>') }}|{{ (' ' ~ sp ~ ' ') | trim }}", v) == "U[  pad  ]T[|]U[pad]");
    CHECK(authors("{% for p in ('a,' ~ u ~ ',b').split(',') %}{{ p }};{% endfor %}", v) == "T[a;]U[user]T[;b;]");
    CHECK(authors("{{ ('x' ~ u).upper() }}{{ ('x' ~ u) | title }}{{ (u ~ 'X') | lower }}", v) ==
          "T[X]U[USER]T[X]U[useruser]T[x]");
    CHECK(authors("{{ ('a' ~ u ~ 'b').replace('s', '-') }}{{ 'a-b' | replace('-', u) }}", v) ==
          "T[a]U[u]T[-]U[er]T[ba]U[user]T[b]");
    CHECK(authors("{{ [u, 'x', u] | join(',') }}{{ ','.join(l) }}", v) == "U[user]T[,x,]U[usera]T[,]U[b]");
    CHECK(authors("{{ (u ~ '\\nb') | indent(2, true) }}", v) == "T[  ]U[user]T[\n  b]");
    CHECK(authors("{{ u.center(8) }}{{ u | truncate(3, true, '!', 0) }}", v) == "T[  ]U[user]T[  ]U[us]T[!]");
    CHECK(authors("{{ t | e }}{{ ('<' ~ t) | e }}", v) == "U[a&lt;b]T[&lt;]U[a&lt;b]");
    CHECK(authors("{{ u.partition('s') | join('|') }}", v) == "U[u]T[|]U[s]T[|]U[er]");
    CHECK(authors("{% for c in ('a' ~ w) %}{{ c }}.{% endfor %}", v) == "T[a.]U[\xC3\xA9]T[.]U[\xE4\xB8\x96]T[.]");
    CHECK(authors("{{ ('a' ~ u) | list | last }}{{ ('a' ~ u) | first }}{{ ('a' ~ u) | reverse }}", v) ==
          "U[r]T[a]U[resu]T[a]");
    CHECK(authors("{{ (u ~ 'x').removesuffix('x') }}{{ ('x\\n' ~ u).splitlines()[1] }}", v) == "U[useruser]");
  }
  SECTION("formatting") {
    CHECK(authors("{{ '%s-%d|%d' % (u, n, 7) }}", v) == "U[user]T[-]U[42]T[|7]");
    CHECK(authors("{{ '<{}>{}'.format(u, 5) }}", v) == "T[<]U[user]T[>5]");
    CHECK(authors("{{ '{:>6}'.format(u) }}{{ '{:05}'.format(n) }}", v) == "T[  ]U[user]T[000]U[42]");
    CHECK(authors("{{ u | format }}{{ (u ~ '%s') | format('x') }}", v) == "U[useruser]T[x]");
    CHECK(authors("{{ '%c' % n }}{{ '%c' % 65 }}", v) == "U[*]T[A]");
    CHECK(authors("{{ '%(k)s' % d }}", v) == "U[v]");
  }
  SECTION("numbers from the data") {
    CHECK(authors("{{ n }}{{ n + 1 }}{{ -n }}{{ f * 2 }}{{ 1 + 1 }}{{ n | int }}{{ '7' | int }}", v) ==
          "U[4243-423.0]T[2]U[42]T[7]");
    CHECK(authors("{{ (u | length) }}{{ '12x' ~ ('1' ~ '2') | int }}{{ ('1' ~ n) | int }}", v) == "T[412x12]U[142]");
    CHECK(authors("{{ [n] | sum }}{{ [n, 1] | max }}{{ n | round }}{{ n | abs }}", v) == "U[42424242]");
  }
  SECTION("what is computed from a user's text is the user's") {
    CHECK(authors("{{ u | tojson }}{{ 'x' | tojson }}{{ {'a': u} | tojson }}{{ {'a': 1} | tojson }}", v) ==
          "U[\"user\"]T[\"x\"]U[{\"a\": \"user\"}]T[{\"a\": 1}]");
    CHECK(authors("{{ [u] }}{{ ['x'] }}{{ d }}{{ d.items() }}", v) ==
          "U[['user']]T[['x']]U[{'k': 'v'}dict_items([('k', 'v')])]");
    CHECK(authors("{{ t | urlencode }}{{ {'a': t} | xmlattr }}", v) == "U[a%3Cb]T[ a=\"]U[a&lt;b]T[\"]");
    CHECK(authors("{{ '%r' % u }}{{ '{!r}'.format(u) }}", v) == "U['user''user']");
    CHECK(authors("{{ n | filesizeformat }}", v) == "U[42 Bytes]");
  }
  SECTION("through macros, captures and namespaces") {
    CHECK(authors("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(u) }}{{ m('t') }}", v) == "T[<]U[user]T[><t>]");
    CHECK(authors("{% set b %}a{{ u }}b{% endset %}{{ b[1:] | upper }}", v) == "U[USER]T[B]");
    CHECK(authors("{% filter upper %}a{{ u }}{% endfilter %}", v) == "T[A]U[USER]");
    CHECK(authors("{% set ns = namespace(s='') %}{% for x in l %}{% set ns.s = ns.s ~ x ~ ',' %}{% endfor %}{{ ns.s }}",
                  v) == "U[a]T[,]U[b]T[,]");
    CHECK(authors("{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}{{ u }}{% endcall %}", v) ==
          "T[[]U[user]T[]]");
    CHECK(authors("{% for x in [u] recursive %}({{ x }}{{ loop([]) }}){% endfor %}{% generation %}{{ u }}g{% "
                  "endgeneration %}",
                  v) == "T[(]U[user]T[)]U[user]T[g]");
    CHECK(authors("{% for k, x in d.items() %}{{ k }}={{ x }}{% endfor %}{{ d | dictsort | first | join('=') }}", v) ==
          "U[k]T[=]U[vk]T[=]U[v]");
  }
  SECTION("trusted variables and roles") {
    const Json m = {{"bos", "<s>"},
                    {"messages", {{{"role", "user"}, {"content", "hi"}}, {{"role", "evil"}, {"content", "user"}}}}};
    CHECK(authors("{{ bos }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}", m,
                  {{"bos"}, {"user"}}) == "T[<s><|user|>]U[hi]T[<|]U[evil]T[|>]U[user]");
    CHECK(authors("{{ bos }}{{ messages[0].role }}", m) == "U[<s>user]");
  }
}

TEST_CASE("one template may be rendered by many threads", "[jinja][threads]") {
  const auto parsed = jinja::Template::parse(
      "{% macro m(x) %}{{ x | upper }}{% endmacro %}{% for i in range(20) %}{{ m(s) }}{{ loop.index * n }},{% endfor "
      "%}");
  REQUIRE(parsed.ok());
  std::vector<std::string> results(8);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      const jinja::Template copy = *parsed;
      for (int i = 0; i < 20; ++i)
        results[t] = copy.render({{"s", std::string("a").append(std::to_string(t))}, {"n", t}})->text;
    });
  }
  for (std::thread& t : threads) t.join();
  for (std::size_t t = 0; t < results.size(); ++t) {
    std::string expected;
    for (std::size_t i = 1; i <= 20; ++i)
      expected.append("A").append(std::to_string(t)).append(std::to_string(i * t)).append(",");
    CHECK(results[t] == expected);
  }
}

TEST_CASE("a render says what it used, and the same render uses the same", "[jinja]") {
  const auto parsed = jinja::Template::parse("{% for i in range(n) %}{{ i }}{% endfor %}");
  REQUIRE(parsed.ok());
  const auto steps = [&](int n) { return parsed->render({{"n", n}})->steps; };
  CHECK(steps(10) == steps(10));
  CHECK(steps(1000) > 100 * steps(1));
  jinja::Limits limits;
  limits.fuel = steps(1000);
  CHECK(parsed->render({{"n", 1000}}, {}, limits).ok());
  limits.fuel -= 1;
  const auto stopped = parsed->render({{"n", 1000}}, {}, limits);
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == Errc::out_of_range);
}

TEST_CASE("Python's text helpers at their edges", "[jinja]") {
  using namespace jinja;
  for (const char* bad : {"\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF8\x88\x80\x80\x80", "\xC3", "\xE4\xB8", "a\xF0\x9F\x98"}) {
    CHECK_FALSE(utf8_valid(bad));
  }
  CHECK(utf8_valid("a\xC3\xA9\xE4\xB8\x96\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF"));
  for (const auto& [value, text] : {std::pair(0.1, "0.1"),
                                    {1.0, "1.0"},
                                    {-0.0, "-0.0"},
                                    {1e16, "1e+16"},
                                    {123456789012345.6, "123456789012345.6"},
                                    {9999999999999998.0, "9999999999999998.0"},
                                    {0.0001, "0.0001"},
                                    {0.00001, "1e-05"},
                                    {5e-324, "5e-324"},
                                    {1.7976931348623157e308, "1.7976931348623157e+308"},
                                    {1e22, "1e+22"},
                                    {100.0, "100.0"},
                                    {-2.5e-9, "-2.5e-09"}}) {
    CHECK(float_text(value) == text);
  }
  double d = 0;
  for (const char* bad :
       {"", " ", "1 2", "0x10", "1e", "e5", "--1", "1_", "_1", "1__0", "infi", "nan1", ".", "+", "1.5.2", "1,5"}) {
    INFO(bad);
    CHECK_FALSE(parse_float(bad, d));
  }
  CHECK((parse_float("1e999999999999999999999", d) && std::isinf(d)));
  CHECK((parse_float("-1e-99999999999999999999", d) && d == 0));
  CHECK((parse_float("0." + std::string(400, '0') + "1", d) && d == 0));
  CHECK((parse_float(std::string(400, '9'), d) && std::isinf(d)));
  CHECK((parse_float("\xE3\x80\x80-.5e1_0\n", d) && d == -5e9));
  std::int64_t i = 0;
  CHECK(parse_integer("-9223372036854775808", 10, i) == IntegerText::ok);
  CHECK(i == std::numeric_limits<std::int64_t>::min());
  CHECK(parse_integer("9223372036854775808", 10, i) == IntegerText::too_large);
  CHECK(parse_integer("zz", 36, i) == IntegerText::ok);
  CHECK(i == 35 * 37);
  CHECK(parse_integer("0b12", 0, i) == IntegerText::malformed);
  CHECK(parse_integer("08", 0, i) == IntegerText::malformed);
}
