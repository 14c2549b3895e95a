#!/usr/bin/env python3
"""check_peft.py FOLDER: exits 0 if PEFT loads each adapter FOLDER/<name> that hone wrote and finds the golden logits.

<name> is a folder of tests/golden_lora, whose factors hone read and wrote again. A UserWarning fails: PEFT warns of factors that are
missing or left over, and of keys that it does not know.
"""
import json
import os
import pathlib
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import torch  # noqa: E402
import transformers  # noqa: E402
from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

warnings.simplefilter("error", UserWarning)
root = pathlib.Path(__file__).resolve().parent.parent.parent
transformers.utils.logging.disable_progress_bar()
bad = 0
for folder in sorted(p for p in pathlib.Path(sys.argv[1]).iterdir() if p.is_dir()):
    gold = load_file(root / "tests" / "golden_lora" / folder.name / "golden.safetensors")
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    model = PeftModel.from_pretrained(model, folder).double()
    with torch.no_grad():
        off = (model(gold["ids"][0].long()).logits - gold["logits"]).norm() / gold["logits"].norm()
    print(folder.name, f"logits off by {off:.2e}")
    bad += not off < 1e-5
sys.exit(bad)
