#!/usr/bin/env python3
"""Data directories of LJSpeech: train, dev (chapter LJ049) and test (chapter LJ050).

metadata.csv has lines ID|TEXT AS PRINTED|TEXT AS READ OUT, wavs/ID.wav the audio. The corpus has no sets of its own.
Whole chapters are held out, so that no set has the neighbour of a sentence of another one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from fetch_corpus import Archive
from local_corpus import (
    Faults,
    Published,
    Recording,
    check_audio,
    count_remark,
    obtain,
    parser_of,
    require_subsets,
    run,
    visible,
    words_of,
    write_sets,
)

LJSPEECH = Published(
    name="LJSpeech-1.1",
    variable="LJSPEECH",
    rate=22050,
    counts={"wavs": 13100},
    archives={
        "wavs": Archive(
            "https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",
            "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",  # as torchaudio publishes it
            "LJSpeech-1.1",
            ".",
        )
    },
    licence=(
        "The LJ Speech Dataset 1.1, https://keithito.com/LJ-Speech-Dataset (Keith Ito, Linda Johnson, 2017)\n"
        "Public domain. Changed here: texts normalised, split into sets, converted to 24 kHz."
    ),
)
HELD_OUT = {"LJ049": "dev", "LJ050": "test"}
SPEAKER = "LJ"
_ID = re.compile(r"LJ\d{3}-\d{4}")


def read_metadata(path: Path, faults: Faults) -> dict[str, str]:
    """Utterance -> text as it is read out. A quotation mark is a character like any other."""
    texts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = [field.strip() for field in line.split("|")]
        if len(fields) != 3 or not _ID.fullmatch(fields[0]) or not fields[2]:
            faults.add(f"{path}:{number}: expected LJnnn-nnnn|text|text as it is read out, got {line[:60]!r}")
        elif fields[0] in texts:
            faults.add(f"{path}:{number}: {fields[0]} occurs twice")
        else:
            texts[fields[0]] = fields[2]
    return texts


def read_corpus(root: Path) -> dict[str, Recording]:
    """Utterance -> recording, in lower-case words.

    Raises:
        SiTokError: audio without a line or the other way round, lines that cannot be read, broken audio.
    """
    faults = Faults()
    metadata = root / "metadata.csv"
    if not metadata.is_file():
        faults.add(f"{metadata} is missing")
        faults.stop("copy the corpus again")
    texts = read_metadata(metadata, faults)
    for chapter, name in HELD_OUT.items():
        if not any(utterance.startswith(chapter) for utterance in texts):
            faults.add(f"{metadata} has nothing of {chapter}, the {name} set")
    audio = {path.stem: path for path in visible((root / "wavs").glob("*.wav"))}
    for utterance in sorted(texts.keys() - audio.keys()):
        faults.add(f"{root / 'wavs' / utterance}.wav is missing, but metadata.csv has its text")
    for utterance in sorted(audio.keys() - texts.keys()):
        faults.add(f"{audio[utterance]} has no text in metadata.csv")
    check_audio(audio.values(), LJSPEECH.rate, faults)
    faults.stop("copy the corpus again")
    return {utterance: Recording(audio[utterance], SPEAKER, words_of(text)) for utterance, text in texts.items()}


def prepare(args: argparse.Namespace) -> list[str]:
    root = obtain(args, LJSPEECH, list(LJSPEECH.archives))
    require_subsets(root, list(LJSPEECH.counts), LJSPEECH)
    recordings = read_corpus(root)
    remark = count_remark(len(recordings), LJSPEECH.counts["wavs"], LJSPEECH.name, args.partial == "true")
    sets: dict[str, dict[str, Recording]] = {"train": {}, "dev": {}, "test": {}}
    for utterance, item in recordings.items():
        sets[HELD_OUT.get(utterance.partition("-")[0], "train")][utterance] = item
    return write_sets(sets, args.data_dir, [remark] if remark else [], LJSPEECH.licence)


def main(argv: Sequence[str] | None = None) -> None:
    run(prepare, parser_of(__doc__, LJSPEECH), argv)


if __name__ == "__main__":
    main()
