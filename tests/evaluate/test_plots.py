"""The frequency axis of the pictures, and which utterances are drawn."""

import numpy as np
import pytest
from speech_generator import write_corpus

from sitok_espnet.evaluate.plots import hz_to_bin, log_mel, median_utterances
from sitok_espnet.inputs import read_scp
from sitok_espnet.sitok.mel.config import MelConfig


@pytest.mark.parametrize("hz", [500, 1000, 2000, 4000, 8000])
def test_a_tone_appears_at_its_tick(hz):
    tone = (0.3 * np.sin(2 * np.pi * hz * np.arange(24000) / 24000)).astype(np.float32)
    loudest = log_mel(tone, 24000)[25].argmax()
    # Bin b is drawn from b to b + 1.
    assert loudest + 0.5 == pytest.approx(hz_to_bin(hz, MelConfig()), abs=1.5)


def test_axis_ends():
    config = MelConfig()
    assert hz_to_bin(config.fmin, config) == 0.0
    assert hz_to_bin(config.fmax, config) == config.n_mels


def test_utterances_of_medium_length(tmp_path):
    items = read_scp(write_corpus(tmp_path, 7) / "wav.scp")
    ranked = sorted(items, key=lambda item: len(item.read()[0]))
    chosen = median_utterances(items, 3)
    assert {item.utt for item in chosen} == {ranked[index].utt for index in (1, 3, 5)}
    assert median_utterances(items, 0) == []
    assert len(median_utterances(items[:2], 3)) <= 2
