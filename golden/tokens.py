#!/usr/bin/env python3
"""Reference values for the tokenizers, by Hugging Face's tokenizers library.

  golden/tokens.py
      Trains the small tokenizers of golden/tokenizers/ (small_tokenizers.py) and writes
      golden/tokens.json: the ids of every string of golden/hard_strings.json, and the texts of
      random ids, by each of them and by the default model's tokenizer.

  golden/tokens.py --text FILE --fathom PATH [--bytes N] [--tokenizer PATH]
      Compares `fathom tokenize` and `fathom detokenize` with the library on the first N bytes of any
      text file: on each of its lines, on pieces of many lines, and on the whole. Does so for the
      default model, for each of golden/tokenizers/ and for its GGUF file; with --tokenizer for that
      tokenizer.json, or folder of vocab.json and merges.txt, instead. Says how many were compared
      and how many differ; exits with 1 if any does.

  golden/tokens.py --characters --fathom PATH
      The same on every character of Unicode, each among letters, digits, spaces and marks.

The default model is looked for at --model, FATHOM_MODEL, and in fathom's cache folder. Its
reference is made of the vocabulary and the merges that its GGUF file holds, with the pre-tokenizer
that its publisher's tokenizer.json states (digits one by one, then GPT-2's byte level) and its
control tokens as special ones. What transformers makes of a GGUF file is not used: it need not have
that pre-tokenizer. Folders without a tokenizer.json are read with transformers. To be given to
fathom, a tokenizer is put into a model folder, or GGUF file, whose weights are zeros.

In tokens.json `ids` has special tokens recognised; `ids_as_text` holds, by the string's number, the
ids with special tokens taken as text where these differ; `decoded` likewise what the ids decode to
where that is not the string. `beginning` are the ids that go before a text. Needs `pip install
tokenizers==0.23.3 gguf==0.19.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6`.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy
import tokenizers
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

import small_tokenizers
from default_model import default_model_path
from small_tokenizers import byte_level

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT = "default-model"


def default_model(path):
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    assert (get("model"), get("pre")) == ("gpt2", "smollm")
    tokens = get("tokens")
    merges = [tuple(merge.split(" ")) for merge in get("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([t for t, kind in zip(tokens, get("token_type")) if kind == 3])
    assert tokenizer.get_vocab_size() == len(tokens)
    return tokenizer


def read_reference(path):
    """The library's tokenizer of a tokenizer.json or of a folder."""
    if path.is_file():
        return Tokenizer.from_file(str(path))
    if (path / "tokenizer.json").exists():
        return Tokenizer.from_file(str(path / "tokenizer.json"))
    from transformers import GPT2Tokenizer
    return GPT2Tokenizer.from_pretrained(path).backend_tokenizer


def references(gguf_path):
    result = {DEFAULT: default_model(gguf_path)}
    for path in sorted((HERE / "tokenizers").iterdir()):
        if path.suffix != ".gguf":
            result[path.stem] = read_reference(path)
    return result


def encode(tokenizer, strings, special=True):
    tokenizer.encode_special_tokens = not special
    return [e.ids for e in tokenizer.encode_batch(strings, add_special_tokens=False)]


def decode(tokenizer, batches):
    return tokenizer.decode_batch(batches, skip_special_tokens=False)


def write_tokenizers(strings):
    folder = HERE / "tokenizers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    contents = small_tokenizers.byte_level_tokenizers(strings)
    sentencepiece, scores = small_tokenizers.sentencepiece_tokenizers(strings)
    contents |= sentencepiece
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text + "\n")
        if name in small_tokenizers.PRE or name in scores:
            small_tokenizers.write_gguf(folder / f"{name}.gguf", name, content, scores.get(name))
    for name, files in small_tokenizers.old_folders(strings).items():
        (folder / name).mkdir()
        for file, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False) + "\n"
            (folder / name / file).write_text(text)


def write_goldens(gguf_path):
    strings = json.loads((HERE / "hard_strings.json").read_text())
    write_tokenizers(strings)
    draw = random.Random(4)
    lines = []
    for name, tokenizer in references(gguf_path).items():
        ids = encode(tokenizer, strings)
        as_text = encode(tokenizer, strings, special=False)
        texts = decode(tokenizer, ids)
        size = tokenizer.get_vocab_size()
        drawn = [[draw.randrange(size) for _ in range(draw.randrange(1, 12))] for _ in range(100)]
        golden = {
            "size": size,
            "beginning": tokenizer.encode("").ids,
            "ids": ids,
            "ids_as_text": {str(i): b for i, (a, b) in enumerate(zip(ids, as_text)) if a != b},
            "decoded": {str(i): t for i, (s, t) in enumerate(zip(strings, texts)) if s != t},
            "random_ids": drawn,
            "random_texts": decode(tokenizer, drawn),
        }
        fields = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}"
                            for k, v in golden.items())
        lines.append(f"{json.dumps(name)}: {{\n{fields}\n}}")
        print(f"{name}: {len(strings)} strings, {sum(map(len, ids))} ids, vocabulary {size}")
    header = f'"made_by": "golden/tokens.py, tokenizers {tokenizers.__version__}"'
    (HERE / "tokens.json").write_text("{\n" + ",\n".join([header] + lines) + "\n}\n")


def fathom(program, command, model, values, *options):
    lines = "".join(json.dumps(value) + "\n" for value in values)
    done = subprocess.run([program, command, "--model", model, "--lines", *options], input=lines,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {command}: exit {done.returncode}: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def compare(program, model, tokenizer, strings):
    """Prints what was compared and gives the number of differences."""
    differ = 0
    for special, options in ((True, ()), (False, ("--no-special",))):
        theirs = encode(tokenizer, strings, special)
        ours = fathom(program, "tokenize", model, strings, *options)
        assert len(ours) == len(theirs), "lines are missing"
        wrong = [i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b]
        differ += len(wrong)
        print(f"  tokenize {' '.join(options)}: {len(strings)} texts, "
              f"{sum(map(len, theirs))} ids, {len(wrong)} differ", *wrong[:5])
        if special:
            # Beside the texts' own ids, cut at random so that characters are cut too.
            draw = random.Random(5)
            batches = theirs + [ids[draw.randrange(len(ids)):] for ids in theirs if ids]
            texts = decode(tokenizer, batches)
            back = fathom(program, "detokenize", model, batches)
            wrong = [i for i, (a, b) in enumerate(zip(back, texts)) if a != b]
            differ += len(wrong)
            print(f"  detokenize: {len(batches)} sequences, {len(wrong)} differ", *wrong[:5])
    return differ


def pieces_of(path, size):
    text = pathlib.Path(path).read_bytes()[:size].decode(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    yield f"{path}: lines", lines
    # Real text out of JSON lines has line ends and quotes that the escaped form hides.
    values = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            values += [v for v in row.values() if isinstance(v, str)]
    if values:
        yield f"{path}: strings of its JSON rows", values
    yield (f"{path}: pieces of 50 lines",
           ["\n".join(lines[i:i + 50]) for i in range(0, len(lines), 50)])
    draw, at, random_pieces = random.Random(6), 0, []
    while at < len(text):
        size = draw.randrange(1, 5000)
        random_pieces.append(text[at:at + size])
        at += size
    yield f"{path}: pieces of random size", random_pieces
    yield f"{path}: the whole", [text]


def every_character():
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    forms = ["{}", "a{}b", " {}", "{} x", "1{}2", "!{}!", "  {}{}", "'{}", "e{}\u0301", "\n{}\n"]
    batches = []
    for begin in range(0, len(points), 64):
        chars = [chr(c) for c in points[begin:begin + 64]]
        batches += ["|".join(form.replace("{}", c) for c in chars) for form in forms]
    yield "every character", batches


def with_zeros(folder, source, size):
    """A model whose weights are zeros, with the tokenizer of `source`. Gives its path."""
    width, vocabulary = 32, (size, 32)
    if source.suffix == ".gguf":
        shapes = {"token_embd": vocabulary, "output_norm": (width,), "blk.0.attn_norm": (width,),
                  "blk.0.ffn_norm": (width,)} | {
            f"blk.0.{part}": (width, width) for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate",
                                                         "ffn_up", "ffn_down")}
        reader = gguf.GGUFReader(source)
        writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
        for field in reader.fields.values():
            if field.name.startswith("tokenizer."):
                of = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
                writer.add_key_value(field.name, field.contents(), field.types[0], of)
        writer.add_context_length(64)
        writer.add_embedding_length(width)
        writer.add_block_count(1)
        writer.add_feed_forward_length(width)
        writer.add_head_count(1)
        writer.add_layer_norm_rms_eps(1e-5)
        for name, shape in shapes.items():
            writer.add_tensor(f"{name}.weight", numpy.zeros(shape, numpy.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return folder / "model.gguf"
    for file in [source] if source.is_file() else source.iterdir():
        shutil.copy(file, folder / ("tokenizer.json" if source.is_file() else file.name))
    (folder / "config.json").write_text(json.dumps({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": size, "hidden_size": width,
        "intermediate_size": width, "num_hidden_layers": 1, "num_attention_heads": 1, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 64, "tie_word_embeddings": True, "hidden_act": "silu"}))
    layer = {f"self_attn.{part}_proj": (width, width) for part in "qkvo"} | {
        f"mlp.{part}_proj": (width, width) for part in ("gate", "up", "down")} | {
        "input_layernorm": (width,), "post_attention_layernorm": (width,)}
    shapes = {"model.embed_tokens": vocabulary, "model.norm": (width,)} | {
        f"model.layers.0.{part}": shape for part, shape in layer.items()}
    save_file({f"{name}.weight": numpy.zeros(shape, numpy.float16) for name, shape in shapes.items()},
              folder / "model.safetensors")
    return folder


def compared(arguments):
    """Names, models to give to fathom, and the library's tokenizers."""
    if arguments.tokenizer:
        sources = [pathlib.Path(arguments.tokenizer)]
    else:
        yield DEFAULT, arguments.model, default_model(arguments.model)
        sources = sorted((HERE / "tokenizers").iterdir())
    for source in sources:
        tokenizer = read_reference(source.with_suffix(".json") if source.suffix == ".gguf" else source)
        with tempfile.TemporaryDirectory() as folder:
            yield source.name, str(with_zeros(pathlib.Path(folder), source, tokenizer.get_vocab_size())), tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_model_path()), help="the default model")
    parser.add_argument("--text", help="a text file to compare on")
    parser.add_argument("--bytes", type=int, default=1 << 20, help="of the text, from its beginning")
    parser.add_argument("--characters", action="store_true")
    parser.add_argument("--fathom", help="the fathom program")
    parser.add_argument("--tokenizer", help="compare with this tokenizer.json, or folder, only")
    arguments = parser.parse_args()
    if not (arguments.text or arguments.characters):
        return write_goldens(arguments.model)
    if not arguments.fathom:
        parser.error("--fathom is needed")
    differ = 0
    for name, model, tokenizer in compared(arguments):
        print(f"{name}:")
        for title, strings in pieces_of(arguments.text, arguments.bytes) if arguments.text else every_character():
            print(f" {title}")
            differ += compare(arguments.fathom, model, tokenizer, strings)
    print(f"{differ} differences")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
