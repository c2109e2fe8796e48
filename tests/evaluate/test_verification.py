"""Trials are balanced and fixed; the EER equals scikit-learn's curve and closed forms; one speaker is refused."""

from collections import Counter

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.metrics import roc_curve
from speech_generator import synthesize

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.speaker_encoder import SpeakerEncoder
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


def test_a_system_that_falls_silent_is_not_flattered():
    utt2spk = people(4, 4)
    trials, originals = make_trials(utt2spk), voices(utt2spk, 0.5, 1)
    whole = verify(trials, originals, originals, 10)
    system = {utt: vector for utt, vector in originals.items() if utt != "a-00"}
    silent = verify(trials, originals, system, 10)
    assert (silent.targets, silent.impostors) == (whole.targets, whole.impostors) == (8 * 3, 8 * 3)
    assert silent.rejected == ("a-00",) and silent.left_out == whole.rejected == ()
    # Perfect but for a-00, 3 of 24 targets: these are accepted last, so that 3 of 24 impostors are accepted too.
    assert whole.value == 0.0 and silent.value == pytest.approx(3 / 24)
    with pytest.raises(SiTokError, match="none of the utterances has a voice"):
        verify(trials, originals, {}, 10)


def test_an_original_without_a_voice_enrols_nobody():
    utt2spk = people(4, 4)
    trials, system = make_trials(utt2spk), voices(utt2spk, 0.5, 1)
    originals = {utt: vector for utt, vector in system.items() if utt != "a-00"}
    rate = verify(trials, originals, system, 10)
    assert rate.left_out == ("a-00",) and rate.rejected == ()
    assert rate.targets == 8 * 3 - 3, "a-00 was enrolled for the three others of its speaker"


def test_the_real_encoder_on_generated_voices():
    encoder, rng = SpeakerEncoder(), np.random.default_rng(0)
    texts = ("one two three four", "five six seven eight", "nine one three two", "four eight two six")
    wavs = {
        f"{speaker}-{number}": synthesize(text, 10 * speaker + number, speaker, 16000)
        for speaker in (1, 3)  # the two most unlike ones
        for number, text in enumerate(texts)
    }
    trials = make_trials({utt: utt[0] for utt in wavs})
    originals = {utt: encoder.embed(wav)[0] for utt, wav in wavs.items()}
    noisy = {utt: encoder.embed(0.1 * wav + 0.3 * rng.normal(size=len(wav)))[0] for utt, wav in wavs.items()}
    half = {utt: vector for utt, vector in originals.items() if utt[-1] in "01"}
    clean, noise, silent = (verify(trials, originals, system, 20).value for system in (originals, noisy, half))
    assert clean < 0.2 and noise > clean + 0.2 and silent > clean + 0.2


def test_speakers_are_resampled_where_there_are_enough():
    assert set(resampled_units(make_trials(people(*[2] * 10)))) == set("abcdefghij")
    assert len(set(resampled_units(make_trials(people(*[2] * 9))))) == 18
