"""A recipe in a copy of the template, with a stand-in for Python: tests of the stage scripts run nothing else."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def make_repository(path: Path) -> Path:
    """A copy of what a recipe needs of the repository, without an environment, with a recipe egs2/toy/sitok1."""
    for name in ("local", "egs2/TEMPLATE"):
        shutil.copytree(ROOT / name, path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (path / "sitok_espnet").symlink_to(ROOT / "sitok_espnet")
    done = subprocess.run([path / "egs2/TEMPLATE/sitok1/setup.sh", path / "egs2/toy/sitok1"], capture_output=True)
    assert done.returncode == 0, done.stderr
    (path / "egs2/toy/sitok1/conf/train_sitok.yaml").write_text("seed: 0\nctc: null\n")
    return path


def run_recipe(repository: Path, *options: str) -> subprocess.CompletedProcess:
    command = [repository / "egs2/toy/sitok1/run.sh", *options]
    environment = {**os.environ, "SITOK_USE_ACTIVE_PYTHON": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def write(path: Path, text: str = "a b\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


# Stands in for the Python of a recipe: keeps the words of a call, and leaves what the real one would.
PYTHON = """#!/usr/bin/env bash
echo "$*" >>calls
output=$(sed -n 's/.*--output_dir \\([^ ]*\\).*/\\1/p' <<<"$*")
case "$1 $2" in
    */local/refine.py\ prepare) mkdir -p "${output}" && exit ;;
    */local/refine.py\ check) exec ./check ;;
    -m\ *) ;;
    *) exit 9 ;;
esac
case "$2" in
    espnet2.bin.launch) . ./training ;;
    sitok_espnet.bin.sitok_step_curve) [ ! -e ./curve ] || . ./curve ;;
    sitok_espnet.bin.sitok_synth_systems) ;;
    sitok_espnet.bin.sitok_score) echo "a table" >"$(sed -n 's/.*--eval_dir \\([^ ]*\\).*/\\1/p' <<<"$*")/RESULTS.md" ;;
    sitok_espnet.bin.main) touch "$(sed -n 's/.*--output \\([^ ]*\\).*/\\1/p' <<<"$*")" ;;
    sitok_espnet.bin.sitok_pack | sitok_espnet.bin.deepspeed_weights) ;;
    sitok_espnet.bin.sitok_train) mkdir -p "${output}" && echo "of ${output##*/}" >"${output}/config.yaml" ;;
    espnet2.bin.aggregate_stats_dirs) mkdir -p "${output}" ;;
    *) exit 9 ;;
esac
"""


def make_recipe(repository: Path) -> Path:
    """A recipe before stage 5 (no transcripts), with a stand-in for Python; its file `training` is what trains."""
    folder = repository / "egs2/toy/sitok1"
    for name in ("train", "dev"):
        write(folder / f"dump/raw/{name}/wav.scp")
    for name in ("train/feats_stats.npz", "train/speech_shape", "valid/speech_shape"):
        write(folder / "exp/sitok_stats" / name)
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    (folder / "training").write_text("touch exp/sitok_x/checkpoint.pth\n")
    (folder / "check").write_text("#!/bin/sh\n")
    (folder / "check").chmod(0o755)
    return folder


def run_one(recipe: Path, stage: int, *options: str) -> subprocess.CompletedProcess:
    words = ["--stage", stage, "--stop_stage", stage, "--sitok_tag", "x", "--ngpu", 0]
    words += ["--python", "./python", *options]
    return run_recipe(recipe.parents[2], *map(str, words))


def finish(recipe: Path, experiment: str) -> None:
    for name in ("config.yaml", "train.done"):
        write(recipe / "exp" / experiment / name)


def calls(recipe: Path, word: str) -> list[str]:
    return [line for line in (recipe / "calls").read_text().splitlines() if word in line]
