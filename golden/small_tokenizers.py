"""The small tokenizers of golden/tokenizers/, trained on our own strings: one for each kind of file that is read.

tokens.py writes them. SentencePiece's kind is trained here with the tokenizers library, too: what makes a file
SentencePiece's is its pipeline and its merges, which a converter derives from the scores of the pieces.
"""

import json

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

SPACE = "\u2581"
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + REST
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


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


def byte_level_tokenizers(strings):
    """Contents by name."""
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

    tekken = train(strings, pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(TEKKEN), "isolated"), byte_level(False)]),
        [AddedToken(text, special=True, normalized=False) for text in ("<unk>", "<s>", "</s>", "[INST]", "[/INST]")],
        full, 480)
    tekken.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])

    def whole_words(content):
        content["model"]["ignore_merges"] = True

    result["tekken"] = edited(tekken, whole_words)

    # Bytes without a token are the unknown token, together where they stand together.
    def unknown(content):
        content["model"] |= {"unk_token": "<|endoftext|>", "fuse_unk": True}

    result["unknown-bytes"] = edited(train([s for s in strings if s.isascii() and s.isprintable()][:60],
                                           byte_level(True), end, [], 100), unknown)
    return result


# SentencePiece's kind.


def pieces_of(strings, count):
    """The texts of `count` tokens, most frequent first, in which SPACE stands at the beginning only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=count, show_progress=False, limit_alphabet=150)
    tokenizer.train_from_iterator(strings, trainer)
    merged = [left + right for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
    letters = [token for token in tokenizer.get_vocab() if len(token) == 1]
    return list(dict.fromkeys(merged)) + sorted(letters)


def merges_by_score(scores):
    """Every way to join two pieces to a third: that of the highest score first, then that of the longest left."""
    merges = [(score, left, piece[len(left):]) for piece, score in scores.items()
              for left in (piece[:cut] for cut in range(1, len(piece)))
              if left in scores and piece[len(left):] in scores]
    merges.sort(key=lambda merge: (-merge[0], -len(merge[1])))
    return [[left, right] for _, left, right in merges]


def token(text, special=True, normalized=False, **flags):
    return {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized,
            "special": special} | flags


def sentencepiece(pieces, special, user_defined=(), more_added=()):
    """A tokenizer.json but for its pipeline, and the scores of its tokens: special ones, bytes, then pieces."""
    texts = list(special) + BYTES + list(user_defined) + list(pieces)
    vocabulary = {text: number for number, text in enumerate(texts)}
    assert len(vocabulary) == len(texts)
    scores = {text: 0.0 for text in user_defined} | {text: float(-rank) for rank, text in enumerate(pieces, 1)}
    added = [token(text) for text in special] + [token(text, special=False) for text in user_defined] + list(more_added)
    for entry in added:
        entry["id"] = vocabulary.setdefault(entry["content"], len(vocabulary))
    content = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {text: number for text, number in vocabulary.items() if number < len(texts)},
                  "merges": merges_by_score(scores)}}
    return content, scores


REPLACE_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
TO_TEXT = [{"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


def beginning(text, number):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": text, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {text: {"id": text, "ids": [number], "tokens": [text]}}}


def sentencepiece_tokenizers(strings):
    """Contents by name, and the scores by name of those that are written as GGUF, too."""
    result, scores = {}, {}
    pieces = pieces_of(strings, 420)
    special = ["<unk>", "<s>", "</s>"]

    # Llama 2, TinyLlama, Mistral 7B v0.1: a space before every text, also after an added token.
    llama, scores["llama2"] = sentencepiece(pieces, special)
    llama["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, REPLACE_SPACE]}
    llama["post_processor"] = beginning("<s>", 1)
    llama["decoder"] = {"type": "Sequence", "decoders": TO_TEXT + [STRIP]}
    result["llama2"] = llama

    # Mistral 7B v0.3 and newer conversions of Llama 2: a space before the whole text only.
    mistral, _ = sentencepiece(pieces, special + ["[INST]", "[/INST]"], more_added=[
        token("ipsum dolor", special=False, normalized=True), token("<turn>", special=False, normalized=True, rstrip=True)])
    mistral["pre_tokenizer"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False}
    mistral["post_processor"] = beginning("<s>", 1)
    mistral["decoder"] = {"type": "Sequence", "decoders": TO_TEXT + [STRIP]}
    result["mistral"] = mistral

    # An added token that is sought in normalised text, which begins with a space.
    legacy, _ = sentencepiece(pieces[:60], special, more_added=[token("<turn>", special=False, normalized=True)])
    legacy["normalizer"] = llama["normalizer"]
    legacy["decoder"] = llama["decoder"]
    result["llama2-normalized"] = legacy

    # Gemma: no space is put before; runs of spaces and line ends are tokens.
    runs = [mark * count for mark in ("\n", SPACE) for count in range(2, 9)]
    gemma, scores["gemma"] = sentencepiece(["\n"] + [p for p in pieces if p not in ["\n"] + runs],
                                           ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
                                           runs + ["<table>"])
    gemma["normalizer"] = REPLACE_SPACE
    gemma["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious",
                              "invert": False}
    gemma["post_processor"] = beginning("<bos>", 2)
    gemma["decoder"] = {"type": "Sequence", "decoders": TO_TEXT}
    result["gemma"] = gemma

    # Each way to cut, and unknown characters one by one.
    splits, _ = sentencepiece([p for p in pieces if p.isascii() or p.startswith(SPACE)][:150], special)
    splits["model"] |= {"fuse_unk": False, "byte_fallback": False}
    splits["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"String": "the"}, "behavior": "MergedWithNext", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"\p{P}"}, "behavior": "Contiguous", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"[aeiou]"}, "behavior": "MergedWithPrevious", "invert": False},
        {"type": "Split", "pattern": {"Regex": r"[A-Z]"}, "behavior": "MergedWithNext", "invert": True},
        {"type": "Split", "pattern": {"Regex": r"\t+"}, "behavior": "Removed", "invert": False},
        {"type": "Digits", "individual_digits": False},
        {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": True}]}
    splits["decoder"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": True}
    result["splits"] = splits

    # Unknown characters in a row as one, but for those whose bytes all have tokens.
    fused, _ = sentencepiece(pieces[:150], special)
    vocabulary = fused["model"]["vocab"]
    for number, text in enumerate(BYTES[0x80:0xC3]):  # which no character can be written with
        vocabulary[f"<unused {number}>"] = vocabulary.pop(text)
    fused["pre_tokenizer"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    fused["decoder"] = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}
    result["fused-unknown"] = fused
    return result, scores


# GGUF.

PRE = {"gpt2": "gpt-2", "smollm": "smollm", "llama-bpe": "llama-bpe", "qwen2": "qwen2", "tekken": "tekken"}


def add_to_gguf(writer, name, content, scores):
    """The metadata of a tokenizer, as llama.cpp's converter writes it."""
    kinds = {entry["content"]: entry["special"] for entry in content["added_tokens"]}
    ids = content["model"]["vocab"] | {entry["content"]: entry["id"] for entry in content["added_tokens"]}
    tokens = sorted(ids, key=ids.get)
    types = [gguf.TokenType.UNKNOWN if text == "<unk>" else
             gguf.TokenType.CONTROL if kinds.get(text) else
             gguf.TokenType.USER_DEFINED if text in kinds else
             gguf.TokenType.BYTE if text in BYTES and scores else gguf.TokenType.NORMAL for text in tokens]
    template = content["post_processor"]
    for processor in (template or {}).get("processors", [template] if template else []):
        for entry in processor.get("special_tokens", {}).values():
            writer.add_bos_token_id(entry["ids"][0])
            writer.add_add_bos_token(True)
    if not scores:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(PRE[name])
        merges = content["model"]["merges"]
        writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    else:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([scores.get(text, 0.0) for text in tokens])
        writer.add_add_space_prefix(content["normalizer"]["type"] == "Sequence")
        # What the user defines is sought in texts as they are.
        tokens = [text.replace(SPACE, " ") if kind == gguf.TokenType.USER_DEFINED else text
                  for text, kind in zip(tokens, types)]
    writer.add_token_list(tokens)
    writer.add_token_types(types)


def write_gguf(path, name, content, scores):
    """A file that holds a tokenizer and no model."""
    writer = gguf.GGUFWriter(path, "llama")
    add_to_gguf(writer, name, content, scores)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


# Folders without a tokenizer.json.


def old_folders(strings):
    """Files by name in the folders of tokenizers that are no tokenizer.json."""
    content = json.loads(train(strings, byte_level(True), [], pre_tokenizers.ByteLevel.alphabet(), 420).to_str())
    merges = "#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in content["model"]["merges"])
    texts = sorted(content["model"]["vocab"], key=content["model"]["vocab"].get)

    def vocabulary(special):
        return {text: number for number, text in enumerate(special + texts)}

    end = token("</s>", normalized=True)
    opt = {"vocab.json": vocabulary(["<s>", "<pad>", "</s>", "<unk>"]), "merges.txt": merges,
           "special_tokens_map.json": {"bos_token": end, "eos_token": end, "unk_token": end,
                                       "pad_token": token("<pad>", normalized=True)},
           "tokenizer_config.json": {"errors": "replace", "bos_token": end, "eos_token": end, "unk_token": end,
                                     "pad_token": token("<pad>", normalized=True), "add_prefix_space": False,
                                     "add_bos_token": True, "tokenizer_class": "GPT2Tokenizer"}}
    gpt2 = {"vocab.json": vocabulary(["<|endoftext|>"]), "merges.txt": merges,
            "added_tokens.json": {"<|pad|>": len(texts) + 1, "lazy dog": len(texts) + 2},
            "special_tokens_map.json": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
                                        "unk_token": "<|endoftext|>", "pad_token": "<|pad|>"},
            "tokenizer_config.json": {"add_prefix_space": True, "tokenizer_class": "GPT2Tokenizer"}}
    return {"opt": opt, "gpt2-files": gpt2}
