# SPDX-License-Identifier: Apache-2.0
"""Small templates, one for each thing that Jinja and Python do: the sources of snippets.json.

A snippet is a source, or a pair (source, name of a context). What each one renders, or that it raises, is decided by
transformers' own environment in make_templates.py.
"""

CONTEXTS = {
    "main": {
        "s": "Hello, World",
        "u": "Gr\u00fc\u00dfe \u4e16\u754c \U0001f600!",
        "e": "",
        "sp": "  \t padded \n ",
        "lines": "one\ntwo\r\nthree\n\nfive\n",
        "html": "<a href=\"x\">T&C's</a>",
        "n": 5,
        "neg": -7,
        "z": 0,
        "f": 2.5,
        "big": 1e16,
        "small": 1.5e-7,
        "inf": "inf",
        "nan": "nan",
        "yes": True,
        "no": False,
        "nil": None,
        "l": [1, 2, 3],
        "ls": ["b", "A", "c", "a", "B"],
        "le": [],
        "mixed": [1, "two", 3.0, None, True, [4, 5], {"k": "v"}],
        "d": {"b": 1, "a": 2, "C": 3},
        "de": {},
        "nested": {"x": {"y": [10, 20, {"z": "deep"}]}, "items": "shadowed", "get": 1},
        "users": [
            {"name": "Bob", "age": 30, "city": "Rome", "active": True},
            {"name": "alice", "age": 25, "city": "rome", "active": False},
            {"name": "Carol", "age": 30, "city": "Oslo"},
        ],
        "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello!"},
            {"role": "user", "content": "Bye\n"},
        ],
    }
}

LITERALS = r'''
{{ 1 }} {{ 0 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 0X1f }} {{ 00 }}
{{ 1.0 }} {{ 1.50 }} {{ 1e3 }} {{ 1E-3 }} {{ 2.5e10 }} {{ 1_0.5 }} {{ 1e16 }} {{ 1e15 }} {{ 1e22 }} {{ 123456789012345680.0 }}
{{ 0.1 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1e-10 }} {{ 3.14159265358979 }} {{ 100000000000000000000.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ true }} {{ false }} {{ True }} {{ False }} {{ none }} {{ None }}
{{ 'single' }} {{ "double" }} {{ 'it\'s' }} {{ "say \"x\"" }} {{ 'a' 'b' "c" }}
{{ 'tab\there' }}|{{ 'nl\nx' }}|{{ 'cr\rx' }}|{{ '\\' }}|{{ '\/' }}|{{ '\d' }}
{{ '\x41\u00e9\U0001F600\101\0' | length }} {{ '\x41\u00e9\U0001F600\101' }}
{{ 'é世界😀' }} {{ 'é世界😀' | length }} {{ '\é' }}
{{ 'line\
continued' }}
{{ [] }} {{ [1] }} {{ [1, 2,] }} {{ [1, 'a', "b'c", 2.0, none, true] }} {{ [[1], [2, [3]]] }}
{{ () }} {{ (1,) }} {{ (1, 2) }} {{ (1) }} {{ 1, 2 }} {{ 1, }} {{ ((1, 2), 3) }}
{{ {} }} {{ {'a': 1} }} {{ {'a': 1, 'b': {'c': 2}} }} {{ {1: 2, 'x': [1]}  }} {{ {'a': 1, 'a': 2} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}
{{ {'a': 1,} }} {{ {(1, 2): 3} }} {{ {none: 1} }}
{{ {[1]: 2} }}
{{ {{}: 2} }}
{{ d.keys() in d }}
{{ d.items() in d }}
{{ {d.values(): 1} | length }}
{{ 'it''s' }} {{ ["it's", 'a"b', 'a\'"b', 'x\ny', 'é', '\x07', '\u200b', '\xa0'] }}
{{ 1.2.3 }}
{{ 0777 }}
{{ 1abc }}
{{ 'unterminated }}
{{ '\x4' }}
{{ '\ud83d' }}
'''

OPERATORS = r'''
{{ 1 + 2 }} {{ 1 - 2 }} {{ 3 * 4 }} {{ 7 / 2 }} {{ 8 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }}
{{ 1 + 2.0 }} {{ 1.5 - 1 }} {{ 2 * 1.5 }} {{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 2 ** 0.5 }} {{ 2 ** -1 }} {{ 0.0 % 3 }} {{ -0.0 }}
{{ 1 / 3 }} {{ 2 / 3 }} {{ 10 / 4 }} {{ 1e300 * 1e10 }} {{ -1e300 * 1e10 }} {{ 0.1 + 0.2 }} {{ 1 / 7 }} {{ 9007199254740993 / 3 }} {{ 9223372036854775807 / 10 }}
{{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -2 }} {{ -2 }} {{ +3 }} {{ - -3 }} {{ -n }} {{ +neg }} {{ 2 - -3 }} {{ 2--3 }}
{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 10 - 2 - 3 }} {{ 100 / 10 / 2 }} {{ 2 * 3 % 4 }} {{ 7 // 2 * 2 }}
{{ true + true }} {{ true * 3 }} {{ false - 1 }} {{ -true }} {{ true / 2 }} {{ 1 + true }} {{ true ** 2 }}
{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 3 * 'ab' }} {{ 'ab' * 0 }} {{ 'ab' * -1 }} {{ [1] + [2] }} {{ [1, 2] * 2 }} {{ (1,) + (2,) }} {{ (1,) * 3 }} {{ 2 * [0] }}
{{ 'a' ~ 1 ~ 2.0 ~ none ~ true ~ [1, 'x'] }} {{ 1 ~ 2 }} {{ nope ~ 'x' }} {{ 'a' ~ 'b' * 2 }} {{ 1 + 2 ~ 3 + 4 }}
{{ 1 < 2 }} {{ 1 > 2 }} {{ 1 <= 1 }} {{ 1 >= 2 }} {{ 1 == 1.0 }} {{ 1 != 1 }} {{ 'a' < 'b' }} {{ 'Z' < 'a' }} {{ [1, 2] < [1, 3] }} {{ (1, 'a') < (1, 'b') }} {{ [1] < [1, 0] }}
{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1 == true }} {{ 3 > 2 > 1 }} {{ 1 < 2 > 1 }} {{ 1 == true }} {{ 0 == false }} {{ '' == false }} {{ none == false }} {{ none == none }}
{{ 'a' == 'a' }} {{ 'a' == 1 }} {{ [1, 2] == [1, 2] }} {{ [1] == (1,) }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ {'a': 1} == {'a': 2} }} {{ [1, [2]] == [1, [2.0]] }}
{{ nope == nope2 }} {{ nope == none }} {{ nope == '' }} {{ nope != nope2 }} {{ not nope }}
{{ 1 in [1, 2] }} {{ 3 in l }} {{ 'a' in 'abc' }} {{ 'd' not in 'abc' }} {{ '' in 'abc' }} {{ 'b' in d }} {{ 'zz' in d }} {{ 1 in (1,) }} {{ 1.0 in [1] }} {{ true in [1] }} {{ none in [none] }} {{ 2 in range(5) }} {{ 7 not in range(5) }} {{ 1 in nope }} {{ 'a' in d.keys() }} {{ 2 in d.values() }} {{ ('a', 2) in d.items() }}
{{ true and false }} {{ 1 and 2 }} {{ 0 and 2 }} {{ 1 or 2 }} {{ 0 or 2 }} {{ '' or 'x' }} {{ 'a' and '' }} {{ none or false }} {{ not 1 }} {{ not not 1 }} {{ not '' }} {{ 1 and 2 and 3 }} {{ 0 or '' or [] }} {{ not true or true }} {{ not (true or true) }}
{{ not 1 == 2 }} {{ (not 1) == 2 }} {{ 1 + 1 == 2 and 'yes' or 'no' }} {{ 1 if 2 else 3 }} {{ 1 if 0 else 3 }} {{ 1 if 0 }}| {{ 'a' if 0 else 'b' if 0 else 'c' }} {{ ('a' if yes) ~ 'x' }} {{ (1 if no) is defined }} {{ 'x' if no else 'y' if yes }}
{{ n is defined and n > 3 }} {{ nope is defined and nope.x }} {{ nope is not defined or nope.x }}
{{ 5 + 'a' }}
{{ 'a' + 5 }}
{{ 'a' - 'b' }}
{{ [1] + (2,) }}
{{ none + 1 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 / 0 }}
{{ 0 ** -1 }}
{{ 1 < 'a' }}
{{ none < none }}
{{ {} < {} }}
{{ [1] < ['a'] }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ 'a' in none }}
{{ nope + 1 }}
{{ 1 + nope }}
{{ 'a' + nope }}
{{ nope < 1 }}
{{ -nope }}
{{ -'a' }}
{{ 'a' * 'b' }}
{{ 'a' * 1.5 }}
{{ [1] * none }}
{{ 1 <> 2 }}
{{ 1 = 2 }}
{{ a && b }}
{{ ! a }}
{{ 10.0 ** 400 }}
{{ 'x' * 2 ~ 'y' }} {{ ('x' ~ 'y') * 2 }} {{ 'a' 'b' * 2 }} {{ 3 - 1 ~ 'a' }}
{{ (2 ** 62) + (2 ** 62 - 1) }} {{ -(2 ** 62) - 2 ** 62 }} {{ 3037000499 * 3037000499 }} {{ 9223372036854775807 }} {{ 9223372036854775807 % 1000 }}
{{ 1 == 1.0000000000000002 }} {{ 9007199254740993 == 9007199254740992.0 }} {{ 9007199254740993 > 9007199254740992.0 }} {{ 1e400 > 9223372036854775807 }} {{ -1e400 < -9223372036854775807 }}
{{ 'nan' | float == 'nan' | float }} {{ 'nan' | float < 1 }} {{ 'inf' | float > 1 }} {{ ('nan' | float) in ['nan' | float] }}
{{ 1 if [] else 2 }}{{ 1 if {} else 2 }}{{ 1 if () else 2 }}{{ 1 if 0.0 else 2 }}{{ 1 if ' ' else 2 }}{{ 1 if range(0) else 2 }}{{ 1 if [0] else 2 }}{{ 1 if nope else 2 }}{{ 1 if d.keys() else 2 }}{{ 1 if de.items() else 2 }}
'''

ACCESS = r'''
{{ d.a }} {{ d['a'] }} {{ d.nope }}| {{ d['nope'] }}| {{ d.nope is defined }} {{ d.a is defined }} {{ nested.x.y[2].z }} {{ nested['x']['y'][2]['z'] }} {{ nested.x.y.1 }} {{ nested.x.y[-1].z }}
{{ nested['items'] }} {{ nested['get'] }} {{ nested.get('items') }} {{ nested.items() | length }} {{ nested.x.items() | list | length }}
{{ l[0] }} {{ l[-1] }} {{ l[5] }}| {{ l[5] is defined }} {{ l.0 }} {{ l['0'] }}| {{ l[true] }} {{ l[1.0] }}| {{ l['x'] is defined }} {{ l.foo is defined }}
{{ s[0] }} {{ s[-1] }} {{ s[100] }}| {{ u[2] }} {{ u[6] }} {{ u[9] }} {{ u[-2] }} {{ s['0'] }}| {{ e[0] }}|
{{ s[1:3] }} {{ s[:5] }} {{ s[7:] }} {{ s[-5:] }} {{ s[:-7] }} {{ s[::2] }} {{ s[::-1] }} {{ s[5:1] }}| {{ s[5:1:-1] }} {{ s[:] }} {{ s[100:] }}| {{ s[-100:3] }} {{ s[1:100:3] }} {{ u[3:8] }} {{ u[::-1] }} {{ u[::3] }}
{{ l[1:] }} {{ l[:2] }} {{ l[::-1] }} {{ l[::2] }} {{ l[-2:] }} {{ l[5:] }} {{ (1, 2, 3)[1:] }} {{ l[none:2] }} {{ l[true:] }} {{ range(10)[2:5] }} {{ range(10)[::3] }} {{ range(10)[::-2] | list }} {{ range(10)[3] }} {{ range(10)[-1] }}
{{ l[::0] }}
{{ l['a':] }}
{{ l[1.0:] }}
{{ nil[1:] }}
{{ n[1:] }}
{{ f[::2] }}
{{ d[1:] }}
{{ nope[1:] }}
{{ nope.x }}
{{ nope['x'] }}
{{ nope[0] }}
{{ nope() }}
{{ nope.x.y is defined }}
{{ d.nope.x }}
{{ d.nope.x is defined }}
{{ none.x }}| {{ none.x is defined }} {{ nil.foo is defined }} {{ 5.5.foo is defined }} {{ n.foo is defined }} {{ true.foo is defined }}
{{ none.x.y }}
{{ s.nope.x }}
{{ n.real }} {{ n.imag }} {{ n.numerator }} {{ n.denominator }} {{ f.real }} {{ f.is_integer() }} {{ (2.0).is_integer() }} {{ n.bit_length() }} {{ yes.real }}
{{ d.__class__ }}|{{ d.__class__ is defined }} {{ s.__len__ is defined }} {{ ''.__class__.__mro__ }}
{{ s._private is defined }} {{ d._x is defined }}
{{ d.keys() }} {{ d.values() }} {{ d.items() }} {{ de.items() }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.items() | list }}
{{ d.get('a') }} {{ d.get('zz') }} {{ d.get('zz', 'dflt') }} {{ d.get('a', 9) }} {{ d.get(1) }}
{{ d.get() }}
{{ d.get('a', default=1) }}
{{ d.get([]) }}
{{ d.copy() }} {{ l.copy() }} {{ l.count(1) }} {{ l.index(2) }} {{ (1, 1, 2).count(1) }} {{ (1, 2).index(2) }} {{ ls.index('c') }} {{ dict.fromkeys(['a', 'b'], 0) }} {{ {}.fromkeys('ab') }}
{{ l.index(9) }}
{{ l.append(4) }}
{{ l.pop() }}
{{ l.append is defined }} {{ l.append }}| {{ d.update is defined }} {{ d.pop is defined }}
{{ d.update({'x': 1}) }}
{{ d.pop('a') }}
{{ d.setdefault('x', 1) }}
{{ d.clear() }}
{{ ls.sort() }}
{{ s.foo() }}
{{ n() }}
{{ s() }}
{{ l() }}
{{ d.keys()[0] }}|
{{ d.items()[0] is defined }} {{ (d.keys() | list)[0] }} {{ (d.items() | list)[0][1] }}
{{ l[1, 2] }}|
{{ {(1, 2): 'pair'}[1, 2] }} {{ {(1, 2): 'pair'}[(1, 2)] }} {{ {1: 'one'}[1] }} {{ {1: 'one'}[1.0] }} {{ {1: 'one'}[true] }} {{ {none: 'x'}[none] }} {{ {1: 'one'}['1'] }}|
{{ l[] }}
{{ (1, 2).0 }} {{ [[1, 2], [3]].0.1 }} {{ ['a'].0 }} {{ 'abc'.1 }}
{{ messages[0].role }} {{ messages[0]['role'] }} {{ messages[-1].content }} {{ messages[1:] | length }} {{ messages | map(attribute='role') | list }}
{{ 'x'.y }}| {{ 'x'['upper']() }} {{ d['keys']() | list }} {{ 'abc'['length'] is defined }}
'''

METHODS = r'''
{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.capitalize() }} {{ s.swapcase() }} {{ s.casefold() }} {{ u.upper() }} {{ u.lower() }} {{ u.title() }} {{ 'ÀÉ'.lower() }} {{ 'straße'.upper() }} {{ 'ŉǰΐﬁ'.upper() }} {{ 'ﬁx ßx ŉx'.title() }} {{ 'ΑΣ ΑΣΑ Σ ΑΣ.Β'.lower() }} {{ 'ὈΔΥΣΣΕΎΣ'.capitalize() }} {{ 'İI'.lower() }} {{ 'ᾳ ᾼ ᾀ'.upper() }} {{ 'ᾳ ᾀ'.title() }} {{ 'Straße ﬁ'.casefold() }} {{ 'ǆ ǅ Ǆ'.title() }} {{ 'ǆa'.capitalize() }} {{ 'aBc ǅ'.swapcase() }}
{{ "they're bill's friends".title() }} {{ 'a-b_c 1d'.title() }} {{ 'HELLO wORLD'.capitalize() }} {{ ''.title() }}| {{ 'x'.capitalize() }}
[{{ sp.strip() }}] [{{ sp.lstrip() }}] [{{ sp.rstrip() }}] [{{ 'xxaxx'.strip('x') }}] [{{ 'xyaxy'.strip('yx') }}] [{{ 'abc'.strip('') }}] [{{ ' a '.strip(none) }}] [{{ 'éaé'.strip('é') }}] [{{ 'abca'.lstrip('a') }}] [{{ 'abca'.rstrip('a') }}] [{{ '\u3000\xa0x\u2028'.strip() }}] [{{ '\x1cx\x85'.strip() }}] [{{ '\u200bx'.strip() | length }}]
{{ 'a,b,c'.split(',') }} {{ 'a b  c '.split() }} {{ ' a b  c '.split(none) }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.split(',', maxsplit=1) }} {{ 'a,b,c'.split(sep=',') }} {{ ''.split() }} {{ ''.split(',') }} {{ ' a b c '.split(none, 1) }} {{ 'abc'.split('') if false else 'skip' }} {{ 'a--b--c'.split('--') }} {{ 'a,b'.split(',', 0) }} {{ 'a,b,c'.split(',', -1) }} {{ '\n'.split('\n') }}
{{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b c '.rsplit(none, 1) }} {{ 'a b c'.rsplit() }} {{ 'a,b,c'.rsplit(',') }} {{ 'aXXbXXXc'.rsplit('XX') }} {{ 'aXXXb'.split('XX') }}
{{ 'abc'.split('') }}
{{ 'abc'.split(1) }}
{{ lines.splitlines() }} {{ lines.splitlines(true) }} {{ lines.splitlines(keepends=true) }} {{ ''.splitlines() }} {{ 'a\x0bb\x0cc\x1cd\x85e\u2028f'.splitlines() }} {{ 'a\n'.splitlines() }} {{ '\n\n'.splitlines() }} {{ 'a\r\n\rb'.splitlines() }}
{{ 'abc'.startswith('a') }} {{ 'abc'.startswith('b') }} {{ 'abc'.startswith('') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.startswith('b', 1, 2) }} {{ 'abc'.startswith('bc', 1, 2) }} {{ 'abc'.endswith('c') }} {{ 'abc'.endswith(('x', 'bc')) }} {{ 'abc'.endswith('b', 0, 2) }} {{ 'abc'.startswith('', 4) }} {{ ''.startswith('', 0) }} {{ ''.endswith('', 1) }} {{ 'abc'.startswith('c', -1) }} {{ 'abc'.startswith(()) }}
{{ 'abc'.startswith(['a']) }}
{{ 'abc'.startswith(1) }}
{{ 'abc'.startswith(nope) }}
{{ 'aXbXc'.replace('X', '-') }} {{ 'aXbXc'.replace('X', '-', 1) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ 'aaa'.replace('aa', 'b') }} {{ 'abc'.replace('x', 'y') }} {{ 'abc'.replace('b', '') }} {{ 'aXb'.replace('X', '-', -1) }} {{ 'aXb'.replace('X', '-', 0) }} {{ ''.replace('', 'x') }} {{ 'éaé'.replace('é', 'e') }} {{ 'é😀'.replace('', '.') }}
{{ 'abc'.replace('a') }}
{{ 'abc'.replace('a', 1) }}
{{ 'abc'.replace('a', none) }}
{{ ','.join(['a', 'b']) }} {{ ''.join('abc') }} {{ ', '.join(d) }} {{ '-'.join(('x',)) }} {{ ''.join([]) }}| {{ 'é'.join(['1', '2']) }} {{ ','.join(d.keys()) }} {{ ','.join(ls | map('upper')) }}
{{ ','.join([1, 2]) }}
{{ ','.join(1) }}
{{ ','.join(['a', nope]) }}
{{ 'abcabc'.find('b') }} {{ 'abcabc'.find('b', 2) }} {{ 'abc'.find('x') }} {{ 'abcabc'.rfind('b') }} {{ 'abc'.find('') }} {{ 'abc'.rfind('') }} {{ 'abc'.find('c', 0, 2) }} {{ u.find('世') }} {{ u.rfind('!') }} {{ 'abc'.index('c') }} {{ 'abcb'.rindex('b') }} {{ 'abc'.find('', 3) }} {{ 'abc'.find('', 4) }} {{ 'abc'.find('a', -2) }} {{ 'abc'.find('c', -2) }} {{ 'aé世b'.find('b') }} {{ 'aé世b世'.rfind('世') }} {{ 'aé世b'.find('b', 2, 4) }} {{ 'abc'.find('b', none, none) }}
{{ 'abc'.index('x') }}
{{ 'banana'.count('a') }} {{ 'banana'.count('ana') }} {{ 'banana'.count('') }} {{ 'banana'.count('a', 2) }} {{ 'banana'.count('a', 2, 4) }} {{ 'abc'.count('', 3) }} {{ 'abc'.count('', 4) }} {{ ''.count('') }} {{ 'éé'.count('é') }}
{{ 'abc'.isalpha() }} {{ 'ab1'.isalpha() }} {{ ''.isalpha() }} {{ '123'.isdigit() }} {{ '12a'.isdigit() }} {{ '²'.isdigit() }} {{ '²'.isdecimal() }} {{ '½'.isnumeric() }} {{ '½'.isdigit() }} {{ '١٢'.isdecimal() }} {{ '一'.isnumeric() }} {{ 'a1'.isalnum() }} {{ 'a 1'.isalnum() }} {{ ' \t'.isspace() }} {{ ''.isspace() }} {{ 'abc'.islower() }} {{ 'aBc'.islower() }} {{ 'ABC'.isupper() }} {{ 'A1'.isupper() }} {{ '1'.isupper() }} {{ 'Ab Cd'.istitle() }} {{ 'Ab cd'.istitle() }} {{ 'abc'.isidentifier() }} {{ '1a'.isidentifier() }} {{ 'é_1'.isidentifier() }} {{ 'abc'.isascii() }} {{ 'é'.isascii() }} {{ 'a\n'.isprintable() }} {{ ''.isprintable() }} {{ 'é'.isprintable() }} {{ 'ª'.islower() }} {{ 'Ⓐ'.isupper() }} {{ 'ǅ'.istitle() }} {{ '世界'.isalpha() }} {{ '①'.isdigit() }} {{ '\u3000'.isspace() }}
[{{ 'ab'.center(6) }}] [{{ 'ab'.center(7) }}] [{{ 'abc'.center(6) }}] [{{ 'abc'.center(8, '*') }}] [{{ 'ab'.ljust(5) }}] [{{ 'ab'.rjust(5) }}] [{{ 'ab'.ljust(5, '.') }}] [{{ 'ab'.rjust(5, 'é') }}] [{{ 'ab'.center(1) }}] [{{ '5'.zfill(3) }}] [{{ '-5'.zfill(4) }}] [{{ '+5'.zfill(4) }}] [{{ 'é'.zfill(3) }}] [{{ ''.zfill(2) }}] [{{ 'abc'.zfill(2) }}] [{{ 'ab'.ljust(-5) }}]
{{ 'a'.center(5, 'ab') }}
{{ 'a'.center('5') }}
{{ 'a'.center() }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('=') }} {{ 'abc'.rpartition('=') }} {{ 'é=世'.partition('=') }}
{{ 'abc'.partition('') }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x'.removeprefix('y') }} {{ 'x.txt'.removesuffix('.txt') }} {{ 'x'.removesuffix('') }} {{ 'x'.removesuffix('xx') }}
[{{ 'a\tb'.expandtabs() }}] [{{ 'a\tb'.expandtabs(4) }}] [{{ 'ab\tc\n\td'.expandtabs(tabsize=3) }}] [{{ 'a\tb'.expandtabs(0) }}]
{{ 'x'.upper }}{{ 'skip' if false }}
{{ 'a'.upper(1) }}
{{ 'a'.lower(x=1) }}
{{ 'x'.join() }}
{{ 'x'.nope() }}
{{ s.strip().split(',')[0].lower() }} {{ (s ~ '!').upper() }} {{ ('a' + 'b').upper() }} {{ 'a,b'.split(',') | join('-') }} {{ messages[0].content.split(' ')[0] }}
'''.replace("{{ 'x'.upper }}{{ 'skip' if false }}\n", "")

FORMATS = r'''
{{ '%s' % 'a' }} {{ '%s and %s' % ('a', 'b') }} {{ '%d' % 5 }} {{ '%d' % 5.9 }} {{ '%d' % true }} {{ '%i' % -3 }} {{ '%u' % 3 }} {{ '%s' % 5 }} {{ '%s' % none }} {{ '%s' % [1, 'a'] }} {{ '%r' % 'a' }} {{ '%r' % 'it\'s' }} {{ '%a' % 'é' }} {{ '%%' % () }} {{ '%s%%' % 5 }}
[{{ '%5d' % 42 }}] [{{ '%-5d' % 42 }}] [{{ '%05d' % 42 }}] [{{ '%+d' % 42 }}] [{{ '% d' % 42 }}] [{{ '%+05d' % -42 }}] [{{ '%5s' % 'ab' }}] [{{ '%-5s' % 'ab' }}] [{{ '%.1s' % 'ab' }}] [{{ '%5.1s' % 'éb' }}] [{{ '%05s' % 'ab' }}] [{{ '%*d' % (5, 42) }}] [{{ '%-*d' % (5, 42) }}] [{{ '%.*f' % (2, 1.5) }}] [{{ '%.3d' % 5 }}] [{{ '%8.3d' % 5 }}] [{{ '%*d' % (-5, 42) }}]
{{ '%f' % 1.5 }} {{ '%.2f' % 2.675 }} {{ '%.0f' % 0.5 }} {{ '%.0f' % 1.5 }} {{ '%.0f' % 2.5 }} {{ '%8.3f' % 3.14159 }} {{ '%08.3f' % -3.14159 }} {{ '%e' % 12345.678 }} {{ '%E' % 0.00012 }} {{ '%.3e' % 0 }} {{ '%g' % 100000 }} {{ '%g' % 1000000 }} {{ '%g' % 0.0001 }} {{ '%g' % 0.00001 }} {{ '%.3g' % 1234.5 }} {{ '%G' % 1e-10 }} {{ '%f' % 1e20 }} {{ '%.10f' % 0.1 }} {{ '%.20f' % 0.1 }} {{ '%f' % 3 }} {{ '%.1f' % 0.25 }} {{ '%.1f' % 0.35 }} {{ '%+.1f' % 2.0 }} {{ '%#.0f' % 2.0 }} {{ '%#g' % 2.0 }} {{ '%f' % ('inf' | float) }} {{ '%F' % ('-inf' | float) }} {{ '%05.1f' % ('nan' | float) }}
{{ '%x' % 255 }} {{ '%X' % 255 }} {{ '%#x' % 255 }} {{ '%#X' % 255 }} {{ '%o' % 8 }} {{ '%#o' % 8 }} {{ '%x' % -255 }} {{ '%08x' % 255 }} {{ '%#08x' % 255 }} {{ '%c' % 65 }} {{ '%c' % 'z' }} {{ '%c' % 128512 }} {{ '%5c' % 'a' }}
{{ '%(a)s-%(b)d' % d }} {{ '%(a)s' % {'a': 'x'} }} {{ '%(a b)s' % {'a b': 1} }} {{ '%(a)5.1f|' % {'a': 2} }} {{ 'plain' % {} }} {{ 'plain' % () }} {{ 'plain' % [] }} {{ '%s' % {} }} {{ '%s' % nope }}| {{ 'x' % nope }}
{{ '%s' % (1, 2) }}
{{ '%s %s' % 'a' }}
{{ '%s %s' % ('a',) }}
{{ 'x' % 1 }}
{{ '%d' % 'a' }}
{{ '%d' % none }}
{{ '%x' % 1.5 }}
{{ '%f' % 'a' }}
{{ '%z' % 1 }}
{{ '%' % 1 }}
{{ '%(a)s' % 1 }}
{{ '%(zz)s' % {} }}
{{ '%(a' % {} }}
{{ '%c' % 'ab' }}
{{ '%c' % 1114112 }}
{{ '%*d' % ('a', 1) }}
{{ '%s, %s!' | format('Hello', 'World') }} {{ '%(x)s' | format(x=1) }} {{ '%d%%' | format(50) }} {{ '%s' | format([1]) }} {{ 'x' | format }} {{ '%.2f' | format(1.005) }}
{{ '%s' | format(1, 2) }}
{{ '%s' | format(1, x=2) }}
{{ '{}'.format(1) }} {{ '{} {}'.format('a', 'b') }} {{ '{0} {1} {0}'.format('a', 'b') }} {{ '{x}'.format(x=5) }} {{ '{x.y}'.format(x={'y': 1}) }} {{ '{x[y]}'.format(x={'y': 1}) }} {{ '{0[1]}'.format([1, 2]) }} {{ '{{}}'.format() }} {{ '{{{}}}'.format(1) }} {{ '{!r}'.format('a') }} {{ '{!s}'.format([1]) }} {{ '{0!r:>5}'.format('a') }} {{ '{x!a}'.format(x='b') }} {{ '{0.nope}|'.format(d) }} {{ '{0.a}'.format(d) }} {{ 'é{}世'.format('é') }} {{ '{}'.format(nope) }}|
[{{ '{:5}'.format('ab') }}] [{{ '{:<5}'.format('ab') }}] [{{ '{:>5}'.format('ab') }}] [{{ '{:^5}'.format('ab') }}] [{{ '{:*^6}'.format('ab') }}] [{{ '{:é>4}'.format('ab') }}] [{{ '{:.1}'.format('ab') }}] [{{ '{:5.1}'.format('ab') }}] [{{ '{:05}'.format('ab') }}] [{{ '{:s}'.format('ab') }}] [{{ '{:{}}'.format('ab', 5) }}] [{{ '{:{w}.{p}}'.format('abc', w=6, p=2) }}]
[{{ '{:5}'.format(42) }}] [{{ '{:<5}'.format(42) }}] [{{ '{:^5}'.format(42) }}] [{{ '{:05}'.format(42) }}] [{{ '{:+}'.format(42) }}] [{{ '{: }'.format(42) }}] [{{ '{:+05}'.format(-42) }}] [{{ '{:,}'.format(1234567) }}] [{{ '{:_}'.format(1234567) }}] [{{ '{:010,}'.format(1234) }}] [{{ '{:b}'.format(5) }}] [{{ '{:#b}'.format(5) }}] [{{ '{:x}'.format(255) }}] [{{ '{:#X}'.format(255) }}] [{{ '{:o}'.format(8) }}] [{{ '{:_b}'.format(1023) }}] [{{ '{:#010x}'.format(255) }}] [{{ '{:c}'.format(65) }}] [{{ '{:d}'.format(true) }}] [{{ '{}'.format(true) }}] [{{ '{:5}'.format(true) }}] [{{ '{:n}'.format(5) }}] [{{ '{:=+6}'.format(5) }}] [{{ '{:,}'.format(-1234567) }}] [{{ '{:,}'.format(12) }}]
[{{ '{:.2f}'.format(2.675) }}] [{{ '{:8.2f}'.format(1.5) }}] [{{ '{:e}'.format(12345.678) }}] [{{ '{:g}'.format(1e6) }}] [{{ '{:%}'.format(0.256) }}] [{{ '{:.1%}'.format(0.256) }}] [{{ '{}'.format(1.0) }}] [{{ '{:5}'.format(1.0) }}] [{{ '{:.3}'.format(3.14159) }}] [{{ '{:.3}'.format(1000.0) }}] [{{ '{:.1}'.format(3.0) }}] [{{ '{:.5}'.format(1e10) }}] [{{ '{:,.2f}'.format(1234567.891) }}] [{{ '{:.0f}'.format(0.5) }}] [{{ '{:G}'.format(1e-10) }}] [{{ '{:+.1f}'.format(2) }}] [{{ '{:.2f}'.format(3) }}] [{{ '{:.0e}'.format(15000.0) }}] [{{ '{:#.0f}'.format(3.0) }}] [{{ '{:f}'.format(inf | float) }}] [{{ '{:F}'.format(nan | float) }}] [{{ '{:08.2f}'.format(-1.5) }}] [{{ '{:015,.2f}'.format(1234.5) }}] [{{ '{:.15g}'.format(0.1) }}] [{{ '{:.17g}'.format(0.1) }}]
{{ '{}'.format() }}
{{ '{0}'.format() }}
{{ '{x}'.format() }}
{{ '{} {0}'.format(1) }}
{{ '{0} {}'.format(1) }}
{{ '{'.format() }}
{{ '}'.format() }}
{{ '{a'.format(a=1) }}
{{ '{:d}'.format('a') }}
{{ '{:d}'.format(1.5) }}
{{ '{:s}'.format(1) }}
{{ '{:.2}'.format(5) }}
{{ '{:5}'.format(none) }}
{{ '{:5}'.format([1]) }}
{{ '{!z}'.format(1) }}
{{ '{:+}'.format('a') }}
{{ '{:,}'.format('a') }}
{{ '{:zz}'.format(1) }}
{{ '{a}-{b}'.format_map({'a': 1, 'b': 2}) }} {{ '{a}-{b}'.format(**{'a': 1, 'b': 2}) }} {{ '{}-{}'.format(*[1, 2]) }}
'''

STATEMENTS = [
    "{% if yes %}a{% endif %}b",
    "{% if no %}a{% else %}b{% endif %}",
    "{% if no %}a{% elif yes %}b{% else %}c{% endif %}",
    "{% if no %}a{% elif z %}b{% elif 1 %}d{% else %}c{% endif %}",
    "{% if nope %}a{% endif %}x",
    "{% if 1, 0 %}tuple{% endif %}",
    "{% if yes: %}colon{% endif %}",
    "{% for x in l %}{{ x }},{% endfor %}",
    "{% for x in le %}{{ x }}{% else %}empty{% endfor %}",
    "{% for x in nope %}{{ x }}{% else %}undef{% endfor %}",
    "{% for x in s %}{{ x }}.{% endfor %}",
    "{% for x in u %}{{ x }}.{% endfor %}",
    "{% for x in d %}{{ x }}={{ d[x] }};{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}",
    "{% for (k, v) in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3)), (4, (5, 6))] %}{{ a }}{{ b }}{{ c }};{% endfor %}",
    "{% for a, b in ['xy', 'zw'] %}{{ a }}-{{ b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{{ a }}{% endfor %}",
    "{% for a, b in [1] %}{{ a }}{% endfor %}",
    "{% for x in 5 %}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }},{% endfor %}",
    "{% for x in l if x > 5 %}{{ x }},{% else %}none{% endfor %}",
    "{% for x in l if loop.index > 1 %}{{ x }}{% endfor %}",
    "{% for u in users if u.active %}{{ loop.index }}/{{ loop.length }} {{ u.name }}{% endfor %}",
    "{% for k, v in d.items() if v > 1 %}{{ loop.index0 }}{{ k }}{{ loop.last }} {% endfor %}",
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in l %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }} {% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in [1, 1, 2] %}{% if loop.changed(x, 'a') %}{{ x }}{% endif %}{% endfor %}",
    "{% for x in range(5) %}{{ loop.cycle('a', 'b', 'c') }}{% endfor %}",
    "{% for x in l %}{{ loop.cycle() }}{% endfor %}",
    "{% for x in l %}{{ loop.nope }}|{{ loop.nope is defined }}{% endfor %}",
    "{% for x in l %}{{ loop }} {% endfor %}",
    "{% for x in l|map('string') %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
    "{% for x in l|select('odd') %}{{ loop.last }}{{ x }}{{ loop.revindex }} {% endfor %}",
    "{% for x in l|reject('odd') %}{{ loop.nextitem }}{{ loop.length }}{{ x }}{% endfor %}",
    "{% for x in l %}{% for y in 'ab' %}{{ loop.index }}{{ x }}{{ y }} {% endfor %}{{ loop.index }}|{% endfor %}",
    "{% for x in l %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in l %}{% if x == 2 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in l %}{% break %}{% else %}else{% endfor %}",
    "{% for x in l %}{% continue %}{% else %}else{% endfor %}",
    "{% for x in l %}{% if x == 3 %}{% continue %}{% endif %}{% else %}else{% endfor %}",
    "{% for x in l %}{% for y in l %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}",
    "{% for x in l %}{% for y in [] %}{% else %}{% break %}{% endfor %}{{ x }}{% endfor %}end",
    "{% break %}",
    "{% if yes %}{% continue %}{% endif %}",
    "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in l %}{% set y %}a{% if x == 2 %}{% break %}{% endif %}{% endset %}{{ y }}{{ x }}{% endfor %}",
    "{% for item in tree recursive %}{{ item.v }}{% if item.c %}({{ loop(item.c) }}){% endif %}{% endfor %}",
    "{% for item in tree recursive %}{{ loop.depth }}{{ loop.depth0 }}:{{ item.v }} {{ loop(item.c) }}{% else %}-{% endfor %}",
    "{% for item in tree recursive %}{% set w = item.v * 2 %}{{ w }}[{{ loop(item.c) }}]{{ w }}{{ loop.index }} {% endfor %}",
    "{% for item in tree if item.v != 3 recursive %}{{ item.v }}({{ loop(item.c) }}){% endfor %}",
    "{% for x in l %}{{ loop([1]) }}{% endfor %}",
    "{% set o = 'out' %}{% for item in tree recursive %}{{ o }}{{ n }}{{ item.v }}({{ loop(item.c) }}){% endfor %}",
    "{% set o = 2 %}{% for item in tree if item.v != o recursive %}{{ o }}{{ item.v }}({{ loop(item.c) }}){% endfor %}",
    "{% for q in l %}{% for item in tree recursive %}{{ q }}{% set w = q %}{{ loop(item.c) }}{{ w }}{% endfor %}|{% endfor %}",
    "{% macro m(o) %}{% for item in tree recursive %}{{ o }}{{ item.v }}{% macro k() %}{{ item.v }}{{ o }}{% endmacro %}{{ k() }}{{ loop(item.c) }}{% endfor %}{% endmacro %}{{ m('z') }}",
    "{% for item in tree recursive %}{% for y in [1] recursive %}{{ item.v }}{{ y }}{{ n }}{% endfor %}{{ loop(item.c) }}{% endfor %}",
    "{% for item in tree recursive %}{{ item.v }}{% set r = loop %}{% for y in [1] %}{{ r(item.c) }}{{ n }}{% endfor %}{% endfor %}",
    "{% for x in l %}{{ x }}{% endfor %}{{ x is defined }}",
    "{% set x = 'outer' %}{% for x in l %}{{ x }}{% endfor %}{{ x }}",
    "{% set x = 0 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}",
    "{% set x = 0 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}",
    "{% for i in l %}{% if i == 2 %}{% set y = 'two' %}{% endif %}{{ y }}|{% endfor %}{{ y is defined }}",
    "{% for i in l %}{% if i > 1 %}{{ n }}{% set n = i %}{% endif %}{{ n }}|{% endfor %}{{ n }}",
    "{% set ns = namespace(x=0) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}",
    "{% set ns = namespace() %}{% set ns.a = 1 %}{% set ns.b = 'x' %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|{{ ns.c is defined }}{{ ns['a'] }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }} {{ ns }}",
    "{% set ns = namespace([('a', 1)]) %}{{ ns.a }}",
    "{% set ns = namespace(_x=1) %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace(x=1) %}{% set ns.x, y = 5, 6 %}{{ ns.x }}{{ y }}",
    "{% set d.x = 1 %}",
    "{% set nope.x = 1 %}",
    "{% set ns = namespace(a=1) %}{% set ns2 = ns %}{% set ns2.a = 5 %}{{ ns.a }}",
    "{% set ns = namespace(a=1) %}{{ ns == ns }}{{ ns == namespace(a=1) }}{{ ns is mapping }}{{ ns is iterable }}{{ ns is callable }}{{ ns is defined }}{{ 1 if ns else 0 }}",
    "{% set ns = namespace(items=1, get=2) %}{{ ns.items }}{{ ns.get }}",
    "{% for k in namespace(a=1) %}{% endfor %}",
    "{{ 'a' in namespace(a=1) }}",
    "{{ namespace(a=1) | length }}",
    "{{ namespace(a=1).b.c }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = b, a %}{{ a is defined }}",
    "{% set (a, b), c = (1, 2), 3 %}{{ a }}{{ b }}{{ c }}",
    "{% set a, b = 'xy' %}{{ a }}{{ b }}",
    "{% set a, b = 1 %}",
    "{% set a, b = (1, 2, 3) %}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set a = 1 if yes else 2 %}{{ a }}",
    "{% set a = b = 1 %}",
    "{% set 1 = 2 %}",
    "{% set none = 2 %}",
    "{% set true = 2 %}",
    "{% set [a, b] = [1, 2] %}",
    "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% if yes %}{% set x = 2 %}{% endif %}{{ x }}",
    "{% if no %}{% set n = 2 %}{% endif %}{{ n }}",
    "{% if no %}{% set q = 2 %}{% endif %}{{ q is defined }}",
    "{% set n = n + 1 %}{{ n }}",
    "{% set x %}block {{ n }}{% endset %}[{{ x }}]",
    "{% set x | upper %}block {{ n }}{% endset %}[{{ x }}]",
    "{% set x | trim | length %}  abc  {% endset %}[{{ x + 1 }}]",
    "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y is defined }}",
    "{% set x %}{% for i in l %}{{ i }}{% endfor %}{% endset %}{{ x ~ x }}",
    "{% set ns = namespace() %}{% set ns.x %}b{% endset %}{{ ns.x }}",
    "{% set x %}{% endset %}[{{ x }}]{{ x is defined }}{{ x is string }}",
    "{% filter upper %}a{{ s }}b{% endfilter %}",
    "{% filter replace('a', 'b') | trim %} banana {% endfilter %}!",
    "{% filter length %}abc{% endfilter %}",
    "{% filter indent(2) %}a\nb\n\nc{% endfilter %}",
    "{% filter upper %}{% set y = 'q' %}{{ y }}{% endfilter %}{{ y is defined }}",
    "{% macro m() %}hi{% endmacro %}{{ m() }}{{ m() }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(1, b=4) }} {{ m(a=5) }} {{ m(b=6, a=7) }}",
    "{% macro m(a) %}[{{ a }}]{{ a is defined }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}",
    "{% macro m(a=b, b=2) %}{{ a }}|{{ b }}{% endmacro %}{{ m() }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(a, a) %}{% endmacro %}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
    "{% macro m(a) %}{{ a }}{{ varargs|join(',') }}{% for k, v in kwargs.items() %}{{ k }}{{ v }}{% endfor %}{% endmacro %}{{ m(1, 2, 3, z=4) }}",
    "{% macro m(varargs) %}{{ varargs }}{% endmacro %}{{ m(5) }}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body {{ n }}{% endcall %}",
    "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(a, b='d') m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m(x) %}<{{ x }}>{{ caller() }}</{{ x }}>{% endmacro %}{% call m('b') %}in{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{% if caller %}yes{% else %}no{% endif %}{% endmacro %}{{ m() }}{% call m() %}{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m(caller) %}{{ caller() }}{% endmacro %}",
    "{% macro m(caller=none) %}{{ caller() if caller else 'none' }}{% endmacro %}{{ m() }}{% call m() %}c{% endcall %}",
    "{% call range(3) %}{% endcall %}",
    "{% call 5 %}{% endcall %}",
    "{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}",
    "{% macro f(k) %}{% if k > 0 %}{{ k }},{{ f(k - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}",
    "{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% set n = 9 %}{{ m() }}",
    "{% macro m() %}{{ n }}{% endmacro %}{% if yes %}{% set n = 9 %}{% endif %}{{ m() }}",
    "{% macro m() %}{{ n }}{% endmacro %}{{ m() }}{% if yes %}{% set n = 9 %}{% endif %}{{ m() }}",
    "{% macro m() %}{% set n = 3 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% macro m() %}{{ n }}{% set n = 3 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}{{ m is defined }}",
    "{% set i = 'o' %}{% macro m() %}{{ i }}{% endmacro %}{% for i in l %}{{ m() }}{% endfor %}",
    "{{ m() }}{% macro m() %}{% endmacro %}",
    "{% macro m(a, b) %}{% endmacro %}{{ m.name }} {{ m.arguments }} {{ m.caller }} {{ m.catch_kwargs }} {{ m.catch_varargs }} {{ m }}",
    "{% macro m() %}  x  {% endmacro %}[{{ m() | trim }}]{{ m() | length }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'x': 2}) }}",
    "{% macro m(x, y) %}{{ x }}{{ y }}{% endmacro %}{{ m(1, *[2]) }}{{ m(x=1, **{'y': 2}) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(x=1, **{'x': 2}) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(x=1, x=2) }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(*5) }}",
    "{% with %}{% set a = 1 %}{{ a }}{% endwith %}{{ a is defined }}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}",
    "{% print 1 %}{% print 'a', 2 %}",
    "{% generation %}gen {{ n }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "{%- generation -%}  x  {%- endgeneration -%}  y",
    "{% raw %}{{ not }} {% if %} {# x #}{% endraw %}",
    "{%- raw -%}  a  {%- endraw -%}  b",
    "{% raw %}\n  a\n{% endraw %}\nb",
    "a {# comment #} b",
    "a {#- comment -#} b",
    "{# multi\nline #}\nx",
    "{# {{ x }} {% if %} #}y",
    "{##}z",
    "{#-#}z",
    "a {# unclosed",
    "{% include 'x' %}",
    "{% extends 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% foo %}",
    "{% endif %}",
    "{% if yes %}",
    "{% for x in l %}",
    "{% if %}a{% endif %}",
    "{% for x l %}{% endfor %}",
    "{% for in l %}{% endfor %}",
    "{% if yes %}a{% endfor %}",
    "{% else %}",
    "{{ }}",
    "{{",
    "{%",
    "{% %}",
    "{{ x",
    "{{ (1 }}",
    "{{ 1) }}",
    "{{ [1 }}",
    "{{ {'a' 1} }}",
    "{{ {'a': 1 }}",
    "{{ 1 + }}",
    "{{ a b }}",
    "{{ a.  }}",
    "{{ a..b }}",
    "{{ a | }}",
    "{{ a | nofilter }}",
    "{{ a is notest }}",
    "{% if no %}{{ a | nofilter }}{% endif %}ok",
    "{% if yes %}{{ a | nofilter }}{% endif %}ok",
    "{{ (a | nofilter) if no else 'ok' }}",
    "{% if no %}{% for x in l %}{{ a | nofilter }}{% endfor %}{% endif %}ok",
    "{% if no %}{{ a is notest }}{% endif %}ok",
    "{{ 'trim' is filter }}{{ 'nofilter' is filter }}{{ 'odd' is test }}{{ 'nope' is test }}",
    "{{ f(a=1, 2) }}",
    "{{ f(**a, b) }}",
    "{{ range(3)(1) }}",
    "{{ 1 is defined is defined }}",
    "{% for loop in l %}{% endfor %}",
    "{% for x in l %}{% set loop = 1 %}{% endfor %}",
    "{% set loop = 1 %}{{ loop }}",
    "{{ loop is defined }}",
    "{{ and }}{{ or }}|{{ in is defined }}",
    "{{ if }}",
    "{{ not }}",
    "{% set if = 5 %}{{ if }}",
    "}} %} #} text",
    "{ { { a } } }",
    "{{ '}}' }}{{ '%}' }}{{ \"{{\" }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{{'a': 1}}}",
    "{% set x = {'a': {'b': 2}} %}{{ x.a.b }}",
    "{{ raise_exception('boom') }}",
    "{{ raise_exception() }}",
    "{% if no %}{{ raise_exception('boom') }}{% endif %}fine",
    "{{ raise_exception is defined }}{{ strftime_now is defined }}{{ namespace is defined }}{{ range is defined }}{{ dict is defined }}{{ cycler is defined }}{{ joiner is defined }}{{ now is defined }}{{ zip is defined }}{{ enumerate is defined }}",
    "{{ strftime_now('%Y-%m-%d') }}|{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %d, %Y %H:%M:%S %p %I %j %y %a') }}|{{ strftime_now('%%') }}|{{ strftime_now('') }}|{{ strftime_now('%F %T %D %e %U %W %w %u %V %G %C %h %R %r %n%t') }}|{{ strftime_now('%c|%x|%X') }}|{{ strftime_now('%-d %-m %-H') }}|{{ strftime_now('%f %z %Z') }}",
    "{{ strftime_now(5) }}",
    "{{ range(3) }} {{ range(1, 4) | list }} {{ range(10, 0, -3) | list }} {{ range(0) | list }} {{ range(3) | length }} {{ range(1, 10, 2) }} {{ range(5, 1) | list }} {{ range(3) == range(0, 3) }} {{ range(true) | list }}",
    "{{ range(3).start }}{{ range(3).stop }}{{ range(3).step }} {{ range(0, 9, 3).count(3) }} {{ range(5).index(3) }}",
    "{{ range(1.5) }}",
    "{{ range() }}",
    "{{ range('a') }}",
    "{{ range(1, 2, 0) }}",
    "{{ range(100001) }}",
    "{{ range(100000) | length }}",
    "{{ range(1, 2, 3, 4) }}",
    "{{ dict(a=1, b=2) }} {{ dict({'x': 1}) }} {{ dict([('a', 1), ['b', 2]]) }} {{ dict({'x': 1}, x=2, y=3) }} {{ dict() }} {{ dict(**{'a': 1}) }}",
    "{{ dict(1) }}",
    "{{ dict([1]) }}",
    "{{ dict([(1, 2, 3)]) }}",
    "{{ dict(nope) }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}{{ c.pos }}",
    "{{ cycler() }}",
    "{% set j = joiner() %}{{ j() }}a{{ j() }}b{{ j() }}",
    "{% set j = joiner('; ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{% autoescape true %}{{ html }}{% endautoescape %}" if False else "{{ html }}",
]

WHITESPACE = [
    "a\n{% if yes %}\nb\n{% endif %}\nc",
    "a\n  {% if yes %}\n  b\n  {% endif %}\n  c",
    "a\n  {%+ if yes %}\n  b\n  {%+ endif %}\n  c",
    "a\n  {% if yes +%}\n  b\n  {% endif +%}\n  c",
    "a\n  {%- if yes -%}\n  b\n  {%- endif -%}\n  c",
    "a  {%- if yes %}  b  {% endif -%}  c",
    "a {% if yes %} b {% endif %} c",
    "  {{ n }}  ",
    "  {{- n -}}  x",
    "a\n\n{{- n -}}\n\nb",
    "a\n  {{ n }}\nb",
    "a\n{{ n }}\n\nb",
    "{{ n }}\n",
    "{{ n }}\n\n",
    "text\n",
    "text\n\n",
    "\n",
    "\n\n",
    "",
    "   ",
    "\n{% set x = 1 %}\n{{ x }}\n",
    "{% set x = 1 %}\n\n{{ x }}",
    "{% set x = 1 -%}\n\n  {{ x }}",
    "{% set x = 1 %}  \n{{ x }}",
    "x {% set x = 1 %}\n{{ x }}",
    "  {% set x = 1 %}  {% set y = 2 %}\n{{ x }}",
    "  {# c #}\nx",
    "  {# c #}  \nx",
    "a {# c #}\nx",
    "a\n  {#+ c +#}\nx",
    "a\n\t {% if yes %}\n\tb\n\t{% endif %}\n",
    "a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "a\rb\r{{ n }}\r",
    "{% for x in l %}\n{{ x }}\n{% endfor %}\n",
    "{% for x in l -%}\n{{ x }}\n{%- endfor %}\n",
    "{%- for x in l %}\n  {{ x }}\n{%- endfor %}\n",
    "{% for x in l %}\n    {%- if x %}\n        {{- x }}\n    {%- endif %}\n{% endfor %}",
    "<div>\n    {% if yes %}\n        yes\n    {% endif %}\n</div>",
    "<div>\n    {% if yes %}yes{% endif %}\n</div>",
    "{{ 'a' }}\n{{ 'b' }}",
    "{{ 'a' -}}\n{{ 'b' }}",
    "{{ 'a' }}\n{{- 'b' }}",
    "a\n  {% raw %}\n  b\n  {% endraw %}\n  c",
    "a\n  {%- raw %}\n  b\n  {% endraw -%}\n  c",
    "a {%+ raw %} b {% endraw +%} c",
    "{%if yes%}a{%endif%}",
    "{{n}}{{-n}}{{n-}} {{n}}",
    "{{-1}}{{ -1 }}",
    "{% if yes\n%}multi{%\nendif %}",
    "{{\n  n\n  +\n  1\n}}",
    "{%\tif\tyes\t%}t{%\tendif\t%}",
    "\u3000{%- if yes %}x{% endif %}",
    "a\u2003\n {% if yes %}\u2003x{% endif %}",
    "a\u3000{%- if yes -%}\u3000x{% endif %}",
    "  {% macro m() %}\n  x\n  {% endmacro %}\n  {{ m() }}",
    "{{ s }}{% if yes %} {% endif %}{{ s }}",
    "line1\n{% if yes %}\n\nline2\n\n{% endif %}\nline3",
    "  {{ n }}{% if yes %}\n  x{% endif %}",
    "{{ n }}   {% if yes %}\n  x{% endif %}",
]

FILTERS = r'''
{{ nope | default('x') }} {{ nope | default }}| {{ nil | default('x') }} {{ e | default('x') }}| {{ e | default('x', true) }} {{ nil | default('x', boolean=true) }} {{ n | default(1) }} {{ d.zz | d('y') }} {{ z | d(3, true) }} {{ nope | default(default_value=4) }} {{ false | default('f', true) }}
{{ s | length }} {{ u | length }} {{ l | count }} {{ d | length }} {{ nope | length }} {{ e | length }} {{ range(4) | length }} {{ d.items() | length }} {{ (1, 2) | length }}
{{ 5 | length }}
{{ none | length }}
{{ l | map('upper') | length }}
{{ l | join }} {{ l | join(',') }} {{ ls | join(', ') }} {{ l | join(1) }} {{ users | join(',', attribute='name') }} {{ users | join(',', 'age') }} {{ d | join('-') }} {{ s | join('.') }} {{ le | join(',') }}| {{ nope | join }}| {{ mixed | join('|') }} {{ [none, nope, 1] | join(',') }} {{ l | join(d='/') }} {{ nested.x.y | join(' ', attribute='z') }}|
{{ 5 | join }}
[{{ sp | trim }}] [{{ 'xxaxx' | trim('x') }}] [{{ 5 | trim }}] [{{ nope | trim }}] [{{ none | trim }}] [{{ ' a ' | trim(chars=' ') }}] [{{ ' a ' | trim(none) }}]
{{ s | upper }} {{ s | lower }} {{ 5 | upper }} {{ none | upper }} {{ nope | upper }}| {{ true | lower }} {{ [1, 'a'] | upper }} {{ 'straße' | upper }}
{{ s | capitalize }} {{ 'hELLO wORLD' | capitalize }} {{ 'hello wORLD foo-bar (baz) [x] {y} <z> a\'b "q' | title }} {{ 'éa ßx ﬁy' | title }} {{ '' | title }}| {{ 5 | title }} {{ 'ΑΣ ΣΑΣ' | title }} {{ 'a  b\nc' | title }}
{{ 'aXbX' | replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ 'aXbX' | replace('X', '-', count=1) }} {{ 515 | replace(5, 6) }} {{ 'abc' | replace('', '-') }} {{ 'a' | replace('a', none) }} {{ nope | replace('a', 'b') }}| {{ 'aa' | replace('a', 'b', none) }}
{{ 'a' | replace('a') }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ s | last }} {{ le | first }}| {{ le | last }}| {{ e | first }}| {{ d | first }} {{ d | last }} {{ range(5) | last }} {{ d.items() | first }} {{ d.values() | last }} {{ l | map('string') | first }} {{ nope | first }}| {{ nope | last }}| {{ le | first is defined }} {{ u | last }} {{ u | first }}
{{ l | map('string') | last }}
{{ 5 | first }}
{{ 'abc' | list }} {{ d | list }} {{ (1, 2) | list }} {{ nope | list }} {{ range(3) | list }} {{ d.items() | list }} {{ l | reverse | list }} {{ u | list }}
{{ 5 | list }}
{{ 5 | string }} {{ 5.0 | string }} {{ none | string }} {{ [1, 'a'] | string }} {{ nope | string }}| {{ 5 | string is string }} {{ true | string | length }} {{ mixed | string }}
{{ '42' | int }} {{ '42.7' | int }} {{ 'abc' | int }} {{ 'abc' | int(9) }} {{ 42.9 | int }} {{ -42.9 | int }} {{ '0x1F' | int(base=16) }} {{ '1F' | int(0, 16) }} {{ '0b11' | int(0, 2) }} {{ true | int }} {{ none | int }} {{ [] | int(5) }} {{ ' 12 ' | int }} {{ '1_000' | int }} {{ '' | int }} {{ '-5' | int }} {{ '+5' | int }} {{ '1e3' | int }} {{ 'inf' | int(3) }} {{ 'nan' | int }} {{ '0o17' | int(0, 8) }} {{ '0x10' | int(0, 0) }} {{ '012' | int }} {{ '1__0' | int(7) }} {{ '٣' | int if false else 3 }} {{ 'nan' | float | int(4) }}
{{ nope | int }}
{{ 'inf' | float | int }}
{{ '3.14' | float }} {{ '3' | float }} {{ 'abc' | float }} {{ 'abc' | float(1.5) }} {{ 3 | float }} {{ true | float }} {{ none | float }} {{ '1e-5' | float }} {{ 'inf' | float }} {{ '-inf' | float }} {{ 'nan' | float }} {{ ' 2.5 ' | float }} {{ '1_0.5' | float }} {{ '.5' | float }} {{ '5.' | float }} {{ '1e400' | float }} {{ '1e-400' | float }} {{ 'infinity' | float }} {{ '0x10' | float }} {{ '+1.5' | float }} {{ '--1' | float }} {{ '1e' | float(2) }}
{{ nope | float }}
{{ 42.55 | round }} {{ 42.55 | round(1) }} {{ 42.55 | round(1, 'floor') }} {{ 42.55 | round(1, 'ceil') }} {{ 42 | round }} {{ 2.5 | round }} {{ 3.5 | round }} {{ -2.5 | round }} {{ 2.675 | round(2) }} {{ 1234.5 | round(-2) }} {{ 1250 | round(-2) }} {{ 1350 | round(-2) }} {{ 42 | round(1) }} {{ 42.4 | round(0, 'ceil') }} {{ 42.6 | round(method='floor') }} {{ 5 | round(0, 'ceil') }} {{ 5.5 | round | int }} {{ 0.5 | round }} {{ 1.5 | round }} {{ true | round }} {{ 1e20 | round(2) }} {{ 0.1 | round(3) }} {{ 1.005 | round(2) }} {{ 55 | round(-1) }} {{ -55 | round(-1) }} {{ 2.5 | round(none) }} {{ 123.456 | round(-1, 'floor') }} {{ 5e-324 | round(5) }} {{ 1e308 | round(-308) }} {{ 149.9 | round(-2) }} {{ 0.15 | round(1) }} {{ 0.25 | round(1) }} {{ 0.35 | round(1) }}
{{ 'a' | round }}
{{ 1.5 | round(1, 'nope') }}
{{ nope | round }}
{{ -5 | abs }} {{ -5.5 | abs }} {{ neg | abs }} {{ true | abs }} {{ -0.0 | abs }}
{{ 'a' | abs }}
{{ nope | abs }}
{{ ls | sort }} {{ ls | sort(true) }} {{ ls | sort(case_sensitive=true) }} {{ ls | sort(reverse=true, case_sensitive=true) }} {{ [3, 1, 2] | sort }} {{ users | sort(attribute='age') | map(attribute='name') | list }} {{ users | sort(attribute='age,name') | map(attribute='name') | list }} {{ users | sort(attribute='age', reverse=true) | map(attribute='name') | list }} {{ 'hello' | sort | join }} {{ d | sort }} {{ [1.5, 1, true] | sort }} {{ [(2, 'a'), (1, 'b')] | sort }} {{ [[2], [1, 5], [1]] | sort }} {{ [none, none] | sort }} {{ le | sort }} {{ nope | sort }} {{ [{'a': {'b': 2}}, {'a': {'b': 1}}] | sort(attribute='a.b') }} {{ [[1, 'z'], [2, 'a']] | sort(attribute=1) }} {{ [[1, 'z'], [2, 'a']] | sort(attribute='1') }}
{{ [1, 'a'] | sort }}
{{ [1, none] | sort }}
{{ users | sort }}
{{ [{}, {}] | sort }}
{{ 5 | sort }}
{{ d | dictsort }} {{ d | dictsort(true) }} {{ d | dictsort(false, 'value') }} {{ d | dictsort(by='value', reverse=true) }} {{ de | dictsort }} {{ d | dictsort(reverse=true) }} {{ {'b': 'Z', 'a': 'y'} | dictsort(by='value') }}
{{ d | dictsort(by='x') }}
{{ l | dictsort }}
{{ nope | dictsort }}
{{ {1: 2, 'a': 3} | dictsort }}
{{ l | reverse | list }} {{ s | reverse }} {{ u | reverse }} {{ range(3) | reverse | list }} {{ d | reverse | list }} {{ d.items() | reverse | list }} {{ l | map('string') | reverse }} {{ (1, 2) | reverse | list }} {{ nope | reverse | list }}
{{ 5 | reverse }}
{{ none | reverse }}
{{ ['a', 'A', 'b', 'a'] | unique | list }} {{ ['a', 'A', 'b', 'a'] | unique(true) | list }} {{ [1, 1.0, true, 2] | unique | list }} {{ users | unique(attribute='age') | map(attribute='name') | list }} {{ users | unique(attribute='city') | map(attribute='name') | list }} {{ nope | unique | list }} {{ [[1], [1]] | unique is defined }}
{{ [[1], [1]] | unique | list }}
{{ ls | map('upper') | list }} {{ users | map(attribute='name') | join(',') }} {{ users | map(attribute='nope', default='-') | list }} {{ [1.5, 2.5] | map('int') | list }} {{ ['a b', 'c'] | map('replace', ' ', '_') | list }} {{ [[1, 2], [3]] | map('length') | list }} {{ [[1, 2], [3]] | map('first') | list }} {{ [[1, 2], [3]] | map(attribute=0) | list }} {{ users | map(attribute='active', default=false) | list }} {{ nope | map('upper') | list }} {{ le | map('nofilter') | list }} {{ l | map('nofilter') is defined }} {{ [{'a': {'b': 1}}] | map(attribute='a.b') | list }} {{ ls | map('default', 'x') | list }} {{ [[3, 1], [2]] | map('sort', reverse=true) | list }} {{ 'ab' | map('upper') | list }} {{ [1, 2] | map('string') | map('center', 3) | list }} {{ [-1, 2] | map('abs') | sum }}
{{ users | map(attribute='nope') | list }}|
{{ l | map('nofilter') | list }}
{{ l | map | list }}
{{ l | map(attribute='x', foo=1) | list }}
{{ 5 | map('upper') | list }}
{{ users | map(attribute='nope.x') | list }}
{{ range(6) | select('odd') | list }} {{ range(6) | select('divisibleby', 3) | list }} {{ range(6) | reject('even') | list }} {{ mixed | select('string') | list }} {{ mixed | select('number') | list }} {{ [0, 1, '', 'a', none] | select | list }} {{ [0, 1, '', 'a', none] | reject | list }} {{ range(6) | select('gt', 3) | list }} {{ range(6) | select('in', [1, 5]) | list }} {{ ls | select('eq', 'a') | list }} {{ ls | select('==', 'a') | list }} {{ nope | select('odd') | list }} {{ range(6) | select('lessthan', 2) | list }} {{ ['a', none] | select('none') | list }} {{ [1, 2] | select('sameas', 1) | list }}
{{ users | selectattr('active') | map(attribute='name') | list }} {{ users | rejectattr('active') | map(attribute='name') | list }} {{ users | selectattr('age', 'gt', 26) | map(attribute='name') | list }} {{ users | selectattr('age', 'equalto', 25) | map(attribute='name') | list }} {{ users | selectattr('active', 'defined') | map(attribute='name') | list }} {{ users | rejectattr('active', 'undefined') | map(attribute='name') | list }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | selectattr('role', '==', 'user') | map(attribute='content') | join('|') }} {{ messages | selectattr('role', 'in', ['system', 'assistant']) | map(attribute='role') | list }} {{ messages | rejectattr('role', 'eq', 'user') | first }}
{{ l | select('notest') | list }}
{{ l | select('notest') is defined }} {{ le | select('notest') | list }}
{{ l | selectattr | list }}
{{ l | selectattr('x', 'notest') | list }}
{{ l | select(5) | list }}
{{ ls | select('upper') | list }} {{ ls | select('lower') | list }}
{% set g = l | map('string') %}{{ g | list }}{{ g | list }}
{% set g = l | select('odd') %}{{ 1 if g else 0 }}{% for x in g %}{{ x }}{% endfor %}{% for x in g %}{{ x }}{% endfor %}{{ g | first }}|
{% set g = l | select('odd') %}{{ g[0] }}|{{ g is iterable }}{{ g is sequence }}{{ g is mapping }}{{ g is string }}
{{ (l | select('odd') | list)[0] }} {{ l | select('odd') | first }} {{ 1 in (l | map('int')) }} {{ 9 in (l | map('int')) }}
{{ users | groupby('city') | map('first') | list }} {% for c, us in users | groupby('city') %}{{ c }}:{{ us | map(attribute='name') | join(',') }};{% endfor %} {% for g in users | groupby('age') %}{{ g.grouper }}={{ g.list | length }};{% endfor %} {{ users | groupby('active', default=false) | length }} {{ users | groupby('city', case_sensitive=true) | map(attribute='grouper') | list }} {{ users | groupby(attribute='name') | length }} {{ [[1, 'a'], [2, 'b'], [1, 'c']] | groupby(0) }}
{{ users | groupby('active') }}
{{ users | groupby }}
{{ range(7) | batch(3) | list }} {{ range(7) | batch(3, 'x') | list }} {{ range(6) | batch(3, 'x') | list }} {{ le | batch(2) | list }} {{ 'abcde' | batch(2) | map('join') | list }} {{ range(3) | batch(linecount=2, fill_with=0) | list }} {{ range(3) | batch(0) | list }}
{{ range(7) | slice(3) | list }} {{ range(7) | slice(3, 'x') | list }} {{ range(6) | slice(3) | list }} {{ range(2) | slice(4) | list }} {{ range(2) | slice(4, 'x') | list }} {{ le | slice(2) | list }} {{ 'abcde' | slice(2) | map('join') | list }}
{{ range(3) | slice(0) | list }}
{{ [1, 2, 3] | sum }} {{ [1.5, 2] | sum }} {{ users | sum(attribute='age') }} {{ [1, 2] | sum(start=10) }} {{ le | sum }} {{ [[1], [2]] | sum(start=[]) }} {{ [true, true] | sum }} {{ nope | sum }} {{ [1, 2] | sum(none, 5) }}
{{ ['a'] | sum }}
{{ ['a'] | sum(start='') }}
{{ l | min }} {{ l | max }} {{ ls | min }} {{ ls | max }} {{ ls | min(true) }} {{ ls | max(case_sensitive=true) }} {{ users | min(attribute='age') }} {{ users | max(attribute='age') }} {{ le | min }}| {{ le | max is defined }} {{ 'hello' | max }} {{ nope | min }}| {{ [1, 1.0] | max }} {{ [2, 2.0] | min }} {{ d | max }}
{{ [1, 'a'] | min }}
{{ 5 | min }}
[{{ 'a\nb\n\nc' | indent }}] [{{ 'a\nb' | indent(2) }}] [{{ 'a\nb' | indent(2, true) }}] [{{ 'a\n\nb' | indent(2, blank=true) }}] [{{ 'a\nb' | indent('> ') }}] [{{ 'a\nb\n' | indent }}] [{{ '' | indent }}] [{{ '\n' | indent(2, true, true) }}] [{{ 'a\r\nb' | indent(2) }}] [{{ 'a\n\n' | indent(1, false, true) }}] [{{ 'a' | indent(width=3, first=true) }}] [{{ 'a\r' | indent }}] [{{ '\na' | indent(2, true) }}] [{{ 'a\x0bb' | indent(1) }}] [{{ 'a\nb' | indent(true) }}] [{{ 'a\nb' | indent(-3) }}]
{{ 5 | indent }}
{{ nope | indent }}
{{ s | truncate(5) }} {{ s | truncate(9) }} {{ s | truncate(5, true) }} {{ s | truncate(5, true, '..') }} {{ s | truncate(5, leeway=0) }} {{ s | truncate(12) }} {{ s | truncate(7, false, '', 0) }} {{ 'foo bar baz qux' | truncate(9) }} {{ 'foo bar baz qux' | truncate(9, true) }} {{ 'foo bar baz qux' | truncate(11) }} {{ 'foo bar baz qux' | truncate(11, false, '...', 0) }} {{ u | truncate(6, true, '', 0) }} {{ nope | truncate(3) }}| {{ [1] | truncate(3) }}
{{ s | truncate(2) }}
{{ 5 | truncate }}
[{{ 'ab' | center(6) }}] [{{ 'ab' | center }}] [{{ 5 | center(3) }}] [{{ 'ab' | center(width=5) }}]
{{ 'foo bar, baz-qux a1_b é世 x' | wordcount }} {{ '' | wordcount }} {{ 5 | wordcount }} {{ nope | wordcount }} {{ "it's" | wordcount }} {{ '½ ² 一' | wordcount }}
{{ html | escape }} {{ html | e }} {{ html | safe }} {{ html | forceescape }} {{ html | safe | escape }} {{ html | escape | escape }} {{ html | escape | forceescape }} {{ 5 | escape }} {{ none | e }} {{ [1, '<'] | e }} {{ nope | e }}| {{ 5 | safe }} {{ '<' | safe is escaped }} {{ '<' is escaped }} {{ 5 | e is escaped }}
{{ ('<a>' | safe) + '<b>' }} {{ '<b>' + ('<a>' | safe) }} {{ ('<a>' | safe) ~ '<b>' }} {{ ('<%s>' | safe) % '<b>' }} {{ ('<%s>' | safe) % ('<b>' | safe) }} {{ ('<%d>' | safe) % 5 }} {{ ('<%(x)s>' | safe) % {'x': '<'} }} {{ ('<a>' | safe).replace('a', '<') }} {{ ('<a>' | safe) | replace('a', '<') }} {{ ('<a>' | safe).upper() + '<' }} {{ ('<a>' | safe) * 2 + '<' }} {{ ('<' | safe).join(['<', 5, '>' | safe]) }} {{ ['<' | safe, '<'] | join('<') }} {{ ('<{}>' | safe).format('<') }} {{ '<{}>'.format('<' | safe) }} {{ ('<{}>' | safe).format('<' | safe) }} {{ ('a<' | safe)[1] + '<' }} {{ ('a<b' | safe)[1:] + '<' }} {{ ('<a> ' | safe) | trim + '<' }} {{ ('<a>' | safe) | upper + '<' }} {{ ('<a>' | safe) | title + '<' }} {{ ('<a' | safe) == '<a' }} {{ ['<a>' | safe] }} {{ ('<a' | safe) | tojson }} {{ (('<,<' | safe).split(',') | first) + '<' }} {{ ('<a>' | safe) | string + '<' }} {{ ('%s' | safe) | format('<') }} {{ ('a\nb' | safe) | indent(1) + '<' }} {{ ('<' | safe) | center(3) + '<' }} {{ ('<a b' | safe) | truncate(3, false, '<', 0) }} {{ ('<a' | safe) | reverse + '<' }} {{ ('<' | safe).center(5, '<') if false }}| {{ ('a' | safe).partition('a') }} {{ ('<a' | safe) | list }} {{ ('a<' | safe) | last + '<' }} {{ ('a<' | safe) | first + '<' }} {{ ('x' | safe).zfill(3) + '<' }} {{ ('<' | safe).ljust(3) + '<' }} {{ ('%r' | safe) % '<' }}
{{ ('<' | safe) + 5 }}
{{ ('<' | safe).center(5, '<') }}
{{ {'a': 1, 'b': none, 'c': nope, 'd': '<"'} | xmlattr }}| {{ {'a': 1} | xmlattr(false) }} {{ {} | xmlattr }}|
{{ {'a b': 1} | xmlattr }}
{{ {1: 1} | xmlattr }}
{{ l | xmlattr }}
{{ 'a b/c?d=é&f~g' | urlencode }} {{ {'a b': 'c/d', 'e': 1} | urlencode }} {{ [('x', 'y z')] | urlencode }} {{ 5 | urlencode }} {{ none | urlencode }} {{ nope | urlencode }}| {{ '' | urlencode }}|
{{ [1] | urlencode }}
{{ 1 | filesizeformat }} {{ 0 | filesizeformat }} {{ 999 | filesizeformat }} {{ 1000 | filesizeformat }} {{ 1500 | filesizeformat }} {{ 1234567 | filesizeformat }} {{ 1234567 | filesizeformat(true) }} {{ 1e12 | filesizeformat }} {{ 1e30 | filesizeformat }} {{ '2000' | filesizeformat }} {{ 1023 | filesizeformat(binary=true) }}
{{ d | attr('keys') is defined }} {{ d | attr('a') is defined }} {{ (d | attr('get'))('a') }} {{ s | attr('upper') is callable }} {{ namespace(x=5) | attr('x') }} {{ s | attr('__class__') is defined }} {{ s | attr('nope') }}|
{{ nope | attr('x') }}
{{ d | items | list }} {{ nope | items | list }} {{ de | items | list }} {{ l | items is defined }}
{{ l | items | list }}
{{ l | random }}
''' .replace("{{ l | random }}\n", "")

JSON = r'''
{{ d | tojson }} {{ l | tojson }} {{ s | tojson }} {{ u | tojson }} {{ n | tojson }} {{ f | tojson }} {{ nil | tojson }} {{ yes | tojson }} {{ mixed | tojson }} {{ nested | tojson }} {{ html | tojson }} {{ (1, 2) | tojson }} {{ [] | tojson }} {{ {} | tojson }} {{ '' | tojson }}
{{ 'a"b\\c\n\r\t\b\f\x01\x1f\x7f/' | tojson }} {{ '\u2028é😀' | tojson }} {{ 1.0 | tojson }} {{ 1e16 | tojson }} {{ 1e-7 | tojson }} {{ 'inf' | float | tojson }} {{ '-inf' | float | tojson }} {{ 'nan' | float | tojson }} {{ {1: 2, 2.5: 3, true: 4, none: 5} | tojson }} {{ [[], {}, [[]]] | tojson }}
{{ u | tojson(ensure_ascii=true) }} {{ 'é😀\x7f' | tojson(true) }} {{ 'é' | tojson(ensure_ascii=false) }}
{{ d | tojson(indent=2) }} {{ nested | tojson(indent=4) }} {{ l | tojson(indent=0) }} {{ {} | tojson(indent=2) }} {{ [[]] | tojson(indent=2) }} {{ d | tojson(indent='\t') }} {{ d | tojson(indent=none) }} {{ d | tojson(indent=true) }} {{ d | tojson(indent=-1) }} {{ mixed | tojson(indent=1) }}
{{ d | tojson(separators=(',', ':')) }} {{ nested | tojson(separators=[', ', ' : ']) }} {{ d | tojson(indent=2, separators=(',', ':')) }} {{ d | tojson(false, none, (';', '=')) }}
{{ d | tojson(sort_keys=true) }} {{ {'b': {'z': 1, 'y': 2}, 'a': 1} | tojson(sort_keys=true, indent=2) }} {{ {2: 'a', 1: 'b'} | tojson(sort_keys=true) }}
{{ {'a': 1, 2: 3} | tojson(sort_keys=true) }}
{{ nope | tojson }}
{{ [nope] | tojson }}
{{ d.items() | tojson }}
{{ range(3) | tojson }}
{{ l | map('string') | tojson }}
{{ {(1, 2): 3} | tojson }}
{{ namespace(a=1) | tojson }}
{{ d.keys | tojson }}
{{ d | tojson(foo=1) }}
{{ d | tojson(separators=5) }}
{{ d | tojson(separators=(',',)) }}
{{ (l | map('string') | list) | tojson }} {{ d.items() | list | tojson }} {{ messages | tojson }} {{ messages[0] | tojson(indent=2) }} {{ ('x' ~ n) | tojson }} {{ d | tojson | length }} {{ d | tojson | upper }} {{ 9223372036854775807 | tojson }} {{ -5 | tojson }} {{ 0.1 | tojson }} {{ 'a' | safe | tojson }} {{ users | map(attribute='name') | list | tojson }}
'''

TESTS = r'''
{{ n is defined }} {{ nope is defined }} {{ nope is undefined }} {{ nil is defined }} {{ n is undefined }} {{ nope is not defined }} {{ d.a is defined }} {{ d.zz is not defined }} {{ n is not undefined }}
{{ nil is none }} {{ n is none }} {{ nope is none }} {{ nil is not none }} {{ false is none }} {{ '' is none }}
{{ s is string }} {{ n is string }} {{ nil is string }} {{ nope is string }} {{ 'a' | safe is string }} {{ l is string }} {{ s is not string }}
{{ n is number }} {{ f is number }} {{ yes is number }} {{ s is number }} {{ nil is number }} {{ n is integer }} {{ f is integer }} {{ yes is integer }} {{ n is float }} {{ f is float }} {{ 1.0 is float }} {{ 1.0 is integer }}
{{ yes is boolean }} {{ no is boolean }} {{ 1 is boolean }} {{ nil is boolean }} {{ yes is true }} {{ no is true }} {{ 1 is true }} {{ no is false }} {{ 0 is false }} {{ nil is false }}
{{ d is mapping }} {{ l is mapping }} {{ s is mapping }} {{ nope is mapping }} {{ l is iterable }} {{ s is iterable }} {{ d is iterable }} {{ n is iterable }} {{ nil is iterable }} {{ nope is iterable }} {{ range(2) is iterable }} {{ d.items() is iterable }} {{ (1,) is iterable }} {{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ nope is sequence }} {{ range(2) is sequence }} {{ d.items() is sequence }} {{ (1,) is sequence }} {{ nil is sequence }}
{{ range is callable }} {{ n is callable }} {{ s.upper is callable }} {{ nope is callable }} {{ s is callable }} {{ namespace is callable }} {{ dict is callable }} {{ joiner() is callable }} {{ cycler('a') is callable }} {{ raise_exception is callable }} {{ d is callable }}
{{ 1 is odd }} {{ 2 is odd }} {{ 2 is even }} {{ -1 is odd }} {{ 1.0 is odd }} {{ 2.5 is odd }} {{ true is odd }} {{ 0 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 7.5 is divisibleby 2.5 }}
{{ 'a' is odd }}
{{ nope is odd }}
{{ none is even }}
{{ 5 is divisibleby 0 }}
{{ 5 is divisibleby }}
{{ 'abc' is lower }} {{ 'aBc' is lower }} {{ 'ABC' is upper }} {{ 5 is lower }} {{ '' is lower }} {{ none is lower }} {{ true is lower }} {{ 'É' is upper }}
{{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 1 is sameas 1 }} {{ nil is sameas none }} {{ yes is sameas true }} {{ 1 is sameas true }} {{ l is sameas l }} {{ [1] is sameas [1] }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is le 1 }} {{ 2 is gt 1 }} {{ 2 is ge 3 }} {{ 2 is greaterthan 1 }} {{ 2 is lessthan 1 }} {{ 1 is in [1, 2] }} {{ 'a' is in 'abc' }} {{ 3 is not in l }} {{ 'b' is in d }} {{ 1 is eq(1.0) }}
{{ 1 is defined and 2 is defined }} {{ 1 is odd or 2 is odd }} {{ not 1 is odd }} {{ 1 is odd == true }} {{ 1 is odd ~ 'x' }} {{ (1 is odd) ~ 'x' }} {{ 'x' if n is defined else 'y' }} {{ n + 1 is odd }} {{ (n + 1) is odd }} {{ -1 is number }} {{ s | length is even }} {{ n is defined | string }} {{ 1 if nope is defined else 2 if n is defined else 3 }}
{{ 'x' is sameas 'x' or true }} {{ 1 is number and not 'a' is number }} {{ n is not none and n > 1 }} {{ messages[0].role is defined and messages[0]['role'] == 'system' }}
{{ 1 is in 5 }}
{{ 1 is lt 'a' }}
{{ 1 is eq }}
{{ 1 is eq(1, 2) }}
{{ 1 is none(5) }}
{{ x is defined if y }}
{{ 1 is not }}
{{ 1 is 5 }}
{{ {} is filter }}
'''

CHAT = [
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "{%- if messages[0]['role'] == 'system' -%}\n    {%- set system = messages[0]['content'] -%}\n    {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n    {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- for m in loop_messages -%}\n[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}{{ system }}",
    "{% set ns = namespace(found=false, last='') %}{% for m in messages %}{% if m.role == 'assistant' %}{% set ns.found = true %}{% endif %}{% set ns.last = m.role %}{% endfor %}{{ ns.found }} {{ ns.last }}",
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 1) %}{{ loop.index0 }} off {% endif %}{% endfor %}",
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate') }}{% endif %}{% endfor %}",
    "{%- set roles = messages | map(attribute='role') | list %}{{ roles | join('>') }}{{ roles.index('assistant') }}{{ 'system' in roles }}",
    "{% for m in messages | reverse %}{{ m.role[0] | upper }}{% endfor %}{{ messages[::-1][0].content | tojson }}",
    "{% macro show(m, last=false) -%}\n  <{{ m.role }}>{{ m.content | trim }}{{ '$' if last }}\n{%- endmacro -%}\n{% for m in messages %}{{ show(m, loop.last) }}\n{% endfor %}",
    "{%- for m in messages %}{{- m.role }}: {{ m.content }}{% if not loop.last %}\n{% endif %}{%- endfor %}",
    "{{ messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | first | default('none') }}{{ messages | selectattr('role', 'equalto', 'tool') | first | default('no tool') }}",
    "{%- set last = (messages | last) %}{{ last.content.strip() }}{{ last.content.endswith('\n') }}",
    "{% for m in messages %}{%- set c = m.content if m.content is string else m.content[0].text %}{{ c ~ '|' }}{% endfor %}",
    "{{ messages[0].content.split(' ') | map('length') | sum }} {{ messages | length - 1 }} {{ (messages | length) // 2 }}",
    "{%- for m in messages -%}{%- if loop.first and m.role == 'system' -%}S{%- elif m.role == 'user' -%}U{{ loop.nextitem.role if loop.nextitem is defined }}{%- else -%}A{{ loop.previtem.role }}{%- endif -%}{%- endfor -%}",
    "{% set content = messages[3].content %}{% if content.startswith('By') and not content.endswith('x') %}{{ content[:-1] ~ '.' }}{% endif %}",
    "{{ bos_token }}{{ bos_token is defined }}{{ tools is none }}{{ tools is defined }}",
]


def lines(block):
    """Each line of a block is a snippet; a line that ends in a backslash goes on in the next."""
    out = []
    pending = ""
    for line in block.strip("\n").split("\n"):
        pending += line
        if line.endswith("\\"):
            pending += "\n"
            continue
        out.append(pending)
        pending = ""
    return out


def pieces(block):
    """The lines, and each `{{ }}` of a line with several alone."""
    out = []
    for line in lines(block):
        out.append(line)
        if line.count("{{ ") > 1 and "{%" not in line:
            depth, start, i, quote = 0, 0, 0, None
            while i < len(line):
                two = line[i:i + 2]
                if quote:
                    if line[i] == "\\":
                        i += 1
                    elif line[i] == quote:
                        quote = None
                elif depth and line[i] in "'\"":
                    quote = line[i]
                elif two == "{{" and depth == 0:
                    depth, start = 1, i
                    i += 1
                elif depth and line[i] in "{([":
                    depth += 1
                elif depth == 1 and two == "}}":
                    out.append(line[start:i + 2])
                    depth = 0
                    i += 1
                elif depth and line[i] in "})]":
                    depth -= 1
                i += 1
    return out


def snippets():
    out = []
    for block in (LITERALS, OPERATORS, ACCESS, METHODS, FORMATS, FILTERS, JSON, TESTS):
        out += pieces(block)
    out += STATEMENTS + WHITESPACE + CHAT
    return list(dict.fromkeys(out))
