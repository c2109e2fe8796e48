#!/usr/bin/env python3
"""Data directories from unpacked Asterisk prompt packages, of one language or several.

The packages of a language are `asterisk-core-sounds-<lang>-g722` (recordings, 16 kHz) and `asterisk-core-sounds-<lang>`
(transcripts). The result depends on the packages alone: a second run writes the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from prompt_languages import LANGUAGES, SAME_PERSON
from prompt_text import clean, language, read_transcripts
from speech_sets import Corpus, Sizes, run

from sitok_espnet.errors import SiTokError

SAMPLE_RATE = 16000
SIZES = {"en": Sizes(test=41, dev=24)}
OTHER_SIZES = Sizes(test=30, dev=15)
# The stricter one first: it holds for what is made of both.
LICENCES = {
    "CC BY-SA 3.0": "https://creativecommons.org/licenses/by-sa/3.0/ (Attribution-ShareAlike)",
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/ (Attribution)",
}


def decode_g722(path: Path) -> np.ndarray:
    """Decode a raw G.722 file to int16 samples (S,) at 16 kHz; SiTokError if it is empty or damaged."""
    try:
        with av.open(str(path), format="g722") as container:
            frames = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    except av.FFmpegError as error:
        raise SiTokError(f"{path}: not readable as G.722 ({error})") from error
    if not frames:
        raise SiTokError(f"{path}: no audio in it")
    return np.concatenate(frames).astype(np.int16)


def find_prompts(tree: Path, lang: str) -> tuple[str, dict[str, Path], dict[str, str]]:
    """Find voice name, key -> recording and key -> transcript in an unpacked package tree."""
    voices = sorted(tree.glob(f"usr/share/asterisk/sounds/{lang}_*"))
    lists = sorted(tree.glob(f"usr/share/doc/*/core-sounds-{lang}.txt.gz"))
    if len(voices) != 1 or len(lists) != 1:
        raise SiTokError(
            f"{tree}: expected one voice usr/share/asterisk/sounds/{lang}_* and one list core-sounds-{lang}.txt.gz, "
            f"found {len(voices)} and {len(lists)}: both packages of the language are needed"
        )
    audio = {path.relative_to(voices[0]).with_suffix("").as_posix(): path for path in voices[0].rglob("*.g722")}
    if not audio:
        raise SiTokError(f"{voices[0]}: no .g722 file in it")
    return voices[0].name, audio, read_transcripts(lists[0], lang)


def transcript(recording: Path, key: str, transcripts: dict[str, str], lang: str) -> tuple[str | None, str]:
    """The words of a prompt, or None and the reason why it is left out."""
    if recording.stat().st_size == 0:
        return None, "an empty recording (0 bytes)"
    if key not in transcripts:
        return None, "a recording without a transcript"
    if key in language(lang).unreliable:
        return None, "a transcript that does not say what is spoken"
    cleaned = clean(transcripts[key], lang)
    return cleaned.words, cleaned.reason


def prepare_language(tree: Path, audio_dir: Path, lang: str) -> Corpus:
    """Decode the usable prompts of one language into `audio_dir`."""
    voice, audio, transcripts = find_prompts(tree, lang)
    speaker = prefix = SAME_PERSON.get(voice, voice).replace("_", "-")
    if voice in SAME_PERSON:
        prefix = f"{speaker}-{lang}"
    corpus = Corpus()
    corpus.left_out["a transcript without a recording"] = len(set(transcripts) - set(audio))
    for key in sorted(audio):
        words, reason = transcript(audio[key], key, transcripts, lang)
        if words is None:
            corpus.left_out[reason] += 1
        else:
            utterance = f"{prefix}-{re.sub(r'[^A-Za-z0-9-]', '-', key)}"
            corpus.add(utterance, speaker, words, decode_g722(audio[key]), SAMPLE_RATE, audio_dir)
    return corpus


def licence_text(langs: Sequence[str]) -> str:
    """Who recorded what under which licence, and what holds for the whole."""
    lines = []
    for lang in langs:
        rules = LANGUAGES[lang]
        lines += [
            f"Asterisk core sounds ({lang}), recorded by {rules.credit}",
            f"  Licence: {rules.licence}",
            f"  Source: Debian packages asterisk-core-sounds-{lang}-g722 and asterisk-core-sounds-{lang}",
        ]
    licences = {LANGUAGES[lang].licence for lang in langs}
    whole = next(licence for licence in LICENCES if licence in licences)
    return "\n".join(
        [
            *lines,
            *(f"{name}: {place}" for name, place in LICENCES.items() if name in licences),
            f"All of it together, and what is derived from it, is {whole}.",
            "Changed here: decoded to FLAC, transcripts normalised, split into sets.",
            "",
        ]
    )


def main(argv: list[str] | None = None) -> None:
    run(__doc__, LANGUAGES, "en", prepare_language, lambda lang: SIZES.get(lang, OTHER_SIZES), licence_text, argv)


if __name__ == "__main__":
    main()
