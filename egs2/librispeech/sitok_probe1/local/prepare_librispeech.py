#!/usr/bin/env python3
"""Speech recognition on LibriSpeech: train-clean-100, dev-clean and test-clean of a local copy.

SET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac, with the transcripts of a chapter in SPEAKER-CHAPTER.trans.txt.
"""

from __future__ import annotations

from pathlib import Path

from librispeech import LIBRISPEECH, read_subset
from probe_sets import ProbeCorpus, TaskSets, check_count, require, run_preparation

PARTS = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}
KINDS = ("asr_ctc", "asr_lm")


def prepare(root: Path, partial: bool) -> tuple[ProbeCorpus, list[str | None]]:
    require(root, PARTS.values(), "LIBRISPEECH")
    corpus, lines = ProbeCorpus(tasks={kind: TaskSets(kind) for kind in KINDS}), []
    for phase, name in PARTS.items():
        found = read_subset(root, name)
        texts = {corpus.add(utterance, item.path, item.speaker): item.text for utterance, item in found.items()}
        lines.append(check_count(len(texts), LIBRISPEECH.counts[name], f"utterances in {name}", partial))
        for task in corpus.tasks.values():
            task.sets[phase] = texts
    return corpus, lines


if __name__ == "__main__":
    run_preparation(__doc__, prepare)
