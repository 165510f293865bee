#!/usr/bin/env python3
"""Makes golden/rouge.json: pairs of texts with their ROUGE by the rouge-score package, and words with their
stems by NLTK. Needs rouge-score (which brings NLTK); repeatable (the seed is fixed).

    python golden/rouge.py

Or holds the program itself to rouge-score, on drawn pairs and on pairs made of the text fields of JSON Lines
files, with and without stemming; any difference at all is counted and makes it fail:

    python golden/rouge.py --fathom build/release/fathom --drawn 2000 --rows 5000 [FILE.jsonl ...]
"""

import argparse
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import nltk
from nltk.stem import porter
from rouge_score import rouge_scorer

TYPES = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
WORDS = """the a of and to in is it that sea ship tide wind sail sailor sailors depth fathom fathoms lead line
measured measuring measures deep deeper deepest harbour anchored anchoring cats ponies ties dies died tied flies
skies dying lying news innings outing proceed exceeded happily happy enjoy enjoyment spy fly relational conditional
rational valency digitizer conformably radically differently vilely analogously vietnamization predication operator
feudalism decisiveness hopefulness hopefully callousness formality sensitivity sensibility geology geological apology
triplicate formative formalize electricity electrical hopeful goodness revival allowance inference airliner gyroscopic
adjustable defensible irritant replacement adjustment dependent adoption communism activate angularity homologous
effective bowdlerize probate rate cease controlling roll rolled falling hissing fizzed failing filing hopping tanned
agreed feed plastered bled motoring sing conflated troubled sized as us on oed aed ying yyyy syzygy toy 7 42 2024 3rd
x1 10000 a1b2ies""".split()
# Letters outside ASCII; some have a lower case in it, and some look as if they had.
STRANGE = ["İstanbul", "\u212aelvin", "ıslak", "Straße", "ﬁne", "naïve", "Ⅷ", "ΣΊΣΥΦΟΣ", "глубина", "深さを測る", "عمق",
           "１２３", "e\u0301t\u00e9", "🙂", "don't", "U.S.A.", "x²", "İİi", "K\u212ak", "\u2028", "\u0085", "a\u0000b"]
SPACES = [" ", " ", " ", " ", "  ", ", ", ". ", "-", "_", "\t", "\r\n", "\u00a0", "\u3000"]
SUFFIXES = """s es ies sses ss ed eed ied ing ating bling izing ational tional enci anci izer bli abli alli entli eli ousli
ization ation ator alism iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness
al ance ence er ic able ible ant ement ment ent sion tion ion ou ism ate iti ous ive ize e ll y ly ally fully logy""".split()
STEMS = "b y a tr tree ab yb ayb yay trouble oat private hop hopp fall fizz fil fail crep syzyg geo x8 8 ow six".split()


def draw_text(draw, words):
    """A text of about so many words, in lines."""
    parts = []
    for _ in range(words):
        word = draw.choice(WORDS if draw.random() < 0.95 else STRANGE)
        parts.append(draw.choice([str, str, str, str.upper, str.title])(word))
        parts.append("\n" if draw.random() < 0.1 else draw.choice(SPACES))
    return "".join(parts)


def like(draw, text):
    """The same text with words dropped, doubled and moved, and lines joined and split."""
    words = []
    for word in text.replace("\n", " \n ").split(" "):
        chance = draw.random()
        if chance < 0.2:
            continue
        words += [word] * (2 if chance < 0.3 else 1)
        if chance > 0.95:
            words.append("\n")
    for _ in range(len(words) // 8):
        i, j = draw.randrange(len(words)), draw.randrange(len(words))
        words[i], words[j] = words[j], words[i]
    return " ".join(words)


def fixed_pairs():
    yield from itertools.product(["", " ", "\n\n", ". , !", "深さ", "sea", "Sea\nsea", "the sea\nthe tide"], repeat=2)
    # Several longest common subsequences: which is found decides what the union of lines holds.
    for reference, prediction in [
            ("a b c d e", "a c b d\ne a b"), ("a b a b a", "b a b\na a a"), ("w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5"),
            ("x y x y\ny x y x", "y y x x\nx x y y"), ("a a a\na a", "a\na\na"), ("a b c\na b c", "c b a\nb c a\nc a b")]:
        yield prediction, reference
        yield reference, prediction
    for word in STRANGE:
        yield word, word + " " + word.lower()
    # Longer than a machine word, and by one.
    for n in (63, 64, 65, 128, 129):
        yield " ".join(f"w{i % 50}" for i in range(n)), " ".join(f"w{i % 37}" for i in range(n))


def drawn_pairs(count, seed):
    draw = random.Random(seed)
    for _ in range(count):
        size = draw.choice([1, 3, 10, 30, 70, 140])
        if draw.random() < 0.005:
            size = 700
        reference = draw_text(draw, draw.randint(0, size))
        other = like(draw, reference) if draw.random() < 0.6 else draw_text(draw, draw.randint(0, size))
        yield other, reference


def file_pairs(paths, count):
    """Pairs of texts of at most 1,500 characters: each with one like it, and with the one before it."""
    draw = random.Random(1)
    texts = []
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                texts += [value for value in row.values() if isinstance(value, str) and 0 < len(value) <= 1500]
    draw.shuffle(texts)
    pairs = []
    for before, text in itertools.pairwise(texts):
        pairs += [(like(draw, text), text), (before, text)]
        if len(pairs) >= count:
            return pairs[:count]
    sys.exit(f"the files hold {len(pairs)} pairs, fewer than {count}")


def scorers():
    return [rouge_scorer.RougeScorer(TYPES, use_stemmer=stemmer) for stemmer in (False, True)]


def scores(scorer, prediction, reference):
    """For each type: precision, recall, F1."""
    found = scorer.score(reference, prediction)
    return [[found[name].precision, found[name].recall, found[name].fmeasure] for name in TYPES]


def make_golden(path):
    plain, stemming = scorers()
    pairs = [{"prediction": prediction, "reference": reference,
              "plain": scores(plain, prediction, reference),
              "stemmed": scores(stemming, prediction, reference)}
             for prediction, reference in [*fixed_pairs(), *drawn_pairs(60, 1980)]]
    stemmer = porter.PorterStemmer()
    words = sorted({word.lower() for word in WORDS} | {stem + suffix for stem in STEMS for suffix in SUFFIXES})
    golden = {"made_with": {"rouge-score": "0.1.2", "nltk": nltk.__version__}, "types": TYPES, "pairs": pairs,
              "stems": {word: stemmer.stem(word) for word in words}}
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}"
                       for key, value in golden.items())
    path.write_text("{" + lines + "}\n", encoding="utf-8")
    print(f"{path}: {len(pairs)} pairs, {len(words)} stems")


def compare(program, pairs):
    """How many pairs' scores by the program differ from rouge-score's, stemmed or not."""
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "pairs.jsonl"
        file.write_text("".join(json.dumps({"prediction": prediction, "reference": reference}) + "\n"
                                for prediction, reference in pairs), encoding="utf-8")
        for scorer, options in zip(scorers(), ([], ["--stemmer"])):
            start = time.perf_counter()
            printed = subprocess.run([program, "rouge", "--pairs", file, "--json", *options], check=True,
                                     capture_output=True, text=True).stdout
            seconds = time.perf_counter() - start
            lines = printed.splitlines()
            assert len(lines) == len(pairs), (len(lines), len(pairs))
            wrong = 0
            for (prediction, reference), line in zip(pairs, lines):
                ours = [list(score.values()) for score in json.loads(line).values()]
                if ours != scores(scorer, prediction, reference):
                    wrong += 1
                    print("differs:", repr(prediction)[:200], repr(reference)[:200], file=sys.stderr)
            print(f"{len(pairs)} pairs {' '.join(options)}: {wrong} differ; "
                  f"the program took {seconds:.2f} s, {len(pairs) / seconds:.0f} pairs/s")
            different += wrong
    return different


def compare_stems(program, words):
    """The same for single words: a pair (word, stem) scores 1 if the program finds that stem."""
    stemmer = porter.PorterStemmer()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "words.jsonl"
        # The reference is stemmed too: where that changes nothing, the two agree only if the stem is right.
        rows = [(word, stemmer.stem(word)) for word in words if len(word) > 3]
        rows = [(word, stem) for word, stem in rows if len(stem) <= 3 or stemmer.stem(stem) == stem]
        file.write_text("".join(json.dumps({"prediction": word, "reference": stem}) + "\n" for word, stem in rows))
        printed = subprocess.run([program, "rouge", "--pairs", file, "--json", "--stemmer"], check=True,
                                 capture_output=True, text=True).stdout
    wrong = [row for row, line in zip(rows, printed.splitlines()) if json.loads(line)["rouge1"]["f1"] != 1]
    print(f"{len(rows)} words whose stem is its own stem: {len(wrong)} differ", *wrong[:5])
    return len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fathom", help="hold this program to rouge-score")
    parser.add_argument("--drawn", type=int, default=2000, help="drawn pairs to compare")
    parser.add_argument("--rows", type=int, default=5000, help="pairs of the files' texts to compare")
    parser.add_argument("files", nargs="*", help="JSON Lines")
    args = parser.parse_args()
    if args.fathom is None:
        return make_golden(pathlib.Path(__file__).parent / "rouge.json")
    different = compare(args.fathom, [*fixed_pairs(), *drawn_pairs(args.drawn, 2004)])
    words = {stem + suffix + end for stem in STEMS + WORDS for suffix in SUFFIXES for end in ["", *SUFFIXES]}
    if args.files:
        pairs = file_pairs(args.files, args.rows)
        different += compare(args.fathom, pairs)
        words.update(word for _, text in pairs for word in text.lower().split() if word.isascii() and word.isalnum())
    different += compare_stems(args.fathom, sorted(words))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
