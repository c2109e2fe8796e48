"""Whisper by CTranslate2 through faster-whisper: 8-bit weights on one processor thread, a few times faster."""

import hashlib
import json
import logging
from importlib.metadata import version
from pathlib import Path

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.local_models import metric_device, shown, without_path
from sitok_espnet.evaluate.whisper.abs_whisper import AbsWhisper, TextNormalizer

FILES = ("config.json", "tokenizer.json", "model.bin")
VOCABULARY = ("vocabulary.txt", "vocabulary.json")  # older and newer converters
SPELLING = "normalizer.json"  # Whisper's spelling list, as transformers calls it; may be missing
SIZES = {"d01c3014881c9c6f": "base"}  # by the hash of model.bin, which says nothing else about its size


def is_converted(folder: Path) -> bool:
    """Whether the folder has the files of a model for CTranslate2: FILES and one of VOCABULARY."""
    there = [(folder / name).is_file() for name in FILES]
    return all(there) and any((folder / name).is_file() for name in VOCABULARY)


class CTranslate2Whisper(AbsWhisper):
    """A converted model in a folder that :func:`is_converted`.

    Args:
        folder: where it is.

    Raises:
        MetricUnavailable: faster-whisper is not installed, or the files cannot be read.
    """

    def __init__(self, folder: Path):
        try:
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise MetricUnavailable(
                f"faster-whisper cannot be imported ({error}): pip install faster-whisper"
            ) from error
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it logs every utterance
        device = metric_device().type
        try:
            self._model = WhisperModel(
                str(folder), device=device, compute_type="int8", cpu_threads=1, local_files_only=True
            )
            spelling = folder / SPELLING
            spelling = json.loads(spelling.read_text(encoding="utf-8")) if spelling.is_file() else None
            weights = _hash(folder / "model.bin")
        except Exception as error:  # whatever libraries in other languages raise of a damaged file
            reason = without_path(str(error).strip().splitlines()[0] if str(error).strip() else repr(error), folder)
            raise MetricUnavailable(
                f"{shown(str(folder))} cannot be opened as a Whisper of CTranslate2 ({reason}): name another "
                "with SITOK_WHISPER; what local/fetch_whisper.py made can be removed and made again"
            ) from error
        self.normalizer = TextNormalizer(spelling)
        self.size = SIZES.get(weights, "")
        self.languages = tuple(self._model.supported_languages)
        self.name = f"Whisper {self.size}" if self.size else f"{folder.resolve().name} (local directory)"
        self.name += ", CTranslate2 int8"
        libraries = f"faster-whisper {version('faster-whisper')}, ctranslate2 {version('ctranslate2')}"
        self.version = f"{libraries}, weights {weights}"

    def transcribe(self, speech: np.ndarray, language: str) -> str:
        """The most probable token at every step, every window of 30 s by itself."""
        segments, _ = self._model.transcribe(
            np.ascontiguousarray(speech, dtype=np.float32),
            language=language,
            task="transcribe",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments)


def _hash(path: Path) -> str:
    """16 hex digits: cached transcripts of other weights are not used again."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
