#!/usr/bin/env python3
"""Data directories data/{train,dev,test} from an unpacked pair of Asterisk prompt packages.

The packages are `asterisk-core-sounds-<lang>-g722` (recordings, 16 kHz) and `asterisk-core-sounds-<lang>`
(transcripts). The result depends on the packages alone: a second run writes the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import soundfile
from prompt_text import clean, read_transcripts
from recipe_files import atomic_text, write_data_dir
from split_no_overlap import split

from sitok_espnet.errors import SiTokError

SAMPLE_RATE = 16000
# Single letters, digits and names stay in the training set: a recogniser cannot tell "p" from "t" without a sentence,
# so they would only add noise to the word error rate. One 73-second prompt would outweigh the rest of a held-out set.
HELD_OUT_WORDS = range(3, 60)


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
    return voices[0].name, audio, read_transcripts(lists[0])


def prepare(tree: Path, audio_dir: Path, data_dir: Path, lang: str, sizes: dict[str, int]) -> list[str]:
    """Write the decoded audio and the three data directories; returns the lines of the report."""
    voice, audio, transcripts = find_prompts(tree, lang)
    speaker = voice.replace("_", "-")
    dropped: Counter[str] = Counter()
    dropped["a transcript without a recording"] = len(set(transcripts) - set(audio))
    wavs: dict[str, str] = {}
    texts: dict[str, str] = {}
    seconds: dict[str, float] = {}
    audio_dir.mkdir(parents=True, exist_ok=True)
    for key in sorted(audio):
        if key not in transcripts:
            dropped["a recording without a transcript"] += 1
            continue
        cleaned = clean(transcripts[key], lang)
        if cleaned.words is None:
            dropped[cleaned.reason] += 1
            continue
        # The speaker comes first, so that sorting by utterance also sorts by speaker (Kaldi's rule).
        utterance = f"{speaker}-{re.sub(r'[^A-Za-z0-9-]', '-', key)}"
        if utterance in wavs:
            raise SiTokError(f"{audio[key]}: a second prompt would get the utterance id {utterance}")
        samples = decode_g722(audio[key])
        target = audio_dir / f"{utterance}.flac"
        temporary = target.with_suffix(".tmp")
        soundfile.write(temporary, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        temporary.replace(target)
        wavs[utterance], texts[utterance] = str(target), cleaned.words
        seconds[utterance] = len(samples) / SAMPLE_RATE
    report = [f"{count} left out: {reason}" for reason, count in sorted(dropped.items()) if count]
    speakers = dict.fromkeys(wavs, speaker)
    for name, keys in split(texts, sizes, rest="train", held_out_words=HELD_OUT_WORDS).items():
        write_data_dir(data_dir / name, wavs, speakers, texts, keep=keys)
        words = sum(len(texts[key].split()) for key in keys)
        minutes = sum(seconds[key] for key in keys) / 60
        report.append(f"{name}: {len(keys)} utterances, {words} words, {minutes:.2f} min")
    return report


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, help="where both packages were unpacked")
    parser.add_argument("--audio_dir", type=Path, required=True, help="decoded FLAC files go here")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--lang", default="en")
    parser.add_argument("--test_size", type=int, default=41, help="utterances, at most")
    parser.add_argument("--dev_size", type=int, default=24, help="utterances, at most")
    args = parser.parse_args(argv)
    sizes = {"test": args.test_size, "dev": args.dev_size}
    try:
        report = prepare(args.tree, args.audio_dir, args.data_dir, args.lang, sizes)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    with atomic_text(args.data_dir / "PREPARATION.txt") as out:
        out.write("\n".join(report) + "\n")
    print("\n".join(report))


if __name__ == "__main__":
    main()
