"""Miniature look-alikes of published corpora, for the tests of their preparation."""

from pathlib import Path

import numpy as np
import soundfile


def audio(path: Path, rate: int, seconds: float = 0.3) -> None:
    """A tone of its own for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pitch = 100 + sum(path.name.encode()) % 400
    wave = 0.1 * np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate)
    soundfile.write(path, wave, rate, subtype="PCM_16")


# Subset -> speaker and chapter.
LIBRISPEECH = {
    "train-clean-100": [(103, 1240), (103, 1241), (19, 198)],
    "train-clean-360": [(100, 121669)],
    "train-other-500": [(20, 205)],
    "dev-clean": [(84, 121123)],
    "test-clean": [(61, 70968)],
    "test-other": [(367, 130732)],
}


def librispeech(root: Path) -> Path:
    """Two utterances a chapter."""
    for subset, chapters in LIBRISPEECH.items():
        for speaker, chapter in chapters:
            folder = root / subset / str(speaker) / str(chapter)
            ids = [f"{speaker}-{chapter}-{number:04d}" for number in range(2)]
            for utterance in ids:
                audio(folder / f"{utterance}.flac", 16000)
            lines = f"{ids[0]} CHAPTER ONE\n{ids[1]} MISSUS LYNDE'S HOUSE\n"
            (folder / f"{speaker}-{chapter}.trans.txt").write_text(lines)
    (root / "SPEAKERS.TXT").write_text("; ID |SEX|\n")
    return root


# Subset -> speakers; a chapter has their utterances 000001_000000 ... 000003_000000.
LIBRITTS = {
    "train-clean-100": ["103", "19"],
    "train-clean-360": ["100"],
    "train-other-500": ["20"],
    "dev-clean": ["84"],
    "test-clean": ["61", "121"],
    "test-other": ["367"],
}
LIBRITTS_TEXTS = [
    ("“Mr. Blake & I,” she said.", "Mister Blake and I, she said."),
    ("It’s 1847 - don't!", "It's eighteen forty-seven - don't!"),
    ("A (very) long day; café.", "A (very) long day; café."),
]


def libritts(root: Path) -> Path:
    """Three utterances a speaker."""
    for subset, speakers in LIBRITTS.items():
        for speaker in speakers:
            folder = root / subset / speaker / "208"
            for number, (original, normalized) in enumerate(LIBRITTS_TEXTS, 1):
                stem = f"{speaker}_208_{number:06d}_000000"
                audio(folder / f"{stem}.wav", 24000, 0.25 * number)
                (folder / f"{stem}.original.txt").write_text(original, encoding="utf-8")
                (folder / f"{stem}.normalized.txt").write_text(normalized, encoding="utf-8")
            (folder / f"{speaker}_208.trans.tsv").write_text("not read\n")
            (folder / f"._{speaker}_208_000001_000000.wav").write_bytes(b"what macOS leaves")
    return root


LJSPEECH = {
    "LJ001-0001": ('Printing, in the "only" sense', "Printing, in the only sense"),
    "LJ001-0002": ("in being $5", "in being five dollars"),
    "LJ048-0001": ("Report of Dr. X", "Report of Doctor X"),
    "LJ049-0001": ("Chapter eight, 1963.", "Chapter eight, nineteen sixty-three."),
    "LJ050-0001": ("The Commission's", "The Commission's"),
    "LJ050-0002": ("end.", "end."),
}


def ljspeech(root: Path) -> Path:
    for utterance in LJSPEECH:
        audio(root / f"wavs/{utterance}.wav", 22050)
    lines = [f"{utterance}|{printed}|{read}\n" for utterance, (printed, read) in LJSPEECH.items()]
    (root / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return root


TREES = {"librispeech": librispeech, "libritts": libritts, "ljspeech": ljspeech}
