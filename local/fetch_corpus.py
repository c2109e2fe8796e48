"""Archives of a published corpus from the network, unpacked where the corpus belongs.

A part appears under its own name only when its archive has come whole and has been unpacked whole; what an interrupted
run has fetched is gone on with.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sitok_espnet.errors import SiTokError

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


@dataclass(frozen=True)
class Archive:
    """One tar file (.tar.gz, .tar.bz2).

    inside: the folder in it that is wanted. target: its name in the corpus' folder, "." for that folder itself.
    digest: as published, "sha256:..." or "md5:...".
    """

    url: str
    digest: str
    inside: str
    target: str


def fetch(archives: Sequence[Archive], root: Path, mirror: str | None = None) -> None:
    """Fetch and unpack what is missing below ``root``.

    Args:
        mirror: an address that has the same files, in place of the one of each archive up to its last slash.

    Raises:
        SiTokError: no network, a broken archive, no room.
    """
    root = root.resolve()
    work = root.parent / f".fetch_{root.name}"
    for archive in archives:
        target = root / archive.target
        if target.exists():
            continue
        name = archive.url.rsplit("/", 1)[1]
        url = f"{mirror.rstrip('/')}/{name}" if mirror else archive.url
        by_hand = (
            f"(or copy the corpus from elsewhere: what {archive.url} has in {archive.inside} belongs into {target}; or "
            "name its folder in db.sh or with --downloads)"
        )
        work.mkdir(parents=True, exist_ok=True)
        try:
            file = download(url, work / name)
            check(file, archive.digest)
            print(f"{name}: unpacking", flush=True)
            unpack(file, archive, root, work / "unpacked")
        except SiTokError as error:
            raise SiTokError(f"{error} {by_hand}") from error
        except OSError as error:
            raise SiTokError(f"{url}: {error}: put it right (is there room?) and run it again {by_hand}") from error
        file.unlink()
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def download(url: str, path: Path) -> Path:
    """``path``, fetched from ``url`` unless it is there; goes on with ``path``.part. SiTokError if it does not come."""
    if path.exists():
        return path
    part = path.with_name(f"{path.name}.part")
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            if answer.status != http.client.PARTIAL_CONTENT:
                there = 0  # a server that does not go on begins again
            length = answer.headers.get("Content-Length")
            whole = there + int(length) if length else None
            print(f"{url}: {there:,} of {f'{whole:,}' if whole else 'unknown'} bytes are there", flush=True)
            with part.open("ab" if there else "wb") as out:
                shutil.copyfileobj(answer, out, BLOCK)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise SiTokError(f"{url}: {part} is longer than the file and was removed: run it again") from error
        raise SiTokError(f"{url} could not be fetched ({error}): try --mirror ADDRESS") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SiTokError(f"{url} could not be fetched ({error}): with a network, run it again, it goes on") from error
    if whole is not None and part.stat().st_size != whole:
        raise SiTokError(f"{url}: {part.stat().st_size:,} of {whole:,} bytes came: run it again, it goes on")
    return part.replace(path)


def check(path: Path, digest: str) -> None:
    """SiTokError, and the file is gone, if it is another one than published."""
    algorithm, _, expected = digest.partition(":")
    state = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    if state.hexdigest() != expected:
        path.unlink()
        raise SiTokError(
            f"{path} was not what was published ({algorithm} {state.hexdigest()}) and was removed: run it again"
        )


def _refuse_strange(member: tarfile.TarInfo) -> None:
    """A corpus has files and folders inside it, nothing else (not every Python that we name has extraction filters)."""
    parts = PurePosixPath(member.name).parts
    if not (member.isfile() or member.isdir()) or member.name.startswith("/") or ".." in parts:
        raise tarfile.TarError(f"{member.name} is no file or folder inside it")


def unpack(path: Path, archive: Archive, root: Path, scratch: Path) -> None:
    """Unpack into ``scratch``, then move ``archive.inside`` to its place, with the files beside it (lists, licence)."""
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with tarfile.open(path, f"r:{path.suffix[1:]}") as tar:
            for member in tar:
                _refuse_strange(member)
                tar.extract(member, scratch, set_attrs=False)
            # The check sum is behind the last member.
            while tar.fileobj.read(BLOCK):
                pass
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        broken = f"{path} is broken ({error}) and was removed: run it again"
    except OSError as error:
        # What is wrong with the compression has no number, what is wrong with the disk has.
        if error.errno is not None:
            raise
        broken = f"{path} is broken ({error}) and was removed: run it again"
    else:
        found = (scratch / archive.inside).is_dir()
        broken = "" if found else f"{path} has no folder {archive.inside}, and was removed"
    if broken:
        path.unlink()
        shutil.rmtree(scratch, ignore_errors=True)
        raise SiTokError(broken)
    if archive.target != ".":
        root.mkdir(parents=True, exist_ok=True)
        for file in sorted((scratch / archive.inside).parent.iterdir()):
            if file.is_file() and not (root / file.name).exists():
                file.rename(root / file.name)
    (scratch / archive.inside).rename(root / archive.target)
    shutil.rmtree(scratch)
