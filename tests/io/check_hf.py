#!/usr/bin/env python3
"""check_hf.py PARENT: exits 0 if transformers loads every folder in PARENT, written by hone, without one warning.

Any warning of Python or of transformers' loggers fails; so does a weight that is missing, left over or of another shape,
and a tensor that differs from the file.
"""
import logging
import os
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
said = []


class Recorder(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())


warnings.simplefilter("always")
warnings.showwarning = lambda message, category, *rest: said.append(f"{category.__name__}: {message}")
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

said.clear()  # what importing says is not about our folder
for name in ("", "transformers", "huggingface_hub"):
    logging.getLogger(name).addHandler(Recorder())
transformers.logging.disable_progress_bar()


def check(folder):
    said.clear()
    config = transformers.AutoConfig.from_pretrained(folder)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    generation = transformers.GenerationConfig.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for key, names in info.items():
        if names:
            said.append(f"{key}: {names}")
    state = model.state_dict()
    for name, tensor in load_file(os.path.join(folder, "model.safetensors")).items():
        if not torch.equal(tensor, state[name]):
            said.append(f"{name} differs from the file")
    if config.tie_word_embeddings and model.lm_head.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        said.append("the head is not tied")
    if tokenizer("ab")["input_ids"] != [5]:
        said.append(f"the tokenizer gives {tokenizer('ab')['input_ids']}")
    if tokenizer.eos_token != "<|end|>":
        said.append(f"eos_token is {tokenizer.eos_token}")
    if generation.eos_token_id != config.eos_token_id:
        said.append(f"generation_config says eos {generation.eos_token_id}, config {config.eos_token_id}")
    with torch.no_grad():
        model(torch.tensor([[1, 3, 4, 5] * 5]))
        model.generate(torch.tensor([[3, 4]]), attention_mask=torch.ones(1, 2, dtype=torch.long), max_new_tokens=3, do_sample=False, pad_token_id=0)


failed = False
folders = sorted(entry.path for entry in os.scandir(sys.argv[1]) if entry.is_dir())
for folder in folders:
    try:
        check(folder)
    except Exception as error:  # what transformers refuses is a finding like the others
        said.append(f"{type(error).__name__}: {error}")
    for line in said:
        print(f"{folder}: {line}", file=sys.stderr)
    failed = failed or bool(said)
sys.exit(1 if failed or not folders else 0)
