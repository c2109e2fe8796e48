"""The first metrics against their formulas and libraries, and that they say so when they cannot measure.

What damage each metric hears is in test_metrics_can_fail.py.
"""

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
import torch
from heard_words import INSTALLED, VOICE, heard_context, sentences
from speech_generator import speech, synthesize

from benchmarks.metric_response import fit
from sitok_espnet.audio import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics import MetricContext, Sample, build_metric
from sitok_espnet.evaluate.metrics.prompt_similarity import PromptSimilarity
from sitok_espnet.evaluate.recognizer import Recognizer
from sitok_espnet.inputs import AudioInput
from sitok_espnet.sitok.mel.log_mel import LogMel

RATE = 24000
TEXTS = sentences(1, 4)


@pytest.fixture(scope="module")
def context():
    return heard_context(TEXTS)


@pytest.fixture(scope="module")
def originals():
    return [synthesize(text, seed, VOICE, RATE) for seed, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def metrics(context):
    return {name: build_metric(name, context) for name in INSTALLED}


def test_cards_are_complete(metrics):
    for name, metric in metrics.items():
        card = metric.card()
        assert card["name"] == name
        assert all(card[key] for key in ("title", "unit", "model", "version", "sample_rate"))
    assert len({metric.fingerprint() for metric in metrics.values()}) == len(INSTALLED)


def test_cached_measurements_of_the_first_metrics_stay_valid(metrics):
    """Their fingerprints depend on these cards alone; a change would measure every cached utterance again."""
    stoi = {"name": "stoi", "title": "STOI", "unit": "correlation", "direction": "higher is better"}
    stoi |= {"model": "pystoi (STOI, not extended)", "version": metrics["stoi"].version, "sample_rate": 16000}
    assert metrics["stoi"].card() == stoi | {"intrusive": True, "decimals": 3}
    assert set(metrics["wer"].card()) == {*stoi, "intrusive", "decimals", "pronounced_by_rule"}
    assert metrics["wer"].model.startswith("pocketsphinx en-us, own 3-gram ")


def test_error_rates_count_edits(metrics, originals):
    wer = metrics["wer"].measure(Sample("u", originals[0], originals[0], RATE, TEXTS[0] + " semicolon"))
    exact = metrics["wer"].measure(Sample("u", originals[0], originals[0], RATE, wer.detail))
    assert wer.denominator == 5 and 1 <= wer.numerator <= 5
    assert exact.numerator == 0 and exact.denominator == len(wer.detail.split())
    cer = metrics["cer"].measure(Sample("u", originals[0], originals[0], RATE, wer.detail + " x"))
    assert (cer.numerator, cer.denominator) == (2, len(wer.detail) + 2)
    with pytest.raises(NotMeasurable, match="no transcript"):
        metrics["wer"].measure(Sample("u", originals[0], originals[0], RATE, None))


def test_transcripts_do_not_depend_on_earlier_utterances(context, originals):
    recognizer = context.recognizer
    wavs = [resample(wav, RATE, 16000) for wav in originals]
    quiet = [0.05 * wav for wav in wavs]
    alone = [Recognizer(context.train_texts, context.test_texts).transcribe(wav) for wav in quiet[:2]]
    for wav in wavs:
        recognizer.transcribe(wav)
    assert [recognizer.transcribe(wav) for wav in quiet[:2]] == alone


def test_mel_distance_against_its_formula(metrics, originals):
    reference = originals[0]
    hypothesis = (reference + 0.05 * np.random.default_rng(0).standard_normal(len(reference))).astype(np.float32)
    both = torch.from_numpy(np.stack([reference, hypothesis]))
    mels = LogMel()(both, torch.tensor([len(reference)] * 2))[0].double().numpy()
    measured = metrics["mel"].measure(Sample("u", reference, hypothesis, RATE))
    assert measured.value == pytest.approx(np.abs(mels[0] - mels[1]).mean(), rel=1e-6)
    assert measured.denominator == -(-len(reference) // 480)


@pytest.fixture(scope="module")
def quality():
    return build_metric("dnsmos", MetricContext())


def test_dnsmos_is_speechmos_own_number(quality, originals):
    from speechmos import dnsmos

    wav = fit(originals[0], 62400)  # 4 repetitions of 2.6 s: two windows
    expected = dnsmos.run(np.clip(resample(wav, RATE, 16000), -1, 1), 16000)["ovrl_mos"]
    measured = quality.measure(Sample("u", wav, wav, RATE))
    assert measured.value == pytest.approx(expected, abs=1e-4)
    assert measured.notice == ""


def test_dnsmos_reports_clipping(quality, originals):
    loud = 2.5 * fit(originals[0], 55200)
    measured = quality.measure(Sample("u", originals[0], loud, RATE))
    limited = quality.measure(Sample("u", originals[0], np.clip(loud, -1, 1), RATE))
    assert "clipped" in measured.notice
    assert measured.value == pytest.approx(limited.value, abs=0.2)


def test_too_short_for_stoi(metrics):
    wav = speech(0.3)
    with pytest.raises(NotMeasurable, match="0.4 s"):
        metrics["stoi"].measure(Sample("u", wav, wav, RATE))


def test_no_voice_for_speaker_similarity(metrics, originals):
    hiss = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert "no voice" in metrics["sim"].measure(Sample("u", originals[0], hiss, RATE)).notice
    with pytest.raises(NotMeasurable, match="silent"):
        metrics["sim"].measure(Sample("u", originals[0], np.zeros(RATE, np.float32), RATE))


@pytest.mark.parametrize("name", ["stoi", "mel"])
def test_other_lengths_are_an_error(metrics, originals, name):
    with pytest.raises(SiTokError, match="utterance u7.*samples"):
        metrics[name].measure(Sample("u7", originals[0], originals[0][:-1], RATE))


@pytest.mark.skipif(not find_spec("distillmos"), reason="distillmos is not installed")
def test_distillmos_is_the_packages_own_at_any_length(originals):
    from distillmos import ConvTransformerSQAModel

    metric = build_metric("distillmos", MetricContext())
    model = ConvTransformerSQAModel().eval()
    for wav in (originals[0][:100], 0.3 * np.concatenate(originals * 4)[: int(8.5 * RATE)]):
        speech = torch.from_numpy(np.ascontiguousarray(resample(wav, RATE, 16000)))
        with torch.no_grad():
            expected = float(model(speech[None]))
        assert metric.measure(Sample("u", wav, wav, RATE)).value == pytest.approx(expected, abs=1e-4)
        assert 1 <= expected <= 5


def test_mel_distance_refuses_another_rate(metrics, originals):
    with pytest.raises(SiTokError, match="24000 Hz"):
        metrics["mel"].measure(Sample("u", originals[0], originals[0], 16000))


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("wer", "pocketsphinx"),
        ("sim", "resemblyzer"),
        ("distillmos", "distillmos"),
        ("dnsmos", "speechmos"),
        ("stoi", "pystoi"),
    ],
)
def test_missing_packages_are_named(monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MetricUnavailable, match=f"{package}.*pip install"):
        build_metric(name, MetricContext(("mama",), ()))


def test_recogniser_is_for_english_among_several_languages(tmp_path):
    for name, files in {
        "train": {"text": "a one two\nb uno dos\nc three\n", "utt2lang": "a en\nb es\n"},
        "english": {"text": "d four\n", "utt2lang": "d en\n"},
        "spanish": {"text": "e cuatro\nf\n", "utt2lang": "e es\nf es\n"},
        "unnamed": {},
    }.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
    train = tmp_path / "train/text"
    english = MetricContext.read(train, {"d": "four"}, tmp_path / "english")
    assert english == MetricContext(("one two", "three"), ("four",), ("en",))
    assert MetricContext.read(None, {"d": "four"}, tmp_path / "unnamed") == MetricContext((), ("four",))
    for texts, languages in (({"e": "cuatro"}, "es"), ({"e": "cuatro", "d": "four"}, "en, es")):
        context = MetricContext.read(train, texts, tmp_path / "spanish")
        assert context.foreign == {"e": "es"}
        with pytest.raises(MetricUnavailable, match=f"knows English only, this set is {languages}"):
            build_metric("wer", context)
        assert build_metric("mel", context).name == "mel"


def test_other_prompts_in_the_same_place_are_measured_again(tmp_path):
    class Compare:
        name, title, unit, decimals, sample_rate, model, version = "sim", "SIM", "cosine", 3, 16000, "none", "1"

    path = tmp_path / "prompt.wav"
    prints = []
    for seed in (0, 0, 1):
        soundfile.write(path, np.random.default_rng(seed).uniform(-0.5, 0.5, 800), 16000)
        prompts = [AudioInput("a", str(path)), AudioInput("b", str(path))]
        prints.append(PromptSimilarity(Compare, prompts).fingerprint())
    assert prints[0] == prints[1] != prints[2]
    assert PromptSimilarity(Compare, prompts[:1]).fingerprint() != prints[2]


def test_no_training_texts_and_unknown_metrics():
    with pytest.raises(MetricUnavailable, match="--train_text"):
        build_metric("wer", MetricContext((), ("mama",)))
    with pytest.raises(SiTokError, match="unknown metric 'taste'"):
        build_metric("taste", MetricContext())
