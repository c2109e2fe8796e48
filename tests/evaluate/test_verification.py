"""Trials are balanced and fixed; the EER equals scikit-learn's curve and closed forms; one speaker is refused."""

from collections import Counter

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_curve

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.verification import equal_error_rate, make_trials, resampled_units, verify


def people(*counts):
    return {
        f"{speaker}-{number:02d}": speaker
        for speaker, count in zip("abcdefghijklmnop", counts, strict=False)
        for number in range(count)
    }


def test_trials_are_balanced_and_never_of_an_utterance_with_itself():
    utt2spk = people(30, 12, 3, 1)
    trials = make_trials(utt2spk)
    spk = np.array(trials.speakers)
    assert (trials.enrolment != trials.test).all()
    np.testing.assert_array_equal(spk[trials.enrolment] == spk[trials.test], trials.target)
    pairs = list(zip(trials.enrolment.tolist(), trials.test.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    kinds = Counter(zip(trials.test.tolist(), trials.target.tolist(), strict=True))
    for index, utterance in enumerate(trials.utterances):
        wanted = min(10, Counter(utt2spk.values())[utt2spk[utterance]] - 1)
        assert kinds[index, True] == kinds[index, False] == wanted
    # The other speakers take turns: of ten impostors of a, at least three each of b and c (who has three) ...
    of_first = spk[trials.enrolment[(trials.test == 0) & ~trials.target]]
    assert Counter(of_first.tolist()) == {"b": 6, "c": 3, "d": 1}


def test_trials_depend_on_the_seed_and_nothing_else():
    utt2spk = people(12, 12)
    one = make_trials(utt2spk, seed=1)
    again = make_trials(dict(reversed(utt2spk.items())), seed=1)
    np.testing.assert_array_equal(one.enrolment, again.enrolment)
    assert (one.enrolment != make_trials(utt2spk, seed=2).enrolment).any()


@pytest.mark.parametrize(
    ("utt2spk", "message"), [(people(5), "one speaker"), ({}, "one speaker"), (people(1, 1, 1), "two utterances")]
)
def test_no_trials(utt2spk, message):
    with pytest.raises(SiTokError, match=message):
        make_trials(utt2spk)


@pytest.mark.parametrize("decimals", [12, 1])  # 1: many equal scores
@pytest.mark.parametrize("seed", range(5))
def test_eer_against_scikit_learn(seed, decimals):
    rng = np.random.default_rng(seed)
    target = rng.random(400) < rng.uniform(0.2, 0.8)
    scores = np.round(rng.normal(target * rng.uniform(0.2, 3.0)), decimals)
    false_alarms, hits, _ = roc_curve(target, scores, drop_intermediate=False)
    expected = brentq(lambda x: 1.0 - x - interp1d(false_alarms, hits)(x), 0.0, 1.0)
    assert equal_error_rate(scores, target) == pytest.approx(expected, abs=1e-9)


def test_eer_against_the_closed_form():
    rng = np.random.default_rng(0)
    target = np.arange(200000) % 2 == 0
    # Unit normals that are d apart: EER = Phi(-d / 2).
    for distance in (0.5, 2.0):
        rate = equal_error_rate(rng.normal(target * distance), target)
        assert rate == pytest.approx(norm.cdf(-distance / 2), abs=0.003)


def test_eer_of_perfect_inverted_and_equal_scores():
    target = np.array([True, True, False, False, False])
    assert equal_error_rate(target.astype(float), target) == 0.0
    assert equal_error_rate(-target.astype(float), target) == 1.0
    assert equal_error_rate(np.zeros(5), target) == 0.5
    with pytest.raises(SiTokError, match="impostor"):
        equal_error_rate(np.zeros(2), np.array([True, True]))


def test_weights_are_repetitions():
    rng = np.random.default_rng(3)
    target, scores = rng.random(50) < 0.5, rng.normal(size=50)
    times = rng.integers(0, 4, 50)
    repeated = equal_error_rate(np.repeat(scores, times), np.repeat(target, times))
    assert equal_error_rate(scores, target, times) == pytest.approx(repeated, abs=1e-12)


def voices(utt2spk, spread, seed):
    rng = np.random.default_rng(seed)
    centre = {speaker: rng.normal(size=16) for speaker in sorted(set(utt2spk.values()))}
    return {utt: centre[speaker] + spread * rng.normal(size=16) for utt, speaker in utt2spk.items()}


def test_a_system_that_loses_the_voice_has_a_higher_rate():
    utt2spk = people(10, 10, 10, 10)
    trials, originals = make_trials(utt2spk), voices(utt2spk, 0.5, 0)
    kept = verify(trials, originals, originals, resamples=200)
    lost = verify(
        trials, originals, {utt: np.random.default_rng(i).normal(size=16) for i, utt in enumerate(utt2spk)}, 200
    )
    assert kept.value < 0.05 and kept.low <= kept.value <= kept.high
    assert 0.35 < lost.value < 0.65 and kept.high < lost.low
    assert kept.targets == kept.impostors == 40 * 9
    assert verify(trials, originals, originals, resamples=200) == kept


def test_utterances_without_an_embedding_are_left_out():
    utt2spk = people(4, 4)
    trials, originals = make_trials(utt2spk), voices(utt2spk, 0.5, 1)
    system = {utt: vector for utt, vector in originals.items() if utt != "a-00"}
    assert verify(trials, originals, system, 10).targets == 7 * 3
    with pytest.raises(SiTokError, match="needs target"):
        verify(trials, originals, {}, 10)


def test_speakers_are_resampled_where_there_are_enough():
    assert set(resampled_units(make_trials(people(*[2] * 10)))) == set("abcdefghij")
    assert len(set(resampled_units(make_trials(people(*[2] * 9))))) == 18
