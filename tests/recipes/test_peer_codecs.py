"""Stage 8's other codecs: their options, and fetching Codec2 without root."""

import os
import subprocess

import pytest
from stand_in_recipe import ROOT, run_one

FETCH = ROOT / "local/fetch_codec2.sh"


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder of stand-ins before everything else on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'stand_ins'}:{os.environ['PATH']}")
    return tmp_path / "stand_ins"


def synthesis_call(recipe):
    return next(line for line in (recipe / "calls").read_text().splitlines() if "sitok_synth_systems" in line)


def test_stage_8_without_peers_asks_for_none(trained):
    done = run_one(trained, 8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--peer" not in synthesis_call(trained)


def test_peers_reach_the_synthesis(trained, path):
    program(path / "c2enc", "exit 1")  # codec2 is installed: nothing is fetched
    program(path / "apt-get", "exit 1")
    done = run_one(trained, 8, "--peers", "opus:6  codec2:1200", "--peer_dir", "others")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--peers opus:6 codec2:1200 --peer_dir others --data_dir" in synthesis_call(trained)
    assert "codec2 is not installed" not in done.stdout


def test_codec2_is_fetched_only_where_it_is_asked_for(trained, path):
    program(path / "apt-get", 'echo "apt-get $*" >>../apt_calls; exit 1')
    done = run_one(trained, 8, "--peers", "opus:6")
    assert done.returncode == 0 and "codec2" not in done.stdout


@pytest.mark.skipif(os.access("/usr/bin/c2enc", os.X_OK), reason="codec2 is installed here: nothing would be fetched")
def test_a_failed_fetch_does_not_stop_the_stage(trained, path):
    program(path / "apt-get", "exit 1")
    done = run_one(trained, 8, "--peers", "codec2:1200")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "apt-get download codec2 failed" in done.stderr and "--downloads" in done.stderr
    assert 'codec2 could not be fetched: its rows are "not run"' in done.stdout
    assert "--peers codec2:1200 --peer_dir data/local/peers" in synthesis_call(trained)
    assert not (trained / "data/local/peers/codec2").exists()


def make_package(folder, name, files, depends):
    """A real Debian package; dpkg-deb builds it."""
    tree = folder / "build" / name
    for place, content in files.items():
        program(tree / place, content)
    (tree / "DEBIAN").mkdir(parents=True)
    control = f"Package: {name}\nVersion: 9-1\nArchitecture: all\nMaintainer: nobody <a@b.c>\nDescription: none\n"
    (tree / "DEBIAN/control").write_text(control + (f"Depends: {depends}\n" if depends else ""))
    subprocess.run(["dpkg-deb", "--build", tree, folder / f"{name}_9-1_all.deb"], check=True, capture_output=True)


def test_packages_are_unpacked_with_their_library(tmp_path, path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    make_package(downloads, "codec2", {"usr/bin/c2enc": ":"}, "libc6 (>= 2.14), libcodec2-1.2 (>= 1.2.0)")
    make_package(downloads, "libcodec2-1.2", {"usr/lib/libcodec2.so.1.2": ""}, "")
    program(path / "apt-get", "exit 1")  # what is there needs no network
    folder = tmp_path / "peers/codec2"
    for _ in range(2):
        done = subprocess.run([FETCH, downloads, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert (folder / "usr/bin/c2enc").exists() and (folder / "usr/lib/libcodec2.so.1.2").exists()
        assert [each.name for each in folder.parent.iterdir()] == ["codec2"]


def test_a_folder_of_another_name_would_not_be_found(tmp_path):
    done = subprocess.run([FETCH, tmp_path, tmp_path / "there"], capture_output=True, text=True)
    assert done.returncode == 1 and "usage:" in done.stderr
