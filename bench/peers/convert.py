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
    AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


def for_ctranslate2(transformers_folder, folder):
    import ctranslate2

    ctranslate2.converters.TransformersConverter(str(transformers_folder)).convert(str(folder), quantization="int8")


if __name__ == "__main__":
    {"transformers": for_transformers, "ctranslate2": for_ctranslate2}[sys.argv[1]](*map(Path, sys.argv[2:]))
