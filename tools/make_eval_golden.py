#!/usr/bin/env python3
"""Writes tests/golden/lm_eval.json: what lm-evaluation-harness makes of a model and of the files that `hone eval --tasks` reads.

    tools/make_eval_golden.py [MODEL [DATA [LIMIT [OUT]]]]     needs torch, transformers, lm_eval (seen with 0.4.13)

MODEL: ../shared/data/weights/stories260K/hf, DATA: ../shared/data (eval/ and rl/gsm8k in it), LIMIT: 12 questions a file.

The harness' own task configurations run unchanged. Only where they load a data set from the hub, they get the rows of DATA,
turned back into the hub's columns. GSM8K takes its worked examples from the head of its training file (the harness' sampler
first_n), since the harness' default draws them by Python's random numbers.

    tasks    {task: {metric: value, metric + "_stderr": value}}
    samples  {task: [[log-likelihood of each answer], ...]}    (mmlu: all subjects in a row); gsm8k: the generated texts
    answers  [[text, reference, strict match, flexible match], ...]     of made-up texts, by the harness' filters
"""
import csv
import glob
import json
import pathlib
import sys

import datasets
import lm_eval
from lm_eval.api.samplers import SAMPLER_REGISTRY, FirstNSampler
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

HERE = pathlib.Path(__file__).resolve().parent.parent
LETTERS = "ABCD"


def rows(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def drop(text, start):
    assert text.startswith(start), (text, start)
    return text[len(start):]


def labelled(question, choices, gold):
    return {"question": question, "question_stem": question, "choices": {"text": choices, "label": list(LETTERS[:len(choices)])},
            "answerKey": LETTERS[gold]}


def arc(name):
    return lambda data: [labelled(drop(r["query"], "Question: "), r["choices"], r["gold"]) for r in rows(f"{data}/eval/{name}.jsonl")]


def openbook(data):
    return [labelled(r["query"], r["choices"], r["gold"]) for r in rows(f"{data}/eval/openbook_qa.jsonl")]


def hellaswag(data):
    lines = open(glob.glob(f"{data}/eval/hellaswag*.txt")[0], encoding="utf-8").read().split("\n")
    out = []
    for i in range(0, len(lines) - 5, 6):
        label, context = lines[i].split(": ", 1)
        out.append({"activity_label": label, "ctx_a": context, "ctx_b": "", "endings": lines[i + 2:i + 6], "label": lines[i + 1]})
    return out


def piqa(data):
    return [{"goal": drop(r["query"], "Question: ").removesuffix("\n"), "sol1": r["choices"][0], "sol2": r["choices"][1], "label": r["gold"]}
            for r in rows(f"{data}/eval/piqa.jsonl")]


def winogrande(data):
    out = []
    for r in rows(f"{data}/eval/winogrande.jsonl"):
        a, b = r["context_options"]
        same = next(i for i in range(len(a)) if a[i] != b[i])
        at = a.rfind(" ", 0, same) + 1
        out.append({"sentence": a[:at] + "_ " + r["continuation"], "option1": a[at:], "option2": b[at:], "answer": str(r["gold"] + 1)})
    return out


def boolq(data):
    out = []
    for r in rows(f"{data}/eval/boolq.jsonl"):
        passage, question = drop(r["query"], "Passage: ").rsplit("\nQuestion: ", 1)
        out.append({"passage": passage, "question": question.removesuffix("?"), "label": r["gold"]})
    return out


def medqa(data):
    return [{"sent1": r["question"], **{f"ending{i}": r["options"][k] for i, k in enumerate(LETTERS)}, "label": LETTERS.index(r["answer_idx"])}
            for r in rows(glob.glob(f"{data}/eval/medqa*.jsonl")[0])]


def medmcqa(data):
    return [{k: r[k] for k in ("question", "opa", "opb", "opc", "opd")} | {"cop": r["cop"] - 1} for r in rows(glob.glob(f"{data}/eval/medmcqa*.jsonl")[0])]


def mmlu(data, subject):
    with open(glob.glob(f"{data}/eval/mmlu*/{subject}_test.csv")[0], encoding="utf-8", newline="") as f:
        return [{"question": r[0], "choices": r[1:5], "answer": LETTERS.index(r[5])} for r in csv.reader(f)]


def lambada(data):
    return [{"text": r["context"] + " " + r["continuation"]} for r in rows(f"{data}/eval/lambada_openai.jsonl")]


def gsm8k(data):
    return rows(glob.glob(f"{data}/rl/gsm8k/test*.jsonl")[0])


SETS = {"allenai/ai2_arc ARC-Easy": arc("arc_easy"), "allenai/ai2_arc ARC-Challenge": arc("arc_challenge"), "Rowan/hellaswag None": hellaswag,
        "baber/piqa None": piqa, "allenai/openbookqa main": openbook, "allenai/winogrande winogrande_xl": winogrande,
        "aps/super_glue boolq": boolq, "GBaker/MedQA-USMLE-4-options-hf None": medqa, "openlifescienceai/medmcqa None": medmcqa,
        "EleutherAI/lambada_openai default": lambada, "openai/gsm8k main": gsm8k}
TASKS = {"arc_easy": "arc_easy", "arc_challenge": "arc_challenge", "hellaswag": "hellaswag", "piqa": "piqa", "openbookqa": "openbookqa",
         "winogrande": "winogrande", "boolq": "boolq", "medqa": "medqa_4options", "medmcqa": "medmcqa", "lambada": "lambada_openai", "gsm8k": "gsm8k"}


def local_load(data):
    def load(path=None, name=None, **_):
        found = mmlu(data, name) if path == "cais/mmlu" else SETS[f"{path} {name}"](data)
        whole = datasets.Dataset.from_list(found)
        splits = {s: whole for s in ("validation", "test", "dev")}
        splits["train"] = datasets.Dataset.from_list(rows(f"{data}/rl/gsm8k/train.jsonl")[:5]) if "gsm8k" in path else whole
        return datasets.DatasetDict(splits)
    return load


# Texts that a model might write, against an answer: what the two filters take from them.
WRITTEN = ["It is 18. #### 18", "#### 1,234", "#### $5", "The answer is $1,234.50.", "-7", "#### -7", "#### 12.\n\nQuestion: next", "no number",
           "3 + 4 = 7, so 7.", "#### 42 #### 43", "####18", "#### ", "12,", "It costs $.", "... 5", "#### 7.50", "a1b22c", "#### 3.", "#### 1,000.",
           "- 5", "--5", "5-3", "2.", "$18", "##### 9", "#### 9 apples", "Four"]
REFERENCES = ["x #### 18", "#### 1,234", "#### 5", "#### 1234.50", "#### -7", "#### 7", "#### 12", "#### 42", "#### 1000", "#### 9", "#### 3", "#### 22"]


def answers(task):
    from lm_eval.api.instance import Instance
    out = []
    for text in WRITTEN:
        for reference in REFERENCES:
            doc = {"question": "?", "answer": reference}
            instance = Instance(request_type="generate_until", doc=doc, arguments=("", {}), idx=0, resps=[text])
            found = []
            for f in task._filters:
                f.apply([instance])
                found.append(int(task.process_results(doc, [instance.filtered_resps[f.name]])["exact_match"]))
            out.append([text, reference, *found])
    return out


def main():
    given = sys.argv[1:] + [None] * 4
    model = given[0] or str(HERE.parent / "shared/data/weights/stories260K/hf")
    data = given[1] or str(HERE.parent / "shared/data")
    limit = int(given[2] or 12)
    out = given[3] or str(HERE / "tests/golden/lm_eval.json")
    datasets.load_dataset = local_load(data)
    subjects = sorted(pathlib.Path(p).name.removesuffix("_test.csv") for p in glob.glob(f"{data}/eval/mmlu*/*_test.csv"))
    lm = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=8)
    manager = TaskManager()
    SAMPLER_REGISTRY["default"] = FirstNSampler
    asked = [*TASKS.values(), *(f"mmlu_{s}" for s in subjects)]
    seen = lm_eval.simple_evaluate(model=lm, tasks=asked, task_manager=manager, limit=limit, bootstrap_iters=1000, log_samples=True)
    names = dict(TASKS, **{f"mmlu_{s}": f"mmlu_{s}" for s in subjects})
    tasks, samples = {}, {}
    for ours, theirs in names.items():
        tasks[ours] = {k.replace(",none", ""): v for k, v in seen["results"][theirs].items() if isinstance(v, float)}
        listed = sorted(seen["samples"][theirs], key=lambda s: s["doc_id"])
        if ours == "gsm8k":
            listed = [s for s in listed if s["filter"] == "strict-match"]
            samples[ours] = [s["resps"][0][0] for s in listed]
        else:
            samples[ours] = [[float(r[0][0]) for r in s["resps"]] for s in listed]
    from lm_eval.api.metrics import pooled_sample_stderr
    parts = [tasks.pop(f"mmlu_{s}") for s in subjects]
    tasks["mmlu"] = {"acc": sum(p["acc"] for p in parts) / len(parts), "acc_stderr": float(pooled_sample_stderr([p["acc_stderr"] for p in parts], [limit] * len(parts)))}
    samples["mmlu"] = [row for s in subjects for row in samples.pop(f"mmlu_{s}")]
    from lm_eval.tasks import get_task_dict
    found = {"harness": lm_eval.__version__, "limit": limit, "tasks": tasks, "samples": samples, "answers": answers(get_task_dict(["gsm8k"], manager)["gsm8k"])}
    with open(out, "w", encoding="utf-8") as f:
        json.dump(found, f, indent=None, separators=(",", ":"))
        f.write("\n")
    for name, row in tasks.items():
        print(f"{name:14}", "  ".join(f"{k} {v:.4f}" for k, v in row.items()))


if __name__ == "__main__":
    main()
