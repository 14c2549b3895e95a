#!/usr/bin/env python3
"""Writes tests/golden/chat/cases.json: what transformers makes of the templates there and of compare_jinja.py's list.

    tools/make_chat_goldens.py       needs transformers; reads and writes tests/golden/chat/ of this checkout

The .jinja files beside it were written for this test, each after the ways of a family of models. A case has template (a file's name, or
the text itself), variables, now, and output or error. Cases of a file have also `spans`: the bytes that assistants wrote, as
transformers' return_assistant_tokens_mask finds them where the template has generation blocks, else by rendering prefixes: from behind
messages[:i] with a generation prompt to the end of messages[:i + 1]; null where these are no prefixes of the whole.
"""
import json
import pathlib
import warnings

import compare_jinja
from transformers.utils.chat_template_utils import render_jinja_template

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "chat"
system, user, assistant = [lambda text, role=role: {"role": role, "content": text} for role in ("system", "user", "assistant")]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln", "days": [1, 2.5, None, True]}}}
CONVERSATIONS = {
    "one": [user("Who are you?"), assistant("A model.")],
    "turns": [user("Hi"), assistant("Hello."), user("  And?\n"), assistant("  Fine \n")],
    "system": [system(" You are kind. "), user("Zoë fragt: geht's?"), assistant("Ja — \"gut\" \\ <b>.")],
    "thought": [user("1+1?"), assistant("<think>\none and one\n</think>\n\n2"), user("2+2?"), assistant("<think>\ntwo\n</think>\n\n4")],
    "reasoning": [user("1+1?"), {"role": "assistant", "content": "2", "reasoning_content": "one and one"}],
    "call": [user("Weather?"), {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "name": "weather", "content": "7 °C"}, assistant("It is cold.")],
    "two calls": [user("Weather?"), {"role": "assistant", "content": "Look:", "tool_calls": [CALL, CALL]}, {"role": "tool", "content": "7"}, {"role": "tool", "content": "8"}, assistant("So.")],
    "question": [user("a"), assistant("b"), user("c")],
    "order": [assistant("I begin."), user("No.")],
    "stranger": [{"role": "narrator", "content": "Once"}, user("u"), assistant("v")],
    "empty": [user("x"), assistant("")],
}


def byte_spans(text, pairs):
    return [[len(text[:a].encode()), len(text[:b].encode())] for a, b in pairs]


def spans(template, variables):
    messages = variables["messages"]
    rest = {k: v for k, v in variables.items() if k not in ("messages", "tools", "add_generation_prompt")}
    render = lambda messages, prompt, mask=False: render_jinja_template([messages], tools=variables.get("tools"), chat_template=template, add_generation_prompt=prompt,
                                                                      return_assistant_tokens_mask=mask, **rest)
    try:
        (text,), (pairs,) = render(messages, False, True) if "{% generation" in template else (render(messages, False)[0], (None,))
    except Exception:
        return None
    if pairs is not None:
        return byte_spans(text, pairs)
    pairs = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        try:
            before, after = render(messages[:i], True)[0][0] if i else "", render(messages[:i + 1], False)[0][0]
        except Exception:
            return None
        if not i or not after.startswith(before) or not text.startswith(after):
            return None
        pairs.append((len(before), len(after)))
    return byte_spans(text, pairs)


def main():
    warnings.simplefilter("ignore")
    compare_jinja.fix_clock()
    cases = [compare_jinja.case("fixed", line, compare_jinja.VARIABLES) for line in compare_jinja.FIXED.strip("\n").split("\n")]
    cases.append(compare_jinja.case("white space", compare_jinja.SPACES, compare_jinja.VARIABLES))
    for row in cases:
        row.pop("variables")    # all have the same
    for path in sorted(FOLDER.glob("*.jinja")):
        for name, messages in CONVERSATIONS.items():
            for tools in (None, compare_jinja.TOOLS):
                for prompt in (False, True):
                    variables = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>"}
                    row = compare_jinja.case(name, path.read_text(), variables)
                    row["template"] = path.name
                    if not prompt and "output" in row:
                        row["spans"] = spans(path.read_text(), variables)
                    cases.append(row)
    with open(FOLDER / "cases.json", "w") as out:
        json.dump({"variables": compare_jinja.VARIABLES, "cases": cases}, out, indent=None, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    main()
