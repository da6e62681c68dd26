"""A sound file → a damaged one: bits, lengths, numbers, pieces, ends."""

import random
import re
from collections.abc import Callable, Sequence

from helpers.pictures import with_checksum

SPECIAL = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = b'0 -1 1e400 -0.0 1e-320 9999999999999999999 4294967296 nan null true [] {} ""'.split()
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
Mutate = Callable[[bytearray, random.Random, Sequence[bytes]], None]


def mutated(seeds: Sequence[bytes], number: int, generator: random.Random) -> bytes:
    """The seed with this number, after one to four changes."""
    data = bytearray(seeds[number])
    for _ in range(generator.choice((1, 1, 1, 2, 3, 4))):
        generator.choice(MUTATIONS)(data, generator, seeds)
    return bytes(data)


def with_checksums(data: bytes) -> bytes:
    """A tar archive with the right checksum in each block that looks like a header."""
    blocks = (bytearray(data[begin : begin + 512]) for begin in range(0, len(data), 512))
    return b"".join(with_checksum(block) if block[257:262] == b"ustar" else block for block in blocks)


def _span(data: bytearray, generator: random.Random) -> slice:
    """A piece, mostly a short one; the beginning is chosen more often, for there are headers."""
    end = len(data) if generator.random() < 0.6 else min(len(data), 200)
    begin = generator.randrange(end + 1)
    return slice(begin, begin + generator.choice((1, 2, 4, 8, 16, 64, 512, 1 + end // 4)))


def _flip_bits(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    for _ in range(generator.choice((1, 1, 2, 8))):
        if data:
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)


def _overwrite(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, generator)
    data[span] = generator.randbytes(len(data[span]))


def _special_number(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    """Binary, as lengths, sizes and offsets are written."""
    width, order = generator.choice((1, 2, 4, 8)), generator.choice(("little", "big"))
    begin = _span(data, generator).start
    data[begin : begin + width] = (generator.choice(SPECIAL) % 256**width).to_bytes(width, order)


def _other_number(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    """In text."""
    if found := list(NUMBER.finditer(data)):
        data[slice(*generator.choice(found).span())] = generator.choice(NUMBERS)


def _zeros(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, generator)
    data[span] = bytes(len(data[span]))


def _zero_tail(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    begin = generator.randrange(len(data) + 1)
    data[begin:] = bytes(len(data) - begin)


def _cut(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    del data[generator.randrange(len(data) + 1) :]


def _remove(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    del data[_span(data, generator)]


def _repeat(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    span = _span(data, generator)
    data[span] = data[span] * generator.choice((2, 3, 50))


def _insert(data: bytearray, generator: random.Random, _: Sequence[bytes]) -> None:
    begin = _span(data, generator).start
    data[begin:begin] = generator.choice(
        (b"\0", b"\xff", b"\n", b'"', b",", b"\xef\xbb\xbf", b"../", b"\x1b[2J", b"\xed\xa0\x80")
    )


def _splice(data: bytearray, generator: random.Random, seeds: Sequence[bytes]) -> None:
    other = bytearray(generator.choice(seeds))
    data[_span(data, generator)] = other[_span(other, generator)]


MUTATIONS: tuple[Mutate, ...] = (
    *(_flip_bits, _overwrite, _special_number, _special_number, _other_number, _zeros, _zero_tail, _cut, _remove),
    *(_repeat, _insert, _splice),
)
