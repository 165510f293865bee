#!/usr/bin/env python3
"""Writes src/text/unicode_tables.h: how Hugging Face tokenizers see each character.

Its parts do not agree on a version of Unicode (0.23: patterns 16, digits 17, NFC 9), so the tables
are found by asking the library itself about every code point. Needs Python 3.11, whose unicodedata
has the Unicode of Debian 12's PCRE2 (14.0), and `pip install tokenizers==0.23.3`.

  golden/unicode_tables.py | clang-format --style=file > src/text/unicode_tables.h
"""

import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

BLOCK = 65536
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

# A character of this category, and of no script that a letter-case rule touches, by UTF-8 length.
STAND_INS = {
    "Lu": {2: 0x0186, 3: 0x1EFA, 4: 0x10400}, "Ll": {2: 0x0188, 3: 0x1EFB, 4: 0x10428},
    "Lm": {3: 0x1D2C, 4: 0x10780}, "Lo": {3: 0x3400, 4: 0x20000},
    "Mn": {2: 0x0300, 3: 0x1DC0, 4: 0x101FD}, "Mc": {3: 0x0903, 4: 0x11000},
    "Nd": {3: 0x0966, 4: 0x104A0}, "No": {4: 0x10107}, "Po": {3: 0x2016, 4: 0x10100},
    "Pd": {3: 0x2010, 4: 0x10EAD}, "Sm": {3: 0x2200, 4: 0x1D6C1}, "So": {3: 0x2300, 4: 0x1F300},
    "Cf": {3: 0x200B, 4: 0x110BD},
}


def matched(pattern):
    """Code points that the patterns of tokenizers match with a one-character pattern."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True)
    found = set()
    for begin in range(0, len(CODE_POINTS), BLOCK):
        text = "".join(map(chr, CODE_POINTS[begin:begin + BLOCK]))
        for _, (a, b) in split.pre_tokenize_str(text):
            found.update(map(ord, text[a:b]))
    return found


def numeric():
    digits = pre_tokenizers.Digits(individual_digits=True)
    found = set()
    for begin in range(0, len(CODE_POINTS), BLOCK):
        text = "a" + "a".join(map(chr, CODE_POINTS[begin:begin + BLOCK])) + "a"
        for _, (a, b) in digits.pre_tokenize_str(text):
            if b - a == 1 and text[a] != "a":
                found.add(ord(text[a]))
    return found


def word():
    """Characters that keep a single_word token from being recognised."""
    tokenizer = Tokenizer(models.BPE({"x": 0}, []))
    tokenizer.add_tokens([AddedToken("<q>", single_word=True)])
    id_ = tokenizer.token_to_id("<q>")
    found = set()
    for begin in range(0, len(CODE_POINTS), BLOCK):
        batch = CODE_POINTS[begin:begin + BLOCK]
        for c, e in zip(batch, tokenizer.encode_batch([chr(c) + "<q>" for c in batch])):
            if id_ not in e.ids:
                found.add(c)
    return found


def runs(points):
    result = []
    for c in sorted(points):
        if result and result[-1][1] == c - 1:
            result[-1][1] = c
        else:
            result.append([c, c])
    return result


def utf8_length(c):
    return len(chr(c).encode())


def differing_categories():
    categories = {unicodedata.category(chr(c)) for c in CODE_POINTS}
    theirs = {}
    for category in categories:
        for c in matched(r"\p{%s}" % category):
            theirs[c] = category
    spaces = matched(r"\s")
    # PCRE2's \s is Unicode's White_Space and, for Perl's sake, U+180E.
    assert 0x180E not in spaces
    differing = {c: theirs[c] for c in CODE_POINTS if theirs[c] != unicodedata.category(chr(c))}
    differing[0x180E] = "Cf"
    result = []
    for category in sorted(set(differing.values())):
        for first, last in runs([c for c in differing if differing[c] == category]):
            assert utf8_length(first) == utf8_length(last)
            stand_in = STAND_INS[category][utf8_length(first)]
            assert unicodedata.category(chr(stand_in)) == category, (category, hex(stand_in))
            assert utf8_length(stand_in) == utf8_length(first)
            assert stand_in not in differing
            result.append((first, last, stand_in))
    return sorted(result)


def canonical():
    """Decompositions, compositions and combining classes as normalizers.NFC has them."""
    nfd, nfc = normalizers.NFD().normalize_str, normalizers.NFC().normalize_str
    decompositions, compositions, classes = [], [], []
    for c in CODE_POINTS:
        if 0xAC00 <= c <= 0xD7A3:  # Hangul syllables are computed
            continue
        d = unicodedata.decomposition(chr(c))
        if d and not d.startswith("<") and nfd(chr(c)) != chr(c):
            assert nfd(chr(c)) == unicodedata.normalize("NFD", chr(c)), hex(c)
            parts = [int(x, 16) for x in d.split()]
            decompositions.append((c, parts[0], parts[1] if len(parts) == 2 else 0))
            if len(parts) == 2 and nfc("".join(map(chr, parts))) == chr(c):
                compositions.append((parts[0], parts[1], c))
        if nfd(chr(c)) == chr(c) and (nfd(chr(c) + "\u0334") != chr(c) + "\u0334" or
                                      nfd("\u0345" + chr(c)) != "\u0345" + chr(c)):
            classes.append((c, unicodedata.combining(chr(c))))
            assert classes[-1][1] != 0, hex(c)
    # U+0334 itself has class 1 and U+0345 class 240: both are found by the other's test.
    assert {0x334, 0x345} <= {c for c, _ in classes}
    grouped = []
    for c, k in classes:
        if grouped and grouped[-1][1] == c - 1 and grouped[-1][2] == k:
            grouped[-1][1] = c
        else:
            grouped.append([c, c, k])
    return decompositions, sorted(compositions), grouped


def table(type_, name, why, rows):
    print(f"\n/// {why}")
    print(f"inline constexpr {type_} {name}[] = {{")
    print(", ".join("{" + ", ".join(f"0x{x:X}" for x in row) + "}" for row in rows))
    print("};")


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit("needs a Python whose unicodedata is 14.0.0 (3.11)")
    print(f"""// Made by golden/unicode_tables.py from tokenizers {tokenizers.__version__}; do not edit.
#pragma once

#include <cstdint>

namespace fathom::unicode_tables {{

struct Range {{
  char32_t first, last;
}};
struct StandIn {{
  char32_t first, last, stand_in;
}};
struct Triple {{
  char32_t a, b, c;
}};
struct ClassRange {{
  char32_t first, last;
  std::uint32_t combining_class;
}};
""")
    decompositions, compositions, classes = canonical()
    table("Range", "numeric", "Characters that the Digits pre-tokenizer sets apart.", runs(numeric()))
    table("Range", "word", "Characters beside which a single-word token is not recognised.", runs(word()))
    table("StandIn", "stand_ins", "Characters whose category in PCRE2 with Unicode 14 is not the one "
          "that Hugging Face's\n/// patterns see, with one of that category and of the same length in UTF-8.",
          differing_categories())
    table("Triple", "decompositions", "Canonical decompositions: a to b, or to b and c.", decompositions)
    table("Triple", "compositions", "Canonical compositions: a and b to c. Sorted by (a, b).", compositions)
    table("ClassRange", "combining_classes", "Canonical combining classes that are not 0.", classes)
    print("\n}  // namespace fathom::unicode_tables")


if __name__ == "__main__":
    main()
