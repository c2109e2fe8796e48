"""Pitch, voicing and mel-cepstral distance on signals whose answer is known."""

import sys

import numpy as np
import pytest
from speech_generator import speech

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics import MetricContext, Sample, build_metric
from sitok_espnet.evaluate.metrics.mcd import ALPHA, ORDER, mel_cepstrum_matrix
from sitok_espnet.evaluate.world import SAMPLE_RATE, World

RATE = SAMPLE_RATE  # no resampling between a signal and its answer


@pytest.fixture(scope="module")
def metrics():
    context = MetricContext()
    return {name: build_metric(name, context) for name in ("mcd", "f0_rmse", "vuv")}


def buzz(hertz, seconds=1.0):
    """A harmonic complex that falls by 6 dB an octave: voiced throughout."""
    time = np.arange(round(seconds * RATE)) / RATE
    partials = range(1, int(7000 // hertz) + 1)
    return (0.2 * sum(np.sin(2 * np.pi * n * hertz * time) / n for n in partials)).astype(np.float32)


def compare(metric, reference, hypothesis):
    return metric.measure(Sample("u", reference, hypothesis, RATE))


@pytest.mark.parametrize("hertz", [80.0, 150.0, 320.0])
def test_pitch_of_known_tones(hertz):
    pitch = World().pitch(buzz(hertz))
    assert len(pitch) == RATE // 80 + 1
    np.testing.assert_allclose(pitch[20:-20], hertz, rtol=2e-3)


@pytest.mark.parametrize("cents", [-300.0, 50.0, 700.0])
def test_f0_rmse_is_the_interval(metrics, cents):
    measured = compare(metrics["f0_rmse"], buzz(200.0), buzz(200.0 * 2 ** (cents / 1200)))
    assert measured.value == pytest.approx(abs(cents), abs=4.0)
    hertz = abs(200.0 * 2 ** (cents / 1200) - 200.0)
    assert float(measured.detail.split()[0]) == pytest.approx(hertz, rel=0.05)


def test_f0_rmse_is_root_mean_square_over_shared_voicing(metrics):
    world = World()
    wavs = speech(2.0, 1, 0, RATE), speech(2.0, 1, 1, RATE)
    first, second = (world.pitch(wav) for wav in wavs)
    errors = [1200 * np.log2(g / f) for f, g in zip(first, second, strict=True) if f and g]
    assert 20 < len(errors) < len(first), "both voiced and unvoiced frames are tried"
    assert compare(metrics["f0_rmse"], *wavs).value == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-9)


def test_voicing_error_is_the_share_that_was_lost(metrics):
    whole = buzz(200.0, 2.0)
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(whole)).astype(np.float32)
    cut = np.where(np.arange(len(whole)) < RATE // 2, whole, noise)
    measured = compare(metrics["vuv"], whole, cut)
    assert measured.denominator == 2 * RATE // 80 + 1
    assert measured.value == pytest.approx(0.75, abs=0.03)
    assert compare(metrics["vuv"], cut, whole).value == measured.value
    assert compare(metrics["vuv"], whole, np.zeros_like(whole)).value > 0.97


def test_mel_cepstrum_of_a_cosine_series():
    """A log spectrum that is a sum of cosines on the warped axis has exactly these coefficients."""
    wanted = np.random.default_rng(0).standard_normal(ORDER) / np.arange(1, ORDER + 1)
    w = np.linspace(0, np.pi, 513)
    # The phase of the all-pass (z^-1 - alpha) / (1 - alpha z^-1), without arctangents of parts.
    z = np.exp(-1j * w)
    warped = -np.unwrap(np.angle((z - ALPHA) / (1 - ALPHA * z)))
    assert warped[0] == pytest.approx(0, abs=1e-12) and warped[-1] == pytest.approx(np.pi)
    log_amplitude = 0.7 + sum(c * np.cos(m * warped) for m, c in enumerate(wanted, 1))
    np.testing.assert_allclose(log_amplitude @ mel_cepstrum_matrix(513), wanted, atol=1e-10)


@pytest.mark.parametrize(("order", "size"), [(1, 0.3), (3, 0.2)])
def test_mcd_of_a_filter_with_one_coefficient(metrics, order, size):
    """ln|H| = size cos(m w~) moves one coefficient by `size` in every frame: 10 sqrt(2) / ln 10 * size dB."""
    wav = speech(2.0, 0, 0, RATE)
    spectrum = np.fft.rfft(wav)
    z = np.exp(-1j * np.linspace(0, np.pi, len(spectrum)))
    warped = -np.unwrap(np.angle((z - ALPHA) / (1 - ALPHA * z)))
    filtered = np.fft.irfft(spectrum * np.exp(size * np.cos(order * warped)), len(wav)).astype(np.float32)
    measured = compare(metrics["mcd"], wav, filtered)
    assert measured.value == pytest.approx(10 * np.sqrt(2) / np.log(10) * size, rel=0.05)


def test_mcd_does_not_hear_level_or_pauses(metrics):
    wav = speech(2.0, 0, 0, RATE)
    assert compare(metrics["mcd"], wav, wav).value == 0
    assert compare(metrics["mcd"], wav, 0.25 * wav).value < 0.01
    pause = np.zeros(RATE, np.float32)
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    alone = compare(metrics["mcd"], wav, 0.25 * wav)
    longer = compare(metrics["mcd"], np.concatenate([wav, pause]), np.concatenate([0.25 * wav, hiss]))
    assert longer.denominator == pytest.approx(alone.denominator, abs=4), "frames of the pause do not count"


def test_nothing_to_measure(metrics):
    wav, silence = buzz(200.0, 0.5), np.zeros(RATE // 2, np.float32)
    with pytest.raises(NotMeasurable, match="fewer than 10 frames"):
        compare(metrics["f0_rmse"], wav, silence)
    for name, metric in metrics.items():
        with pytest.raises(NotMeasurable, match="silent original"):
            compare(metric, silence, wav)
        with pytest.raises(SiTokError, match="u has|utterance u.*samples"):
            compare(metric, wav, wav[:-1])
        if name != "f0_rmse":
            assert np.isfinite(compare(metric, wav[:1] + 0.1, wav[:1] + 0.2).value), "one sample is enough"
    assert compare(metrics["mcd"], wav, silence).value > 5


def test_one_analysis_for_all_metrics(monkeypatch):
    context = MetricContext()
    built = [build_metric(name, context) for name in ("mcd", "f0_rmse", "vuv")]
    calls = []
    dio = context.world._world.dio
    monkeypatch.setattr(context.world._world, "dio", lambda *a, **k: calls.append(1) or dio(*a, **k))
    wavs = [speech(1.0, seed, 0, 24000) for seed in range(4)]
    first = [metric.measure(Sample("u", wavs[0], wav, 24000)) for wav in wavs[1:] for metric in built]
    assert len(calls) == 4, "the original once, three systems once each"
    again = [metric.measure(Sample("u", wavs[0], wav, 24000)) for wav in wavs[1:] for metric in built]
    assert again == first


def test_missing_pyworld(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MetricUnavailable, match="pyworld.*pip install"):
        build_metric("mcd", MetricContext())
