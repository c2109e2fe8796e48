#!/usr/bin/env python3
"""Speech recognition on LibriSpeech: train-clean-100, dev-clean and test-clean of a local copy.

SET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac, with the transcripts of a chapter in SPEAKER-CHAPTER.trans.txt.
"""

from __future__ import annotations

from pathlib import Path

from probe_sets import ProbeCorpus, TaskSets, check_count, require, run_preparation

from sitok_espnet.errors import SiTokError

PARTS = {"train": ("train-clean-100", 28539), "valid": ("dev-clean", 2703), "test": ("test-clean", 2620)}
KINDS = ("asr_ctc", "asr_lm")


def read_chapter(path: Path) -> dict[str, str]:
    """`ID TEXT` lines of a transcript file; SiTokError for a line without text or an id of another chapter."""
    texts = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        utterance, _, text = line.strip().partition(" ")
        if not text or not utterance.startswith(path.name.removesuffix(".trans.txt") + "-"):
            raise SiTokError(f"{path}:{number}: expected an id of this chapter and its text, got {line!r}")
        texts[utterance] = text
    return texts


def prepare(root: Path, partial: bool) -> tuple[ProbeCorpus, list[str | None]]:
    require(root, [name for name, _ in PARTS.values()], "LIBRISPEECH")
    corpus, lines = ProbeCorpus(tasks={kind: TaskSets(kind) for kind in KINDS}), []
    for phase, (name, expected) in PARTS.items():
        texts: dict[str, str] = {}
        for chapter in sorted((root / name).glob("*/*/*.trans.txt")):
            for utterance, text in read_chapter(chapter).items():
                audio = chapter.parent / f"{utterance}.flac"
                if not audio.is_file():
                    raise SiTokError(f"{audio} is missing, but {chapter.name} has its text: copy {name} again")
                texts[corpus.add(utterance, audio, utterance.split("-")[0])] = text
        lines.append(check_count(len(texts), expected, f"utterances in {name}", partial))
        for task in corpus.tasks.values():
            task.sets[phase] = texts
    return corpus, lines


if __name__ == "__main__":
    run_preparation(__doc__, prepare)
