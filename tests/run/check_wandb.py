"""Reads the offline runs of Weights & Biases in RUN/wandb with the package's own reader and classes, and compares them with
RUN/log.jsonl: id, config, every number of every step, summary, exit code. check_wandb.py RUN"""
import glob, json, os, sys

import wandb
from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal import datastore

wandb._assert_is_internal_process = True  # what its reader asks for


def read(path):
    store, records = datastore.DataStore(), []
    store.open_for_scan(path)
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        records.append(record)
    return records


def values(items):
    return {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in items}


def numbers(group, row):
    return {f"{group}/{k}": v for k, v in row.items() if k != "step" and isinstance(v, (int, float)) and not isinstance(v, bool)}


def same(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: {str(got)[:500]}\n  not: {str(wanted)[:500]}")


run = sys.argv[1]
parts = []  # of the log, one a start or resume
for line in open(os.path.join(run, "log.jsonl")):
    row = json.loads(line)
    if row["event"] in ("start", "resume"):
        parts.append(dict(recipe=row["recipe"], hone=row["hone"], steps={}, ended=False, code=0))
    elif row["event"] in ("step", "eval"):
        parts[-1]["steps"].setdefault(row["step"], {}).update(numbers({"step": "train"}.get(row["event"], row["event"]), row))
    elif row["event"] in ("end", "stop", "failed"):
        parts[-1].update(ended=True, code=int(row["event"] == "failed"))
files = sorted(glob.glob(os.path.join(run, "wandb", "offline-run-*", "run-*.wandb")))
same("files", len(files), len(parts))
ids = set()
for path, part in zip(files, parts):
    records = read(path)
    if not part["ended"] and part["steps"]:
        part["steps"].popitem()  # killed: the step under way is not there yet
    kinds = [r.WhichOneof("record_type") for r in records]
    same("numbers", [r.num for r in records], list(range(1, len(records) + 1)))
    same("kinds", kinds, ["header", "run"] + ["history"] * len(part["steps"]) + ["summary", "exit"] * part["ended"])
    about = records[1].run
    ids.add(about.run_id)
    same("id", os.path.basename(path), f"run-{about.run_id}.wandb")
    same("name", (about.project, about.display_name), ("hone", os.path.basename(run)))
    same("config", values(about.config.update), dict(part["recipe"], hone=part["hone"]))
    newest = {}
    for record, (step, wanted) in zip(records[2:], part["steps"].items()):
        got = values(record.history.item)
        newest.update(got)
        same("step", (record.history.step.num, got.pop("_step")), (step, step))
        if not (abs(got.pop("_timestamp") - about.start_time.seconds) < 600 and 0 <= got.pop("_runtime") < 600):
            sys.exit("a time is not of this run")
        same(f"step {step}", got, wanted)
    if part["ended"]:
        same("summary", values(records[-2].summary.update), newest)
        same("exit code", records[-1].exit.exit_code, part["code"])
    print(f"{os.path.basename(path)}: {len(part['steps'])} steps, {len(newest)} keys, exit {part['code'] if part['ended'] else 'none'}: as in the log")
same("ids", len(ids), 1)
