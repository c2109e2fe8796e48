"""Augmentation: every effect against an independent formula, limits, seeding, configuration errors."""

import cmath
import math

import numpy as np
import pytest
from scipy.signal import sosfilt

from sitok_espnet import augment
from sitok_espnet.augment import EFFECTS, Augmentation, Equalizer, SpeechPreprocessor, biquad, change_speed
from sitok_espnet.errors import SiTokError

RATE = 24000


def tone(hertz: float, samples: int = RATE, peak: float = 0.1) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def apply(wav, seed=0, **conf):
    return Augmentation(conf, RATE)(wav, np.random.default_rng(seed))


@pytest.mark.parametrize("db", [-10.0, 3.0])
def test_gain_is_exact(db):
    out = apply(tone(300), gain={"minimum_db": db, "maximum_db": db})
    np.testing.assert_allclose(out, tone(300) * 10 ** (db / 20), rtol=1e-6)


@pytest.mark.parametrize("hundredths", [85, 99, 110, 120, 200])
def test_speed_changes_length_and_pitch(hundredths):
    wav = tone(600, 24001)
    out = change_speed(wav, hundredths)
    assert len(out) == math.ceil(100 * 24001 / hundredths) and out.dtype == np.float32
    # Played faster, a tone is the tone of a higher frequency: sample by sample, away from the filter's edges.
    expected = tone(600 * hundredths / 100, len(out))
    assert np.abs(out - expected)[400:-400].max() < 1e-3
    assert change_speed(wav, 100) is wav


def test_faster_speech_does_not_alias():
    assert np.abs(change_speed(tone(11500), 120)[400:-400]).max() < 0.01  # 13.8 kHz would come back as 10.2 kHz


def test_all_hundredths_of_the_range_are_drawn():
    lengths = {len(apply(tone(300, 2400), seed, speed={"minimum": 0.97, "maximum": 1.03})) for seed in range(60)}
    assert lengths == {math.ceil(240000 / n) for n in range(97, 104)}


def analogue(kind: str, hertz: float, corner: float, gain_db: float, q: float) -> float:
    """Magnitude in dB of the analogue filter at the frequency that the bilinear transform maps `hertz` from."""
    a = 10 ** (gain_db / 40)
    s = 1j * math.tan(math.pi * hertz / RATE) / math.tan(math.pi * corner / RATE)
    root = cmath.sqrt(a)
    value = {
        "peak": (s * s + s * a / q + 1) / (s * s + s / (a * q) + 1),
        "low_shelf": a * (s * s + s * root / q + a) / (a * s * s + s * root / q + 1),
        "high_shelf": a * (a * s * s + s * root / q + 1) / (s * s + s * root / q + a),
    }[kind]
    return 20 * math.log10(abs(value))


@pytest.mark.parametrize("kind", ["peak", "low_shelf", "high_shelf"])
@pytest.mark.parametrize("gain_db", [-6.0, 4.0])
@pytest.mark.parametrize("hertz", [100.0, 900.0, 1000.0, 1300.0, 6000.0])
def test_equaliser_response_at_a_frequency(kind, gain_db, hertz):
    corner, q = 1000.0, 0.9
    out = sosfilt(biquad(kind, corner, gain_db, q, RATE)[None], tone(hertz, 2 * RATE))
    measured = 10 * math.log10(2 * np.mean(np.square(out[RATE:])) / 0.01)  # whole periods
    assert measured == pytest.approx(analogue(kind, hertz, corner, gain_db, q), abs=1e-3)


@pytest.mark.parametrize(
    "kind, at_0, at_corner, at_nyquist",
    [("peak", 0.0, 6.0, 0.0), ("low_shelf", 6.0, 3.0, 0.0), ("high_shelf", 0.0, 3.0, 6.0)],
)
def test_equaliser_limits(kind, at_0, at_corner, at_nyquist):
    section = biquad(kind, 1000.0, 6.0, math.sqrt(0.5), RATE)
    for hertz, expected in ((0.0, at_0), (1000.0, at_corner), (RATE / 2, at_nyquist)):
        z = np.exp(2j * np.pi * hertz / RATE)
        response = np.polyval(section[:3], z) / np.polyval(section[3:], z)
        assert 20 * math.log10(abs(response)) == pytest.approx(expected, abs=1e-9)


def test_equaliser_stays_within_its_gain():
    impulse = np.zeros(RATE, dtype=np.float32)
    impulse[0] = 0.1
    responses = []
    for seed in range(20):
        out = apply(impulse, seed, equalizer={"probability": 1.0, "peaks": 0, "gain_db": 6.0})
        responses.append(20 * np.log10(np.abs(np.fft.rfft(out)) / 0.1))
    assert 2.0 < np.abs(responses).max() <= 12.0  # two shelves of 6 dB at most
    flat = apply(impulse, equalizer={"probability": 1.0, "gain_db": 0.0})
    np.testing.assert_allclose(flat, impulse, atol=1e-7)


@pytest.mark.parametrize("snr", [20.0, 40.0])
def test_noise_level(snr):
    wav = tone(300, 5 * RATE)
    noise = apply(wav, noise={"probability": 1.0, "minimum_snr_db": snr, "maximum_snr_db": snr}) - wav
    power = np.mean(np.square(wav, dtype=np.float64)) / np.mean(np.square(noise, dtype=np.float64))
    assert 10 * math.log10(power) == pytest.approx(snr, abs=0.1)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    halves = spectrum[: len(spectrum) // 2].mean() / spectrum[len(spectrum) // 2 :].mean()
    assert halves == pytest.approx(1.0, abs=0.05)  # white


ALL = {name: {"probability": 1.0} for name in EFFECTS}


def test_result_is_float32_within_full_scale_and_scaled_not_clipped():
    wav = tone(300, peak=0.9)
    out = apply(wav.astype(np.float64), gain={"minimum_db": 6.0, "maximum_db": 6.0})
    assert out.dtype == np.float32 and np.abs(out).max() == 1.0
    np.testing.assert_allclose(out, wav / np.abs(wav).max(), atol=1e-6)
    for seed in range(20):
        out = apply(wav, seed, **ALL)
        assert out.dtype == np.float32 and np.isfinite(out).all() and np.abs(out).max() <= 1.0


@pytest.mark.parametrize("wav", [np.zeros(0, np.float32), np.zeros(1000, np.float32), np.full(1, 0.5, np.float32)])
def test_edge_cases(wav):
    out = apply(wav, **ALL)
    assert out.dtype == np.float32 and np.isfinite(out).all()
    assert (len(out) == 0) == (len(wav) == 0)
    if not wav.any():
        assert not out.any()  # silence stays silence


def test_draws_follow_epoch_worker_rank_and_utterance(monkeypatch):
    from espnet2.iterators.sequence_iter_factory import worker_init_fn

    def epoch(number, worker=0, rank=0, names=("a", "a", "b")):
        monkeypatch.setattr(augment, "rank", lambda: rank)
        preprocessor = SpeechPreprocessor(Augmentation(ALL, RATE))
        monkeypatch.setattr(augment, "rank", lambda: 99)  # as in a data worker, which belongs to no process group
        worker_init_fn(worker, base_seed=number + 3)
        return [preprocessor(name, {"speech": tone(300)})["speech"] for name in names]

    first = epoch(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, epoch(1), strict=True))
    for other in (epoch(2), epoch(1, worker=4), epoch(1, rank=1), epoch(1, names="cde")):
        assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert not np.array_equal(first[0], first[1])


def test_probability():
    wav = tone(300)
    assert np.array_equal(apply(wav, **{name: {"probability": 0.0} for name in EFFECTS}), wav)
    random = np.random.default_rng(0)
    augmentation = Augmentation({"gain": {"probability": 0.25, "maximum_db": -1.0}}, RATE)
    changed = sum(not np.array_equal(augmentation(wav, random), wav) for _ in range(1000))
    assert 200 < changed < 300
    assert Augmentation({"gain": None, "noise": {}}, RATE).effects == [EFFECTS["noise"]()]


def test_other_sampling_rates():
    for seed in range(10):
        out = Equalizer()(tone(300), 8000, np.random.default_rng(seed))
        assert np.isfinite(out).all() and np.abs(out).max() < 10


@pytest.mark.parametrize(
    "conf, message",
    [
        ({"pitch": {}}, "unknown keys: pitch; legal keys are speed, equalizer, noise, gain"),
        ({"speed": {"factor": 1}}, "speed has unknown keys: factor; legal keys are probability, minimum, maximum"),
        ({"speed": True}, "speed must have its options below it"),
        ({"speed": {"minimum": 1.3}}, "0.5 <= minimum <= maximum <= 2 is needed, not 1.3 and 1.2"),
        ({"speed": {"minimum": 1.001, "maximum": 1.009}}, "no whole hundredth"),
        ({"speed": {"minimum": "0.9"}}, "minimum must be a number, not '0.9'"),
        ({"gain": {"probability": 1.5}}, "probability must be from 0 to 1"),
        ({"gain": {"maximum_db": float("nan")}}, "maximum_db must be a number"),
        ({"noise": {"minimum_snr_db": -5}}, "0 <= minimum_snr_db"),
        ({"equalizer": {"peaks": 1.5}}, "whole number"),
        ({"equalizer": {"gain_db": -1}}, "gain_db"),
    ],
)
def test_bad_configurations_are_explained(conf, message):
    with pytest.raises(SiTokError) as error:
        Augmentation(conf, RATE)
    assert message in str(error.value)


def test_preprocessor_changes_the_speech_and_hands_on():
    augmentation = Augmentation({"gain": {"minimum_db": -6, "maximum_db": -6}}, RATE)
    data = {"speech": tone(300), "text": "a b"}
    out = SpeechPreprocessor(augmentation, lambda uid, d: {**d, "seen": uid})("u1", data)
    assert out["seen"] == "u1" and out["text"] == "a b"
    np.testing.assert_allclose(out["speech"], data["speech"] * 10**-0.3, rtol=1e-6)
    assert np.array_equal(data["speech"], tone(300))  # not in place
