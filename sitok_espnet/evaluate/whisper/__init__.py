"""Whisper as a judge: found on this machine, never downloaded; what its folder holds decides which library runs it."""

import os
from pathlib import Path

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.local_models import shown
from sitok_espnet.evaluate.whisper.abs_whisper import AbsWhisper
from sitok_espnet.evaluate.whisper.ctranslate2_whisper import FILES, VOCABULARY, CTranslate2Whisper, is_converted
from sitok_espnet.evaluate.whisper.transformers_whisper import HUB, TransformersWhisper

VARIABLE = HUB.variable
# What local/fetch_whisper.py makes: one folder for all recipes of a checkout.
FETCHED = Path(__file__).resolve().parents[3] / "downloads" / "whisper-base-ct2"
REMEDY = f"local/fetch_whisper.py fetches Whisper base (140 MB), or export {VARIABLE}=DIR"


def find_whisper() -> Path | str | None:
    """The folder (or hub name) in SITOK_WHISPER, else the fetched folder; None: Whisper is not at hand.

    Raises:
        MetricUnavailable: SITOK_WHISPER names a folder that is no recogniser's, or there is none of this name.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return FETCHED if is_converted(FETCHED) else None
    folder = Path(given)
    if folder.is_dir():
        if not (is_converted(folder) or _is_saved(folder)):
            raise MetricUnavailable(
                f"{VARIABLE}={shown(given)} is no recognizer's folder: neither {', '.join([*FILES, VOCABULARY[0]])} "
                f"(CTranslate2) are there nor config.json and weights (transformers): {REMEDY}"
            )
        return folder
    if folder.is_absolute() or given.startswith("."):
        raise MetricUnavailable(f"{VARIABLE}={shown(given)}: no such directory: {REMEDY}; or {HUB.remedy}")
    return given


def open_whisper() -> AbsWhisper:
    """Whisper of :func:`find_whisper`, else large-v3 if the hub's cache on this machine has it.

    Raises:
        MetricUnavailable: there is none, or what it needs is not installed; the message says how to get it.
    """
    found = find_whisper()
    if isinstance(found, Path) and is_converted(found):
        return CTranslate2Whisper(found)
    try:
        return TransformersWhisper()
    except MetricUnavailable as error:
        if found is not None:
            raise
        raise MetricUnavailable(f"{error}; or {REMEDY}") from error


def _is_saved(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors")) | any(folder.glob("pytorch_model*"))
