"""Latency in ms from a timing file of known numbers, and that a tokenizer's synthesis measures the first chunk."""

import json

import numpy as np
import pytest
from speech_generator import speech

from sitok_espnet.audio import write_audio
from sitok_espnet.evaluate.first_chunk import needed_samples, time_first
from sitok_espnet.evaluate.latency import algorithmic_ms, computing_ms
from sitok_espnet.evaluate.synthesis import ModelCard, synthesize
from sitok_espnet.evaluate.systems import Workshop
from sitok_espnet.inputs import AudioInput
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

UTTERANCES = {
    f"u{i}": {"audio": 2.0, "encode": 0.001 * i, "decode": 0.1, "vocoder": 0.05, "first_token": 0.004 + 0.001 * i}
    for i in range(1, 12)
}


@pytest.mark.parametrize(("rate", "expected"), [("25/2", 110.0), ("25", 70.0), ("25/4", 190.0)])
def test_algorithmic_latency_is_that_of_the_design(rate, expected):
    assert algorithmic_ms(rate)["token"] == expected and algorithmic_ms(rate)["first_audio"] is None


def test_algorithmic_latency_is_that_of_a_stream(tiny_tokenizer):
    assert algorithmic_ms(tiny_tokenizer.frame_rate)["token"] == tiny_tokenizer.stream().latency_ms
    assert needed_samples(tiny_tokenizer)["first_token"] == 1920 + 720


def test_computing_latency_by_hand():
    cells = computing_ms({"utterances": UTTERANCES})
    assert cells["encode"]["median"] == pytest.approx(6.0)
    assert cells["encode"]["percentile_95"] == pytest.approx(10.5)  # between the tenth and the eleventh
    assert cells["total"]["median"] == pytest.approx(156.0) and cells["total"]["count"] == 11
    assert cells["first_token"]["median"] == pytest.approx(10.0)
    assert cells["first_audio"]["status"] == "not run" and "timing.json has none" in cells["first_audio"]["reason"]
    assert cells["audio"]["median"] == 2000.0


def test_only_just_enough_audio_gives_a_first_token(tiny_tokenizer):
    needed = needed_samples(tiny_tokenizer)
    wav = speech(3.0)
    assert len(tiny_tokenizer.stream().push(wav[: needed["first_token"]], 24000)) == 1
    assert len(tiny_tokenizer.stream().push(wav[: needed["first_token"] - 1], 24000)) == 0
    assert time_first(tiny_tokenizer, wav[: needed["first_token"] - 1], SamplingConfig(2), 0) == dict.fromkeys(needed)
    assert time_first(tiny_tokenizer, wav[: needed["first_audio"] - 1], SamplingConfig(2), 0)["first_audio"] is None
    assert all(
        seconds > 0
        for seconds in time_first(tiny_tokenizer, wav[: needed["first_audio"]], SamplingConfig(2), 0).values()
    )


def test_a_synthesis_measures_it_where_utterances_are_long_enough(tiny_tokenizer, tmp_path):
    inputs = []
    for utt, seconds in (("long", 2.0), ("short", 0.5)):
        write_audio(tmp_path / f"{utt}.wav", np.asarray(speech(seconds)), 24000)
        inputs.append(AudioInput(utt, str(tmp_path / f"{utt}.wav")))
    card = ModelCard("default", "hash", "codes", "mel", "conf", 1, "25/2", (64,), "griffin_lim")
    shop = Workshop(inputs, tiny_tokenizer, lambda: tiny_tokenizer, steps=1)
    synthesize(shop, card, tmp_path / "out", ["reconstruction"])
    timing = json.loads((tmp_path / "out/timing.json").read_text())
    cells = computing_ms(timing)
    assert (cells["total"]["count"], cells["first_token"]["count"], cells["first_audio"]["count"]) == (2, 2, 1)
    # 13 + 8 tokens of 80 ms for a second and its look-ahead of 0.64 s, and half a window.
    assert algorithmic_ms("25/2", timing)["first_audio"] == pytest.approx(21 * 80 + 30)
    short = {"utterances": {"short": timing["utterances"]["short"]}, "first_chunk": timing["first_chunk"]}
    assert "no utterance has the 1.71 s" in computing_ms(short)["first_audio"]["reason"]
