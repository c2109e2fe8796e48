"""Option parsing, path.sh, cmd.sh and setup.sh."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from stand_in_recipe import ROOT

TEMPLATE = ROOT / "egs2/TEMPLATE/sitok1"


def bash(script: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    command = ["bash", "-c", f"set -euo pipefail\n{script}"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **env})


def parse(options: str, tmp_path: Path) -> subprocess.CompletedProcess:
    defaults = 'stage=1; train_args=""; flag=false; help_message="the help"'
    return bash(
        f'{defaults}; set -- {options}; . "{ROOT}/local/parse_options.sh"; echo "$stage|$train_args|$flag|$*"', tmp_path
    )


@pytest.mark.parametrize(
    "options, result",
    [
        ("", "1||false|"),
        ("--stage 3 --flag true", "3||true|"),
        ("--train-args '--lr 1e-3 --b c'", "1|--lr 1e-3 --b c|false|"),
        ("--stage 3 --stage 4 rest --flag x", "4||false|rest --flag x"),
        ("--train_args ''", "1||false|"),
    ],
)
def test_options_set_variables(options, result, tmp_path):
    done = parse(options, tmp_path)
    assert (done.returncode, done.stdout.rstrip("\n"), done.stderr) == (0, result, "")


@pytest.mark.parametrize(
    "options, message",
    [
        ("--stags 3", "unknown option --stags"),
        ("--stage", "--stage needs a value"),
        ("--flag yes", "true or false"),
        ("--stage=3", "--stage VALUE"),
        ("--PATH x", "unknown option --PATH"),
        ("'--a;b' x", "unknown option --a;b"),
    ],
)
def test_bad_options(options, message, tmp_path):
    done = parse(options, tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


def test_help(tmp_path):
    done = parse("--help", tmp_path)
    assert (done.returncode, done.stdout) == (0, "the help\n")


def test_path_sh_without_an_environment_says_what_to_run(repository):
    done = bash(". ./path.sh; echo went on", repository / "egs2/toy/sitok1", SITOK_USE_ACTIVE_PYTHON="")
    assert done.returncode == 1
    assert "run: make setup" in done.stderr and str(repository) in done.stderr
    assert "went on" not in done.stdout


def test_path_sh_refuses_an_interrupted_set_up(repository):
    (repository / ".venv/bin").mkdir(parents=True)
    (repository / ".venv/bin/python").touch()
    done = bash(". ./path.sh", repository / "egs2/toy/sitok1", SITOK_USE_ACTIVE_PYTHON="")
    assert done.returncode == 1
    assert "run: make setup" in done.stderr


def test_path_sh_finds_the_environment_from_any_folder(repository):
    (repository / ".venv").mkdir()
    (repository / ".venv/sitok_setup.stamp").touch()
    recipe = repository / "egs2/toy/sitok1"
    done = bash(f'. {recipe}/path.sh; echo "${{PATH%%:*}} $SITOK_ROOT"', Path("/"), SITOK_USE_ACTIVE_PYTHON="")
    assert done.stdout.split() == [f"{repository}/.venv/bin", str(repository)], done.stderr


def test_path_sh_refuses_a_path_with_a_space(repository):
    spaced = repository / "my clone"
    (spaced / "egs2/toy/sitok1").mkdir(parents=True)
    (spaced / "sitok_espnet").mkdir()
    shutil.copy(TEMPLATE / "path.sh", spaced / "egs2/toy/sitok1")
    done = bash(". ./path.sh; echo went on", spaced / "egs2/toy/sitok1", SITOK_USE_ACTIVE_PYTHON="1")
    assert done.returncode == 1 and "went on" not in done.stdout
    assert f"has a space, which the recipes cannot work with: {spaced}" in done.stderr


def test_path_sh_outside_the_repository(tmp_path):
    shutil.copy(TEMPLATE / "path.sh", tmp_path)
    done = bash(". ./path.sh", tmp_path)
    assert done.returncode == 1
    assert "must lie inside the repository" in done.stderr


def test_cmd_sh_back_ends(tmp_path):
    show = f'. "{TEMPLATE}/cmd.sh"; echo "$train_cmd"'
    assert "--backend local" in bash(show, tmp_path, SITOK_ROOT="/r").stdout
    assert bash(show, tmp_path, SITOK_ROOT="/r", cmd_backend="slurm").stdout.startswith(
        "/r/local/slurm.pl --backend slurm"
    )
    done = bash(show, tmp_path, SITOK_ROOT="/r", cmd_backend="pbs")
    assert done.returncode == 1 and "local or slurm" in done.stderr


def test_setup_sh_refuses_other_places(repository, tmp_path):
    setup = repository / "egs2/TEMPLATE/sitok1/setup.sh"
    outside = subprocess.run([setup, tmp_path / "elsewhere/deep/sitok1"], capture_output=True, text=True)
    assert outside.returncode == 1 and "egs2/CORPUS/sitok1" in outside.stderr
    assert not (tmp_path / "elsewhere").exists()
    again = subprocess.run([setup, repository / "egs2/toy/sitok1"], capture_output=True, text=True)
    assert again.returncode == 1 and "exists already" in again.stderr


def test_every_recipe_links_to_the_template():
    for recipe in ROOT.glob("egs2/*/sitok1"):
        for name in ("sitok.sh", "cmd.sh", "path.sh"):
            assert (recipe / name).resolve() == TEMPLATE / name
