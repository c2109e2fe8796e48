#!/usr/bin/env python3
"""Emotion recognition on IEMOCAP: four classes, five folds, each session once the test set.

SessionN/dialog/EmoEvaluation/DIALOG.txt has a line `[START - END] TAB UTTERANCE TAB EMOTION TAB [V, A, D]` for every
turn, SessionN/sentences/wav/DIALOG/UTTERANCE.wav the recording. Excitement counts as happiness, as usual; the other
emotions are left out. The session after the test session (after the fifth the first) validates, so that no speaker
is in two sets; that choice is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from probe_sets import ProbeCorpus, TaskSets, check_count, require, run_preparation

from sitok_espnet.errors import SiTokError

SESSIONS = 5
CLASSES = {"ang": "anger", "hap": "happiness", "exc": "happiness", "sad": "sadness", "neu": "neutral"}
EMOTIONS = {*CLASSES, "fru", "fea", "sur", "dis", "oth", "xxx"}  # xxx: the listeners did not agree
EXPECTED = 5531
TURN = re.compile(r"\[\d+\.\d+ - \d+\.\d+\]\t(Ses0[1-5][FM]_\w+_([FM])\d{3})\t(\w{3})\t\[[^\]]*\]\s*")
NOTE = "Anger, happiness (with excitement), sadness, neutral; every session once the test set, pooled."


def read_dialog(path: Path) -> dict[str, tuple[str, str]]:
    """Turn -> (speaker, emotion) of an evaluation file; SiTokError for a turn that cannot be read."""
    turns = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.startswith("["):
            continue  # judgements of single listeners; the heading begins with "% ["
        match = TURN.fullmatch(line)
        if match is None:
            raise SiTokError(f"{path}:{number}: not a turn of IEMOCAP: {line!r}")
        utterance, gender, emotion = match.groups()
        if emotion not in EMOTIONS:
            raise SiTokError(f"{path}:{number}: unknown emotion {emotion!r}")
        turns[utterance] = (f"{utterance[:5]}{gender}", emotion)
    return turns


def prepare(root: Path, partial: bool) -> tuple[ProbeCorpus, list[str | None]]:
    sessions = [f"Session{number}" for number in range(1, SESSIONS + 1)]
    require(root, [f"{s}/{part}" for s in sessions for part in ("dialog/EmoEvaluation", "sentences/wav")], "IEMOCAP")
    corpus, labels, left_out = ProbeCorpus(), [], Counter()
    for session in sessions:
        members: dict[str, str] = {}
        for path in sorted((root / session / "dialog/EmoEvaluation").glob("Ses*.txt")):  # not the "._Ses..." of macOS
            for utterance, (speaker, emotion) in read_dialog(path).items():
                if emotion not in CLASSES:
                    left_out[emotion] += 1
                    continue
                audio = root / session / "sentences/wav" / path.stem / f"{utterance}.wav"
                if not audio.is_file():
                    raise SiTokError(f"{audio} is missing, but {path.name} judges it: copy {session} again")
                members[corpus.add(f"{speaker}-{utterance}", audio, speaker)] = CLASSES[emotion]
        labels.append(members)
    for number in range(SESSIONS):
        after = (number + 1) % SESSIONS
        others = [labels[n] for n in range(SESSIONS) if n not in (number, after)]
        task = TaskSets("emotion", NOTE, group="emotion")
        task.sets["train"] = {utt: label for members in others for utt, label in members.items()}
        task.sets["valid"], task.sets["test"] = labels[after], labels[number]
        corpus.tasks[f"emotion_fold{number + 1}"] = task
    counts = Counter(label for members in labels for label in members.values())
    lines = [check_count(sum(counts.values()), EXPECTED, "utterances of the four classes", partial)]
    lines.append(", ".join(f"{count} {label}" for label, count in sorted(counts.items())))
    lines.append("left out: " + (", ".join(f"{n} {e}" for e, n in sorted(left_out.items())) or "none"))
    return corpus, lines


if __name__ == "__main__":
    run_preparation(__doc__, prepare)
