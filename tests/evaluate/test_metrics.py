"""Every metric moves the right way when speech is damaged on purpose, and says so when it cannot measure.

The speech is generated. Its words are few and far apart in sound, so that the real recogniser understands them.
"""

import sys

import numpy as np
import pytest
import torch
from speech_generator import speech, synthesize

from sitok_espnet.audio import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics import METRICS, MetricContext, Sample, build_metric
from sitok_espnet.evaluate.recognizer import Recognizer
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.vocoder.griffin_lim import GriffinLim

RATE = 24000
WORDS = "mama sierra zulu".split()
VOICE, OTHER_VOICE = 3, 1


def sentences(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 4)) for _ in range(count)]


TEXTS = sentences(1, 4)


@pytest.fixture(scope="module")
def context():
    return MetricContext(tuple(sentences(0, 60) + WORDS), tuple(TEXTS))


@pytest.fixture(scope="module")
def originals():
    return [synthesize(text, seed, VOICE, RATE) for seed, text in enumerate(TEXTS)]


def add_noise(wav, seed=0, level=0.05):
    noise = np.random.default_rng(seed).standard_normal(len(wav)).astype(np.float32)
    return np.clip(wav + level * noise, -1, 1)


def through_mel(wav, frames):
    """Copy synthesis with the log-mel averaged over this many frames of 20 ms."""
    mel, _ = LogMel()(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
    smooth = torch.nn.functional.avg_pool1d(
        mel.transpose(1, 2), frames, stride=1, padding=frames // 2, count_include_pad=False
    )
    vocoder = GriffinLim(MelConfig(), iterations=8)
    with torch.no_grad():
        return vocoder(smooth.transpose(1, 2))[0, : len(wav)].numpy()


DAMAGES = {
    "noise": lambda wav, text: add_noise(wav),
    "blur": lambda wav, text: through_mel(wav, 15),
    "other voice": lambda wav, text: fit(synthesize(text, 0, OTHER_VOICE, RATE), len(wav)),
    "swapped words": lambda wav, text: fit(synthesize(swap(text), 0, VOICE, RATE), len(wav)),
}


def fit(wav, samples):
    return np.pad(wav, (0, max(0, samples - len(wav))))[:samples]


def swap(text):
    """Every word replaced by another one."""
    return " ".join(WORDS[(WORDS.index(word) + 1) % len(WORDS)] for word in text.split())


def corpus_value(metric, references, hypotheses):
    measured = [
        metric.measure(Sample(str(number), *pair, RATE, TEXTS[number]))
        for number, pair in enumerate(zip(references, hypotheses, strict=True))
    ]
    return sum(item.numerator for item in measured) / sum(item.denominator for item in measured)


# (metric, damage, how much worse it must get): not every damage concerns every metric.
EXPECTED = [
    ("wer", "noise", 0.1),
    ("wer", "blur", 0.1),
    ("wer", "swapped words", 0.5),
    ("cer", "blur", 0.1),
    ("cer", "swapped words", 0.3),
    ("sim", "noise", 0.05),
    ("sim", "other voice", 0.1),
    ("dnsmos", "noise", 0.1),
    ("stoi", "noise", 0.02),
    ("stoi", "blur", 0.1),
    ("stoi", "swapped words", 0.3),
    ("mel", "noise", 0.5),
    ("mel", "blur", 0.2),
    ("mel", "other voice", 0.2),
    ("mel", "swapped words", 0.2),
]


@pytest.fixture(scope="module")
def damaged(originals):
    return {
        name: [damage(wav, text) for wav, text in zip(originals, TEXTS, strict=True)]
        for name, damage in DAMAGES.items()
    }


@pytest.fixture(scope="module")
def metrics(context):
    return {name: build_metric(name, context) for name in METRICS}


@pytest.mark.parametrize(("name", "damage", "margin"), EXPECTED)
def test_damage_is_seen(metrics, originals, damaged, name, damage, margin):
    metric, altered = metrics[name], damaged[damage]
    if name == "dnsmos":  # slow: one window of 9.01 s each, 4 repetitions of 2.3 s
        originals, altered = ([fit(wav, 55200) for wav in wavs[:2]] for wavs in (originals, altered))
    clean = corpus_value(metric, originals, originals)
    worse = corpus_value(metric, originals, altered)
    change = clean - worse if metric.higher_is_better else worse - clean
    assert change > margin, f"{name}: clean {clean:.3f}, {damage} {worse:.3f}"


def test_the_reference_itself_is_perfect(metrics, originals):
    for name, perfect in (("sim", 1.0), ("stoi", 1.0), ("mel", 0.0)):
        assert metrics[name].intrusive
        assert corpus_value(metrics[name], originals, originals) == pytest.approx(perfect, abs=1e-5)
    assert corpus_value(metrics["wer"], originals, originals) < 0.1, "the recogniser understands the generated words"


def test_cards_are_complete(metrics):
    for name, metric in metrics.items():
        card = metric.card()
        assert card["name"] == name
        assert all(card[key] for key in ("title", "unit", "model", "version", "sample_rate"))
    assert len({metric.fingerprint() for metric in metrics.values()}) == len(METRICS)


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
    reference, hypothesis = originals[0], add_noise(originals[0])
    both = torch.from_numpy(np.stack([reference, hypothesis]))
    mels = LogMel()(both, torch.tensor([len(reference)] * 2))[0].double().numpy()
    measured = metrics["mel"].measure(Sample("u", reference, hypothesis, RATE))
    assert measured.value == pytest.approx(np.abs(mels[0] - mels[1]).mean(), rel=1e-6)
    assert measured.denominator == -(-len(reference) // 480)


def test_dnsmos_is_speechmos_own_number(metrics, originals):
    from speechmos import dnsmos

    wav = fit(originals[0], 62400)  # 4 repetitions of 2.6 s: two windows
    expected = dnsmos.run(np.clip(resample(wav, RATE, 16000), -1, 1), 16000)["ovrl_mos"]
    measured = metrics["dnsmos"].measure(Sample("u", wav, wav, RATE))
    assert measured.value == pytest.approx(expected, abs=1e-4)
    assert measured.notice == ""


def test_dnsmos_reports_clipping(metrics, originals):
    loud = 2.5 * fit(originals[0], 55200)
    measured = metrics["dnsmos"].measure(Sample("u", originals[0], loud, RATE))
    limited = metrics["dnsmos"].measure(Sample("u", originals[0], np.clip(loud, -1, 1), RATE))
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


def test_mel_distance_refuses_another_rate(metrics, originals):
    with pytest.raises(SiTokError, match="24000 Hz"):
        metrics["mel"].measure(Sample("u", originals[0], originals[0], 16000))


@pytest.mark.parametrize(
    ("name", "package"),
    [("wer", "pocketsphinx"), ("sim", "resemblyzer"), ("dnsmos", "speechmos"), ("stoi", "pystoi")],
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
        with pytest.raises(MetricUnavailable, match=f"knows English only, this set is {languages}"):
            build_metric("wer", context)
        assert build_metric("mel", context).name == "mel"


def test_no_training_texts_and_unknown_metrics():
    with pytest.raises(MetricUnavailable, match="--train_text"):
        build_metric("wer", MetricContext((), ("mama",)))
    with pytest.raises(SiTokError, match="unknown metric 'taste'"):
        build_metric("taste", MetricContext())
