"""The judge: Whisper by transformers and by CTranslate2, on tiny random models run by the real libraries."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from speech_generator import speech
from tiny_whisper import convert_whisper, save_whisper

from sitok_espnet.evaluate import whisper
from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.metrics import MetricContext, Sample, build_metric
from sitok_espnet.evaluate.metrics.whisper_wer import WhisperWordErrorRate
from sitok_espnet.evaluate.whisper.abs_whisper import TextNormalizer

RATE = 16000
REAL = Path(os.environ.get("SITOK_WHISPER") or whisper.FETCHED)  # where the weights themselves are at hand


@pytest.fixture(autouse=True)
def _nothing_at_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("SITOK_WHISPER", raising=False)
    monkeypatch.delenv("SITOK_METRIC_DEVICE", raising=False)
    monkeypatch.setattr(whisper, "FETCHED", tmp_path / "downloads" / "whisper-base-ct2")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_whisper(tmp_path_factory.mktemp("tiny_saved"))


@pytest.fixture(scope="module")
def converted(saved, tmp_path_factory):
    return convert_whisper(saved, tmp_path_factory.mktemp("converted") / "tiny_converted")


def build(folder, monkeypatch, context=None, name="whisper_wer"):
    monkeypatch.setenv("SITOK_WHISPER", str(folder))
    return build_metric(name, context or MetricContext())


# ---------------------------------------------------------------- which folder, which library


def test_the_folder_decides_the_library(saved, converted, monkeypatch):
    by_transformers, by_ctranslate2 = build(saved, monkeypatch), build(converted, monkeypatch)
    assert by_transformers.version.startswith("transformers 5")
    assert by_ctranslate2.version.startswith("faster-whisper") and "weights " in by_ctranslate2.version
    assert "tiny_converted" in by_ctranslate2.model and "/" not in by_ctranslate2.model
    for metric in (by_transformers, by_ctranslate2):
        assert metric.title == "WER (Whisper)" and "Whisper's normalizer" in metric.model
        json.dumps(metric.card())
    assert build(converted, monkeypatch, name="whisper_cer").title == "CER (Whisper)"


def test_nothing_at_hand_says_both_ways(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(MetricUnavailable, match="whisper-large-v3 are not on this machine.*local/fetch_whisper.py"):
        build_metric("whisper_wer", MetricContext())


def test_the_fetched_folder_is_found_and_the_variable_wins(saved, converted, monkeypatch):
    assert whisper.find_whisper() is None
    whisper.FETCHED.parent.mkdir()
    whisper.FETCHED.symlink_to(converted)
    assert whisper.find_whisper() == whisper.FETCHED
    assert build_metric("whisper_wer", MetricContext()).version.startswith("faster-whisper")
    monkeypatch.setenv("SITOK_WHISPER", str(saved))
    assert whisper.find_whisper() == saved


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.bin", "vocabulary"])
def test_a_folder_that_is_no_recognizers(missing, converted, monkeypatch, tmp_path):
    """One line: what is wrong, where, what to do; no path, because tables print it."""
    folder = tmp_path / "half"
    folder.mkdir()
    for file in converted.iterdir():
        if not file.name.startswith(missing):
            (folder / file.name).symlink_to(file)
    monkeypatch.setenv("SITOK_WHISPER", str(folder))
    with pytest.raises(MetricUnavailable) as caught:
        whisper.find_whisper()
    message = str(caught.value)
    assert message.startswith("SITOK_WHISPER=half is no recognizer's folder") and "\n" not in message
    assert "model.bin" in message and "local/fetch_whisper.py" in message and str(tmp_path) not in message
    monkeypatch.setenv("SITOK_WHISPER", str(tmp_path / "nowhere"))
    with pytest.raises(MetricUnavailable, match="SITOK_WHISPER=nowhere: no such directory: local/fetch_whisper.py"):
        whisper.find_whisper()


def test_a_damaged_model_is_one_line(converted, monkeypatch, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file in converted.iterdir():
        (folder / file.name).write_bytes(file.read_bytes()[:-100] if file.name == "model.bin" else file.read_bytes())
    monkeypatch.setenv("SITOK_WHISPER", str(folder))
    with pytest.raises(MetricUnavailable, match="damaged cannot be opened as a Whisper of CTranslate2") as caught:
        build_metric("whisper_wer", MetricContext())
    assert "\n" not in str(caught.value) and str(tmp_path) not in str(caught.value)


# ---------------------------------------------------------------- normalization


def test_english_is_compared_as_whispers_evaluation_does():
    """Known cases: Radford et al. 2022, appendix C."""
    words = TextNormalizer({"colour": "color"}).words
    assert words("Colour, it's twenty-one!", "en") == ["color", "it", "is", "21"]
    for said, heard in {
        "press one then press two": "Press 1, then press 2.",
        "three d audio enabled": "3D audio enabled.",
        "i'm sure we won't": "I am sure we will not...",
        "twenty thousand dollars": "$20,000",
        "doctor smith uh won't go": "Dr. Smith will not go",
        "one oh one": "101",
    }.items():
        assert words(said, "en") == words(heard, "en"), said
    assert words("press one", "en") != words("press two", "en")
    assert words("¡Colour, it's!", "es") == ["colour", "it", "s"]
    assert words("你好 吗", "zh") == ["你", "好", "吗"]
    assert words("", "en") == words("...", "en") == []


def test_without_the_spelling_list_the_name_says_so():
    without = TextNormalizer(None)
    assert without.words("colour", "en") == ["colour"]
    assert without.name == f"{TextNormalizer({'colour': 'color'}).name} without its spelling list"


# ---------------------------------------------------------------- CTranslate2


class Segment:
    text = " heard "


def test_every_utterance_is_heard_alone_and_repeats(converted, monkeypatch):
    metric = build(converted, monkeypatch)
    one, two = speech(1.0, 0, 0, RATE), 0.1 * speech(1.0, 4, 1, RATE)
    first = metric.measure(Sample("a", one, one, RATE, "hello there"))
    metric.measure(Sample("b", two, two, RATE, "hello there"))
    assert metric.measure(Sample("a", one, one, RATE, "hello there")) == first
    assert first.denominator == 2 and np.isfinite(first.value)
    long = np.tile(one, 32)
    assert np.isfinite(metric.measure(Sample("c", long, long, RATE, "hello there")).value), "windows of 30 s"


def test_ctranslate2_is_told_the_language_and_nothing_of_before(converted, monkeypatch):
    metric = build(converted, monkeypatch)
    told = []
    monkeypatch.setattr(
        metric._whisper._model, "transcribe", lambda wav, **options: (told.append(options), ([Segment] * 2, None))[1]
    )
    assert metric.transcribe(speech(0.5, 0, 0, RATE), "a") == "heard heard"
    expected = {"language": "en", "beam_size": 1, "temperature": 0.0, "condition_on_previous_text": False}
    assert expected.items() <= told[0].items() and told[0]["without_timestamps"] is True


def test_characters_and_words_of_what_was_heard():
    context = MetricContext(languages=("en", "zh"), foreign={"c": "zh"})
    context.__dict__["whisper"] = heard = FixedWhisper("Press 1, pleas.")
    words, characters = build_metric("whisper_wer", context), build_metric("whisper_cer", context)
    wav = speech(0.5, 0, 0, RATE)
    assert words.measure(Sample("a", wav, wav, RATE, "press one please")).value == 1 / 3
    assert characters.measure(Sample("a", wav, wav, RATE, "press one please")).value == 1 / len("press one please")
    assert words.title == "WER (Whisper base)" and characters.title == "CER (Whisper base)"
    heard.text = "你 好"
    assert characters.measure(Sample("c", wav, wav, RATE, "你好")).value == 0


class FixedWhisper:
    """Hears the same text everywhere."""

    name, size, version, languages = "fixed", "base", "1", ("en", "zh")

    def __init__(self, text):
        self.text, self.normalizer = text, TextNormalizer(None)

    def transcribe(self, speech, language):
        return self.text


@pytest.mark.skipif(not (REAL / "model.bin").is_file(), reason="Whisper base is not at hand (local/fetch_whisper.py)")
def test_the_real_weights_hear_nothing_in_noise_and_the_card_names_them(monkeypatch):
    metric = build(REAL, monkeypatch)
    assert metric.title == "WER (Whisper base)" and "d01c3014881c9c6f" in metric.card()["version"]
    wav = speech(1.0, 0, 0, RATE)
    measured = metric.measure(Sample("a", wav, wav, RATE, "the number was successfully changed"))
    assert measured.value > 0 and measured.denominator == 5
    with pytest.raises(MetricUnavailable, match="Whisper base, .* does not know the language xx"):
        WhisperWordErrorRate(metric._whisper, ("xx",), {"a": "xx"})


# ---------------------------------------------------------------- transformers


def test_whisper_hears_greedily_and_repeats(saved, monkeypatch):
    metric = build(saved, monkeypatch)
    wav = speech(1.0, 0, 0, RATE)
    measured = metric.measure(Sample("u", wav, wav, RATE, "hello there"))
    assert measured.denominator == 2
    assert metric.measure(Sample("u", wav, wav, RATE, "hello there")) == measured
    assert metric.measure(Sample("u", wav, 0.1 * speech(1.0, 4, 1, RATE), RATE, "hello there")).denominator == 2
    long = np.tile(wav, 32)
    assert np.isfinite(metric.measure(Sample("u", long, long, RATE, "hello there")).value), "windows of 30 s"


def test_whisper_is_told_the_language(saved, monkeypatch):
    context = MetricContext(languages=("en", "es", "zh"), foreign={"b": "es", "c": "zh"})
    metric = build(saved, monkeypatch, context)
    told = []
    model = metric._whisper._loaded.model
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda **k: told.append((k["language"], k["task"])) or generate(**k))
    wav = speech(0.5, 0, 0, RATE)
    for utterance in "abc":
        metric.measure(Sample(utterance, wav, wav, RATE, "uno dos"))
    assert told == [("en", "transcribe"), ("es", "transcribe"), ("zh", "transcribe")]
    assert metric.card()["languages"] == ["en", "es", "zh"]
    others = build(saved, monkeypatch, MetricContext(languages=("en", "es", "zh"), foreign={"b": "zh"}))
    assert others.cache_key("b", "audio", "") != metric.cache_key("b", "audio", "")
    assert (
        others.cache_key("c", "audio", "") == metric.cache_key("a", "audio", "") != metric.cache_key("c", "audio", "")
    )
    with pytest.raises(MetricUnavailable, match="does not know the language cs"):
        build(saved, monkeypatch, MetricContext(languages=("cs",), foreign={"a": "cs"}))


def test_whisper_normalises_both_texts(saved, monkeypatch):
    context = MetricContext(languages=("en", "es", "zh"), foreign={"b": "es", "c": "zh"})
    metric = build(saved, monkeypatch, context)
    # Whisper's English normaliser: spelling table, contractions, numbers as digits.
    assert metric.split("Colour, it's twenty-one!", "a") == ["color", "it", "is", "21"]
    assert metric.split("¡Colour, it's!", "b") == ["colour", "it", "s"]
    assert metric.split("你好 吗", "c") == ["你", "好", "吗"]
    monkeypatch.setattr(metric, "transcribe", lambda speech, utterance: "COLOR it is 21.")
    wav = speech(0.5, 0, 0, RATE)
    assert metric.measure(Sample("a", wav, wav, RATE, "Colour, it's twenty-one!")).numerator == 0


def test_english_only_whisper(monkeypatch, tmp_path):
    monkeypatch.setenv("SITOK_WHISPER", str(save_whisper(tmp_path, multilingual=False)))
    wav = speech(0.5, 0, 0, RATE)
    metric = build_metric("whisper_wer", MetricContext())
    assert metric.measure(Sample("u", wav, wav, RATE, "hello there")).denominator == 2
    with pytest.raises(MetricUnavailable, match="does not know the language es"):
        build_metric("whisper_wer", MetricContext(languages=("es",), foreign={"a": "es"}))
