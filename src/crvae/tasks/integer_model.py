"""Discretised Gaussians as integer frequencies, the same on every machine, and the range coder that uses them.

Decoding must find exactly the frequencies that encoding used. So no function of a mathematics library is involved, whose last bits
differ from machine to machine: ladders are integer roots, tables come from `decimal`, whose exponential is correctly rounded by its
specification, and quotients of IEEE doubles are correctly rounded too.
"""

from __future__ import annotations

import decimal
import math
from functools import lru_cache
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from crvae.errors import UserError

_STREAM: Any = constriction.stream  # type: ignore[attr-defined]  # the package has no types

BITS = 24
"""Frequencies of a table add up to 2^BITS, the range coder's own precision."""
WIDTHS = 41
"""Tables: width i is 2^((i - 12) / 4) quantisation steps, from an eighth of one to 128."""
REACH, LEAST_REACH = 6, 2
"""A table's symbols reach REACH widths to each side of 0, and at least to LEAST_REACH."""

_WORD = 4
"""Bytes of the range coder's words."""


def root_of_two(quarters: int) -> float:
    """2^(quarters / 4), rounded down to a multiple of 2^-24 by integer arithmetic alone; `quarters` from -96 to 99."""
    return math.isqrt(math.isqrt(1 << (quarters + 96))) / (1 << 24)


WIDTH = np.array([root_of_two(index - 12) for index in range(WIDTHS)])


def width_index(ratio: NDArray[np.float64]) -> NDArray[np.int64]:
    """The widest table of at most `ratio` quantisation steps; the narrowest where there is none."""
    return np.clip(np.searchsorted(WIDTH, ratio, side="right") - 1, 0, WIDTHS - 1)


REACHES = np.array([max(LEAST_REACH, math.ceil(REACH * float(width))) for width in WIDTH])
"""The largest symbol of every table; the smallest is its negative."""


@lru_cache(maxsize=WIDTHS)
def frequencies(index: int) -> NDArray[np.int64]:
    """Frequencies of the symbols 0, 1, -1, 2, -2 .. in table `index`: 1 and a share of exp(-k^2 / (2 width^2)), rounded down."""
    reach = int(REACHES[index])
    with decimal.localcontext(decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)):
        width = decimal.Decimal(float(WIDTH[index]))
        half = [(-decimal.Decimal(k * k) / (2 * width * width)).exp() for k in range(reach + 1)]
        total = half[0] + 2 * sum(half[1:])
        room = (1 << BITS) - (2 * reach + 1)
        whole = [1 + int(room * value / total) for value in half]
    table = np.repeat(np.array(whole, np.int64), 2)[1:]
    table[0] += (1 << BITS) - table.sum()
    return table


@lru_cache(maxsize=1)
def costs() -> NDArray[np.float64]:
    """Bits of every symbol in every table, by table and by `place` of the symbol; infinite where a table has no such symbol."""
    bits = np.full((WIDTHS, 2 * int(REACHES.max()) + 1), np.inf)
    for index in range(WIDTHS):
        table = frequencies(index)
        bits[index, : len(table)] = BITS - np.log2(table)
    return bits


def place(symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """Symbols 0, 1, -1, 2, -2 .. -> 0, 1, 2, 3, 4 .."""
    return np.where(symbols > 0, 2 * symbols - 1, -2 * symbols)


def symbol(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """The inverse of `place`."""
    return np.where(places % 2 == 1, (places + 1) // 2, -(places // 2))


def encode(symbols: NDArray[np.int64], tables: NDArray[np.int64]) -> bytes:
    """As few bytes as give the symbols back, each coded under its own table. Each must be within its table's reach."""
    coder = _STREAM.queue.RangeEncoder()
    places = place(symbols).astype(np.int32)
    for index in np.unique(tables):
        coder.encode(places[tables == index], _model(int(index)))
    data = coder.get_compressed().astype(">u4").tobytes()
    for length in range(max(0, len(data) - 2 * _WORD), len(data)):  # its last words say more than is needed
        start = data[:length]
        up = (int.from_bytes(start, "big") + 1).to_bytes(length + 1, "big")[1:]
        for short in (start, up):
            if len(short) == length and _gives(short, tables, symbols):
                return short
    return data


def decode(data: bytes, tables: NDArray[np.int64]) -> NDArray[np.int64]:
    """The symbols that `encode` was given, from its bytes and the same tables. Raises UserError for bytes that it did not write."""
    padded = data + bytes(-len(data) % _WORD + 2 * _WORD)
    coder = _STREAM.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))
    places = np.empty(len(tables), np.int64)
    try:
        for index in np.unique(tables):
            chosen = tables == index
            places[chosen] = coder.decode(_model(int(index)), int(chosen.sum()))
    except AssertionError:
        raise UserError("the range coder finds no symbols in these bytes: encode the image again") from None
    return symbol(places)


def _gives(data: bytes, tables: NDArray[np.int64], symbols: NDArray[np.int64]) -> bool:
    try:
        return bool((decode(data, tables) == symbols).all())
    except UserError:
        return False


@lru_cache(maxsize=WIDTHS)
def _model(index: int) -> Any:
    """The table for the coder: frequencies over 2^BITS are exact doubles, and it adds, multiplies and rounds them down."""
    return _STREAM.model.Categorical(frequencies(index) / (1 << BITS), perfect=False)
