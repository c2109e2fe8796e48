"""The rows of the ablation tables: conf/ablation/<group>/<name>.yaml, and what their notes say (README.md there)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merge_config import merge_files, notes_of, read_yaml

from sitok_espnet.errors import SiTokError

SCALES = "scale"  # the folder beside the groups
MERGED = ("scale", "keep", "at")  # notes that merge_config.py reads
READ = ("title", "paper", "paper_note", "after", "inference")
INFERENCE = ("cfg_scale", "steps", "temperature")


@dataclass(frozen=True)
class After:
    """A training that must come first.

    Attributes:
        row: name of the row whose best checkpoint is loaded.
        load: parts of the model that take their weights from it.
    """

    row: str
    load: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: "<group>/<name>".
        path: its YAML.
        title: for people.
        paper: the paper's numbers of this row: wer, sim, asr (WER of the LLM recogniser), in its units.
        paper_note: where those are of something else than this row: of what; the table marks them.
        after: the training before this one, or None.
        inference: ``cfg_scale``, ``steps`` and ``temperature`` where they differ from the recipe's.
    """

    name: str
    path: Path
    title: str
    paper: Mapping[str, float] = field(default_factory=dict)
    paper_note: str = ""
    after: After | None = None
    inference: Mapping[str, float] = field(default_factory=dict)


def list_rows(directory: Path) -> list[str]:
    """Names of all rows in a folder such as conf/ablation, sorted."""
    files = (path.relative_to(directory).with_suffix("") for path in directory.glob("*/*.yaml"))
    return sorted(str(name) for name in files if name.parts[0] != SCALES)


def expand(patterns: Sequence[str], directory: Path) -> list[str]:
    """Row names, groups ("quantizer" is all its rows) and "all" as row names, each once.

    Raises SiTokError for a name that is neither.
    """
    rows = list_rows(directory)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = rows if pattern == "all" else [row for row in rows if pattern.rstrip("/") in (row, row.split("/")[0])]
        if not found:
            groups = ", ".join(dict.fromkeys(row.split("/")[0] for row in rows))
            raise SiTokError(f"--rows {pattern}: no such row or group in {directory}; the groups are {groups}")
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def scale_file(directory: Path, scale: str) -> Path:
    """The overlay of a scale; raises SiTokError with the choices."""
    path = directory / SCALES / f"{scale}.yaml"
    if not path.is_file():
        choices = ", ".join(sorted(file.stem for file in (directory / SCALES).glob("*.yaml")))
        raise SiTokError(f"--scale {scale}: {path} does not exist; there are {choices}")
    return path


def read_row(name: str, directory: Path) -> Row:
    """Read a row's notes.

    Raises SiTokError: no such row, an unknown note, or a note that does not fit.
    """
    path = directory / f"{name}.yaml"
    notes = notes_of(read_yaml(path))
    unknown = sorted(set(notes) - {*MERGED, *READ})
    if unknown or "title" not in notes:
        problem = f"unknown notes {', '.join(unknown)}" if unknown else "no title"
        raise SiTokError(f"{path}: {problem}; legal are {', '.join((*READ, *MERGED))}, and title is needed")
    inference = notes.get("inference") or {}
    if set(inference) - set(INFERENCE):
        raise SiTokError(f"{path}: inference may have {', '.join(INFERENCE)}, not {', '.join(inference)}")
    if notes.get("paper_note") and not notes.get("paper"):
        raise SiTokError(f"{path}: paper_note is about the numbers under paper, and there are none")
    after = notes.get("after")
    try:
        after = After(after["row"], tuple(after["load"])) if after else None
    except (KeyError, TypeError) as error:
        raise SiTokError(f"{path}: after must be {{row: GROUP/NAME, load: [PART, ...]}}") from error
    return Row(
        name=name,
        path=path,
        title=str(notes["title"]),
        paper=dict(notes.get("paper") or {}),
        paper_note=str(notes.get("paper_note") or ""),
        after=after,
        inference=dict(inference),
    )


def row_config(row: Row, base: Path, directory: Path, scale: str, settings: Sequence[str] = ()) -> dict[str, Any]:
    """The full training YAML of a row: base, scale, row, then ``settings`` (``KEY=VALUE``)."""
    return merge_files(base, [scale_file(directory, scale), row.path], settings)
