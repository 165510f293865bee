#!/usr/bin/env python3
"""Reference values for the tokenizers, by Hugging Face's tokenizers library.

  golden/tokens.py
      Trains the small tokenizers of golden/tokenizers/ and writes golden/tokens.json: the ids of
      every string of golden/hard_strings.json, and the texts of random ids, by each of them and by
      the default model's tokenizer.

  golden/tokens.py --text FILE --fathom PATH
      Compares `fathom tokenize` and `fathom detokenize` with the library on any text file: on each
      of its lines, on pieces of many lines, and on the whole. Says how many were compared and how
      many differ; exits with 1 if any does.

  golden/tokens.py --characters --fathom PATH
      The same on every character of Unicode, each among letters, digits, spaces and marks.

The default model is looked for at --model, FATHOM_MODEL, and in fathom's cache folder. Its
reference is made of the vocabulary and the merges that its GGUF file holds, with the pre-tokenizer
that its publisher's tokenizer.json states (digits one by one, then GPT-2's byte level) and its
control tokens as special ones. What transformers makes of a GGUF file is not used: it need not have
that pre-tokenizer.

In tokens.json `ids` has special tokens recognised; `ids_as_text` holds, by the string's number, the
ids with special tokens taken as text where these differ; `decoded` likewise what the ids decode to
where that is not the string. Needs `pip install tokenizers==0.23.3 gguf==0.19.0`.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

import tokenizers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

from default_model import default_model_path

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT = "default-model"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def default_model(path):
    import gguf
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


def train(strings, pre_tokenizer, special, alphabet, size, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False,
                                  initial_alphabet=sorted(alphabet))
    tokenizer.train_from_iterator(strings, trainer)
    return tokenizer


def edited(tokenizer, edit):
    """The tokenizer with its JSON changed as files of other makers have it."""
    content = json.loads(tokenizer.to_str())
    edit(content)
    return content


def small_tokenizers(strings):
    """The contents of golden/tokenizers/: one for each kind of file that is read."""
    full = pre_tokenizers.ByteLevel.alphabet()
    end = ["<|endoftext|>"]
    result = {}

    def legacy_merges(content):  # strings, as before tokenizers 0.20
        content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]

    result["gpt2"] = edited(train(strings, byte_level(True), end, full, 500), legacy_merges)

    def smollm_digits(content):
        content["model"]["unk_token"] = None

    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                      byte_level(True)])
    # Trained on ASCII only and so without tokens for most bytes.
    result["smollm"] = edited(train([s for s in strings if s.isascii() and s.isprintable()], digits,
                                    end + ["<|im_start|>", "<|im_end|>"], [], 300), smollm_digits)

    llama = train(strings, pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), byte_level(False)]), [], full, 480)
    llama.add_special_tokens(["<|begin_of_text|>", "<|endoftext|>", "<|im_end|>"])
    llama.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A",
                                      special_tokens=[("<|begin_of_text|>", 480)])])

    def words_without_merges(content):
        vocabulary = content["model"]["vocab"]
        for token in content["added_tokens"]:
            token["id"] += 4
        content["post_processor"]["processors"][1]["special_tokens"]["<|begin_of_text|>"]["ids"] = [484]
        for word in ["Ġlazy", "ipsum", "...", "ä½łå¥½"]:  # no merge makes these
            assert word not in vocabulary
            vocabulary[word] = len(vocabulary)
        content["model"]["ignore_merges"] = True

    result["llama-bpe"] = edited(llama, words_without_merges)

    qwen = train(strings, pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN2), "isolated"), byte_level(False)]), [], full, 480,
        normalizers.NFC())
    qwen.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    result["qwen2"] = edited(qwen, lambda content: None)

    added = train(strings, byte_level(True, prefix=True), end, full, 400, normalizers.NFC())
    added.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    added.add_tokens([
        AddedToken("<gap>", rstrip=True), AddedToken("<word>", single_word=True),
        AddedToken("<long>"), AddedToken("<longer>", lstrip=True, rstrip=True),
        AddedToken("cafe\u0301", normalized=True), AddedToken("e\u0301t", normalized=False),
        AddedToken("caf\u00e9s", normalized=True), AddedToken("ipsum dolor")])
    result["added-tokens"] = edited(added, lambda content: None)
    return result


def references(gguf):
    result = {DEFAULT: default_model(gguf)}
    for path in sorted((HERE / "tokenizers").glob("*.json")):
        result[path.stem] = Tokenizer.from_file(str(path))
    return result


def encode(tokenizer, strings, special=True):
    tokenizer.encode_special_tokens = not special
    return [e.ids for e in tokenizer.encode_batch(strings, add_special_tokens=False)]


def decode(tokenizer, batches):
    return tokenizer.decode_batch(batches, skip_special_tokens=False)


def write_goldens(gguf):
    strings = json.loads((HERE / "hard_strings.json").read_text())
    (HERE / "tokenizers").mkdir(exist_ok=True)
    for name, content in small_tokenizers(strings).items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (HERE / "tokenizers" / f"{name}.json").write_text(text + "\n")
    draw = random.Random(4)
    lines = []
    for name, tokenizer in references(gguf).items():
        ids = encode(tokenizer, strings)
        as_text = encode(tokenizer, strings, special=False)
        texts = decode(tokenizer, ids)
        size = tokenizer.get_vocab_size()
        drawn = [[draw.randrange(size) for _ in range(draw.randrange(1, 12))] for _ in range(100)]
        golden = {
            "size": size,
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


def pieces_of(path):
    text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
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


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(default_model_path()), help="the default model")
    parser.add_argument("--text", help="a text file to compare on")
    parser.add_argument("--characters", action="store_true")
    parser.add_argument("--fathom", help="the fathom program")
    parser.add_argument("--tokenizer", help="compare with this tokenizer.json instead of the model's")
    arguments = parser.parse_args()
    if not (arguments.text or arguments.characters):
        return write_goldens(arguments.model)
    if not arguments.fathom:
        parser.error("--fathom is needed")
    model, tokenizer = arguments.model, None
    if arguments.tokenizer:
        model, tokenizer = arguments.tokenizer, Tokenizer.from_file(arguments.tokenizer)
    else:
        tokenizer = default_model(arguments.model)
    differ = 0
    for title, strings in pieces_of(arguments.text) if arguments.text else every_character():
        print(title)
        differ += compare(arguments.fathom, model, tokenizer, strings)
    print(f"{differ} differences")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
