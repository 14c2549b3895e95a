#!/usr/bin/env python3
"""Templates for tests/text/test_jinja_torch.c: random ones from a small grammar, and those of models that are here, each with what
transformers' own environment makes of it.

    tools/compare_jinja.py OUT.json COUNT SEED [tokenizer_config.json ...]

Each case: template, variables, now, and output, or error where Jinja2 raises (then hone must refuse too). A list of constructs
that random templates seldom hit comes first.
"""
import json
import random
import sys
import warnings

from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Tells <weather> & \"more\"", "parameters":
          {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1.5}}, "required": ["city"]}}}]
CHAT = [{"role": "system", "content": "  You are  kind.\n"}, {"role": "user", "content": "Wie geht's, Zoë? \u3000"},
        {"role": "assistant", "content": "Good: {\"a\": 1}\n", "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": {"city": "Köln", "n": [1, 2.5, None, True]}}}]},
        {"role": "tool", "name": "weather", "content": "7 °C"}, {"role": "user", "content": "<b>ok</b> a\\n"}, {"role": "assistant", "content": "Bye"}]
VARIABLES = {"messages": CHAT, "tools": TOOLS, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "n": 3, "x": -7, "f": 2.5,
             "big": 1e22, "small": 1.5e-7, "third": 0.1, "t": "Hello, World", "u": "äöß Üb €\t\x85", "e": "", "l": [3, 1, 2, 1], "names": ["b", "A", "c", "a"],
             "d": {"k": "v", "B": [1], "items": 5, "a": None}, "none_value": None, "yes": True, "no": False, "quote": "it's \"x\"\\\n"}

SPACES = """
a {%- if yes %} b {%- endif %} c
  {% if yes %}
  kept
  {% endif %}
end|
{{ '{{' }}{% raw %}
 {{ x }} {% endraw %} z|{%- raw -%} y {%- endraw -%} |
{# note #}
a {#- note -#} b
    {%+ if yes %} plus {% endif +%}
|
"""
# A line is a template.
FIXED = """
{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 1_000 }} {{ 0x1f }} {{ 1e3 }} {{ 2.50 }}
{{ big }} {{ small }} {{ third }} {{ 1.0 }} {{ 100000000000000000.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456.789 }} {{ -0.0 }}
{{ 2 + 3 * 4 ** 2 - 1 }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ 1 ~ 2 + 3 ~ 4 }} {{ not yes or yes and no }} {{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 == yes }}
{{ 'a' 'b' "c\\n\\t\\x41\\u00e9\\q" }} {{ 'x' if no }}|{{ 'x' if no else 'y' }} {{ undefined_name }}|{{ d.missing }}|{{ d['missing'] }}
{{ l }} {{ names }} {{ d }} {{ (1,) }} {{ (1, 'a') }} {{ () }} {{ [] }} {{ {} }} {{ none_value }} {{ yes }} {{ quote }} {{ [quote] }} {{ [u, 1.0, none] }}
{{ 1, 2 }} {% set a, b = 1, 'z' %}{{ a }}{{ b }} {% set (a, b) = [5, 6] %}{{ a + b }}
{{ t[0] }} {{ t[-1] }} {{ t[1:4] }} {{ t[:-3] }} {{ t[::-1] }} {{ t[::3] }} {{ u[1:3] }} {{ u[-4] }} {{ l[1:] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[5:] }} {{ l[9] }}|{{ t[99] }}|
{{ l[5:1:-2] }} {{ l[:1:-1] }} {{ messages[1:][0].role }} {{ messages[::-1][0]['content'] }} {{ messages[-1].content }} {{ messages.0.role }}
{{ 'ell' in t }} {{ 'zz' not in t }} {{ 3 in l }} {{ 'k' in d }} {{ 'q' in undefined_name }} {{ not 3 in l }}
{{ t.upper() }} {{ t.lower() }} {{ u.upper() if false }} {{ t.title() }} {{ "they're bill's".title() }} {{ "they're (bill's) a-b"|title }} {{ 'ABC dEF'.capitalize() }}
{{ '  a b '.strip() }}| {{ 'xxaxx'.strip('x') }} {{ 'abcba'.lstrip('ab') }} {{ 'abcba'.rstrip('ab') }} {{ u.strip() }}| {{ '  a'|trim }} {{ 'zaz'|trim('z') }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b c '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a  b  c '.split(none, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a--b--c'.rsplit('--') }}
{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }} {{ 'one\\ntwo\\r\\nthree\\n'.splitlines() }} {{ 'a=b=c'.partition('=') }} {{ 'abc'.partition('=') }}
{{ t.startswith('He') }} {{ t.endswith('ld') }} {{ t.startswith(('x', 'H')) }} {{ t.find('o') }} {{ t.rfind('o') }} {{ u.find('ß') }} {{ t.find('q') }} {{ t.count('l') }} {{ t.index('W') }}
{{ t.replace('l', 'L') }} {{ t.replace('l', 'L', 1) }} {{ 'ab'.replace('', '-') }} {{ t|replace('o', '0') }} {{ 'abc'.removeprefix('a').removesuffix('c') }} {{ ', '.join(names) }}
{{ '12'.isdigit() }} {{ ''.isdigit() }} {{ 'aé'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' \\n'.isspace() }}
{{ d['items'] }} {{ d.items()|list }} {{ d.keys()|list }} {{ d.values()|list }} {{ d.get('k') }} {{ d.get('q') }} {{ d.get('q', 7) }} {% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{{ l|sort }} {{ names|sort }} {{ names|sort(case_sensitive=true) }} {{ l|sort(reverse=true) }} {{ messages|sort(attribute='role')|map(attribute='role')|list }} {{ l|unique|list }} {{ names|unique|list }}
{{ l|join(', ') }} {{ messages|join('/', attribute='role') }} {{ l|first }} {{ l|last }} {{ t|first }} {{ []|first }}| {{ l|length }} {{ t|count }} {{ u|length }} {{ d|length }}
{{ l|reverse|list }} {{ t|reverse }} {{ l|sum }} {{ [1, 2.5]|sum }} {{ l|max }} {{ names|min }} {{ l|list }} {{ 'abc'|list }} {{ d|list }} {{ d|dictsort }} {{ d|items|list }}
{{ '3'|int + 1 }} {{ '3.7'|int }} {{ 'x'|int(5) }} {{ 'x'|int }} {{ '2.5'|float }} {{ 3|float }} {{ -3|abs }} {{ 2.5|round }} {{ 3.14159|round(2) }} {{ 2.4|round(0, 'ceil') }} {{ 3|string ~ 'a' }} {{ true|int }}
{{ e|default('empty') }}|{{ e|default('empty', true) }} {{ undefined_name|default('none') }} {{ undefined_name|d }}| {{ none_value|default('n') }} {{ d.q|default(d.k) }}
{{ messages|selectattr('role', 'equalto', 'user')|list|length }} {{ messages|rejectattr('role', 'eq', 'user')|map(attribute='role')|join(',') }} {{ l|select('odd')|list }} {{ l|reject('gt', 1)|list }} {{ messages|selectattr('tool_calls')|list|length }} {{ messages|selectattr('tool_calls', 'defined')|map(attribute='role')|list }}
{{ names|map('upper')|list }} {{ messages|map(attribute='name', default='-')|join }} {{ ['a b', 'c']|map('replace', 'a', 'z')|list }} {{ messages|map(attribute='tool_calls.0.id')|list|length if false }}
{{ tools|tojson }} {{ tools|tojson(indent=4) }} {{ d|tojson }} {{ u|tojson }} {{ quote|tojson }} {{ [1.0, 1e22, none, true, []]|tojson }} {{ []|tojson(indent=2) }} {{ {'b': 1, 'a': {}}|tojson(indent=2) }} {{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ {1: 2}|tojson }}
{{ 'a\\nb\\n\\nc'|indent }} {{ 'a\\nb\\n\\nc'|indent(2, true) }} {{ 'a\\n\\nc\\n'|indent(2, false, true) }}| {{ 'a\\n'|indent('> ', first=true) }}|
{{ '%s is %d' % ('a', 3) }} {{ '%05.2f' % f if false }} {{ '%.2f' % f }} {{ '%s' % t }} {{ '%s-%s'|format(1, 'b') }} {{ '%5d|%-5d|%05d|%+d' % (42, 42, -42, 42) }} {{ '%6s|%-6s|%.2s' % ('ab', 'ab', 'abc') }} {{ '%x' % 255 }} {{ '100%%' % () }}
{{ x is defined }} {{ zz is defined }} {{ zz is not defined }} {{ none_value is none }} {{ t is string }} {{ d is mapping }} {{ l is sequence }} {{ t is sequence }} {{ 3 is number }} {{ yes is number }} {{ yes is integer }} {{ 3 is integer }} {{ 2.0 is float }} {{ yes is boolean }} {{ yes is true }} {{ 1 is true }} {{ l is iterable }} {{ 3 is iterable }} {{ zz is iterable }} {{ zz is sequence }} {{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ 'a' is in 'abc' }} {{ 3 is eq 3 }} {{ 'A' is upper }} {{ 'a' is lower }} {{ none is sameas none }} {{ range is callable }} {{ not t is string }} {{ t is string and l is string or yes }} {{ 1 is lessthan 2 }}
{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem.role }}{{ loop.nextitem.role if loop.nextitem is defined }}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{% endfor %}
{% for m in messages if m.role == 'user' %}{{ loop.index }}{{ loop.length }}{{ m.content }}{% else %}none{% endfor %}{% for i in [] %}x{% else %}empty{% endfor %}{% for i in zz %}x{% else %}undefined{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %} {{ range(2, 9, 3)|list }} {{ range(3, 0, -1)|list }} {{ range(0)|list }}
{% for a, b in [(1, 2), (3, 4)] %}{% for c in [a, b] %}{{ c }}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }}{% endfor %}{% for c in 'aß' %}[{{ c }}]{% endfor %}
{% set y = 1 %}{% for i in range(3) %}{% set y = y + i %}{{ y }}{% endfor %}{{ y }}{% set ns = namespace(y=1, z='a') %}{% for i in range(3) %}{% set ns.y = ns.y + i %}{% endfor %}{{ ns.y }}{{ ns.z }}{{ ns.q }}|{% if yes %}{% set y = 9 %}{% endif %}{{ y }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a + ns.b }} {% set d2 = dict(a=1, b='c') %}{{ d2 }} {{ dict(d2, a=5).a }}
{% macro m(a, b=2, c=none) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c='x') }}{{ m() }}{{ m(b=7, a=8)|upper }}{% set r = m(4) %}{{ r|length }}
{% macro outer(x) %}{% if x > 0 %}{{ x }}{{ outer(x - 1) }}{% endif %}{% endmacro %}{{ outer(4) }} {% macro c() %}<{{ caller() }}>{% endmacro %}{% call c() %}body{{ n }}{% endcall %}{% macro e(v) %}{{ caller(v) }}{% endmacro %}{% call(w) e('arg') %}{{ w }}!{% endcall %}
{% set y = 5 %}{% macro see() %}{{ y }}{% endmacro %}{{ see() }}{% set y = 6 %}{{ see() }}
{% set block %}a {{ n }}\nb{% endset %}{{ block }}|{{ block|length }}{% set up | upper | replace('B', '-') %}abc{% endset %}{{ up }}{% filter upper %}f {{ t }}{% endfilter %}{% with q = 3, w = 4 %}{{ q + w }}{% endwith %}{{ q }}
{% generation %}abc{% endgeneration %}{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}
{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }}{% if strftime_now is defined %}!{% endif %}{% if raise_exception is defined %}?{% endif %}
{% if messages[0]['role'] != 'system' %}{% elif n == 3 %}three{% else %}other{% endif %}{% if n == 4 %}a{% elif n == 5 %}b{% else %}c{% endif %}
{{ (messages|first).role }}{{ messages[0]['content'] | trim + '!' }}{{ ('a' ~ 'b')|upper }}{{ (l + [4])[-1] }}{{ 'ab' * 3 }}{{ [0] * 2 }}{{ 2 * 'x' }}
{{ bos_token + 'x' }}  {{- 'tight' -}}   {{- ' left' }}
{{ raise_exception('no: ' ~ n) }}
{{ zz.attribute }}
{{ 'a' + 1 }}
{{ 1 < 'a' }}
{{ zz + 1 }}
{{ none_value.x.y }}
{% for i in 5 %}{% endfor %}
{{ t.nosuch() }}
{{ t|nosuch }}
{{ t is nosuch }}
{{ 1 / 0 }}
{% if x %}a
{{ x
{% endif %}
{% include 'x' %}
{{ 'abc }}
{{ m(1) }}
{{ l.append(1) }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(q=2) }}
{{ [1, 2 }}
{% set n.x = 1 %}
{{ d|sort|join(',') }} {{ [3, 'a']|sort }}
{{ -f|abs }} {{ (1, 2) == [1, 2] }} {{ none == false }} {{ '' or e or 'z' }} {{ 0 and 1 }} {{ [] or none }} {{ {} == {} }} {{ {'a': 1} == {'a': 1.0} }} {{ 'b' > 'a' }} {{ [1, 2] < [1, 3] }}
"""


class Grammar:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *options):
        return self.r.choice(options)

    def atom(self):
        return self.pick("n", "x", "f", "t", "u", "e", "l", "names", "d", "none_value", "yes", "no", "zz", "messages", "m", "i", "quote", "'a'", "'lo'", "' s '", "2", "0", "-1",
                         "1.5", "[]", "['a', 'b']", "{'k': 1}", "messages[1].content", "messages[2]", "d.k", "d['B']", "tools")

    def expression(self, depth):
        if depth <= 0:
            return self.atom()
        e = lambda: self.expression(depth - 1)
        return self.pick(
            lambda: self.atom(), lambda: f"({e()} {self.pick('+', '-', '*', '~', '==', '!=', '<', '>=', 'in', 'not in', 'and', 'or', '//', '/')} {e()})",
            lambda: f"({e()} if {e()} else {e()})", lambda: f"(not {e()})", lambda: f"{e()}|{self.filter()}", lambda: f"({e()} is {self.pick('', 'not ')}{self.test()})",
            lambda: f"({self.pick('t', 'u', 'l', 'names', 'messages', 'm', 'd.k', 'zz', 'messages[1].content', e() + '|string', e() + '|list')})[{self.pick('0', '-1', '1:', ':2', '::-1', '1:3', ':-1', 'n', repr('k'))}]", lambda: f"({e()}).{self.method()}", lambda: f"{e()} ~ {e()}",
            lambda: f"[{e()}, {e()}]", lambda: f"({e()}|string)", lambda: f"({e()}|tojson)")()

    def filter(self):
        return self.pick("trim", "length", "upper", "lower", "capitalize", "title", "first", "last", "join", "join(', ')", "list", "string", "int", "int(4)", "float", "abs", "default('z')", "default('z', true)",
                         "tojson", "tojson(indent=2)", "replace('a', 'bb')", "reverse|list", "sort", "unique|list", "map('string')|list", "map('upper')|join", "select('string')|list",
                         "reject('none')|list", "map(attribute='role')|list", "selectattr('role', 'equalto', 'user')|list", "items|list", "indent(2)", "round", "round(1)", "sum", "min", "max", "count")

    def test(self):
        return self.pick("defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number", "integer", "float", "boolean", "true", "false", "odd", "even", "eq(2)",
                         "equalto 'a'", "in 'abc'", "in ['a', 2]", "gt 1", "divisibleby 2", "upper", "lower")

    def method(self):
        return self.pick("strip()", "lstrip()", "rstrip('o')", "split()", "split('l')", "split(' ', 1)", "splitlines()", "startswith('a')", "endswith('d')", "upper()", "lower()", "title()", "capitalize()",
                         "replace('l', '')", "find('l')", "rfind('l')", "count('l')", "items()|list", "keys()|list", "values()|list", "get('k')", "get('q', 1)", "role", "content", "index('a')", "isdigit()")

    def statement(self, depth, in_loop):
        e = lambda: self.expression(self.r.randint(0, 2))
        s = lambda loop=in_loop: self.block(depth - 1, loop)
        tag = lambda: (self.pick("{%", "{%", "{%-"), self.pick("%}", "%}", "-%}"))
        def t(text):
            begin, end = tag()
            return f"{begin} {text} {end}"
        simple = [lambda: self.pick("a", " b ", "\n", "\n  ", "  \n", "x: ", "é\n"), lambda: self.pick("{{ ", "{{- ") + e() + self.pick(" }}", " -}}"),
                  lambda: t(f"set {self.pick('v', 'w')} = {e()}"), lambda: t(f"set ns.a = {e()}"), lambda: "{{ ns.a }}", lambda: "{{ v }}", lambda: self.pick("{# c #}", "{#- c -#}")]
        nested = [lambda: t(f"if {e()}") + s() + self.pick("", t("else") + s(), t(f"elif {e()}") + s()) + t("endif"),
                  lambda: t(f"for {self.pick('m', 'i')} in {self.pick('messages', 'l', 'range(3)', 'd', 't', e())}") + s(True) + self.pick("", t("else") + s()) + t("endfor"),
                  lambda: t(f"for i in l if {e()}") + s(True) + t("endfor"), lambda: t("for k, v in d.items()") + s(True) + t("endfor"),
                  lambda: t("set w") + s(False) + t("endset"), lambda: t("macro g(i, j=2)") + s(False) + t("endmacro") + "{{ g(1) }}",
                  lambda: t("filter upper") + s(False) + t("endfilter"), lambda: t("generation") + s(False) + t("endgeneration"), lambda: t(f"with v = {e()}") + s() + t("endwith")]
        loop = [lambda: "{{ loop." + self.pick("index", "index0", "first", "last", "length", "revindex", "previtem", "nextitem") + " }}", lambda: t(f"if {e()}") + t(self.pick("break", "continue")) + t("endif")]
        options = simple + simple + (nested if depth > 0 else []) + (loop if in_loop else [])
        return self.r.choice(options)()

    def block(self, depth, in_loop):
        return "".join(self.statement(depth, in_loop) for _ in range(self.r.randint(1, 4)))

    def template(self):
        return "{% set ns = namespace(a=1) %}" + self.block(3, False)


def case(name, template, variables):
    variables = json.loads(json.dumps(variables))  # its own: a filter may change a list in place
    row = {"name": name, "template": template, "variables": json.loads(json.dumps(variables)), "now": NOW}
    try:
        row["output"] = compile_template(template).render(**variables)
    except Exception as error:  # whatever Jinja2 or a value raises
        row["error"] = f"{type(error).__name__}: {error}"
    return row


def real_cases(path):
    """A model's own template over conversations of every shape; which of them it refuses is part of what is compared."""
    config = json.load(open(path))
    if not config.get("chat_template"):
        return
    token = lambda key: config[key]["content"] if isinstance(config.get(key), dict) else config.get(key) or ""
    for name, chat in {"all": CHAT, "turns": [CHAT[1], CHAT[5], CHAT[4]], "system": [CHAT[0], CHAT[1]], "think": [CHAT[1], {"role": "assistant", "content": "<think>\nhm\n</think>\n\nyes"}, CHAT[4]],
                       "reasoning": [CHAT[1], {"role": "assistant", "content": "yes", "reasoning_content": "hm"}], "unknown": [{"role": "nobody", "content": "?"}]}.items():
        for tools in (None, TOOLS):
            for prompt in (False, True):
                variables = {"messages": chat, "add_generation_prompt": prompt, "bos_token": token("bos_token"), "eos_token": token("eos_token"), "tools": tools, "documents": None}
                yield case(f"{path} {name}", config["chat_template"], variables)


def main():
    warnings.simplefilter("ignore")
    out, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    cases = []
    for line in FIXED.strip("\n").split("\n"):
        cases.append(case("fixed", line, VARIABLES))
    cases.append(case("white space", SPACES, VARIABLES))
    grammar = Grammar(seed)
    cases += [case(f"random {i}", grammar.template(), VARIABLES) for i in range(count)]
    for path in sys.argv[4:]:
        cases += real_cases(path)
    json.dump(cases, open(out, "w"))


NOW = 1764547200  # 2025-12-01: strftime_now is made to tell this day


def fix_clock():
    import transformers.utils.chat_template_utils as utils
    import datetime as module

    class Clock(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return module.datetime.fromtimestamp(NOW, tz)
    utils.datetime = Clock


if __name__ == "__main__":
    fix_clock()
    main()
