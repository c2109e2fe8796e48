"""A second test of a paired difference, and the correction for many of them.

The bootstrap asks how far a difference would move with other utterances; the randomisation test asks how often a
difference as large would come about if it did not matter which system made which audio (Noreen 1989; for corpus ratios
such as WER: Yeh 2000, Riezler & Maxwell 2005). It is exact under that hypothesis for any statistic, also for ratios of
sums, where signed ranks (Wilcoxon) would test another quantity than the one in the table.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Measurement

RESAMPLES = 10000
_CHUNK = 512  # swaps at a time: memory stays below CHUNK x utterances
_ROUNDING = 1e-12  # of the size of the values: equal up to the order of summation counts as equal


def randomisation_p(
    first: Mapping[str, Measurement],
    second: Mapping[str, Measurement],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> float:
    """Two-sided p value of the paired randomisation test on the difference of corpus values.

    The systems' measurements of every utterance are swapped or not, with probability 1/2; p is the share of such
    swaps whose absolute difference is at least the observed one. All 2^n swaps are tried where there are no more than
    ``resamples``; else p = (1 + count) / (1 + resamples), the observed one included.

    Args:
        first, second: utterance -> Measurement; only utterances measured in both count.

    Raises:
        SiTokError: no utterance counts in both.
    """
    common = [u for u in sorted(first.keys() & second.keys()) if not (first[u].excluded or second[u].excluded)]
    if not common:
        raise SiTokError("the systems have no measured utterance in common")
    pairs = np.array([[(s[u].numerator, s[u].denominator) for s in (first, second)] for u in common], dtype=float)
    total, gap = pairs.sum(axis=(0, 1)), pairs[:, 0] - pairs[:, 1]  # (2,), (n, 2): numerators and denominators

    def differences(signs: np.ndarray) -> np.ndarray:
        """(R, n) signs -> (R,) absolute differences; the two systems' sums are (total +- signed gaps) / 2."""
        shift = signs @ gap
        return np.abs(_ratio(total + shift) - _ratio(total - shift))

    observed = differences(np.ones((1, len(common))))[0]
    threshold = observed - _ROUNDING * max(1.0, np.abs(_ratio(total)))
    exact = len(common) < 60 and 2 ** len(common) <= resamples
    count, tried = 0, 2 ** len(common) if exact else resamples
    generator = np.random.Generator(np.random.PCG64(seed))
    for start in range(0, tried, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, tried))
        if exact:
            bits = rows[:, None] >> np.arange(len(common)) & 1
        else:
            bits = generator.integers(0, 2, (len(rows), len(common)))
        count += int(np.count_nonzero(differences(1.0 - 2.0 * bits) >= threshold))
    return count / tried if exact else (count + 1) / (tried + 1)


def _ratio(sums: np.ndarray) -> np.ndarray:
    """(..., 2) numerators and denominators -> (...)."""
    return sums[..., 0] / sums[..., 1]


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for testing all of them (Holm 1979): the family-wise error stays below the level.

    The i-th smallest of m is multiplied by m - i + 1, then never below a smaller one's, never above 1.
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted
