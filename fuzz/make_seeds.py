#!/usr/bin/env python3
"""Writes the inputs that fuzzing begins with: FOLDER/<target>/<name>.

    python3 fuzz/make_seeds.py FOLDER

They are the committed models, tokenizers and adapters of golden/ made small: of a model one layer of
the least width its types allow, of a vocabulary a few tokens, of an adapter the factors of one layer. All are sound: the tests hold fathom to taking
each of them. Needs the standard library only.
"""

import io
import json
import struct
import sys
import zipfile
from pathlib import Path

GOLDEN = Path(__file__).resolve().parent.parent / "golden"

# ---- Tokenizers ---------------------------------------------------------------------------------

CHARACTERS = ["a", "e", "h", "1", ".", "\u0120", "\u2581", "<0x0A>"]  # with what stands for a space in each alphabet
MERGES = 4  # kept, with all that they need


def closure_of(merges):
    """The merges with those that make their parts, as pairs in the order of `merges`."""
    made = {left + right: (left, right) for left, right in merges}
    kept, waiting = set(), merges[:MERGES]
    while waiting:
        pair = waiting.pop()
        if pair not in kept:
            kept.add(pair)
            waiting += [made[part] for part in pair if part in made]
    return [pair for pair in merges if pair in kept]


def kept_tokens(merges):
    return {*CHARACTERS, *(token for left, right in merges for token in (left, right, left + right))}


def small_tokenizer(original):
    """A tokenizer.json with few tokens, whose ids close up in their old order."""
    small = json.loads(json.dumps(original))
    model = small["model"]
    pairs = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    pairs = closure_of(pairs)
    added = {token["content"] for token in small["added_tokens"]}
    keep = kept_tokens(pairs) | added
    ids = {text: number for text, number in model["vocab"].items() if text in keep}
    ids |= {token["content"]: token["id"] for token in small["added_tokens"]}
    new_ids = {text: i for i, text in enumerate(sorted(ids, key=ids.get))}
    model["vocab"] = {text: new_ids[text] for text in new_ids if text in model["vocab"]}
    model["merges"] = [" ".join(pair) if as_text else list(pair) for pair in pairs]
    for token in small["added_tokens"]:
        token["id"] = new_ids[token["content"]]
    processor = small["post_processor"] or {}
    for processor in processor.get("processors", [processor]):
        for text, token in processor.get("special_tokens", {}).items():
            token["ids"] = [new_ids[text]]
    return small


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def tokenizer_seeds():
    for path in sorted((GOLDEN / "tokenizers").glob("*.json")):
        original = json.loads(path.read_text())
        yield path.stem, compact(small_tokenizer(original))

    # What none of the goldens has.
    gpt2 = json.loads((GOLDEN / "tokenizers" / "gpt2.json").read_text())
    splits = small_tokenizer(gpt2)
    splits["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFC"}]}
    splits["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": False},
        {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"[^\s\p{N}]+?|(?<=a)x{1,3}|(?i:'s)+"},
         "behavior": "Removed", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": True, "use_regex": False}]}
    splits["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}],
        "special_tokens": {"<|endoftext|>": {"ids": [0]}}}
    yield "splits", compact(splits)

    all_bytes = small_tokenizer(gpt2)
    model = all_bytes["model"]
    singles = [text for text in gpt2["model"]["vocab"] if len(text) == 1]
    model["vocab"] = {text: i for i, text in enumerate(["<|endoftext|>", *singles])}
    model |= {"merges": [], "unk_token": "<|endoftext|>"}
    yield "all-bytes", compact(all_bytes)


# ---- GGUF ---------------------------------------------------------------------------------------

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
F16 = 1
BLOCKS = {0: (1, 4), 1: (1, 2), 30: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24),
          8: (32, 34), 12: (256, 144), 13: (256, 176), 14: (256, 210)}  # type: elements, bytes


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self, kind):
        value = struct.unpack_from("<" + kind, self.data, self.at)[0]
        self.at += struct.calcsize("<" + kind)
        return value

    def string(self):
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at]

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            kind = self.number("I")
            return kind, [self.value(kind) for _ in range(self.number("Q"))]
        return self.number(NUMBERS[kind])


def read_gguf(data):
    """Metadata as {key: (type, value)} and tensors as {name: (shape innermost first, type)}."""
    reader = Reader(data)
    reader.at = 8
    tensor_count, key_count = reader.number("Q"), reader.number("Q")
    metadata = {}
    for _ in range(key_count):
        key = reader.string().decode()
        kind = reader.number("I")
        metadata[key] = kind, reader.value(kind)
    tensors = {}
    for _ in range(tensor_count):
        name = reader.string().decode()
        shape = [reader.number("Q") for _ in range(reader.number("I"))]
        tensors[name] = shape, reader.number("I")
        reader.number("Q")
    return metadata, tensors


def packed_string(text):
    return struct.pack("<Q", len(text)) + text


def packed_value(kind, value):
    if kind == STRING:
        return packed_string(value)
    if kind == ARRAY:
        kind, values = value
        return struct.pack("<IQ", kind, len(values)) + b"".join(packed_value(kind, v) for v in values)
    return struct.pack("<" + NUMBERS[kind], value)


def padded(data, alignment=32):
    return data + bytes(-len(data) % alignment)


def write_gguf(metadata, tensors, version=3):
    """`tensors`: {name: (shape innermost first, type, bytes)}."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        out += packed_string(key.encode()) + struct.pack("<I", kind) + packed_value(kind, value)
    data = b""
    for name, (shape, kind, content) in tensors.items():
        out += packed_string(name.encode()) + struct.pack("<I", len(shape))
        out += b"".join(struct.pack("<Q", extent) for extent in shape)
        out += struct.pack("<IQ", kind, len(data))
        data = padded(data + content)
    return padded(out) + data


def small_gguf(original):
    """One layer with one head of two dimensions, and few tokens."""
    metadata, tensors = read_gguf(original)

    tokens = [t.decode() for t in metadata["tokenizer.ggml.tokens"][1][1]]
    types = metadata["tokenizer.ggml.token_type"][1][1]
    pairs = [tuple(m.decode().split(" ")) for m in metadata["tokenizer.ggml.merges"][1][1]]
    pairs = closure_of(pairs)
    keep = kept_tokens(pairs)
    ids = [i for i, text in enumerate(tokens) if text in keep or types[i] != 1]
    metadata["tokenizer.ggml.tokens"] = ARRAY, (STRING, [tokens[i].encode() for i in ids])
    metadata["tokenizer.ggml.token_type"] = ARRAY, (5, [types[i] for i in ids])
    metadata["tokenizer.ggml.merges"] = ARRAY, (STRING, [" ".join(pair).encode() for pair in pairs])
    for key, (kind, value) in metadata.items():
        if key.endswith("_token_id"):
            metadata[key] = kind, ids.index(value)

    width = 4 if BLOCKS[tensors["token_embd.weight"][1]][0] == 1 else 32
    head, inner, vocabulary = 2, 1, len(ids)
    for key, value in {"llama.block_count": 1, "llama.embedding_length": width, "llama.attention.head_count": 1,
                       "llama.attention.head_count_kv": 1, "llama.feed_forward_length": inner,
                       "llama.attention.key_length": head, "llama.attention.value_length": head,
                       "llama.rope.dimension_count": head, "llama.vocab_size": vocabulary}.items():
        metadata[key] = 4, value
    shapes = {"token_embd": (width, vocabulary), "output": (width, vocabulary), "output_norm": (width,),
              "rope_freqs": (head // 2,), "attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, head),
              "attn_k": (width, head), "attn_v": (width, head), "attn_output": (head, width),
              "ffn_gate": (width, inner), "ffn_up": (width, inner), "ffn_down": (inner, width)}
    small = {}
    for name, (_, kind) in tensors.items():
        if name.startswith("blk.") and not name.startswith("blk.0."):
            continue
        role, part = name.removeprefix("blk.0.").split(".")
        shape = shapes[role] if part == "weight" else shapes[role][1:]
        elements, size = BLOCKS[kind]
        if shape[0] % elements != 0:
            small[f"block.{kind}"] = (elements,), kind, bytes(size)  # so that the type is there once
            kind, elements, size = F16, *BLOCKS[F16]
        count = product(shape) // elements
        content = bytes(count * size)
        if role == "rope_freqs":
            content = struct.pack("<f", 1)
        small[name] = shape, kind, content
    return write_gguf(metadata, small)


def small_tokenizer_gguf(original):
    """A model with a tokenizer of few tokens."""
    metadata, _ = read_gguf(original)
    tokens = metadata["tokenizer.ggml.tokens"][1][1]
    types = metadata["tokenizer.ggml.token_type"][1][1]
    pairs = [tuple(m.decode().split(" ")) for m in metadata.get("tokenizer.ggml.merges", (0, (0, [])))[1][1]]
    pairs = closure_of(pairs)
    keep = kept_tokens(pairs) | {"th", "the", "\u2581t", "\u2581the", "t"}
    ids = [i for i, text in enumerate(tokens) if text.decode() in keep or types[i] in (2, 3, 4)]
    for key, (kind, values) in list(metadata.items()):
        if key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"):
            metadata[key] = kind, (values[0], [values[1][i] for i in ids])
        elif key == "tokenizer.ggml.merges":
            metadata[key] = kind, (values[0], [" ".join(pair).encode() for pair in pairs])
        elif key.endswith("_token_id"):
            metadata[key] = kind, ids.index(values)
    model, tensors = read_gguf(small_gguf((GOLDEN / "tiny_gguf" / "f32.gguf").read_bytes()))
    of_model = {key: value for key, value in model.items() if not key.startswith("tokenizer.")}
    of_model["llama.vocab_size"] = 4, len(ids)
    content = {}
    for name, (shape, kind) in tensors.items():
        if name in ("token_embd.weight", "output.weight"):
            shape = shape[0], len(ids)
        content[name] = shape, kind, bytes(product(shape) // BLOCKS[kind][0] * BLOCKS[kind][1])
    tokenizer = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    return write_gguf(of_model | tokenizer, content)


def gguf_seeds():
    for path in sorted((GOLDEN / "tiny_gguf").glob("*.gguf")):
        yield path.stem, small_gguf(path.read_bytes())
    for path in sorted((GOLDEN / "tokenizers").glob("*.gguf")):
        yield f"tokenizer-{path.stem}", small_tokenizer_gguf(path.read_bytes())

    # Metadata of every type, and another alignment and version.
    metadata, tensors = read_gguf(small_gguf((GOLDEN / "tiny_gguf" / "f32.gguf").read_bytes()))
    metadata["general.alignment"] = 4, 1
    for kind in NUMBERS:
        metadata[f"x.{kind}"] = kind, 1
        metadata[f"x.array.{kind}"] = ARRAY, (kind, [0, 1])
    content = {name: (shape, kind, bytes(4 * product(shape))) for name, (shape, kind) in tensors.items()}
    yield "all-types", write_gguf(metadata, content, version=2)


def product(shape):
    result = 1
    for extent in shape:
        result *= extent
    return result


# ---- Hugging Face folders -----------------------------------------------------------------------

DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def small_safetensors(original, shape_of):
    """The tensors for which shape_of(name) is no None, in that shape, with zeros for elements."""
    length = struct.unpack_from("<Q", original)[0]
    header, small, end = json.loads(original[8 : 8 + length]), {}, 0
    for name, tensor in header.items():
        if name == "__metadata__":
            small[name] = tensor
        elif (shape := shape_of(name)) is not None:
            size = product(shape) * DTYPE_BYTES[tensor["dtype"]]
            small[name] = tensor | {"shape": shape, "data_offsets": [end, end + size]}
            end += size
    text = compact(small)
    return struct.pack("<Q", len(text)) + text + bytes(end)


def shape_in(vocabulary):
    """Shapes by tensor name in a model of one layer with two heads of four dimensions."""
    width, heads, inner = 8, 8, 2
    shapes = {"embed_tokens": [vocabulary, width], "lm_head": [vocabulary, width], "norm": [width],
              "input_layernorm": [width], "post_attention_layernorm": [width], "q_proj": [heads, width],
              "k_proj": [heads, width], "v_proj": [heads, width], "o_proj": [width, heads],
              "gate_proj": [inner, width], "up_proj": [inner, width], "down_proj": [width, inner]}

    def shape_of(name):
        if ".layers." in name and ".layers.0." not in name:
            return None
        role, part = name.split(".")[-2:]
        return shapes[role] if part == "weight" else shapes[role][:1]

    return shape_of


def safetensors_seeds():
    for folder in sorted((GOLDEN / "tiny").iterdir()):
        for path in sorted(folder.glob("*.safetensors")):
            def shape_of(name):
                return [2, 3] if "embed" in name or "lm_head" in name else [4] if "norm" in name else None
            yield f"{folder.name}-{path.stem}", small_safetensors(path.read_bytes(), shape_of)
    yield "empty", struct.pack("<Q", 2) + b"{}"


def small_folder(folder):
    """The files of a model."""
    tokenizer = small_tokenizer(json.loads((folder / "tokenizer.json").read_text()))
    vocabulary = len({**tokenizer["model"]["vocab"], **{t["content"]: 0 for t in tokenizer["added_tokens"]}})
    config = json.loads((folder / "config.json").read_text())
    config |= {"vocab_size": vocabulary, "hidden_size": 8, "intermediate_size": 2, "num_hidden_layers": 1,
               "num_attention_heads": 2, "num_key_value_heads": 2}
    if "head_dim" in config:
        config["head_dim"] = 4
    files = {"config.json": compact(config), "tokenizer.json": compact(tokenizer)}
    for name in ("generation_config.json", "tokenizer_config.json"):
        files[name] = compact(json.loads((folder / name).read_text()))
    shape_of = shape_in(vocabulary)
    for path in sorted(folder.glob("*.safetensors")):
        files[path.name] = small_safetensors(path.read_bytes(), shape_of)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        value = json.loads(index.read_text())
        value["weight_map"] = {n: shard for n, shard in value["weight_map"].items() if shape_of(n) is not None}
        files[index.name] = compact(value)
    return files


def small_old_files(folder):
    """vocab.json, merges.txt and what lies beside them, with few tokens."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    lines = files["merges.txt"].decode().splitlines()
    pairs = closure_of([tuple(line.split(" ")) for line in lines[1:]])
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    texts = special + sorted(kept_tokens(pairs) - {"\u2581", "<0x0A>", "1", "."})
    files["vocab.json"] = compact({text: number for number, text in enumerate(texts)})
    files["merges.txt"] = "".join(line + "\n" for line in lines[:1] + [" ".join(pair) for pair in pairs]).encode()
    return files


def joined(files):
    """Files one after another, each after a line "@ NAME"."""
    return b"\n".join(b"@ " + name.encode() + b"\n" + content for name, content in files.items())


def folder_seeds():
    for folder in sorted((GOLDEN / "tiny").iterdir()):
        files = small_folder(folder)
        yield folder.name, joined(files)
    files["chat_template.jinja"] = b"{{ bos_token }}{% for message in messages %}{% endfor %}"
    config = json.loads(files["tokenizer_config.json"])
    config["chat_template"] = [{"name": "default", "template": config["chat_template"]}]
    config["bos_token"] = {"content": config["bos_token"], "special": True}
    files["tokenizer_config.json"] = compact(config)
    yield "chat-template-file", joined(files)
    del files["chat_template.jinja"]
    yield "chat-template-list", joined(files)

    del files["tokenizer.json"]
    old = small_old_files(GOLDEN / "tokenizers" / "opt")
    yield "vocabulary-and-merges", joined(files | old)
    old["added_tokens.json"] = compact({"<added>": len(json.loads(old["vocab.json"]))})
    config = json.loads(old["tokenizer_config.json"])
    config["added_tokens_decoder"] = {"2": config["bos_token"]}
    config |= {"tokenizer_class": "Qwen2Tokenizer", "additional_special_tokens": ["<added>"]}
    old["tokenizer_config.json"] = compact(config)
    yield "added-tokens-files", joined(files | old)

    twin = GOLDEN / "torch_checkpoint" / "twin"
    tokenizer = small_tokenizer(json.loads((GOLDEN / "tiny" / "width-60" / "tokenizer.json").read_text()))
    files = {"config.json": (twin / "config.json").read_bytes(), "tokenizer.json": compact(tokenizer)}
    yield "torch", joined(files | {"pytorch_model.bin": (twin / "pytorch_model.bin").read_bytes()})
    shards = [*twin.glob("pytorch_model-*.bin"), twin / "pytorch_model.bin.index.json"]
    yield "torch-shards", joined(files | {path.name: path.read_bytes() for path in shards})


# ---- PyTorch checkpoints ------------------------------------------------------------------------


def checkpoints():
    """Those of golden/ that are taken."""
    for name in json.loads((GOLDEN / "torch_checkpoint" / "expected.json").read_text())["checkpoints"]:
        yield name, GOLDEN / "torch_checkpoint" / f"{name}.bin"


def zip_archive_seeds():
    for name, path in checkpoints():
        yield name, path.read_bytes()
    wide = io.BytesIO()  # with ZIP64 numbers
    with zipfile.ZipFile(GOLDEN / "torch_checkpoint" / "protocol_4.bin") as archive, zipfile.ZipFile(wide, "w") as out:
        for name in archive.namelist():
            with out.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(archive.read(name))
    yield "zip64", wide.getvalue()


def pickle_seeds():
    for name, path in checkpoints():
        if name == "no_crc":  # which Python refuses to read
            continue
        with zipfile.ZipFile(path) as archive:
            yield name, archive.read(next(entry for entry in archive.namelist() if entry.endswith("/data.pkl")))


# ---- Texts --------------------------------------------------------------------------------------


def text_seeds():
    for number, text in enumerate(json.loads((GOLDEN / "hard_strings.json").read_text())):
        yield f"{number:03}", text.encode(errors="surrogatepass")


def chat_template_seeds():
    templates = json.loads((GOLDEN / "chat_templates.json").read_text())["templates"]
    for number, entry in enumerate(templates):
        if entry["family"] is not None:  # the others are refused
            yield f"{number:02}-{entry['family']}", entry["template"].encode()


def jsonl_seeds():
    yield "prompt", b'{"prompt":"How deep is it?","response":"Ten fathoms."}\n\n{"id":7,"prompt":"","response":""}\n'
    yield "instruction", (b'{"id":"a","instruction":"Add.","input":"1 2","output":"3"}\r\n'
                          b'{"instruction":"Name a sea.","context":"","response":"The North Sea.","x":[null,1.5e3]}')
    yield "article", b' \t\n{"id":{"a":[true]},"article":"It rained.\\u00e9\\ud83c\\udf0a","highlights":"Rain."}'


def scores_seeds():
    yield "layers", b'id,4,8.5,24\na,0.1,0.25,1\n"b, ""c""",-1,0,1e-3\r\n\nd,0,0,0\n'
    yield "tokens", b"8,label_tokens,id,4,tokens_8,tokens_4\n0.5,12,a,0.25,10,200\n1,160,b,0,1,0"


# ---- Adapters and controllers --------------------------------------------------------------------


def small_adapter(folder):
    """The factors of the first layer, of rank 1, or of 1, 2, ... where there are several ranks."""
    settings = json.loads((folder / "adapter_config.json").read_text())
    tensors = (folder / "adapter_model.safetensors").read_bytes()
    length = struct.unpack_from("<Q", tensors)[0]
    header = json.loads(tensors[8 : 8 + length])
    ranks = {rank: i + 1 for i, rank in enumerate(sorted({settings["r"], *settings["rank_pattern"].values()}))}
    settings["r"] = ranks[settings["r"]]
    settings["rank_pattern"] = {key: ranks[rank] for key, rank in settings["rank_pattern"].items()}
    settings["layers_to_transform"] = [0]

    def shape_of(name):
        if ".0." not in name:
            return None
        rank, inputs = header[name]["shape"] if ".lora_A." in name else reversed(header[name]["shape"])
        return [ranks[rank], inputs] if ".lora_A." in name else [inputs, ranks[rank]]

    return {"adapter_config.json": compact(settings), "adapter_model.safetensors": small_safetensors(tensors, shape_of)}


def lora_adapter_seeds():
    for folder in sorted((GOLDEN / "adapters").iterdir()):
        if not (GOLDEN / "families" / folder.name).is_dir():
            continue
        files = small_adapter(folder)
        yield folder.name, folder.name.encode() + b"\n" + joined(files)
    # What fathom writes beside what PEFT does.
    settings = json.loads(files["adapter_config.json"])
    settings |= {"fathom_rows": "routed", "fathom_base_sha256": "0" * 64, "alpha_pattern": {"mlp.gate_proj": 0.5}, "use_rslora": True}
    yield "fathom", folder.name.encode() + b"\n" + joined(files | {"adapter_config.json": compact(settings)})


def packed_floats(dtype, values):
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{'e' if dtype == 'F16' else 'f'}", *values)


def controller_file_seeds():
    """Gates whose weights and biases are the logits of golden/gates.json."""
    rows = json.loads((GOLDEN / "gates.json").read_text())["gates"]["logits"]
    for name, dtype, kind, layers, width in [("hidden", "F32", "hidden", 5, 3), ("fixed", "F16", "fixed", 3, 1), ("bfloat16", "BF16", "hidden", 4, 2)]:
        header = {"__metadata__": {"format": "fathom skip controllers", "version": "1", "model_layers": str(layers),
                                   "gated_layers": "2" if layers == 3 else f"2-{layers - 1}", "input": kind, "alpha": "2.5",
                                   "model_sha256": "0" * 64}}
        data = b""
        for layer in range(1, layers - 1):
            executing, skipping = zip(*rows[layer : layer + width])
            for tensor, shape, values in [("weight", [2, width], executing + skipping), ("bias", [2], rows[layer])]:
                content = packed_floats(dtype, values)
                header[f"layers.{layer}.gate.{tensor}"] = {"dtype": dtype, "shape": shape,
                                                           "data_offsets": [len(data), len(data) + len(content)]}
                data += content
        text = compact(header)
        yield name, struct.pack("<Q", len(text)) + text + data


SEEDS = {
    "gguf": gguf_seeds,
    "safetensors": safetensors_seeds,
    "folder": folder_seeds,
    "zip_archive": zip_archive_seeds,
    "pickle": pickle_seeds,
    "tokenizer_json": tokenizer_seeds,
    "encode": text_seeds,
    "chat_template": chat_template_seeds,
    "jsonl": jsonl_seeds,
    "scores": scores_seeds,
    "lora_adapter": lora_adapter_seeds,
    "controller_file": controller_file_seeds,
}


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_seeds.py FOLDER")
    for target, seeds in SEEDS.items():
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in seeds():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
