"""PESQ and ESTOI: the libraries' own numbers, the cases they cannot measure, and repeatability."""

import sys

import numpy as np
import pytest
from speech_generator import speech

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics import MetricContext, Sample, build_metric
from sitok_espnet.evaluate.metrics.pesq import PIECE_SECONDS

RATE = 16000


@pytest.fixture(scope="module")
def pesq():
    pytest.importorskip("pesq", reason="compiled on installation: not everywhere")
    return build_metric("pesq", MetricContext())


@pytest.fixture(scope="module")
def estoi():
    return build_metric("estoi", MetricContext())


def noisy(wav, level=0.02, seed=0):
    return (wav + level * np.random.default_rng(seed).standard_normal(len(wav))).astype(np.float32)


def test_pesq_is_the_packages_number_and_ignores_level(pesq):
    import pesq as package

    wav = speech(2.0, 0, 0, RATE)
    score = pesq.measure(Sample("u", wav, noisy(wav), RATE)).value
    assert score == package.pesq(RATE, wav, noisy(wav), "wb")
    assert 1.0 < score < 4.0
    assert pesq.measure(Sample("u", wav, wav, RATE)).value == pytest.approx(4.644, abs=1e-3)
    assert pesq.measure(Sample("u", wav, 0.5 * noisy(wav), RATE)).value == pytest.approx(score, abs=0.01)
    assert pesq.measure(Sample("u", wav, noisy(wav, 0.1), RATE)).value < score


def test_long_audio_is_measured_in_pieces(pesq):
    """The ITU's program writes beyond its memory after 50 stretches of speech: 62 here, and no crash."""
    burst = np.concatenate([speech(0.25, 0, 0, RATE), np.zeros(RATE // 4, np.float32)])
    wav = np.tile(burst, 62)
    whole = pesq.measure(Sample("u", wav, noisy(wav, 0.01), RATE))
    pieces = np.array_split(np.stack([wav, noisy(wav, 0.01)]), 3, axis=1)
    alone = [pesq.measure(Sample("u", *piece, RATE)).value for piece in pieces]
    assert whole.value == pytest.approx(np.mean(alone), rel=1e-6) and whole.notice == ""
    gap = np.where(np.arange(len(wav)) < PIECE_SECONDS * RATE, 0, wav)
    part = pesq.measure(Sample("u", gap, noisy(gap, 0.01), RATE))
    assert part.notice == "1 of 3 pieces left out" and np.isfinite(part.value)


def test_what_pesq_cannot_measure(pesq):
    wav = speech(1.0, 0, 0, RATE)
    silence = np.zeros_like(wav)
    for pair, reason in (
        ((wav, silence), "system's audio is silent"),
        ((silence, wav), "original is silent"),
        ((wav[:3000], wav[:3000]), "1/4 of a second"),
    ):
        with pytest.raises(NotMeasurable, match=reason):
            pesq.measure(Sample("u", *pair, RATE))
    with pytest.raises(SiTokError, match="utterance u.*samples"):
        pesq.measure(Sample("u", wav, wav[1:], RATE))


def test_pesq_that_could_not_be_compiled(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(MetricUnavailable, match="pip install pesq .*gcc"):
        build_metric("pesq", MetricContext())


def test_estoi_is_pystois_extended_number(estoi):
    import pystoi

    wav = speech(2.0, 0, 0, RATE)
    measured = estoi.measure(Sample("u", wav, noisy(wav), RATE)).value
    assert measured == pytest.approx(pystoi.stoi(wav, noisy(wav), RATE, extended=True), abs=1e-6)
    stoi = build_metric("stoi", MetricContext()).measure(Sample("u", wav, noisy(wav), RATE)).value
    assert measured < stoi - 0.01


def test_estoi_repeats_in_silence_and_leaves_the_global_stream_alone(estoi):
    wav = speech(2.0, 0, 0, RATE)
    broken = wav.copy()
    broken[8000:24000] = 0  # digital silence, where pystoi normalises its own random noise
    np.random.seed(5)
    wanted = np.random.standard_normal(3)
    np.random.seed(5)
    first = estoi.measure(Sample("u", wav, broken, RATE)).value
    np.testing.assert_array_equal(np.random.standard_normal(3), wanted)
    assert estoi.measure(Sample("u", wav, broken, RATE)).value == first


def test_too_short_for_estoi(estoi):
    wav = speech(0.3, 0, 0, RATE)
    with pytest.raises(NotMeasurable, match="0.4 s"):
        estoi.measure(Sample("u", wav, wav, RATE))
