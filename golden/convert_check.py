#!/usr/bin/env python3
"""Checks the files that `fathom convert` makes with other implementations. Not part of the tests: needs what
requirements.txt lists and, for the second half, a llama.cpp binary.

    python golden/convert_check.py --fathom build/release/fathom [--llama LLAMA_COMPLETION] [--model MODEL ...]

1. Every folder of golden/tiny/, converted to every type, is read with the gguf package. Each tensor must have the bytes
   that `gguf.quants` makes of the folder's weights, with the rows of queries and keys in llama.cpp's order, and the
   metadata must say what config.json does.
2. Every folder of golden/families/ that GGUF can say, converted to f32 and q8_0, likewise; OPT's under fathom's own names.
3. With --llama (llama.cpp's llama-completion) each of those folders that llama.cpp computes alike, converted to f32, is loaded
   by llama.cpp with float32 keys and values. On five prompts its greedy text must be that of `fathom generate --precision exact`
   on the file and on the folder. So must that of a small Llama with each of the tokenizers that GGUF can say. So must it for each --model: a GGUF file or a folder, converted to f32, too. OPT it must
   refuse as an architecture that it does not know.

Prints what was compared; exits with 1 if anything differs.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import safetensors
import torch
import transformers
from gguf import GGMLQuantizationType as Type

import families
from tiny_gguf import gguf_name, rope_frequency_factors, rotated_heads, to_gguf_order

TINY = Path(__file__).resolve().with_name("tiny")
FAMILIES = Path(__file__).resolve().with_name("families")
NOT_IN_GGUF = {"smollm3-window", "mistral-no-window", "gpt2-scaled"}
# llama.cpp knows no windows in the architectures of the first two, no biases of the output in that of the third.
NOT_IN_LLAMA = {"mistral", "qwen2-window", "qwen3-window", "gemma3-newer"}
TYPES = {"f32": Type.F32, "f16": Type.F16, "bf16": Type.BF16, "q8_0": Type.Q8_0, "q4_0": Type.Q4_0, "q4_1": Type.Q4_1}
FILE_TYPES = {"f32": 0, "f16": 1, "bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3}
PROMPTS = ["The sea is", "Once upon a time", "1, 2, 3, 4,", "def main():", "Why is the sky blue?"]
NEW_TOKENS = 32


def folder_weights(folder):
    """Name and float32 values of each tensor."""
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, "pt") as file:
            for name in file.keys():
                yield name, file.get_tensor(name).to(torch.float32).numpy()


def expected_type(kind, name, rows, tied):
    """The rule of docs/formats.md."""
    if rows.ndim == 1:
        return Type.F32
    if rows.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] != 0:
        return Type.F16
    head = name == ("token_embd.weight" if tied else "output.weight")
    return Type.Q8_0 if head and kind in (Type.Q4_0, Type.Q4_1) else kind


def expected_tensors(folder, config, kind):
    tied = config["tie_word_embeddings"]
    for key, rows in folder_weights(folder):
        name = gguf_name(key)
        if heads := rotated_heads(name, config):
            rows = to_gguf_order(rows, heads)
        stored = expected_type(kind, name, rows, tied)
        yield name, stored, rows.shape, gguf.quants.quantize(np.ascontiguousarray(rows), stored).tobytes()


def check_metadata(reader, folder, config, kind):
    get = lambda key: reader.fields[key].contents() if key in reader.fields else None
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = {i: token for token, i in tokenizer["model"]["vocab"].items()} | {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    expected = {
        "general.architecture": "llama", "general.name": folder.name, "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": 2, "llama.block_count": config["num_hidden_layers"],
        "llama.context_length": config["max_position_embeddings"], "llama.embedding_length": config["hidden_size"],
        "llama.feed_forward_length": config["intermediate_size"], "llama.attention.head_count": config["num_attention_heads"],
        "llama.attention.head_count_kv": config["num_key_value_heads"], "llama.vocab_size": config["vocab_size"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": [tokens[i] for i in range(len(tokens))],
        "tokenizer.ggml.merges": [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": config["bos_token_id"], "tokenizer.ggml.padding_token_id": config["pad_token_id"],
        "llama.rope.scaling.factor": rope.get("factor") if rope.get("rope_type", rope.get("type")) in ("linear", "yarn") else None,
    }
    wrong = {key: (get(key), value) for key, value in expected.items() if get(key) != value}
    epsilon = get("llama.attention.layer_norm_rms_epsilon")
    if not np.isclose(epsilon, config["rms_norm_eps"], rtol=1e-6):
        wrong["epsilon"] = (epsilon, config["rms_norm_eps"])
    return [f"{key}: {found} found, {value} expected" for key, (found, value) in wrong.items()]


def check_file(folder, path, kind):
    """Problems, and how many tensors were compared."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    reader = gguf.GGUFReader(path)
    problems = check_metadata(reader, folder, config, kind)
    found = {tensor.name: tensor for tensor in reader.tensors}
    compared = 0
    for name, stored, shape, data in expected_tensors(folder, config, TYPES[kind]):
        problem, compared = tensor_problem(found.pop(name, None), name, stored, shape, data), compared + 1
        problems += [problem] if problem else []
    factors = found.pop("rope_freqs.weight", None)
    scaling = (config.get("rope_scaling") or {})
    if scaling.get("rope_type") == "llama3":
        rope = scaling | {"rope_theta": config["rope_theta"]}
        if factors is None or not np.allclose(factors.data, rope_frequency_factors(config | {"rope_parameters": rope}), rtol=1e-6):
            problems.append("rope_freqs.weight: missing or otherwise")
    elif factors is not None:
        problems.append("rope_freqs.weight: not expected")
    return problems + [f"{name}: not expected" for name in found], compared


def family_tensors(folder, config, kind):
    """Name, type, shape and bytes of what a folder of another family than Llama becomes."""
    family = config["model_type"]
    full = families.AutoConfig.from_pretrained(folder)
    for key, tensor in folder_weights(folder):
        prefix = {"gpt2": "transformer.", "opt": "model."}.get(family, "model.")
        name = key if key.startswith((prefix, "lm_head")) else prefix + key
        rows = families.gguf_rows(name, torch.from_numpy(tensor), family, full)
        name = families.gguf_name(name, family, full.num_hidden_layers)
        precise = "norm" in name or name.startswith("position_embd")
        stored = Type.F32 if precise else expected_type(kind, name, rows, config.get("tie_word_embeddings", True))
        yield name, stored, rows.shape, gguf.quants.quantize(np.ascontiguousarray(rows), stored).tobytes()


def check_family(folder, path, kind):
    """Problems, and how many tensors were compared."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    problems, compared = [], 0
    for name, stored, shape, data in family_tensors(folder, config, TYPES[kind]):
        problem, compared = tensor_problem(found.pop(name, None), name, stored, shape, data), compared + 1
        problems += [problem] if problem else []
    return problems + [f"{name}: not expected" for name in found if name != "rope_freqs.weight"], compared


def tensor_problem(tensor, name, stored, shape, data):
    if tensor is None:
        return f"{name}: missing"
    if (tensor.tensor_type, tuple(reversed(tensor.shape.tolist()))) != (stored, shape):
        return f"{name}: {tensor.tensor_type.name} {tensor.shape}, {stored.name} {shape} expected"
    return None if tensor.data.tobytes() == data else f"{name}: other bytes"


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, check=True).stdout


ENDS = ("<|endoftext|>", "<|im_end|>")  # which llama.cpp takes for ends whatever the file says


def visible(text):
    """ASCII but for spaces: all that can be compared where bytes are tokens, since fathom, as Hugging Face does, puts U+FFFD for
    each byte of a run that is no UTF-8, and llama.cpp prints the bytes."""
    return re.sub(r"[^!-~]", "", text)


def fathom_text(fathom, model, prompt):
    said = json.loads(run(fathom, "generate", "--model", model, "--raw", "--prompt", prompt, "--precision", "exact",
                          "--max-new-tokens", NEW_TOKENS, "--json"))
    # As llama.cpp prints it: with special tokens, the last one among them.
    text_of = lambda tokens: json.loads(run(fathom, "detokenize", "--model", model, "--json", json.dumps(tokens)))["text"]
    if has_byte_tokens(model):
        return visible("".join(text_of([token]) for token in said["tokens"])), said["tokens"]
    return text_of(said["tokens"]), said["tokens"]


def has_byte_tokens(model):
    return model.is_file() and gguf.GGUFReader(model).fields["tokenizer.ggml.model"].contents() == "llama"


def beta_options(model):
    """llama.cpp reads YaRN's betas from few architectures' files; from others it takes them as options."""
    fields = gguf.GGUFReader(model).fields
    for name in ("fast", "slow"):
        if field := fields.get(f"llama.rope.scaling.yarn_beta_{name}"):
            yield from (f"--yarn-beta-{name}", str(field.contents()))


def llama_text(llama, model, prompt):
    out = run(llama, "-m", model, "-p", prompt, "-n", NEW_TOKENS, "--temp", "0", "--cache-type-k", "f32", "--cache-type-v", "f32",
              "-fa", "off", "-no-cnv", "--no-display-prompt", "--simple-io", "--special", "-t", "1", "--no-warmup", *beta_options(model))
    return re.sub(r"( \[end of text\])?\n*\Z", "", out.decode("utf-8", errors="replace"))


def compare_with_llama(fathom, llama, source, converted):
    """Problems, and how many tokens were compared. The line ends with which llama-completion ends are left out on both
    sides."""
    problems, compared = [], 0
    for prompt in PROMPTS:
        ours, tokens = fathom_text(fathom, converted, prompt)
        compared += len(tokens)
        if fathom_text(fathom, source, prompt)[1] != tokens:
            problems.append(f"{prompt!r}: the source gives other tokens in fathom")
        theirs = agrees(llama, converted, prompt, ours)
        if theirs is not None:
            problems.append(f"{prompt!r}: fathom {ours!r}, llama.cpp {theirs!r}")
    return problems, compared


def before_end(text):
    for end in ENDS:
        text = text.split(end)[0]
    return text


def agrees(llama, model, prompt, ours):
    """None if llama.cpp's text is ours, else what it said. llama-completion prints from a thread of its own and now and
    then ends before all is printed, so a text that is the beginning of ours is asked for again; any other is final. It
    prints no NUL."""
    ours = before_end(ours.replace("\0", "")).rstrip("\n")
    for _ in range(20):
        theirs = before_end(llama_text(llama, model, prompt))
        if has_byte_tokens(model):
            theirs = visible(theirs)
        if theirs == ours:
            return None
        if not ours.startswith(theirs.rstrip("\ufffd")):
            break
    return theirs


def refuses(llama, model):
    """Whether llama.cpp says that it does not know the architecture; it may end before it has printed that."""
    for _ in range(20):
        ended = subprocess.run([str(llama), "-m", str(model), "-p", "a", "-n", "1", "-no-cnv"], capture_output=True)
        if ended.returncode != 0 and b"unknown model architecture" in ended.stderr:
            return True
    return False


def usual_scale(folder, scratch):
    """The folder, or where its attention is scaled as llama.cpp does not expect, a copy that is scaled as usual."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("query_pre_attn_scalar", config.get("head_dim")) == config.get("head_dim"):
        return folder
    copy = scratch / f"{folder.name} with the usual scale"
    shutil.copytree(folder, copy)
    (copy / "config.json").write_text(json.dumps(config | {"query_pre_attn_scalar": config["head_dim"]}))
    return copy


def with_tokenizer(name, scratch):
    """A small random Llama with one of the tokenizers of golden/tokenizers/."""
    folder = scratch / f"Llama with the tokenizer {name}"
    source = FAMILIES.with_name("tokenizers") / f"{name}.json"
    content = json.loads(source.read_text(encoding="utf-8"))
    size = 1 + max([*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])])
    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=size, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                                      num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copy(source, folder / "tokenizer.json")
    return folder


def report(what, problems, compared):
    print(f"{what}: {compared}, {'all equal' if not problems else f'{len(problems)} problems'}")
    for problem in problems:
        print(f"    {problem}")
    return bool(problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", type=Path, required=True)
    parser.add_argument("--llama", type=Path, help="llama.cpp's llama-completion")
    parser.add_argument("--model", type=Path, action="append", default=[])
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "model.gguf"
        for folder in sorted(TINY.iterdir()):
            for kind in TYPES:
                run(arguments.fathom, "convert", folder, out, "--type", kind)
                problems, compared = check_file(folder, out, kind)
                failed |= report(f"{folder.name} as {kind}", problems, f"{compared} tensors")
        others = [folder for folder in sorted(FAMILIES.iterdir()) if folder.name not in NOT_IN_GGUF]
        for folder in others:
            for kind in ("f32", "q8_0"):
                run(arguments.fathom, "convert", folder, out, "--type", kind)
                problems, compared = check_family(folder, out, kind)
                failed |= report(f"{folder.name} as {kind}", problems, f"{compared} tensors")
        known = [usual_scale(folder, Path(scratch)) for folder in others if not folder.name.startswith("opt") and folder.name not in NOT_IN_LLAMA]
        for folder in [folder for folder in others if folder.name.startswith("opt")] if arguments.llama else []:
            run(arguments.fathom, "convert", folder, out, "--type", "f32")
            failed |= report(f"{folder.name} in llama.cpp", [] if refuses(arguments.llama, out) else ["not refused"], "refused")
        known += [with_tokenizer(name, Path(scratch)) for name in ("gpt2", "smollm", "llama-bpe", "qwen2", "tekken", "llama2", "gemma")]
        for model in sorted(TINY.iterdir()) + known + arguments.model if arguments.llama else []:
            run(arguments.fathom, "convert", model, out, "--type", "f32")
            problems, compared = compare_with_llama(arguments.fathom, arguments.llama, model, out)
            failed |= report(f"{model.name} in llama.cpp", problems, f"{compared} tokens of {len(PROMPTS)} prompts")
    sys.exit(failed)


if __name__ == "__main__":
    main()
