"""What stage 1 of a probe recipe writes: one pool of audio, and tasks that name utterances of it.

data/pool/{wav.scp,utt2spk,spk2utt}       every utterance of any task, once
data/tasks/<task>/task.json               kind (sitok_espnet/probes/tasks.py), group, note
data/tasks/<task>/{train,valid,test}/target   `utterance label` or `utterance text`
data/tasks/<task>/trials                  `enrolment test target|nontarget`, for verification
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recipe_files import atomic_text, write_data_dir, write_table

from sitok_espnet.errors import SiTokError

SETS = ("train", "valid", "test")
PARTIAL = "PARTIAL"  # begins the line of a corpus that is not whole


@dataclass
class TaskSets:
    """kind: of sitok_espnet/probes/tasks.py. note: what a reader of its numbers must know. group: row of the table.

    sets: train, valid, test -> utterance -> label or text. trials: (enrolment, test, same speaker).
    """

    kind: str
    note: str = ""
    group: str = ""
    sets: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in SETS})
    trials: list[tuple[str, str, bool]] = field(default_factory=list)

    def report(self, name: str) -> str:
        """The line of a task."""
        counts = ", ".join(f"{len(members)} {phase}" for phase, members in self.sets.items())
        trials = f", {len(self.trials)} trials" if self.trials else ""
        return f"{name} ({self.kind}): {counts}{trials}"


@dataclass
class ProbeCorpus:
    """Utterances by id: file and speaker; the tasks by name."""

    wavs: dict[str, str] = field(default_factory=dict)
    speakers: dict[str, str] = field(default_factory=dict)
    tasks: dict[str, TaskSets] = field(default_factory=dict)

    def add(self, utterance: str, path: Path | str, speaker: str) -> str:
        """Take in an utterance; its id begins with its speaker, as Kaldi wants it. The same one twice is no error."""
        if not utterance.startswith(speaker):
            utterance = f"{speaker}-{utterance}"
        if self.wavs.setdefault(utterance, str(path)) != str(path):
            raise SiTokError(f"two recordings would get the id {utterance}: {self.wavs[utterance]} and {path}")
        self.speakers[utterance] = speaker
        return utterance

    def write(self, data_dir: Path, remarks: Sequence[str | None] = ()) -> list[str]:
        """Write everything, replacing what was there; returns the report's lines. Only utterances of a task are kept.

        Args:
            remarks: lines of the report; those that say PARTIAL also go into the note of every task.

        Raises:
            SiTokError: an empty set, an utterance without audio, or in two sets of a task.
        """
        remarks = [line for line in remarks if line]
        partial = [f"{line}." for line in remarks if line.startswith(PARTIAL)]
        used: set[str] = set()
        for name, task in self.tasks.items():
            _check(name, task, self.wavs)
            used |= {utterance for members in task.sets.values() for utterance in members}
        folder = data_dir / "tasks"
        shutil.rmtree(folder, ignore_errors=True)
        for name, task in self.tasks.items():
            for phase, members in task.sets.items():
                write_table(folder / name / phase / "target", members)
            if task.trials:
                with atomic_text(folder / name / "trials") as out:
                    out.writelines(f"{a} {b} {'target' if same else 'nontarget'}\n" for a, b, same in task.trials)
            with atomic_text(folder / name / "task.json") as out:
                content = {
                    "kind": task.kind,
                    "group": task.group or name,
                    "note": " ".join([*partial, task.note]).strip(),
                }
                out.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write_data_dir(data_dir / "pool", self.wavs, self.speakers, keep=used)
        lines = [*remarks, *(task.report(name) for name, task in self.tasks.items())]
        lines.append(f"pool: {len(used)} utterances of {len({self.speakers[u] for u in used})} speakers")
        with atomic_text(data_dir / "PREPARATION.txt") as out:
            out.write("\n".join(lines) + "\n")
        return lines


def _check(name: str, task: TaskSets, wavs: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for phase, members in task.sets.items():
        if not members:
            raise SiTokError(f"task {name}: its {phase} set is empty")
        for utterance, target in members.items():
            if utterance not in wavs:
                raise SiTokError(f"task {name}: {utterance} of its {phase} set has no audio")
            if not target.strip():
                raise SiTokError(f"task {name}: {utterance} of its {phase} set has no target")
            if seen.setdefault(utterance, phase) != phase:
                raise SiTokError(f"task {name}: {utterance} is in its sets {seen[utterance]} and {phase}")
    for enrolment, test, _ in task.trials:
        for utterance in (enrolment, test):
            if utterance not in task.sets["test"]:
                raise SiTokError(f"task {name}: {utterance} of its trials is not in its test set")


def hash_share(name: str, salt: str = "") -> float:
    """A number in [0, 1) that depends on the name alone: for splits that stay when other files come or go."""
    return int(hashlib.sha256(f"{salt}{name}".encode()).hexdigest()[:12], 16) / 16**12


def require(root: Path, names: Iterable[str], option: str) -> None:
    """SiTokError naming what of a corpus is missing below ``root``, and the option that says where it is."""
    if not root.is_dir():
        raise SiTokError(f"{root} does not exist: say where the corpus is with {option} in db.sh, or --downloads DIR")
    if missing := [name for name in names if not (root / name).exists()]:
        raise SiTokError(f"{root} is not the whole corpus: {', '.join(missing[:5])} missing ({len(missing)} in all)")


def check_count(found: int, expected: int, what: str, partial: bool) -> str | None:
    """A line for the report if a corpus is not complete; SiTokError unless parts were allowed (--partial true)."""
    if found == expected:
        return None
    text = f"{found} {what}, the whole corpus has {expected}"
    if not partial:
        raise SiTokError(f'{text}: copy the rest, or accept a part with --local_data_opts "--partial true"')
    return f"{PARTIAL}: {text}"


def print_report(lines: Sequence[str]) -> None:
    print("\n".join(lines))


def run_preparation(
    description: str,
    prepare: Callable[..., tuple[ProbeCorpus, list[str | None]]],
    more_options: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """The command line of a corpus: ``prepare(root, partial)``, and the arguments where there are ``more_options``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", type=Path, required=True, help="the corpus")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--partial", choices=("true", "false"), default="false", help="accept an incomplete corpus")
    if more_options is not None:
        more_options(parser)
    args = parser.parse_args(argv)
    try:
        root, partial = args.downloads.resolve(), args.partial == "true"
        corpus, lines = prepare(root, partial) if more_options is None else prepare(root, partial, args)
        print_report(corpus.write(args.data_dir, lines))
    except SiTokError as error:
        sys.exit(f"error: {error}")
