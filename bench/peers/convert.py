"""Makes of a GGUF file what transformers and CTranslate2 read: float32 weights, and int8 ones made of those.

Usage: convert.py MODEL.gguf TRANSFORMERS_FOLDER CTRANSLATE2_FOLDER
"""

import sys
from pathlib import Path

import ctranslate2
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    gguf, transformers_folder, ctranslate2_folder = map(Path, sys.argv[1:])
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32).save_pretrained(transformers_folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(transformers_folder)
    converter = ctranslate2.converters.TransformersConverter(str(transformers_folder))
    converter.convert(str(ctranslate2_folder), quantization="int8")


if __name__ == "__main__":
    main()
