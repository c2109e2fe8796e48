"""Fetching a corpus from a server of the test's own: resume, broken and wrong archives, no network."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import corpus_trees
import fetch_corpus
import prepare_librispeech_sets
import prepare_libritts
import prepare_ljspeech
import pytest
from fetch_corpus import Archive, fetch
from librispeech import LIBRISPEECH

from sitok_espnet.errors import SiTokError


class Server(http.server.SimpleHTTPRequestHandler):
    """Knows ranges, as openslr's mirrors do; `ranges` are those asked for; `cut` bytes, then the connection ends."""

    ranges: list[str] = []
    cut: int | None = None
    resumes = True

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        asked = self.headers.get("Range")
        start = 0
        if asked:
            self.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if self.resumes else 0
        if start > len(content):
            return self.send_error(416)
        self.send_response(206 if asked and self.resumes else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:] if self.cut is None else content[start : start + self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    handler = type("Handler", (Server,), {"ranges": []})
    web = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(tmp_path / "served"))
    )
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    handler.address = f"http://127.0.0.1:{web.server_address[1]}"
    yield handler
    web.shutdown()
    thread.join()
    web.server_close()


def serve(folder: Path, tree: Path, name: str, only: str = ".") -> str:
    """Archive of `tree`/`only` and of the files in `tree`; its digest."""
    path = folder / "served" / name
    with tarfile.open(path, f"w:{path.suffix[1:]}") as tar:
        for file in sorted(tree.iterdir()) if only != "." else []:
            if file.is_file():
                tar.add(file, f"{tree.name}/{file.name}")
        tar.add(tree / only, f"{tree.name}/{only}" if only != "." else tree.name)
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def archive(server, tmp_path) -> Archive:
    tree = corpus_trees.librispeech(tmp_path / "source/LibriSpeech")
    digest = serve(tmp_path, tree, "dev-clean.tar.gz", "dev-clean")
    return Archive(f"{server.address}/dev-clean.tar.gz", digest, "LibriSpeech/dev-clean", "dev-clean")


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def whole(tmp_path: Path) -> dict[str, bytes]:
    source = files(tmp_path / "source/LibriSpeech")
    return {name: content for name, content in source.items() if name.startswith("dev-clean") or "/" not in name}


def test_a_subset_and_the_files_beside_it(archive, tmp_path):
    fetch([archive], tmp_path / "downloads/LibriSpeech")
    assert files(tmp_path / "downloads") == {f"LibriSpeech/{name}": c for name, c in whole(tmp_path).items()}
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == ["LibriSpeech"]  # nothing else is left


def test_what_is_there_is_not_fetched(archive, tmp_path):
    (tmp_path / "LibriSpeech/dev-clean").mkdir(parents=True)
    fetch([replace(archive, url="http://127.0.0.1:1/dev-clean.tar.gz")], tmp_path / "LibriSpeech")


@pytest.mark.parametrize("resumes", [True, False])
def test_an_interrupted_download_goes_on(archive, server, tmp_path, resumes):
    server.cut, server.resumes = 1000, resumes
    with pytest.raises(SiTokError, match="1,000 of .* bytes came: run it again|could not be fetched .*it goes on"):
        fetch([archive], tmp_path / "LibriSpeech")
    assert not (tmp_path / "LibriSpeech").exists()
    server.cut = None
    fetch([archive], tmp_path / "LibriSpeech")
    assert server.ranges == ["bytes=1000-"]
    assert files(tmp_path / "LibriSpeech") == whole(tmp_path)


def test_another_file_than_published(archive, tmp_path):
    with pytest.raises(SiTokError, match="was not what was published .*was removed: run it again .or copy"):
        fetch([replace(archive, digest="md5:0123")], tmp_path / "LibriSpeech")
    assert not (tmp_path / "LibriSpeech").exists() and not list(tmp_path.glob(".fetch_*/*"))


@pytest.mark.parametrize("breakage", ["cut", "bits", "no archive", "another folder"])
def test_broken_archives_leave_nothing(archive, tmp_path, breakage):
    path = tmp_path / "served/dev-clean.tar.gz"
    content = bytearray(path.read_bytes())
    if breakage == "cut":
        content = content[: len(content) // 2]
    elif breakage == "bits":
        content[len(content) // 2] ^= 0xFF
    elif breakage == "no archive":
        content = b"<html>busy</html>"
    path.write_bytes(content)
    wrong = replace(archive, digest=f"sha256:{hashlib.sha256(content).hexdigest()}")
    if breakage == "another folder":
        wrong = replace(wrong, inside="LibriSpeech/test-clean")
    with pytest.raises(SiTokError, match="dev-clean.tar.gz (is broken|has no folder LibriSpeech/test-clean).*removed"):
        fetch([wrong], tmp_path / "LibriSpeech")
    assert not (tmp_path / "LibriSpeech").exists() and not list(tmp_path.glob(".fetch_*/*"))


@pytest.mark.parametrize(
    "name, kind", [("../../outside.txt", tarfile.REGTYPE), ("/outside.txt", tarfile.REGTYPE), ("link", tarfile.SYMTYPE)]
)
def test_an_archive_that_leaves_its_folder_is_refused(name, kind, archive, server, tmp_path):
    with tarfile.open(tmp_path / "served/evil.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.type, entry.linkname = 3, kind, "/etc"
        tar.addfile(entry, io.BytesIO(b"bad"))
    digest = hashlib.sha256((tmp_path / "served/evil.tar.gz").read_bytes()).hexdigest()
    with pytest.raises(SiTokError, match="evil.tar.gz is broken"):
        fetch([replace(archive, url=f"{server.address}/evil.tar.gz", digest=f"sha256:{digest}")], tmp_path / "a/b/c")
    assert not list(tmp_path.rglob("outside.txt"))


def test_without_a_network(tmp_path):
    archive = Archive("http://127.0.0.1:1/x.tar.gz", "md5:0", "LibriSpeech/x", "x")
    with pytest.raises(SiTokError) as caught:
        fetch([archive], tmp_path / "LibriSpeech")
    said = str(caught.value)
    assert "could not be fetched" in said and "with a network, run it again" in said
    assert f"belongs into {tmp_path}/LibriSpeech/x" in said


def test_a_file_that_is_not_served(archive, tmp_path, server):
    (tmp_path / "served/dev-clean.tar.gz").unlink()
    with pytest.raises(SiTokError, match="could not be fetched"):
        fetch([archive], tmp_path / "LibriSpeech")


def test_a_part_that_is_too_long_begins_again(archive, tmp_path):
    part = tmp_path / ".fetch_LibriSpeech/dev-clean.tar.gz.part"
    part.parent.mkdir()
    part.write_bytes(bytes(1 << 20))
    with pytest.raises(SiTokError, match="longer than the file and was removed: run it again"):
        fetch([archive], tmp_path / "LibriSpeech")
    fetch([archive], tmp_path / "LibriSpeech")
    assert files(tmp_path / "LibriSpeech") == whole(tmp_path)


def test_preparation_fetches_what_is_missing(server, tmp_path, monkeypatch):
    """Both kinds of corpus: archives of subsets, and one of everything."""
    tree = corpus_trees.librispeech(tmp_path / "source/LibriSpeech")
    digests = {name: serve(tmp_path, tree, f"{name}.tar.gz", name) for name in corpus_trees.LIBRISPEECH}
    for name, digest in digests.items():
        monkeypatch.setitem(LIBRISPEECH.archives, name, replace(LIBRISPEECH.archives[name], digest=digest))
    options = ["--data_dir", str(tmp_path / "data"), "--partial", "true", "--download", "true"]
    options += ["--mirror", server.address, "--downloads"]
    prepare_librispeech_sets.main([*options, str(tmp_path / "downloads")])
    assert files(tmp_path / "downloads/LibriSpeech") == files(tree)
    tree = corpus_trees.ljspeech(tmp_path / "source/LJSpeech-1.1")
    archive = replace(prepare_ljspeech.LJSPEECH.archives["wavs"], digest=serve(tmp_path, tree, "LJSpeech-1.1.tar.bz2"))
    monkeypatch.setitem(prepare_ljspeech.LJSPEECH.archives, "wavs", archive)
    prepare_ljspeech.main([*options, str(tmp_path / "downloads/LJSpeech-1.1")])
    assert files(tmp_path / "downloads/LJSpeech-1.1") == files(tree)


def test_archives_are_named_as_published():
    for published in (LIBRISPEECH, prepare_ljspeech.LJSPEECH, *prepare_libritts.RELEASES.values()):
        assert published.archives.keys() == published.counts.keys()
        for archive in published.archives.values():
            assert archive.url.startswith("https://") and archive.inside.split("/")[0] == published.name
            algorithm, _, digest = archive.digest.partition(":")
            assert len(digest) == 2 * hashlib.new(algorithm).digest_size and int(digest, 16)
    assert sum(prepare_libritts.RELEASES["LibriTTS"].counts.values()) == 375_086  # of the corpus' paper
    assert fetch_corpus.TIMEOUT > 0
