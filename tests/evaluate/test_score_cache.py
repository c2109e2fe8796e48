"""Measurements that evaluations share: nothing is heard twice, whatever it is compared with, and nothing is lost."""

import json
import math
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from speech_generator import speech

from sitok_espnet.audio import write_audio
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.measure import measure_all
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, MetricContext
from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate
from sitok_espnet.evaluate.metrics.prompt_similarity import PromptSimilarity
from sitok_espnet.evaluate.score_cache import Entry, ScoreCache
from sitok_espnet.inputs import AudioInput

RATE = 16000


class Level(AbsMetric):
    """Counts how often it listens."""

    name, title, unit, model, version = "level", "level", "rms", "none", "1"
    higher_is_better, sample_rate = True, RATE
    listened = 0

    def measure(self, sample):
        type(self).listened += 1
        if not sample.hypothesis.any():
            raise NotMeasurable("silent")
        return Measurement(float(np.sqrt(np.mean(sample.hypothesis**2))))


class Difference(Level):
    name, intrusive = "difference", True

    def measure(self, sample):
        type(self).listened += 1
        return Measurement(float(np.abs(sample.hypothesis - sample.reference).mean()))


class Ears(AbsErrorRate):
    """Hears the number of samples."""

    name, title, unit, model, version = "ears", "WER", "errors", "ears", "1"
    sample_rate = RATE
    listened = 0

    def transcribe(self, speech, utterance):
        type(self).listened += 1
        return str(len(speech))

    def split(self, text, utterance):
        return text.split()


class LouderEars(Ears):
    """The same recogniser, compared in another way."""

    name = "louder_ears"

    def split(self, text, utterance):
        return list(text)


@pytest.fixture(autouse=True)
def _count_anew(monkeypatch):
    for kind in (Level, Difference, Ears, LouderEars):
        monkeypatch.setattr(kind, "listened", 0)


@pytest.fixture
def audio(tmp_path):
    items = {}
    for seed, name in enumerate(("one", "two", "copy_of_one", "silence")):
        wav = {"copy_of_one": speech(0.2, 0, 0, RATE), "silence": np.zeros(3200, np.float32)}.get(name)
        write_audio(tmp_path / f"{name}.wav", speech(0.2, seed, 0, RATE) if wav is None else wav, RATE)
        items[name] = AudioInput("u", str(tmp_path / f"{name}.wav"))
    return items


def measured(audio, cache, metrics, systems=("one",), text="3200", **more):
    rows = {name: {"u": audio[name]} for name in systems}
    texts = {"u": text} if text else {}
    metrics = {metric.name: metric for metric in metrics}
    return measure_all([audio["one"]], texts, rows, metrics, MetricContext(), ScoreCache(cache), **more)


def test_equal_audio_is_heard_once_by_all_evaluations(audio, tmp_path):
    cache = tmp_path / "shared" / "scores.jsonl"
    first = measured(audio, cache, [Level()], ("one", "copy_of_one"))
    assert Level.listened == 1 and first["one"] == first["copy_of_one"]
    again = measured(audio, cache, [Level()], ("copy_of_one", "two"))
    assert Level.listened == 2 and again["copy_of_one"] == first["one"] != again["two"]


def test_what_compares_needs_both_to_be_equal(audio, tmp_path):
    cache = tmp_path / "scores.jsonl"
    measured(audio, cache, [Difference()], ("two", "copy_of_one"))
    assert Difference.listened == 2
    audio = {**audio, "one": audio["two"], "two": audio["one"]}
    measured(audio, cache, [Difference()], ("two",))
    assert Difference.listened == 3


def test_a_transcript_outlives_the_comparison(audio, tmp_path):
    """Another text, another normalisation, characters beside words: nothing is heard again."""
    cache = tmp_path / "scores.jsonl"
    scores = measured(audio, cache, [Ears(), LouderEars()])
    assert Ears.listened + LouderEars.listened == 1
    assert scores["one"]["ears"]["u"] == Measurement(0, 1, "3200")
    assert scores["one"]["louder_ears"]["u"] == Measurement(0, 4, "3200")
    scores = measured(audio, cache, [Ears(), LouderEars()], text="3210 more")
    assert scores["one"]["ears"]["u"] == Measurement(2, 2, "3200")
    assert Ears.listened + LouderEars.listened == 1


def test_nobody_listens_without_a_transcript(audio, tmp_path):
    scores = measured(audio, tmp_path / "scores.jsonl", [Ears()], text=None)
    assert scores["one"]["ears"]["u"].notice == "no transcript" and Ears.listened == 0


def test_exclusions_are_remembered_refusals_of_other_options_are_not(audio, tmp_path):
    cache = tmp_path / "scores.jsonl"
    for _ in range(2):
        scores = measured(audio, cache, [Level()], ("silence",))
        assert scores["silence"]["level"]["u"].notice == "silent" and Level.listened == 1

    class Picky(Level):
        name = "picky"

        def measure(self, sample):
            from sitok_espnet.errors import SiTokError

            raise SiTokError("another length")

    picked = measured(audio, cache, [Picky()], ("one",), strict=False)
    assert picked["one"]["picky"]["u"].notice == "another length"
    with pytest.raises(ValueError, match="another length"):
        measured(audio, cache, [Picky()], ("one",))


def test_a_row_that_is_not_judged_is_not_measured(audio, tmp_path):
    scores = measured(audio, tmp_path / "s", [Level(), Ears()], ("one", "two"), judged={"level": ("two",)})
    assert scores["one"]["level"] == {} and scores["two"]["level"] and scores["one"]["ears"]


def test_prompts_belong_to_utterances(audio):
    one, two = (AudioInput(name, audio["one"].location) for name in "ab")

    class Voice(Level):
        name = "voice"

    metric = PromptSimilarity(Voice, [one, two])
    assert metric.cache_key("a", "h", "r") != metric.cache_key("b", "h", "r")


def test_interrupted_and_damaged_lines(tmp_path):
    cache = ScoreCache(tmp_path / "scores.jsonl")
    keys = [f"{number:024d}" for number in range(3)]
    for key in keys:
        cache.add([Entry(key, "u", "m", Measurement(1.5, 2.0, 'say "ü"\n', "note"))])
    whole = cache.path.read_bytes()
    assert cache.read(keys[1:]) == {key: Measurement(1.5, 2.0, 'say "ü"\n', "note") for key in keys[1:]}
    cache.path.write_bytes(whole[:-30])
    assert set(cache.read(keys)) == set(keys[:2])
    cache.add([Entry("9" * 24, "u", "m", Measurement(math.nan, 0.0))])
    found = cache.read([*keys, "9" * 24])
    assert set(found) == {*keys[:2], "9" * 24} and math.isnan(found["9" * 24].numerator)


def _write_many(path, number):
    cache = ScoreCache(Path(path))
    for line in range(200):
        cache.add([Entry(f"{number:04d}{line:020d}", "u", "m", Measurement(line, detail="x" * 500))])


def test_several_runs_write_at_once(tmp_path):
    path = tmp_path / "scores.jsonl"
    runs = [multiprocessing.get_context("fork").Process(target=_write_many, args=(path, n)) for n in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == 800
