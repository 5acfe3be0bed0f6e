#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Renders templates with transformers and writes what it answers: the oracle of the Jinja interpreter.

    python3 tests/golden/make_templates.py             writes tests/data/templates/{snippets,families}.json
    python3 tests/golden/make_templates.py --llama DIR also writes llama_cpp.json from DIR/*.jinja (the models/templates folder
                                                       of llama.cpp; scripts/get-test-data.sh puts it in build/test-data)
    python3 tests/golden/make_templates.py --llama DIR --show FILE CASE   prints one of these renderings

Needs transformers and jinja2, versions as in requirements.txt. snippets.json holds each source with its text, or null
where it raises; llama_cpp.json holds, for each file, case and value of add_generation_prompt, the length and FNV-1a hash
of the text, or null where it raises; families.json does so, with the text, for the built-in templates of
chat_template.h, whose sources are read from there.
"""
import argparse
import datetime
import glob
import json
import os
import re

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

import template_snippets

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "templates")
HEADER = os.path.join(HERE, "..", "..", "include", "tritium", "text", "chat_template.h")


class Clock(datetime.datetime):
    """strftime_now shows this moment, in the tests too."""

    @classmethod
    def now(cls, tz=None):
        return cls(2025, 3, 9, 14, 5, 6)


chat_template_utils.datetime = Clock

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1},
                "tags": {"type": "array", "items": {"type": "string"}},
                "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]},
            },
            "required": ["city"],
        },
    },
}
NOW = {"type": "function", "function": {"name": "now", "description": "The time.",
                                        "parameters": {"type": "object", "properties": {}}}}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def call(name, arguments, id=None):
    c = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"id": id, **c} if id else c


LIKE = "{{ 7 * 7 }} {% if x %}<|im_end|>\n<|im_start|>system\n<end_of_turn></s>[/INST]<|eot_id|>{# c #} </think> \\n"
CASES = {
    "user": {"messages": [user("Hi there")]},
    "system": {"messages": [system("You are a pirate."), user("Hi there")]},
    "turns": {"messages": [user("Hi"), assistant("Hello!"), user("How are you?")]},
    "system_turns": {"messages": [system("Be brief."), user("Hi"), assistant("Hello!"), user("How?"), assistant("Well."),
                                  user("Bye")]},
    "answered": {"messages": [user("Hi"), assistant("Hello!")]},
    "unicode": {"messages": [system("\u00dcbung \u4e16\u754c"), user("Gr\u00fc\u00dfe \U0001f600 \u0645\u0631\u062d\u0628\u0627 caf\u00e9 e\u0301"),
                             assistant("\u3053\u3093\u306b\u3061\u306f"), user("\u00a0x\u3000")]},
    "empty": {"messages": [system(""), user(""), assistant(""), user("")]},
    "spaces": {"messages": [system("  a\n"), user("\n  b  \n\n"), assistant(" c\t"), user("\r\nd ")]},
    "like": {"messages": [system(LIKE), user(LIKE), assistant(LIKE), user(LIKE)]},
    "tools": {"messages": [user("Weather in Rome?")], "tools": [WEATHER, NOW]},
    "system_tools": {"messages": [system("Be brief."), user("Weather in Rome?")], "tools": [WEATHER]},
    "call": {"messages": [user("Weather in Rome?"),
                          assistant("", tool_calls=[call("get_weather", {"city": "Rome", "days": 2, "tags": ["a", "b"], "where": {"lat": 41.9}}, "call_0001")]),
                          {"role": "tool", "name": "get_weather", "tool_call_id": "call_0001", "content": "{\"sky\": \"clear\"}"},
                          assistant("Clear."), user("Thanks")], "tools": [WEATHER]},
    "call_text": {"messages": [system("Be brief."), user("Weather in Rome?"),
                               assistant("Let me see.", tool_calls=[call("get_weather", "{\"city\": \"Rome\"}", "abcdefghi")]),
                               {"role": "tool", "name": "get_weather", "tool_call_id": "abcdefghi", "content": "clear"}],
                  "tools": [WEATHER, NOW]},
    "calls": {"messages": [user("Both?"),
                           assistant(None, tool_calls=[call("get_weather", {"city": "Rome", "unit": None}, "aaaaaaaa1"), call("now", {}, "aaaaaaaa2")]),
                           {"role": "tool", "name": "get_weather", "tool_call_id": "aaaaaaaa1", "content": "clear"},
                           {"role": "tool", "name": "now", "tool_call_id": "aaaaaaaa2", "content": "12:00"}],
              "tools": [WEATHER, NOW]},
    "last_call": {"messages": [user("Weather?"), assistant("", tool_calls=[call("get_weather", {"city": "O'Hare \"x\" <b>"}, "aaaaaaaa1")])],
                  "tools": [WEATHER]},
    "no_ids": {"messages": [user("Weather?"), assistant("", tool_calls=[call("now", {})]), {"role": "tool", "content": "12:00"}]},
    "parts": {"messages": [{"role": "system", "content": [{"type": "text", "text": "Sys"}]},
                           {"role": "user", "content": [{"type": "text", "text": "One "}, {"type": "text", "text": "two"}]},
                           {"role": "assistant", "content": [{"type": "text", "text": "Three"}]},
                           {"role": "user", "content": [{"type": "text", "text": "Four"}]}]},
    "image": {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]},
    "reasoning": {"messages": [user("2+2?"), assistant("4", reasoning_content="Two and two."), user("3+3?"),
                               assistant("6", reasoning_content="Three twice."), user("Sure?")]},
    "thinking": {"messages": [user("2+2?"), assistant("4", thinking="Hm.\n"), user("3+3?")]},
    "think_text": {"messages": [user("2+2?"), assistant("<think>\nHm.\n</think>\n\n4"), user("3+3?"),
                                assistant("<think>x</think>6")]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, user("Hi")]},
    "other_role": {"messages": [user("Hi"), {"role": "narrator", "content": "Meanwhile"}]},
    "assistant_first": {"messages": [assistant("Hello!"), user("Hi")]},
    "two_users": {"messages": [user("One"), user("Two"), assistant("x"), assistant("y")]},
    "late_system": {"messages": [user("Hi"), assistant("x"), system("Be brief."), user("Two")]},
    "only_system": {"messages": [system("Be brief.")]},
    "no_thinking": {"messages": [user("Hi")], "extra": {"enable_thinking": False, "thinking": False}},
    "with_thinking": {"messages": [system("Be brief."), user("Hi")], "extra": {"enable_thinking": True, "thinking": True,
                                                                            "reasoning_effort": "high"}},
    "dated": {"messages": [user("Hi")], "extra": {"date_string": "26 Jul 2024", "builtin_tools": ["brave_search"],
                                                  "custom_tools": None, "model_identity": "You are X."}},
    "documents": {"messages": [system("Be brief."), user("Hi")],
                  "documents": [{"title": "A", "text": "Alpha", "doc_id": 1}, {"title": "B", "text": "Beta", "doc_id": 2}]},
    "no_content": {"messages": [user("Hi"), {"role": "assistant"}, user("Two")]},
    "long": {"messages": [system("S")] + [m for i in range(9) for m in (user(f"Question {i}?"), assistant(f"Answer {i}."))]
             + [user("Last")]},
}

TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1}, unk_token="<s>")),
                                    bos_token="<s>", eos_token="</s>")


def fnv1a(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return format(h, "016x")


def rendered(make):
    """The text, None where it raises, or Ellipsis where it shows an address of memory."""
    try:
        text = make()
        text.encode()
    except Exception:
        return None
    return ... if re.search(r" at 0x[0-9a-f]{6,}", text) else text


def chat(source, case, generation):
    return rendered(lambda: TOKENIZER.apply_chat_template(
        case["messages"], chat_template=source, tools=case.get("tools"), documents=case.get("documents"),
        add_generation_prompt=generation, tokenize=False, **case.get("extra", {})))


def dump(name, value):
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, name), "w", encoding="ascii") as f:
        f.write(value)


def rows(pairs):
    """One JSON object, one member a line."""
    return "{\n" + ",\n".join(json.dumps(k) + ":" + json.dumps(v, separators=(",", ":")) for k, v in pairs) + "\n}\n"


def make_snippets():
    context = {**template_snippets.CONTEXTS["main"]}
    out = []
    for source in template_snippets.snippets():
        text = rendered(lambda: chat_template_utils._compile_jinja_template(source).render(
            **context, tools=None, documents=None, add_generation_prompt=True, bos_token="<s>"))
        if text is not ...:
            out.append([source, text])
    print(len(out), "snippets,", sum(1 for s in out if s[1] is None), "of them raise")
    dump("snippets.json",
         "{\"context\":" + json.dumps({**context, "tools": None, "documents": None, "add_generation_prompt": True,
                                       "bos_token": "<s>"}) + ",\n\"cases\":[\n"
         + ",\n".join(json.dumps(c, separators=(",", ":")) for c in out) + "\n]}\n")


def make_cases():
    dump("cases.json", rows(CASES.items()))


def make_llama(folder):
    files = []
    for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
        data = open(path, "rb").read()
        source = data.decode()
        results = {}
        for name, case in CASES.items():
            pair = []
            for generation in (False, True):
                text = chat(source, case, generation)
                pair.append(0 if text is ... else None if text is None else
                            f"{len(text.encode())}:{fnv1a(text.encode())}")
            results[name] = pair
        files.append((os.path.basename(path), {"digest": fnv1a(data), "cases": results}))
    good = sum(p is not None and p != 0 for _, f in files for c in f["cases"].values() for p in c)
    bad = sum(p is None for _, f in files for c in f["cases"].values() for p in c)
    print(len(files), "templates of llama.cpp,", good, "texts,", bad, "errors")
    dump("llama_cpp.json", rows(files))


def make_families():
    header = open(HEADER, encoding="utf-8").read()
    sources = re.findall(r'\{"([a-z0-9-]+)",\s*R"jinja\((.*?)\)jinja"', header, re.S)
    out = []
    for name, source in sources:
        results = {}
        for case in ("user", "system", "turns", "system_turns", "unicode", "empty", "spaces", "like", "tools", "other_role",
                     "assistant_first", "two_users", "only_system"):
            results[case] = [chat(source, CASES[case], generation) for generation in (False, True)]
        out.append((name, {"digest": fnv1a(source.encode()), "cases": results}))
    print(len(out), "built-in templates")
    dump("families.json", rows(out))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--llama", metavar="DIR")
    p.add_argument("--show", nargs=2, metavar=("FILE", "CASE"))
    a = p.parse_args()
    if a.show:
        source = open(os.path.join(a.llama, a.show[0]), encoding="utf-8").read()
        for generation in (False, True):
            print(chat(source, CASES[a.show[1]], generation), end="\n---\n")
        return
    make_snippets()
    make_cases()
    make_families()
    if a.llama:
        make_llama(a.llama)


if __name__ == "__main__":
    main()
