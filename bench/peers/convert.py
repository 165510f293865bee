"""Makes a model's folder for a peer: for transformers of a GGUF file, in float32; for CTranslate2 of that, in int8.

Usage: convert.py transformers MODEL.gguf FOLDER
       convert.py ctranslate2 TRANSFORMERS_FOLDER FOLDER
"""

import sys
from pathlib import Path


def for_transformers(gguf, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # Its weights are floats by now, but it is marked as quantised, and such a model cannot be saved.
    weights, config = read.state_dict(), read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(weights)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def for_ctranslate2(transformers_folder, folder):
    import ctranslate2

    ctranslate2.converters.TransformersConverter(str(transformers_folder)).convert(str(folder), quantization="int8")


if __name__ == "__main__":
    {"transformers": for_transformers, "ctranslate2": for_ctranslate2}[sys.argv[1]](*map(Path, sys.argv[2:]))
