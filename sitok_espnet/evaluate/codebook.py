"""How much of a codebook a set of tokens uses, and how many bits they carry."""

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


@dataclass(frozen=True)
class EntropyRate:
    """What an ideal entropy coder would need for the tokens, beside the nominal rate.

    Plug-in estimates: the distribution is counted on the tokens it is applied to. They are too low, the more so the
    fewer tokens there are for an entry (unigram) or a pair of entries (conditional). Codebooks are counted one by one
    and added, as if independent, which alone would be too high.

    Attributes:
        nominal_bits_per_second: frame rate times the sum of log2 of the sizes.
        bits_per_token: unigram entropy, per codebook.
        bits_per_second: their sum times the frame rate.
        corrected_bits_per_token: with the Miller-Madow term (used entries - 1) / (2 ln 2 tokens), at most log2(size).
        conditional_bits_per_token: entropy of a token given the one before it in the utterance, per codebook.
        conditional_bits_per_second: their sum times the frame rate.
        half_conditional_bits_per_token: the same of every other utterance alone; where it is clearly lower, the
            conditional entropy has not converged and says more about the size of the sample than about the tokens.
            None for a single utterance.
        pairs: pairs of neighbouring tokens counted.
        pairs_seen_once: share of them that occur a single time, per codebook; near 1 the conditional entropy is
            meaningless.
    """

    nominal_bits_per_second: float
    bits_per_token: tuple[float, ...]
    bits_per_second: float
    corrected_bits_per_token: tuple[float, ...]
    conditional_bits_per_token: tuple[float, ...]
    conditional_bits_per_second: float
    half_conditional_bits_per_token: tuple[float, ...] | None
    pairs: int
    pairs_seen_once: tuple[float, ...]


def entropy_rate(codes: Iterable[np.ndarray], sizes: Sequence[int], frame_rate: str | Fraction) -> EntropyRate:
    """Entropies in bits of integer codes, arrays (T, N), one an utterance; pairs never cross utterances.

    Raises:
        SiTokError: what :func:`codebook_use` refuses, or no utterance of two tokens.
    """
    utterances = [np.asarray(item, dtype=np.int64) for item in codes]
    tokens = codebook_use(utterances, sizes).tokens  # checks them
    rate, layers = float(Fraction(frame_rate)), range(len(sizes))
    counts = [
        np.unique(np.concatenate([item[:, layer] for item in utterances]), return_counts=True)[1] for layer in layers
    ]
    unigram = [_entropy(count) for count in counts]
    corrected = [
        min(bits + (len(count) - 1) / (2 * math.log(2) * tokens), math.log2(size))
        for bits, count, size in zip(unigram, counts, sizes, strict=True)
    ]
    conditional, once, pairs = _conditional(utterances, sizes)
    half = utterances[::2]
    converged = len(utterances) > 1 and any(len(item) > 1 for item in half)
    return EntropyRate(
        bits_per_second(frame_rate, sizes),
        tuple(unigram),
        rate * sum(unigram),
        tuple(corrected),
        tuple(conditional),
        rate * sum(conditional),
        tuple(_conditional(half, sizes)[0]) if converged else None,
        pairs,
        tuple(once),
    )


def _conditional(utterances: Sequence[np.ndarray], sizes: Sequence[int]) -> tuple[list[float], list[float], int]:
    """Per codebook H(next | token) = H(pair) - H(first of the pair) and the share of pairs seen once; pairs counted."""
    bits, once, pairs = [], [], 0
    for layer, size in enumerate(sizes):
        first = np.concatenate([item[:-1, layer] for item in utterances])
        if not len(first):
            raise SiTokError("no utterance has two tokens: there are no neighbours to count")
        joint = first * size + np.concatenate([item[1:, layer] for item in utterances])
        count = np.unique(joint, return_counts=True)[1]
        bits.append(max(0.0, _entropy(count) - _entropy(np.unique(first, return_counts=True)[1])))
        once.append(float(np.count_nonzero(count == 1) / len(first)))
        pairs = len(first)
    return bits, once, pairs


def _entropy(count: np.ndarray) -> float:
    """Bits of the empirical distribution of positive counts."""
    share = count / count.sum()
    return -float((share * np.log2(share)).sum())
