"""Changes of good contents, drawn by a `random.Random`, which may be Hypothesis' own."""

from random import Random

NUMBERS = (
    b"0",
    b"-1",
    b"255",
    b"9" * 23,
    b"1e999",
    b"nan",
    b"1:59:59",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"null",
    b"[]",
)
LENGTHS = (0, 0, 1, 1, 2, 4, 8, 64)
MOST = 4  # changes of one content


def changed(good: bytes, rng: Random) -> bytes:
    """`good` with a few stretches replaced: by other bytes, by numbers that are extreme, by pieces of itself, by
    nothing."""
    content = bytearray(good)
    for _ in range(rng.randint(1, MOST)):
        start = rng.randint(0, len(content))
        stop = min(len(content), start + rng.choice((*LENGTHS, len(good))))
        begin = rng.randint(0, max(len(good) - 1, 0))
        piece = good[begin : begin + rng.choice((4, 32))]
        content[start:stop] = rng.choice(
            (bytes([rng.randrange(256) for _ in range(rng.randint(0, 8))]), rng.choice(NUMBERS), piece)
        )
    return bytes(content)
