"""The randomisation test against scipy's and by hand, Holm against worked numbers."""

import itertools

import numpy as np
import pytest
import scipy.stats

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.significance import holm, randomisation_p
from sitok_espnet.evaluate.statistics import compare

NAN = Measurement(float("nan"), 0.0)


def named(numerators, denominators=None):
    denominators = np.ones(len(numerators)) if denominators is None else denominators
    pairs = zip(numerators, denominators, strict=True)
    return {f"utt{i:03d}": Measurement(float(n), float(d)) for i, (n, d) in enumerate(pairs)}


def test_every_swap_of_few_utterances_by_hand():
    rng = np.random.default_rng(0)
    words, first, second = rng.integers(1, 9, 7), rng.integers(0, 9, 7), rng.integers(0, 9, 7)
    lengths = words + rng.integers(0, 2, 7)  # the second system's own denominators
    observed = abs(first.sum() / words.sum() - second.sum() / lengths.sum())
    count = 0
    for swapped in itertools.product([False, True], repeat=7):
        errors = [np.where(swapped, b, a).sum() for a, b in ((first, second), (second, first))]
        totals = [np.where(swapped, b, a).sum() for a, b in ((words, lengths), (lengths, words))]
        count += abs(errors[0] / totals[0] - errors[1] / totals[1]) >= observed - 1e-12
    assert randomisation_p(named(first, words), named(second, lengths)) == pytest.approx(count / 128)


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_ratios_against_scipy(shift):
    rng = np.random.default_rng(5)
    words = rng.integers(2, 12, 60)
    first = rng.poisson(words * 0.3)
    second = np.clip(first + rng.normal(shift, 1.5, 60).round(), 0, None)
    table = np.array([np.append(first, second), np.append(words, words)], dtype=float)

    def difference(one, two, axis):
        sums = [table[:, np.asarray(index, dtype=int)].sum(axis=axis if axis < 0 else axis + 1) for index in (one, two)]
        return sums[0][0] / sums[0][1] - sums[1][0] / sums[1][1]

    expected = scipy.stats.permutation_test(
        (np.arange(60), np.arange(60, 120)),
        difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=20000,
        axis=-1,
        rng=np.random.default_rng(1),
    ).pvalue
    ours = randomisation_p(named(first, words), named(second, words), resamples=20000, seed=2)
    assert ours == pytest.approx(expected, abs=max(0.012, 0.1 * expected))


def test_equal_systems_and_a_clear_difference():
    values = np.random.default_rng(2).normal(size=40)
    assert randomisation_p(named(values), named(values)) == 1.0
    assert randomisation_p(named(values), named(values + 1.0), resamples=999) == 1 / 1000
    assert randomisation_p(named(values[:8]), named(values[:8] + 1.0)) == 2 / 256  # all swapped is as large


def test_same_seed_same_value_and_symmetry():
    rng = np.random.default_rng(6)
    first, second = named(rng.normal(size=30)), named(rng.normal(0.3, 1, 30))
    assert randomisation_p(first, second) == randomisation_p(first, second) == randomisation_p(second, first)


def test_only_common_measured_utterances_count():
    first, second = named([1, 2, 3]), named([2, 2, 9])
    assert randomisation_p(first | {"x": NAN, "y": Measurement(1)}, second | {"x": Measurement(5)}) == randomisation_p(
        first, second
    )
    with pytest.raises(SiTokError, match="in common"):
        randomisation_p({"a": NAN}, {"a": Measurement(1)})


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_both_tests_are_in_a_comparison():
    rng = np.random.default_rng(9)
    first, second = named(rng.normal(size=50)), named(rng.normal(0.5, 1, 50))
    cell = compare(first, second, True)
    assert cell["p_randomisation"] == randomisation_p(first, second)
    # Two sound tests of one question agree about where they stand.
    assert cell["p_randomisation"] == pytest.approx(cell["p_value"], abs=0.03)
