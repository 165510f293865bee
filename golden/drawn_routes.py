"""The random routes that fathom draws, computed anew: Philox4x32-10 [Salmon et al. 2011], keyed as in src/base/random.h,
and the draw of src/depth/route.cc. Used by the scripts whose values depend on such routes."""

from collections.abc import Iterator

MASK_32 = (1 << 32) - 1
MASK_64 = (1 << 64) - 1
ROUTE_PURPOSE = 1

Words = tuple[int, int, int, int]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Four 32-bit words."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (p1 >> 32) ^ b ^ k0, p1 & MASK_32, (p0 >> 32) ^ d ^ k1, p0 & MASK_32
        k0, k1 = (k0 + 0x9E3779B9) & MASK_32, (k1 + 0xBB67AE85) & MASK_32
    return a, b, c, d


# Two of the known answers that the generator's authors publish.
assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
assert philox((MASK_32,) * 4, (MASK_32,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


def mix(x: int) -> int:
    """The output function of SplitMix64 [Steele et al. 2014]."""
    x = (x + 0x9E3779B97F4A7C15) & MASK_64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK_64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK_64
    return x ^ (x >> 31)


def sequence_key(row_id: str) -> int:
    """FNV-1a of 64 bits."""
    hashed = 0xCBF29CE484222325
    for byte in row_id.encode():
        hashed = ((hashed ^ byte) * 0x100000001B3) & MASK_64
    return hashed


def draws(seed: int, row_id: str) -> Iterator[int]:
    """64-bit values, position and layer 0."""
    key = mix(mix(mix(seed) ^ ROUTE_PURPOSE) ^ sequence_key(row_id))
    number = 0
    while True:
        words = philox((number & MASK_32, number >> 32, 0, 0), (key & MASK_32, key >> 32))
        yield words[1] << 32 | words[0]
        yield words[3] << 32 | words[2]
        number += 1


def below(values: Iterator[int], bound: int) -> int:
    """A draw from 0 to bound - 1; values under 2^64 mod bound are drawn again, so that none is favoured."""
    while (value := next(values)) < (1 << 64) % bound:
        pass
    return value % bound


def drawn_route(run: int, layers: int, seed: int, row_id: str) -> list[int]:
    """random:RUN for a row: layer 1 and run - 1 others, 1-based, ascending."""
    others = list(range(2, layers + 1))
    values = draws(seed, row_id)
    for i in range(run - 1):
        j = i + below(values, len(others) - i)
        others[i], others[j] = others[j], others[i]
    return sorted([1, *others[:run - 1]])
