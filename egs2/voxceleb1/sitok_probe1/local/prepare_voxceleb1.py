#!/usr/bin/env python3
"""Speaker verification on VoxCeleb1: speakers of the development part to train, the official trials to test.

wav/idNNNNN/VIDEO/NNNNN.wav (or dev/wav/... and test/wav/...), and the list of trials with lines
`1|0 idNNNNN/VIDEO/NNNNN.wav idNNNNN/VIDEO/NNNNN.wav`: veri_test2.txt (cleaned, 37,611 trials) where it is there, else
veri_test.txt (37,720). Speakers of the trials are never trained on. Of every other speaker one video, chosen by its
name, validates: recognising speakers, in a recording that was not trained on (ours).
"""

from __future__ import annotations

import re
from pathlib import Path

from probe_sets import ProbeCorpus, TaskSets, check_count, hash_share, require, run_preparation

from sitok_espnet.errors import SiTokError

LISTS = {"veri_test2.txt": 37611, "veri_test.txt": 37720}
SPEAKERS, UTTERANCES = 1211, 148642  # of the development part
AUDIO = re.compile(r"(id\d{5})/([^/\s]+)/(\d{5})\.wav")


def read_list(path: Path) -> list[tuple[str, str, bool]]:
    """The trials of an official list: two names of files, and whether the speaker is the same."""
    trials = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if len(words) != 3 or words[0] not in ("0", "1") or not all(AUDIO.fullmatch(word) for word in words[1:]):
            raise SiTokError(
                f"{path}:{number}: expected `1|0 FILE FILE` with files idNNNNN/VIDEO/NNNNN.wav, got {line!r}"
            )
        same = words[1].split("/")[0] == words[2].split("/")[0]
        if same != (words[0] == "1"):
            raise SiTokError(f"{path}:{number}: says {words[0]} of {words[1]} and {words[2]}")
        trials.append((words[1], words[2], same))
    return trials


def utterance_id(name: str) -> str:
    """idNNNNN/VIDEO/NNNNN.wav -> idNNNNN-VIDEO-NNNNN (a video's name may begin with a dash itself)."""
    return "-".join(AUDIO.fullmatch(name).groups())


def prepare(root: Path, partial: bool) -> tuple[ProbeCorpus, list[str | None]]:
    require(root, [], "VOXCELEB1")
    folders = [root / name for name in ("wav", "dev/wav", "test/wav") if (root / name).is_dir()]
    lists = [root / name for name in LISTS if (root / name).is_file()]
    if not folders or not lists:
        raise SiTokError(
            f"{root} is not the whole corpus: it needs wav/ (or dev/wav and test/wav) and {' or '.join(LISTS)}"
        )
    files = {
        path.relative_to(folder).as_posix(): path for folder in folders for path in sorted(folder.glob("id*/*/*.wav"))
    }
    trials = read_list(lists[0])
    tested = {name for *pair, _ in trials for name in pair}
    if missing := sorted(tested - set(files)):
        raise SiTokError(f"{lists[0].name} names {len(missing)} recordings that are not there, such as {missing[0]}")
    closed = {name.split("/")[0] for name in tested}
    corpus, task = ProbeCorpus(), TaskSets("speaker_verification", f"Trials of {lists[0].name}; test speakers unseen.")
    for name in sorted(tested):
        task.sets["test"][corpus.add(utterance_id(name), files[name], name[:7])] = name[:7]
    videos: dict[str, dict[str, list[str]]] = {}
    for name in files:
        speaker, video, _ = name.split("/")
        if speaker not in closed:
            videos.setdefault(speaker, {}).setdefault(video, []).append(name)
    for speaker, mine in videos.items():
        validating = min(mine, key=lambda video, s=speaker: hash_share(f"{s}/{video}"))
        for video, names in mine.items():
            phase = "valid" if video == validating and len(mine) > 1 else "train"
            for name in names:
                task.sets[phase][corpus.add(utterance_id(name), files[name], speaker)] = speaker
    task.trials = [(utterance_id(a), utterance_id(b), same) for a, b, same in trials]
    corpus.tasks["speaker_verification"] = task
    count = len(task.sets["train"]) + len(task.sets["valid"])
    return corpus, [
        check_count(len(videos), SPEAKERS, "training speakers", partial),
        check_count(count, UTTERANCES, "recordings of training speakers", partial),
        check_count(len(trials), LISTS[lists[0].name], f"trials in {lists[0].name}", partial),
    ]


if __name__ == "__main__":
    run_preparation(__doc__, prepare)
