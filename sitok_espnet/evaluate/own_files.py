"""What `sitok eval` may write and delete: files that it recorded as its own, and never what it was given to judge."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json
from sitok_espnet.inputs import AudioInput, is_ark_entry

RECORD = "inputs.json"  # what an evaluation directory was filled from, and which files of it are ours


def input_files(paths: Iterable[str | Path], items: Iterable[AudioInput]) -> dict[Path, str]:
    """Resolved place of every file that is read -> how its user calls it; of archives, the archive.

    A link counts twice: as the link and as the file that it points to.
    """
    named = [Path(path) for path in paths if Path(path).is_file()]
    named += [Path(i.location.rpartition(":")[0] if is_ark_entry(i.location) else i.location) for i in items]
    return {place: str(path) for path in named for place in (path.resolve(), path.parent.resolve() / path.name)}


def check_inputs_survive(output: Path, rows: Iterable[str], inputs: Mapping[Path, str]) -> None:
    """Refuse an output whose rows hold what is to be judged.

    Raises:
        SiTokError: naming an input.
    """
    top = output.resolve()
    folders = {(top / row).resolve() for row in rows} | {top / row for row in rows}
    for place, name in inputs.items():
        if folders & set(place.parents):
            raise SiTokError(f"-o {output}: {name} is one of the inputs and lies in it: choose another -o")


def recorded(output: Path) -> set[Path]:
    """Files below ``output`` that an earlier call recorded as its own, relative."""
    path = output / RECORD
    names = read_json(path).get("files", []) if path.is_file() else []
    return {Path(name) for name in names if not Path(name).is_absolute() and ".." not in Path(name).parts}


def claim(output: Path, files: Iterable[Path], content: Mapping) -> None:
    """Delete an earlier call's files and record those (relative) that are going to be written, before they are.

    Raises:
        SiTokError: one of them is there and nobody recorded it.
    """
    old, new = recorded(output), set(files)
    for path in sorted(new - old):
        if (output / path).exists() or (output / path).is_symlink():
            raise SiTokError(f"-o {output}: {output / path} is there and not of `sitok eval`: choose another -o")
    # Measurements of audio that is judged again stay: they are keyed by its hash.
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / RECORD, {**content, "files": sorted(map(str, old | new))})
    for path in sorted(old):
        if path not in new or path.suffix not in (".jsonl", ".npz"):
            (output / path).unlink(missing_ok=True)
    for folder in sorted({parent for path in old for parent in path.parents if parent != Path()}, reverse=True):
        try:
            (output / folder).rmdir()
        except OSError:  # not empty, or gone
            pass
    write_json(output / RECORD, {**content, "files": sorted(map(str, new))})
