// SPDX-License-Identifier: Apache-2.0
// Hostile templates: each must end within a second of CPU time and bounded memory, in an error or in a text.
#include <catch2/catch_test_macros.hpp>
#include <ctime>
#include <random>
#include <utility>
#include <vector>

#if defined(__unix__)
#include <sys/resource.h>
#endif

#include "../support/template_cases.h"

using namespace tritium;
using tritium_test::Json;
using tritium_test::render;

namespace {

// Sanitizers make a step ten times dearer; there the fuel is cut, and everything else stays as shipped.
jinja::Limits test_limits() {
  jinja::Limits limits;
  if (TRITIUM_TEST_SANITIZED) limits.fuel = 2'000'000;
  return limits;
}

long peak_megabytes() {
#if defined(__unix__)
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
#else
  return 0;
#endif
}

std::string times(const std::string& text, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += text;
  return out;
}

struct Outcome {
  bool ok = false;
  Errc code = Errc::invalid_argument;
  std::string message;
  std::size_t bytes = 0;
  double seconds = 0;
};

Outcome run(const std::string& source, const jinja::Limits& limits, const Json& variables = Json::object()) {
  Outcome out;
  const std::clock_t start = std::clock();
  {
    const auto parsed = jinja::Template::parse(source, limits);
    if (!parsed.ok()) {
      out.code = parsed.error().code;
      out.message = parsed.error().message;
    } else {
      const auto rendered = parsed->render(variables, {}, limits, tritium_test::golden_clock);
      out.ok = rendered.ok();
      if (rendered.ok()) {
        out.bytes = rendered->text.size();
      } else {
        out.code = rendered.error().code;
        out.message = rendered.error().message;
      }
    }
  }
  out.seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  return out;
}

void check_bounded(const std::string& source, const Outcome& o) {
  INFO(source.substr(0, 300));
  INFO(o.message);
  CHECK(o.seconds < (TRITIUM_TEST_SANITIZED ? 4.0 : 1.0));
  CHECK(o.message.find_first_of("\n\r") == std::string::npos);
  if (!TRITIUM_TEST_SANITIZED) CHECK(peak_megabytes() < 256);
}

// Templates that must be stopped by a limit.
std::vector<std::string> stopped() {
  // Many names, each of them cheap: what grows with their number must be paid for.
  std::string sets;
  std::string attributes;
  std::string parameters;
  std::string keywords;
  for (int i = 0; i < 6000; ++i) {
    const std::string n = std::to_string(i);
    sets += "{% set a" + n + " = 1 %}";
    attributes += "{% set ns.a" + n + " = 1 %}";
    parameters.append(i == 0 ? "a" : ",a").append(n).append("=1");
    keywords.append(i == 0 ? "a" : ",a").append(std::to_string(5999 - i)).append("=1");
  }
  const std::string big = "range(100000)";
  return {
      // loops: nesting does not beat the fuel
      "{% for a in " + big + " %}{% for b in " + big + " %}{% for c in " + big +
          " %}{% endfor %}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{% for b in " + big + " %}{% set x = a * b + 1 %}{% endfor %}{% endfor %}",
      "{% set d = {'a': {'b': 1}} %}{% for a in " + big + " %}{% for b in " + big +
          " %}{% set x = d.a.b %}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{% for b in " + big + " %}{% set q = {}.zz is defined %}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{% for b in " + big + " if a > b %}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{% for b in " + big + " %}{% macro m() %}{% endmacro %}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{% for b in " + big + " %}{{ '' }}{% endfor %}{% endfor %}",
      "{% for a in " + big + " %}{{ " + big + " | map('string') | select('string') | list | length }}{% endfor %}",
      "{% for a in " + big + " %}{{ 99999 in (" + big + " | map('int')) }}{% endfor %}",
      "{% for a in " + big + " %}{{ " + big + " | sum }}{% endfor %}",
      "{% set l = " + big + " | list %}{% for a in " + big + " %}{{ l == l | list }}{{ l.count(-1) }}{% endfor %}",
      "{% set l = " + big + " | map('string') | list %}{% for a in " + big + " %}{% set b = l | sort %}{% endfor %}",
      "{% for a in " + big + " %}{% set b = " + big + " | unique | list %}{% endfor %}",
      "{% set l = " + big + " | list %}{% for a in " + big + " %}{% set b = l | tojson %}{% endfor %}",
      "{% set l = " + big + " | list %}{% for a in " + big + " %}{% set b = l | string %}{% endfor %}",
      "{% set l = " + big + " | list %}{% for a in " + big +
          " %}{% set b = l | groupby(0) %}{% set c = l[::-1] %}{% endfor %}",
      "{% set ns = namespace(d={}) %}{% for i in " + big +
          " %}{% set ns.d = dict(ns.d, **{i | string: i}) %}{% endfor %}",
      "{% set d = dict.fromkeys(" + big + ") %}{% for i in " + big + " %}{% set z = d | dictsort %}{% endfor %}",
      "{% for i in " + big + " %}{% set b = " + big + " | batch(10) | list %}{% set s = " + big +
          " | slice(10) | list %}{% endfor %}",
      "{% for i in " + big + " %}{% for j in " + big + " %}{% if 0 %}" + sets + "{% endif %}{% endfor %}{% endfor %}",
      "{% macro m() %}{% if 0 %}" + sets + "{% endif %}{% endmacro %}{% for i in " + big + " %}{% for j in " + big +
          " %}{% set x = m() %}{% endfor %}{% endfor %}",
      "{% set ns = namespace() %}{% for i in " + big + " %}" + attributes + "{% endfor %}",
      "{% set ns = namespace() %}" + attributes + "{% for i in " + big + " %}{% for j in " + big +
          " %}{% set x = ns.b %}{% endfor %}{% endfor %}",
      "{% macro m(" + parameters + ") %}{% endmacro %}{% for i in " + big + " %}{{ m(" + keywords + ") }}{% endfor %}",
      "{% macro m(" + parameters + ") %}{% endmacro %}{% for i in " + big + " %}{% for j in " + big +
          " %}{{ m() }}{% endfor %}{% endfor %}",
      "{% set l = " + big + " | list %}{{ l | map('default', *l) | list | length }}",
      "{% set l = " + big +
          " | list %}{{ l | select('in', *l) | list | length }}{{ l | map('format', *l) | list | length }}",
      "{% set f = '{zz}' * 100000 %}{% set d = dict.fromkeys(range(20000) | map('string')) %}{{ f.format_map(dict(d, "
      "zz=1)) | length }}{{ f.format_map(dict(d, zz=1)) | length }}",
      "{% for i in " + big + " %}{% for j in " + big + " %}{% set x = 1e308 | round(-308) %}{% endfor %}{% endfor %}",
      "{% for i in " + big + " %}{% for j in " + big +
          " %}{% set x = '{:.17g}'.format(0.1) | float %}{% endfor %}{% endfor %}",
      // recursion
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(150) }}",
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
      "{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}",
      "{% macro m() %}{% call m() %}{% endcall %}{{ caller() }}{% endmacro %}{% call m() %}{% endcall %}",
      "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
      "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
      "{% macro m() %}" + times("{% if 1 %}", 150) + "{{ m() }}" + times("{% endif %}", 150) +
          "{% endmacro %}{{ m() }}",
      "{% macro m() %}{{ " + times("[", 150) + "m()" + times("]", 150) + " }}{% endmacro %}{{ m() }}",
      "{% macro m() %}{% set x %}{% filter upper %}{% for i in [1] if m() %}{% endfor %}{% endfilter %}{% endset %}{% "
      "endmacro %}{{ m() }}",
      "{% macro m(x=m()) %}{% endmacro %}{{ m() }}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(1000) %}{% set ns.s = ns.s | map('string') %}{% endfor %}{{ "
      "ns.s | list }}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(1000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(1000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s | tojson }}",
      "{% set ns = namespace(s=[1], t=[1]) %}{% for a in range(1000) %}{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] "
      "%}{% endfor %}{{ ns.s < ns.t }}",
      "{% set ns = namespace(s=(1,)) %}{% for a in range(1000) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}",
      // small values, large shadows
      "{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a | "
      "tojson }}",
      "{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
      "{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = "
      "[ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
      "{% set ns = namespace(a=(1,)) %}{% for i in range(100) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ {ns.a: 1} "
      "}}",
      // length and memory
      "{{ 'x' * 1000000000 }}",
      "{{ 'x' * 9223372036854775807 }}",
      "{{ [1] * 1000000000 }}",
      "{{ (1, 2) * 4611686018427387904 }}",
      "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
      "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s=[1]) %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
      "{% set ns = namespace(s='x' * 40) %}{% for a in " + big +
          " %}{% set ns.s = ns.s ~ 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy' %}{% endfor %}",
      "{% for a in " + big + " %}{{ 'x' * 4000 }}{% endfor %}",
      "{% macro m(n) %}{{ 'x' * 4000000 }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(150) }}",
      "{% set a = 'a' * 100000 %}{{ a.replace('a', a) }}",
      "{% set a = 'a' * 100000 %}{{ a | replace('', a) }}",
      "{% set a = 'a' * 100000 %}{{ a | list | join(a) }}",
      "{% set a = 'a' * 100000 %}{{ a.join(a) }}",
      "{{ ('a\\n' * 1000000) | indent(1000) }}",
      "{{ 'a' | indent(1000000000, true) }}",
      "{{ ('\\t' * 1000).expandtabs(1000000000) }}",
      "{{ '\\t'.expandtabs(9223372036854775807) }}",
      "{{ 'a'.center(1000000000) }}",
      "{{ 'a'.ljust(9223372036854775807) }}",
      "{{ '1'.zfill(1000000000) }}",
      "{{ 'a' | center(1000000000) }}",
      "{{ '%1000000000d' % 5 }}",
      "{{ '%-99999999999999999999s' % 5 }}",
      "{{ '%.1000000000f' % 5 }}",
      "{{ '%.1000000000d' % 5 }}",
      "{{ '%*d' % (1000000000, 5) }}",
      "{{ ('%s' * 1000000) % (('x' * 100,) * 1000000) }}",
      "{{ '{:1000000000}'.format(5) }}",
      "{{ '{:.1000000000f}'.format(5.0) }}",
      "{{ '{:0,}'.format(5) ~ '{:01000000000,}'.format(5) }}",
      "{{ '{0}'.format('x' * 4000000) * 2 }}",
      "{% for i in " + big + " %}{% set x = '%.4000000f' % 1.5 %}{% endfor %}",
      "{{ '\xC3\xA9' * 2000000 | list | length }}{{ ('\xC3\xA9' * 2000000) | list | length }}",
      "{{ ('\\n' * 3000000).splitlines() | length }}",
      "{{ ('a ' * 2000000).split() | map('list') | list | length }}",
      "{{ ('<' * 3000000) | escape }}",
      "{{ ('<' * 3000000) | urlencode }}",
      "{{ ('\\x01' * 1000000) | tojson }}",
      "{{ ('\\x01' * 3000000) | list }}",
      "{{ [1] | batch(1000000000, 0) | list | length }}",
      "{{ [1] | slice(1000000000) | list | length }}",
      "{{ range(100001) }}",
      "{{ range(-9223372036854775807, 9223372036854775807) }}",
      "{{ range(9223372036854775807, -9223372036854775807, -1) | length }}",
      "{{ strftime_now('%c' * 1000000) }}",
      "{% macro m() %}{{ varargs | length }}{% endmacro %}{{ m(*('a' * 4000000)) }}",
      "{{ dict.fromkeys(" + big + ") | tojson(indent=4096) }}",
      // slow searches
      "{% set a = 'a' * 4000000 %}{% set b = 'a' * 2000000 ~ 'b' %}{{ b in a }}{{ b in a }}{{ b in a }}{{ b in a }}{{ "
      "b in a }}",
      "{% set a = 'a' * 4000000 %}{% for i in " + big +
          " %}{% set z = a.count('b') %}{% set y = a.rfind('b') %}{% endfor %}",
      "{% set a = ' ' * 2000000 %}{% set c = 'abcdefghij' * 100000 ~ ' ' %}{{ a.strip(c) | length }}",
      "{% set a = '\xC3\xA9' * 1000000 %}{% for i in " + big + " %}{% set b = a[500000] %}{% endfor %}",
      "{% set a = 'ab ' * 1000000 %}{% for i in " + big + " %}{% set x = a | wordcount %}{% endfor %}",
      "{% set a = 'a' * 4000000 %}{% for i in " + big + " %}{% set b = a.upper() %}{% endfor %}",
      "{% set a = 'x ' * 2000000 %}{% for i in " + big + " %}{% set z = a | truncate(3000000) %}{% endfor %}",
      "{% set a = '\xCE\xA3' * 1000000 %}{% for i in " + big + " %}{% set z = a | title %}{% endfor %}",
      // syntax
      "{{ " + times("(", 300) + "1" + times(")", 300) + " }}",
      "{{ " + times("(", 100000) + "1" + times(")", 100000) + " }}",
      "{{ " + times("[", 100000),
      "{{ " + times("{1:", 50000),
      "{{ " + times("not ", 60000) + "1 }}",
      "{{ " + times("-", 200000) + "1 }}",
      "{{ 1" + times(" + 1", 50000) + " }}",
      "{{ 1" + times(" ** 1", 40000) + " }}",
      "{{ 1" + times(" and 1", 40000) + " }}",
      "{{ 1" + times(" if 1 else 1", 20000) + " }}",
      "{{ a" + times(".b", 100000) + " }}",
      "{{ a" + times("[0]", 80000) + " }}",
      "{{ a" + times("()", 100000) + " }}",
      "{{ a" + times(" | e", 60000) + " }}",
      "{{ a" + times(" is b", 40000) + " }}",
      times("{% if 1 %}", 20000),
      times("{% for a in b %}", 15000),
      times("{% macro m() %}", 15000),
      times("{% set x %}", 20000),
      times("{% filter upper %}", 14000),
      times("{% with %}", 20000),
      times("{% call m() %}", 18000),
      times("{% generation %}", 16000),
      times("x", 300000),
  };
}

// Templates that are odd but harmless: they must end quickly too, whatever they answer.
std::vector<std::string> odd() {
  std::string names;
  std::string tests;
  for (int i = 0; i < 9000; ++i) {
    names += "{% set a" + std::to_string(i) + " = b" + std::to_string(i) + " %}";
    tests += "{% if a" + std::to_string(i) + " %}{% endif %}";
    if (names.size() > 250000) names.resize(names.rfind("{% set"));
  }
  return {
      "",
      " ",
      "\n",
      "{",
      "{{",
      "{%",
      "{#",
      "}}",
      "%}",
      "#}",
      "{{}}",
      "{%%}",
      "{##}",
      "{{ }}",
      "{% %}",
      "{{{{",
      "{{ }",
      "{% }",
      "{{ %}",
      "{% }}",
      "{{ ' }}",
      "{{ \" }}",
      "{{ '\\",
      "{{ '\\x",
      "{{ '\\u12",
      "{{ '\\U00110000' }}",
      "{{ '\\N{DASH}' }}",
      "{{ 1e }}",
      "{{ 1_ }}",
      "{{ 0x }}",
      "{{ 0b2 }}",
      "{{ . }}",
      "{{ a. }}",
      "{% raw %}",
      "{% raw %}{% endraw",
      "{% endraw %}",
      "{% if %}",
      "{% elif %}",
      "{% else %}",
      "{% endfor %}",
      "{% for %}",
      "{% for a %}",
      "{% for a in %}",
      "{% set %}",
      "{% set a = %}",
      "{% macro %}",
      "{% macro m %}",
      "{% macro m( %}",
      "{% macro m(1) %}{% endmacro %}",
      "{% call %}{% endcall %}",
      "{% filter %}{% endfilter %}",
      "{% with a %}{% endwith %}",
      "{% block x %}",
      "{% do x %}",
      "{%-",
      "{{-",
      "{#-",
      "{%-%}",
      "{{-}}",
      "{{ a b c }}",
      "{{ ; }}",
      "{{ $ }}",
      "{{ @ }}",
      "{{ ` }}",
      "{{ \\ }}",
      "{{ \xF0\x9F\x98\x80 }}",
      "{{ a! }}",
      "{{ [1,,2] }}",
      "{{ {,} }}",
      "{{ f(,) }}",
      "{{ a[::: ] }}",
      "{{ *a }}",
      "{{ **a }}",
      "{{ f(*) }}",
      std::string("{{ 'a\0b' }}\0{{ 1 }}", 18),
      "{{ x }}" + std::string(1, '\0'),
      "\xEF\xBB\xBF{{ 1 }}",
      "{{ '\xF4\x8F\xBF\xBF' | upper }}",
      "{{ 'a' * -9223372036854775807 }}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{% set ns.b = [ns, {'c': ns}] %}{{ ns }}{{ ns == ns.a }}{{ "
      "ns.a.a.a.b[0] is sameas ns }}",
      "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns.b | default(ns) | string | length }}{% for i in [1] %}{% "
      "macro m() %}{{ ns }}{% endmacro %}{% set ns.m = m %}{% endfor %}{{ ns.m() | length }}",
      "{% set c = cycler(*range(100000)) %}{% for i in range(100000) %}{% set z = c.next() %}{% endfor %}",
      "{% for i in range(100000) | map('string') %}{{ loop.last }}{{ loop.length }}{% endfor %}",
      "{{ [" + times("1,", 100000) + "] }}",
      "{{ {" + times("'a':1,", 40000) + "} }}",
      "{{ " + times("'a' ", 60000) + " }}",
      "{{ f(" + times("1,", 100000) + ") }}",
      "{{ f(" + times("a=1,", 60000) + ") }}",
      "{#" + times("x", 200000),
      "{% raw %}" + times("{% ", 80000),
      times("{", 250000),
      times("}", 250000),
      "{%-" + times(" ", 250000),
      times("{#", 100000),
      times("{{", 100000),
      times("{% raw %}", 20000),
      times(" {%- raw -%} ", 18000),
      times("\n", 250000) + "{% if 1 %}",
      names,
      tests,
      times("{% for x in [1] %}", 190) + times("{{ a }}", 20000) + times("{% endfor %}", 190),
      times("{% macro m() %}", 190) + times("{{ a }}", 20000) + times("{% endmacro %}", 190),
      times("{% with %}", 190) + times("{{ a }}{{ b }}{{ c }}", 9000) + times("{% endwith %}", 190),
      times("{{ loop }}{{ caller }}{{ kwargs }}", 6000),
      "{% set a = " + times("[", 190) + times("]", 190) + " %}{{ a == a }}{{ a | tojson }}",
      "{{ ('{}' * 1000).format(*range(1000)) | length }}",
      "{{ '{0.a.b.c[d][e]}'.format({}) }}",
      "{{ '{:{:{:{}}}}'.format(1, 2, 3, 4) }}",
      "{{ '{' * 100000 }}",
      "{{ ('{' * 100000).format() }}",
      "{{ ('%(' * 100000) % {} }}",
      "{{ ('%' * 99999) % () }}",
      "{{ 'a' | attr('__class__') }}",
      "{{ ''.__class__.__mro__[1].__subclasses__() }}",
      "{{ {}.__class__ }}",
      "{{ range.__globals__ }}",
      "{{ m.__init__ }}",
      "{{ 'x'.format.__globals__ }}",
      "{{ '{0.__class__}'.format('a') }}",
      "{{ 1 // 0.0 }}",
      "{{ 5 % 0.0 }}",
      "{{ 0.0 ** -1 }}",
      "{{ 1e308 * 10 - 1e308 * 10 }}",
      "{{ ('nan' | float) | int }}",
      "{{ -9223372036854775807 - 1 }}",
      "{{ (-9223372036854775807 - 1) % -1 }}",
      "{{ [3, 1, 'nan' | float, 2] | sort }}",
      "{{ range(9223372036854775806, 9223372036854775807) | list }}{{ range(-9223372036854775807, 9223372036854775807, "
      "1000000000000000) | last }}{{ 5 in range(-9223372036854775807, 9223372036854775807, 1000000000000000) }}",
      "{{ 'abc'[9223372036854775807:] }}{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}{{ "
      "'abc'[::-9223372036854775807] }}",
      "{{ 'abc'.find('c', -9223372036854775807, 9223372036854775807) }}",
      "{{ 'abc'[9223372036854775807] }}",
      "{{ 1.5 | round(9223372036854775807) }}{{ 1.5 | round(-9223372036854775807) }}",
      "{{ 5 | round(-400) }}",
      "{{ 1e308 | round(-308) }}",
      "{{ 1.7976931348623157e308 | round(-308) }}",
      "{{ '1' * 4000000 | int }}",
      "{{ ('1_' * 1000000 ~ '1') | float }}",
  };
}

// Small programs of loops, recursion and growth, put together at random.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}
  std::string program() {
    std::string out = "{% macro m(v) %}{{ v }}{% endmacro %}{% set ns = namespace(s='x', l=[1], n=1) %}";
    for (unsigned i = 0; i <= pick(3); ++i) out += statement(1 + static_cast<int>(pick(3)));
    return out;
  }

 private:
  unsigned pick(unsigned n) { return static_cast<unsigned>(random_() % n); }
  std::string number() {
    static const std::vector<std::string> numbers = {
        "0", "1", "2", "7", "100", "100000", "2147483648", "9223372036854775807", "-1", "ns.n"};
    return numbers[pick(10) < 7 ? pick(5) : pick(10)];
  }
  std::string expression(int depth) {
    if (depth <= 0)
      return std::vector<std::string>{
          "ns.s", "ns.l", "ns.n", "'ab'", "v", "nope", "'\xC3\xA9<b>'", number(), number()}[pick(9)];
    const std::string a = expression(depth - 1);
    const std::string b = expression(depth - 1);
    switch (pick(16)) {
      case 0: return "(" + a + " ~ " + b + ")";
      case 1: return "(" + a + " * " + number() + ")";
      case 2: return "(" + a + " + " + b + ")";
      case 3: return "[" + a + ", " + b + "]";
      case 4:
        return "(" + a + " | string)." +
               std::vector<std::string>{"upper()",
                                        "split('x')",
                                        "replace('x', 'xx')",
                                        "center(" + number() + ")",
                                        "join(['a', 'b', 'c'])",
                                        "splitlines()",
                                        "zfill(" + number() + ")",
                                        "count('x')"}[pick(8)];
      case 5:
        return "(" + a + " | " +
               std::vector<std::string>{"list",
                                        "tojson",
                                        "string",
                                        "length",
                                        "unique | list",
                                        "reverse | list",
                                        "map('string') | join",
                                        "indent(" + number() + ")",
                                        "batch(" + number() + ") | list",
                                        "sort",
                                        "tojson(indent=4)",
                                        "e",
                                        "trim",
                                        "sum",
                                        "select | list"}[pick(15)] +
               ")";
      case 6: return "range(" + number() + ")";
      case 7: return "(" + a + ")[" + number() + ":" + number() + "]";
      case 8: return "{" + number() + ": " + a + ", 'k': " + b + "}";
      case 9: return "('%" + number() + "d' % " + a + ")";
      case 10: return "'{:" + number() + "}'.format(" + a + ")";
      case 11: return "(" + a + " == " + b + ")";
      case 12: return "(" + a + " in " + b + ")";
      case 13: return "m(" + a + ")";
      case 14: return "(" + a + " if " + b + " else 1)";
      default: return "(" + number() + " ** " + number() + ")";
    }
  }
  std::string statement(int depth) {
    if (depth <= 0) return "{{ " + expression(1) + " }}";
    switch (pick(9)) {
      case 0:
        return "{% for v in range(" + number() + ") %}" + statement(depth - 1) + statement(depth - 1) + "{% endfor %}";
      case 1:
        return "{% for v in " + expression(1) + " if " + expression(1) + " recursive %}{{ loop(" + expression(1) +
               ") }}" + statement(depth - 1) + "{% endfor %}";
      case 2:
        return "{% macro m(v) %}" + statement(depth - 1) + "{{ m(" + expression(1) + ") }}{% endmacro %}" +
               statement(depth - 1);
      case 3:
        return "{% set ns." + std::vector<std::string>{"s", "l", "n"}[pick(3)] + " = " + expression(2) + " %}" +
               statement(depth - 1);
      case 4:
        return "{% for v in range(100000) %}{% set ns.s = ns.s ~ " + expression(1) + " %}{% set ns.l = [ns.l, " +
               expression(0) + "] %}{% endfor %}" + statement(depth - 1);
      case 5:
        return "{% if " + expression(2) + " %}" + statement(depth - 1) + "{% else %}" + statement(depth - 1) +
               "{% endif %}";
      case 6: return "{% set w %}" + statement(depth - 1) + "{% endset %}{{ w | length }}";
      case 7: return "{% filter upper %}" + statement(depth - 1) + "{% endfilter %}";
      default: return "{{ " + expression(3) + " }}";
    }
  }
  std::mt19937 random_;
};

}  // namespace

TEST_CASE("hostile templates are stopped by a limit, in time and in memory", "[jinja][limits]") {
  const auto sources = stopped();
  REQUIRE(sources.size() >= 80);
  for (const std::string& source : sources) {
    const Outcome o = run(source, test_limits());
    check_bounded(source, o);
    INFO(source.substr(0, 300));
    CHECK_FALSE(o.ok);
  }
}

TEST_CASE("odd templates end quickly, whatever they answer", "[jinja][limits]") {
  const auto sources = odd();
  REQUIRE(sources.size() >= 120);
  for (const std::string& source : sources) check_bounded(source, run(source, test_limits()));
}

TEST_CASE("random programs of loops, recursion and growth end quickly", "[jinja][limits]") {
  jinja::Limits limits = test_limits();
  limits.fuel = 3'000'000;
  limits.memory_bytes = 32u << 20;
  std::size_t rendered = 0;
  for (unsigned seed = 0; seed < 400; ++seed) {
    const std::string source = Generator(seed).program();
    const Outcome o = run(source, limits);
    check_bounded(source, o);
    rendered += o.ok ? 1 : 0;
  }
  CHECK(rendered > 20);
  CHECK(rendered < 380);
}

TEST_CASE("damaged templates are refused or rendered, never worse", "[jinja][limits]") {
  const std::string seed =
      "{%- set ns = namespace(a=1, b='x') -%}\n{% macro m(x, y=2) %}{{ x ~ y | upper }}{{ caller() if caller }}{% "
      "endmacro %}\n"
      "{% for k, v in {'a': [1, 2.5, none], 'b': 'c'}.items() if k is string recursive %}{{ loop.index }}{{ m(k, "
      "y=v[1:]) }}"
      "{% if not loop.last and k in 'ab' %}{% continue %}{% elif v is mapping %}{% break %}{% else %}{{ v | "
      "tojson(indent=2) }}{% endif %}"
      "{% else %}{# none #}{% endfor %}{% call(z) m(1) %}{{ '%s' % z }}{% endcall %}{% set q %}{{ ns.a }}{% endset "
      "%}{% filter trim %} {{ q }} {% endfilter %}"
      "{% raw %}{{ raw }}{% endraw %}{{ messages | selectattr('role', 'eq', 'user') | map(attribute='content') | "
      "join(', ') }}{{ 'it\\'s' if ns.b else \"\\u00e9\" }}";
  const Json variables = {{"messages", {{{"role", "user"}, {"content", "hi"}}}}};
  jinja::Limits limits;
  limits.fuel = 200'000;
  std::mt19937 random(7);
  const std::string alphabet = "{}%#-+()[]'\"\\|.,:=~*/<>! \nabnx0159_\xC3\xA9";
  for (std::size_t cut = 0; cut <= seed.size(); ++cut)
    check_bounded(seed.substr(0, cut), run(seed.substr(0, cut), limits, variables));
  for (int i = 0; i < 4000; ++i) {
    std::string source = seed;
    for (unsigned edits = 1 + static_cast<unsigned>(random() % 4); edits > 0; --edits) {
      const std::size_t at = random() % source.size();
      switch (random() % 3) {
        case 0: source[at] = alphabet[random() % alphabet.size()]; break;
        case 1: source.erase(at, 1 + random() % 8); break;
        default: source.insert(at, source.substr(random() % source.size(), random() % 12)); break;
      }
      if (source.empty()) source.push_back('x');
    }
    const Outcome o = run(source, limits, variables);
    if (o.seconds > 0.5) check_bounded(source, o);
  }
}

TEST_CASE("each limit stops at its own mark", "[jinja][limits]") {
  jinja::Limits limits;
  SECTION("template length") {
    limits.template_bytes = 10;
    CHECK(run("0123456789", limits).ok);
    CHECK(run("0123456789a", limits).message ==
          "the template is too long (template: expected at most 10 bytes, found 11)");
  }
  SECTION("output length") {
    limits.output_bytes = 10;
    CHECK(run("{{ 'x' * 5 }}{{ 'y' * 5 }}", limits).ok);
    CHECK(run("{{ 'x' * 5 }}{{ 'y' * 6 }}", limits).message ==
          "the template makes too long a text (template line 1: expected at most 10 bytes, found more)");
    CHECK(run("{% set a = 'x' * 11 %}", limits).code == Errc::out_of_range);
  }
  SECTION("depth of the syntax, of calls and of data") {
    limits.depth = 20;
    CHECK(run("{{ " + times("(", 15) + "1" + times(")", 15) + " }}", limits).ok);
    CHECK(run("{{ " + times("(", 25) + "1" + times(")", 25) + " }}", limits).code == Errc::out_of_range);
    const std::string countdown = "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(N) }}";
    const auto with = [&](const std::string& n) { return std::string(countdown).replace(countdown.find('N'), 1, n); };
    CHECK(run(with("10"), limits).ok);
    CHECK(run(with("25"), limits).code == Errc::out_of_range);
    Json deep = 1;
    for (int i = 0; i < 19; ++i) deep = Json::array({deep});
    CHECK(run("{{ x | tojson }}", limits, {{"x", deep}}).ok);
    CHECK(run("{{ x | tojson }}", limits, {{"x", Json::array({deep})}}).message ==
          "the data is nested too deeply (template line 1: expected at most 20 levels, found more)");
  }
  SECTION("memory: what was passed in does not count, what is freed neither") {
    limits.memory_bytes = 100'000;
    const Json large = {{"x", std::string(1'000'000, 'a')}, {"l", Json::array()}};
    CHECK(run("{{ x | length }}", limits, large).ok);
    CHECK(run("{% for i in range(1000) %}{% set s = 'x' * 1000 %}{% endfor %}", limits).ok);
    CHECK(
        run("{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = ns.l + ['x' * 1000] %}{% endfor %}",
            limits)
            .code == Errc::out_of_range);
  }
  SECTION("depth 200 as shipped") {
    CHECK(run("{{ " + times("(", 190) + "1" + times(")", 190) + " }}", limits).ok);
    CHECK(run(times("{% if 1 %}", 190) + times("{% endif %}", 190), limits).ok);
    CHECK(run("{{ 1" + times(" + 1", 190) + " }}", limits).ok);
    CHECK(run("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(190) }}", limits).ok);
  }
}
