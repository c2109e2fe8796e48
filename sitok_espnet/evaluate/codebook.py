"""How much of a codebook a set of tokens uses."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sitok_espnet.errors import SiTokError


@dataclass(frozen=True)
class CodebookUse:
    """Counts over all tokens of a set, per codebook.

    Attributes:
        tokens: tokens (frames) counted.
        sizes: entries of each codebook.
        used: share of entries that occur at least once, per codebook.
        perplexity: exp of the entropy (nats) of the empirical distribution, per codebook: between 1 and the size.
    """

    tokens: int
    sizes: tuple[int, ...]
    used: tuple[float, ...]
    perplexity: tuple[float, ...]


def codebook_use(codes: Iterable[np.ndarray], sizes: Sequence[int]) -> CodebookUse:
    """Statistics of integer codes, arrays (T, N) each within its codebook.

    Raises:
        SiTokError: no tokens, another number of codebooks, or codes beyond the sizes.
    """
    counts = [np.zeros(size, dtype=np.int64) for size in sizes]
    tokens = 0
    for item in codes:
        if item.ndim != 2 or item.shape[1] != len(sizes):
            raise SiTokError(f"tokens of shape {item.shape} do not belong to {len(sizes)} codebooks")
        tokens += len(item)
        for layer, size in enumerate(sizes):
            if len(item) and not (0 <= item[:, layer].min() and item[:, layer].max() < size):
                raise SiTokError(
                    f"codebook {layer} has {size} entries, but a code lies outside: another model's tokens?"
                )
            counts[layer] += np.bincount(item[:, layer], minlength=size)
    if not tokens:
        raise SiTokError("no tokens to count")
    return CodebookUse(
        tokens,
        tuple(sizes),
        tuple(float(np.count_nonzero(count) / len(count)) for count in counts),
        tuple(_perplexity(count) for count in counts),
    )


def _perplexity(count: np.ndarray) -> float:
    share = count[count > 0] / count.sum()
    return math.exp(-float((share * np.log(share)).sum()))


def bits_per_second(frame_rate: str | Fraction, sizes: Sequence[int]) -> float:
    """Frame rate (an exact fraction) times the sum of log2 of the codebook sizes."""
    return float(Fraction(frame_rate)) * sum(math.log2(size) for size in sizes)
