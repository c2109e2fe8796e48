"""The bootstrap against scipy, closed forms and cases with known answers."""

import numpy as np
import pytest
import scipy.stats

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.statistics import bootstrap, paired_difference, share_of_the_way

NAN = Measurement(float("nan"), 0.0, notice="too short")


def means(values):
    return [Measurement(float(value)) for value in values]


def named(measurements):
    return {f"utt{number:03d}": item for number, item in enumerate(measurements)}


@pytest.fixture
def normal():
    return np.random.default_rng(3).normal(5.0, 2.0, 150)


def test_mean_against_the_closed_form(normal):
    interval = bootstrap(means(normal), resamples=20000, seed=1)
    half = 1.96 * normal.std() / np.sqrt(len(normal))
    assert interval.value == pytest.approx(normal.mean(), rel=1e-12)
    assert interval.low == pytest.approx(normal.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(normal.mean() + half, abs=0.02)
    assert interval.count == 150


def test_ratio_against_scipy():
    rng = np.random.default_rng(7)
    words = rng.integers(1, 15, 60)
    errors = rng.binomial(words, 0.3)
    ours = bootstrap([Measurement(e, w) for e, w in zip(errors, words, strict=True)], resamples=20000, seed=2)
    theirs = scipy.stats.bootstrap(
        (errors, words),
        lambda e, w, axis=-1: e.sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    assert ours.value == errors.sum() / words.sum()
    assert ours.low == pytest.approx(theirs.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.high, abs=0.004)
    # The mean of per-utterance rates is another number: pooling matters.
    assert ours.value != pytest.approx((errors / words).mean(), abs=1e-3)


def test_same_seed_same_interval(normal):
    assert bootstrap(means(normal), seed=4) == bootstrap(means(normal), seed=4)
    assert bootstrap(means(normal), seed=4) != bootstrap(means(normal), seed=5)


def test_excluded_utterances_do_not_count(normal):
    assert bootstrap([*means(normal), NAN, NAN]) == bootstrap(means(normal))
    with pytest.raises(SiTokError, match="none of 2"):
        bootstrap([NAN, NAN])


def test_single_utterance_has_a_point_interval():
    interval = bootstrap([Measurement(3, 4)])
    assert (interval.low, interval.value, interval.high) == (0.75, 0.75, 0.75)


def test_paired_difference_of_a_constant_shift(normal):
    first, second = named(means(normal)), named(means(normal - 0.1))
    result = paired_difference(first, second, resamples=1000)
    # Unpaired intervals are half a unit wide and would hide a shift that every utterance shows.
    assert result.value == pytest.approx(0.1)
    assert (result.low, result.high) == pytest.approx((0.1, 0.1))
    assert result.p_value == pytest.approx(2 / 1001)
    assert paired_difference(second, first).value == pytest.approx(-0.1)


def test_equal_systems_do_not_differ(normal):
    result = paired_difference(named(means(normal)), named(means(normal)))
    assert (result.value, result.p_value) == (0.0, 1.0)


@pytest.mark.parametrize("shift", [0.0, 0.15, 0.3])
def test_p_value_against_the_paired_t_test(normal, shift):
    other = normal + np.random.default_rng(8).normal(shift, 1.0, len(normal))
    expected = scipy.stats.ttest_rel(normal, other).pvalue
    result = paired_difference(named(means(normal)), named(means(other)), resamples=20000)
    assert result.p_value == pytest.approx(expected, abs=max(0.02, 0.1 * expected))


def test_paired_difference_uses_common_measured_utterances():
    first = {"a": Measurement(1), "b": Measurement(2), "c": NAN, "d": Measurement(9)}
    second = {"a": Measurement(0), "b": Measurement(0), "c": Measurement(5)}
    result = paired_difference(first, second)
    assert (result.value, result.count) == (1.5, 2)
    with pytest.raises(SiTokError, match="in common"):
        paired_difference({"a": NAN}, {"a": Measurement(1)})


def test_share_of_the_way(normal):
    goal, start = np.abs(normal), np.abs(normal) + 4.0
    three = [named(means(values)) for values in (start, goal + 1.0, goal)]
    interval = share_of_the_way(*three)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.75, 0.75, 0.75))
    assert share_of_the_way(three[0], three[0], three[2]).value == 0.0
    with pytest.raises(SiTokError, match="no way"):
        share_of_the_way(three[0], three[1], three[0])
