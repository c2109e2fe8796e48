"""Bootstrap over utterances for ratios sum(numerators) / sum(denominators) (Bisani & Ney 2004; percentile method).

Utterances are the independent units: an utterance's numerator and denominator are always drawn together, and two
systems are compared on the same draws of the same utterances.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.significance import randomisation_p

RESAMPLES = 2000
CONFIDENCE = 0.95
_CHUNK = 256  # resamples at a time: memory stays below CHUNK x utterances


@dataclass(frozen=True)
class Interval:
    """A corpus value with its bootstrap interval.

    Attributes:
        value: sum(numerators) / sum(denominators).
        low, high: limits at CONFIDENCE; equal to the value for a single utterance.
        count: utterances that count.
    """

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Difference:
    """A paired comparison of two systems, first minus second, over the utterances both have.

    Attributes:
        value: difference of the corpus values.
        low, high: bootstrap interval of the difference.
        p_value: two-sided: twice the smaller share of resampled differences on either side of zero, never below
            2 / (resamples + 1).
        count: utterances in common.
    """

    value: float
    low: float
    high: float
    p_value: float
    count: int


def _resampled(pairs: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums over resampled utterances: pairs (n, C) -> (resamples, C). The draws depend on n and the seed alone."""
    generator = np.random.Generator(np.random.PCG64(seed))
    count = len(pairs)
    sums = np.empty((resamples, pairs.shape[1]))
    for start in range(0, resamples, _CHUNK):
        stop = min(start + _CHUNK, resamples)
        sums[start:stop] = pairs[generator.integers(0, count, (stop - start, count))].sum(axis=1)
    return sums


def _limits(values: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap(
    measurements: Sequence[Measurement], resamples: int = RESAMPLES, seed: int = 0, confidence: float = CONFIDENCE
) -> Interval:
    """Corpus value and percentile bootstrap interval; excluded utterances are left out.

    Raises:
        SiTokError: no utterance counts.
    """
    counted = [item for item in measurements if not item.excluded]
    if not counted:
        raise SiTokError(f"none of {len(measurements)} utterances could be measured")
    pairs = np.array([(item.numerator, item.denominator) for item in counted])
    numerator, denominator = pairs.sum(axis=0)
    sums = _resampled(pairs, resamples, seed)
    return Interval(float(numerator / denominator), *_limits(sums[:, 0] / sums[:, 1], confidence), len(counted))


def bootstrap_of_sums(
    columns: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """A statistic that is a function of sums over utterances but no ratio of two (such as macro F1), with its interval.

    Args:
        columns: (n, C) numbers of each utterance.
        statistic: sums (..., C) -> values (...).

    Raises:
        SiTokError: no utterance.
    """
    if not len(columns):
        raise SiTokError("no utterance could be measured")
    values = statistic(_resampled(columns, resamples, seed))
    return Interval(float(statistic(columns.sum(axis=0))), *_limits(values, confidence), len(columns))


def _paired(
    systems: Sequence[Mapping[str, Measurement]], resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Corpus values (K,) of K systems, resampled ones (resamples, K) on the same draws, utterances in common."""
    common = sorted(set.intersection(*(set(system) for system in systems)))
    common = [utt for utt in common if not any(system[utt].excluded for system in systems)]
    if not common:
        raise SiTokError("the systems have no measured utterance in common")
    numerators = np.array([[system[utt].numerator for system in systems] for utt in common])
    denominators = np.array([[system[utt].denominator for system in systems] for utt in common])
    sums = _resampled(np.hstack([numerators, denominators]), resamples, seed)
    split = len(systems)
    return numerators.sum(0) / denominators.sum(0), sums[:, :split] / sums[:, split:], len(common)


def paired_difference(
    first: Mapping[str, Measurement],
    second: Mapping[str, Measurement],
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Paired bootstrap of the difference of two systems' corpus values; keys are utterances.

    Raises:
        SiTokError: no utterance counts in both.
    """
    values, resampled, count = _paired([first, second], resamples, seed)
    differences = resampled[:, 0] - resampled[:, 1]
    below, above = np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0)
    p_value = min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))
    return Difference(float(values[0] - values[1]), *_limits(differences, confidence), p_value, count)


def compare(
    first: Mapping[str, Measurement],
    second: Mapping[str, Measurement],
    higher_is_better: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict:
    """Their paired difference, ready for JSON.

    Beside the fields of Difference: ``p_randomisation`` (see :mod:`sitok_espnet.evaluate.significance`) and
    ``first_is_better``, whether its corpus value is the better one.

    Raises:
        SiTokError: no utterance counts in both.
    """
    cell = asdict(paired_difference(first, second, resamples, seed))
    cell["p_randomisation"] = randomisation_p(first, second, seed=seed)
    return cell | {"first_is_better": cell["value"] > 0 if higher_is_better else cell["value"] < 0}


def share_of_the_way(
    start: Mapping[str, Measurement],
    here: Mapping[str, Measurement],
    goal: Mapping[str, Measurement],
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """(start - here) / (start - goal) of three systems' corpus values: 0 at the start, 1 at the goal.

    Raises:
        SiTokError: no utterance counts in all three, or start and goal are equal.
    """
    values, resampled, count = _paired([start, here, goal], resamples, seed)
    if values[0] == values[2]:
        raise SiTokError("start and goal have the same value: there is no way between them")
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (resampled[:, 0] - resampled[:, 1]) / (resampled[:, 0] - resampled[:, 2])
    shares = shares[np.isfinite(shares)]
    value = float((values[0] - values[1]) / (values[0] - values[2]))
    return Interval(value, *_limits(shares, confidence), count)
