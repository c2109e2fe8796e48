#!/usr/bin/env python3
"""Data directories from unpacked Asterisk prompt packages, of one language or several.

The packages of a language are `asterisk-core-sounds-<lang>-g722` (recordings, 16 kHz) and `asterisk-core-sounds-<lang>`
(transcripts). The sets are train and dev of all languages together, and a test set for each: `test` is English,
`test_<lang>` another. Each language is split by itself, so that its sets do not depend on which others are asked for.
The result depends on the packages alone: a second run writes the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import soundfile
from prompt_languages import LANGUAGES, SAME_PERSON
from prompt_text import clean, language, read_transcripts
from recipe_files import atomic_text, write_data_dir
from split_no_overlap import split

from sitok_espnet.errors import SiTokError

SAMPLE_RATE = 16000
# Single letters, digits and names stay in the training set: a recogniser cannot tell "p" from "t" without a sentence,
# so they would only add noise to the word error rate. One 73-second prompt would outweigh the rest of a held-out set.
HELD_OUT_WORDS = range(3, 60)
# Held-out utterances of a language, at most: (test, dev).
ENGLISH_SIZES, OTHER_SIZES = (41, 24), (30, 15)


@dataclass
class Corpus:
    """Prompts by utterance id: file, words, speaker and seconds; and why others were left out."""

    wavs: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    speakers: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, other: Corpus) -> None:
        """Take in the prompts of another corpus, whose ids must be new."""
        for name in ("wavs", "texts", "speakers", "seconds"):
            getattr(self, name).update(getattr(other, name))

    def report(self, name: str, keys: list[str]) -> str:
        """The line of a set: utterances, words, minutes."""
        words = sum(len(self.texts[key].split()) for key in keys)
        minutes = sum(self.seconds[key] for key in keys) / 60
        return f"{name}: {len(keys)} utterances, {words} words, {minutes:.2f} min"


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
    # The speaker comes first, so that sorting by utterance also sorts by speaker (Kaldi's rule).
    speaker = prefix = SAME_PERSON.get(voice, voice).replace("_", "-")
    if voice in SAME_PERSON:
        prefix = f"{speaker}-{lang}"
    corpus = Corpus()
    corpus.left_out["a transcript without a recording"] = len(set(transcripts) - set(audio))
    audio_dir.mkdir(parents=True, exist_ok=True)
    for key in sorted(audio):
        words, reason = transcript(audio[key], key, transcripts, lang)
        if words is None:
            corpus.left_out[reason] += 1
            continue
        utterance = f"{prefix}-{re.sub(r'[^A-Za-z0-9-]', '-', key)}"
        if utterance in corpus.wavs:
            raise SiTokError(f"{audio[key]}: a second prompt would get the utterance id {utterance}")
        samples = decode_g722(audio[key])
        target = audio_dir / f"{utterance}.flac"
        temporary = target.with_suffix(".tmp")
        soundfile.write(temporary, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        temporary.replace(target)
        corpus.wavs[utterance], corpus.texts[utterance] = str(target), words
        corpus.speakers[utterance], corpus.seconds[utterance] = speaker, len(samples) / SAMPLE_RATE
    return corpus


def prepare(
    tree: Path, audio_dir: Path, data_dir: Path, langs: list[str], test_size: int | None, dev_size: int | None
) -> list[str]:
    """Write the decoded audio and the data directories; returns the lines of the report."""
    whole = Corpus()
    sets: defaultdict[str, list[str]] = defaultdict(list)
    report = []
    for lang in langs:
        corpus = prepare_language(tree, audio_dir, lang)
        if taken := sorted(set(whole.wavs) & set(corpus.wavs)):
            raise SiTokError(f"{lang}: the utterance id {taken[0]} is another language's, too")
        whole.add(corpus)
        test, dev = ENGLISH_SIZES if lang == "en" else OTHER_SIZES
        test_set = "test" if lang == "en" else f"test_{lang}"
        # The order in which the sets are filled.
        sizes = {test_set: test if test_size is None else test_size, "dev": dev if dev_size is None else dev_size}
        lines = [f"{count} left out: {reason}" for reason, count in sorted(corpus.left_out.items()) if count]
        for name, keys in split(corpus.texts, sizes, rest="train", held_out_words=HELD_OUT_WORDS).items():
            sets[name] += keys
            lines.append(corpus.report(name, keys))
        report += lines if len(langs) == 1 else [f"{lang}: {line}" for line in lines]
    for name, keys in sets.items():
        write_data_dir(data_dir / name, whole.wavs, whole.speakers, whole.texts, keep=keys)
        if len(langs) > 1:
            report.append(whole.report(name, keys))
    return report


def licence_text(langs: list[str]) -> str:
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
    whole = "CC BY-SA 3.0" if "CC BY-SA 3.0" in licences else "CC BY 3.0"
    return "\n".join(
        [
            *lines,
            "CC BY-SA 3.0: https://creativecommons.org/licenses/by-sa/3.0/ (Attribution-ShareAlike)",
            *(
                ["CC BY 3.0: https://creativecommons.org/licenses/by/3.0/ (Attribution)"]
                if "CC BY 3.0" in licences
                else []
            ),
            f"All of it together, and what is derived from it, is {whole}.",
            "Changed here: decoded to FLAC, transcripts normalised, split into sets.",
            "",
        ]
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, help="where the packages of all languages were unpacked")
    parser.add_argument("--audio_dir", type=Path, required=True, help="decoded FLAC files go here")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--langs", nargs="+", default=["en"], help=f"of {' '.join(LANGUAGES)}")
    parser.add_argument(
        "--test_size", type=int, help=f"utterances a language, at most ({ENGLISH_SIZES[0]} en, {OTHER_SIZES[0]} others)"
    )
    parser.add_argument(
        "--dev_size", type=int, help=f"utterances a language, at most ({ENGLISH_SIZES[1]} en, {OTHER_SIZES[1]} others)"
    )
    args = parser.parse_args(argv)
    try:
        for lang in args.langs:
            language(lang)
        if len(set(args.langs)) < len(args.langs):
            raise SiTokError(f"--langs {' '.join(args.langs)}: a language is named twice")
        report = prepare(args.tree, args.audio_dir, args.data_dir, args.langs, args.test_size, args.dev_size)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    with atomic_text(args.data_dir / "PREPARATION.txt") as out:
        out.write("\n".join(report) + "\n")
    with atomic_text(args.data_dir / "LICENSE.txt") as out:
        out.write(licence_text(args.langs))
    print("\n".join(report))


if __name__ == "__main__":
    main()
