"""Option parsing, path.sh, cmd.sh, setup.sh, and the order of the stages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture
def repository(tmp_path) -> Path:
    """A copy of what a recipe needs of the repository, without an environment."""
    for name in ("local", "egs2/TEMPLATE"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "sitok_espnet").symlink_to(ROOT / "sitok_espnet")
    done = subprocess.run(
        [tmp_path / "egs2/TEMPLATE/sitok1/setup.sh", tmp_path / "egs2/toy/sitok1"], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "egs2/toy/sitok1/conf/train_sitok.yaml").write_text("seed: 0\nctc: null\n")
    return tmp_path


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


def run_recipe(repository: Path, *options: str) -> subprocess.CompletedProcess:
    command = [repository / "egs2/toy/sitok1/run.sh", *options]
    environment = {**os.environ, "SITOK_USE_ACTIVE_PYTHON": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a b\n")


@pytest.mark.parametrize(
    "stage, present, missing, maker",
    [
        (2, [], "data/train/wav.scp", 1),
        (2, ["data/train/wav.scp", "data/dev/wav.scp"], "data/test/wav.scp", 1),
        (3, [], "dump/raw/train/wav.scp", 2),
        (4, ["dump/raw/train/wav.scp"], "dump/raw/dev/wav.scp", 2),
        (
            4,
            ["dump/raw/train/wav.scp", "dump/raw/dev/wav.scp", "dump/raw/train/text"],
            "data/token_list/bpe_unigram4000/tokens.txt",
            3,
        ),
        (5, ["dump/raw/train/wav.scp", "dump/raw/dev/wav.scp"], "exp/sitok_stats/train/feats_stats.npz", 4),
        (
            7,
            ["dump/raw/train/wav.scp", "dump/raw/dev/wav.scp", "dump/raw/test/wav.scp"],
            "exp/sitok_bpe4000/config.yaml",
            5,
        ),
        (
            8,
            [
                "dump/raw/train/wav.scp",
                "dump/raw/test/wav.scp",
                "exp/sitok_bpe4000/config.yaml",
                "exp/sitok_bpe4000/train.done",
            ],
            "dump/tokens/bpe4000/train/manifest.json",
            7,
        ),
        (9, [], "exp/sitok_bpe4000/config.yaml", 5),
        (10, [], "exp/sitok_bpe4000/packed/config.yaml", 9),
    ],
)
def test_a_stage_out_of_order_names_the_missing_one(repository, stage, present, missing, maker):
    for name in present:
        write(repository / "egs2/toy/sitok1" / name)
    done = run_recipe(repository, "--stage", str(stage), "--stop_stage", str(stage), "--sitok_tag", "bpe4000")
    assert done.returncode != 0
    assert f"{missing} is missing: run stage {maker} first" in done.stderr
    assert f"stage {stage}: done" not in done.stdout


def test_a_continuous_model_is_scored_without_tokens(repository):
    for name in ("dump/raw/train/wav.scp", "dump/raw/test/wav.scp", "exp/sitok_bpe4000/train.done"):
        write(repository / "egs2/toy/sitok1" / name)
    (repository / "egs2/toy/sitok1/exp/sitok_bpe4000/config.yaml").write_text("quantizer: identity\n")
    done = run_recipe(repository, "--stage", "8", "--stop_stage", "8", "--sitok_tag", "bpe4000")
    # It goes on to the synthesis, which finds nothing to open in this toy.
    assert "manifest.json" not in done.stderr and "resynthesis of test" in done.stdout + done.stderr


def test_unfinished_training_is_not_used(repository):
    recipe = repository / "egs2/toy/sitok1"
    for name in ("exp/sitok_x/config.yaml", "exp/sitok_x/valid.loss.best.pth"):
        write(recipe / name)
    done = run_recipe(repository, "--stage", "9", "--stop_stage", "9", "--sitok_tag", "x")
    assert done.returncode != 0
    assert "exp/sitok_x is not finished: run stage 5 first" in done.stderr


def test_upload_needs_a_place_and_credentials(repository):
    write(repository / "egs2/toy/sitok1/exp/sitok_x/packed/config.yaml")
    options = ["--stage", "10", "--stop_stage", "10", "--sitok_tag", "x"]
    assert "--hf_repo OWNER/NAME" in run_recipe(repository, *options).stderr
    done = run_recipe(repository, *options, "--hf_repo", "me/it")
    assert "hf upload me/it exp/sitok_x/packed ." in done.stdout
    assert done.returncode != 0 and "export HF_TOKEN" in done.stderr


@pytest.mark.parametrize(
    "options, tag",
    [
        ([], "bpe4000"),
        (["--train_config", "conf/tuning/train_sitok_rvq4.yaml", "--nbpe", "256"], "rvq4_bpe256"),
        (["--train_args", "--encoder_conf num_layers=2 --ctc null"], "bpe4000_encoder_confnum_layers2_ctcnull"),
        (["--sitok_tag", "mine", "--train_args", "--seed 1"], "mine"),
    ],
)
def test_experiments_are_named_after_what_makes_them(repository, options, tag):
    done = run_recipe(repository, "--stage", "9", "--stop_stage", "9", *options)
    assert f"exp/sitok_{tag}/config.yaml is missing" in done.stderr


@pytest.mark.parametrize(
    "options, message",
    [
        (["--stage", "10"], "uploading must be asked for with --stage 10 --stop_stage 10"),
        (["--stage", "5", "--stop_stage", "4"], "no stages from 5 to 4: 1 <= --stage <= --stop_stage <= 10"),
        (["--stage", "11"], "no stages from 11 to 9"),
        (["--stage", "0"], "no stages from 0 to 9"),
        (["--stage", "9", "--stop_stage", "11"], "no stages from 9 to 11"),
        (["--stage", "18446744073709551617"], "whole number"),
    ],
)
def test_a_range_without_stages_is_refused(repository, options, message):
    done = run_recipe(repository, *options)
    assert done.returncode != 0
    assert message in done.stderr and "--stage" in done.stderr
    assert not (repository / "egs2/toy/sitok1/exp").exists()


def test_numbers_are_decimal(repository):
    done = run_recipe(repository, "--stage", "08", "--stop_stage", "09")
    assert done.returncode != 0
    assert "stage 8: resynthesis" in done.stdout
    assert "run stage 2 first" in done.stderr


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
    sitok_espnet.bin.sitok_step_curve | sitok_espnet.bin.sitok_synth_systems) ;;
    sitok_espnet.bin.sitok_score) echo "a table" >"$(sed -n 's/.*--eval_dir \\([^ ]*\\).*/\\1/p' <<<"$*")/RESULTS.md" ;;
    sitok_espnet.bin.sitok_pack) ;;
    sitok_espnet.bin.sitok_train) mkdir -p "${output}" && echo "of ${output##*/}" >"${output}/config.yaml" ;;
    espnet2.bin.aggregate_stats_dirs) mkdir -p "${output}" ;;
    *) exit 9 ;;
esac
"""


@pytest.fixture
def recipe(repository) -> Path:
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


def test_statistics_keep_their_configuration(recipe):
    done = run_one(recipe, 4)
    assert done.returncode == 0, done.stderr
    assert (recipe / "exp/sitok_stats/config.yaml").read_text() == "of stats.1\n"
    assert not (recipe / "exp/sitok_stats.tmp").exists()


@pytest.mark.parametrize("stage, script", [(4, "exp/sitok_stats.logs/run.sh"), (5, "exp/sitok_x/run.sh")])
def test_generated_run_sh_has_the_environment(recipe, stage, script, monkeypatch):
    monkeypatch.setenv("cmd_backend", "local")
    assert run_one(recipe, stage, "--train_args", "--seed 1 --x 'a b'").returncode == 0
    calls = (recipe / "calls").read_text()
    (recipe / "calls").unlink()
    environment = {k: v for k, v in os.environ.items() if k not in ("cmd_backend", "SITOK_USE_ACTIVE_PYTHON")}
    again = subprocess.run([recipe / script], capture_output=True, text=True, env=environment, cwd="/")
    assert again.returncode == 0, again.stderr
    assert (recipe / "calls").read_text() == calls
    assert "export cmd_backend=local\n" in (recipe / script).read_text()


def test_generated_run_sh_keeps_the_back_end(recipe, monkeypatch):
    monkeypatch.setenv("cmd_backend", "slurm")
    assert run_one(recipe, 5).returncode == 0
    monkeypatch.delenv("cmd_backend")
    (recipe / "calls").unlink()
    assert subprocess.run([recipe / "exp/sitok_x/run.sh"], capture_output=True).returncode == 0
    assert "slurm.pl --backend slurm" in (recipe / "calls").read_text()


def test_finished_training_keeps_its_time_when_run_again(recipe):
    finished = recipe / "exp/sitok_x/train.done"
    assert run_one(recipe, 5).returncode == 0
    first = finished.stat().st_mtime_ns
    (recipe / "training").write_text("[ ! -e exp/sitok_x/train.done ]\n")  # nothing left to train
    assert run_one(recipe, 5).returncode == 0
    assert finished.stat().st_mtime_ns == first
    (recipe / "training").write_text("false\n")
    assert run_one(recipe, 5).returncode != 0
    assert not finished.exists()
    # Interrupted before it had trained anything: the next run still knows the old time.
    (recipe / "training").write_text("true\n")
    assert run_one(recipe, 5).returncode == 0
    assert finished.stat().st_mtime_ns == first


def test_training_that_went_on_gets_a_new_time(recipe):
    finished = recipe / "exp/sitok_x/train.done"
    assert run_one(recipe, 5).returncode == 0
    first = finished.stat().st_mtime_ns
    (recipe / "training").write_text("sleep .05; touch exp/sitok_x/checkpoint.pth; false\n")
    assert run_one(recipe, 5).returncode != 0
    assert not finished.exists()
    (recipe / "training").write_text("true\n")
    assert run_one(recipe, 5).returncode == 0
    assert finished.stat().st_mtime_ns > first
    assert not (recipe / "exp/sitok_x/train.done.before").exists()


@pytest.fixture
def trained(recipe) -> Path:
    """The recipe after stages 5 and 7, with two overlays and a vocoder's configuration."""
    finish(recipe, "sitok_x")
    for name in ("conf/refine/one.yaml", "conf/refine/my_shortcut.yaml", "conf/vocoder/small.yaml"):
        write(recipe / name)
    write(recipe / "dump/raw/test/wav.scp")
    write(recipe / "dump/tokens/x/train/manifest.json")
    # A training leaves its configuration where it was told to.
    (recipe / "training").write_text('mkdir -p "$output" && echo 1 | tee "$output"/{checkpoint.pth,config.yaml}\n')
    return recipe


def finish(recipe: Path, experiment: str) -> None:
    for name in ("config.yaml", "train.done"):
        write(recipe / "exp" / experiment / name)


def calls(recipe: Path, word: str) -> list[str]:
    return [line for line in (recipe / "calls").read_text().splitlines() if word in line]


REFINE = ("--refine", "conf/refine/one.yaml conf/refine/my_shortcut.yaml")


def test_stage_6_without_options_does_nothing(repository):
    done = run_one(repository / "egs2/toy/sitok1", 6)
    assert done.returncode == 0 and "neither --refine nor --vocoder_config is given" in done.stdout


def test_refinements_follow_each_other(trained):
    done = run_one(trained, 6, *REFINE, "--refine_args", "--max_epoch 1", "--inference_model", "3epoch.pth")
    assert done.returncode == 0, done.stderr
    first, second = calls(trained, "refine.py prepare")
    assert "--experiment exp/sitok_x --checkpoint 3epoch.pth --overlay conf/refine/one.yaml" in first
    assert "--experiment exp/sitok_x_one --overlay conf/refine/my_shortcut.yaml" in second
    for name, line in zip(("one", "my_shortcut"), calls(trained, "espnet2.bin.launch"), strict=True):
        assert f"--config exp/sitok_x_{name}/train.yaml" in line
        assert f"--output_dir exp/sitok_x_{name} " in line and line.endswith("--max_epoch 1")
        assert (trained / f"exp/sitok_x_{name}/train.done").exists()
    assert len(calls(trained, "refine.py check")) == 2
    assert "--stage 6 --stop_stage 6" in (trained / "exp/sitok_x_one/run.sh").read_text()


def test_a_finished_refinement_keeps_its_time_when_run_again(trained):
    assert run_one(trained, 6, *REFINE).returncode == 0
    stamps = [(trained / f"exp/sitok_x_{name}/train.done").stat().st_mtime_ns for name in ("one", "my_shortcut")]
    (trained / "training").write_text("true\n")  # nothing left to train
    assert run_one(trained, 6, *REFINE).returncode == 0
    again = [(trained / f"exp/sitok_x_{name}/train.done").stat().st_mtime_ns for name in ("one", "my_shortcut")]
    assert again == stamps


def test_a_refinement_that_changed_the_tokens_is_not_finished(trained):
    (trained / "check").write_text("#!/bin/sh\nexit 2\n")
    assert run_one(trained, 6, *REFINE).returncode != 0
    assert not (trained / "exp/sitok_x_one/train.done").exists()
    assert len(calls(trained, "espnet2.bin.launch")) == 1  # nothing is built on it


def test_a_refinement_of_a_missing_or_unfinished_training(trained):
    (trained / "exp/sitok_x/train.done").unlink()
    assert "exp/sitok_x is not finished: run stage 5 first" in run_one(trained, 6, *REFINE).stderr
    (trained / "exp/sitok_x/config.yaml").unlink()
    assert "exp/sitok_x/config.yaml is missing: run stage 5 first" in run_one(trained, 6, *REFINE).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--refine", "conf/refine/none.yaml"), "--refine conf/refine/none.yaml does not exist, neither in the recipe"),
        (("--refine", "conf/refine/one.yaml conf/refine/one.yaml"), "--refine names two overlays one.yaml"),
        (("--vocoder_config", "conf/none.yaml"), "--vocoder_config conf/none.yaml does not exist"),
        (("--step_curve", "maybe"), "--step_curve is true, false or auto"),
    ],
)
@pytest.mark.parametrize("stage", [5, 6, 8])
def test_bad_options_of_refinement_stop_before_anything_runs(trained, stage, options, message):
    done = run_one(trained, stage, *options)
    assert done.returncode == 1 and message in done.stderr
    assert not (trained / "calls").exists()


def test_configurations_are_looked_for_in_the_repository_too(trained):
    (trained / "conf/refine/one.yaml").unlink()
    write(trained.parents[2] / "conf/refine/one.yaml")
    done = run_one(trained, 6, "--refine", "conf/refine/one.yaml")
    assert done.returncode == 0, done.stderr
    assert f"--overlay {trained.parents[2]}/conf/refine/one.yaml" in calls(trained, "refine.py prepare")[0]


def test_vocoder_is_trained_on_speech_alone(trained):
    write(trained / "dump/raw/train/text")
    done = run_one(trained, 6, "--vocoder_config", "conf/vocoder/small.yaml", "--vocoder_args", "--max_epoch 3")
    assert done.returncode == 0, done.stderr
    (line,) = calls(trained, "espnet2.bin.launch")
    assert "sitok_espnet.bin.vocos_train --resume true --output_dir exp/vocoder_small" in line
    assert "--config conf/vocoder/small.yaml" in line and line.endswith("--max_epoch 3")
    assert "dump/raw/train/wav.scp,speech,sound" in line and "exp/sitok_stats/train/speech_shape" in line
    assert "text" not in line and "normalize" not in line
    assert (trained / "exp/vocoder_small/train.done").exists()


def test_later_stages_use_the_last_refinement_and_the_vocoder(trained):
    options = (*REFINE, "--vocoder_config", "conf/vocoder/small.yaml", "--inference_model", "3epoch.pth")
    for missing in ("sitok_x_one", "sitok_x_my_shortcut", "vocoder_small"):
        for stage in (8, 9):
            done = run_one(trained, stage, *options)
            assert f"exp/{missing}/config.yaml is missing: run stage 6 first" in done.stderr
        finish(trained, missing)
    for stage in (8, 9):
        done = run_one(trained, stage, *options)
        assert done.returncode == 0, done.stderr
    vocoder = "--vocoder vocos --vocoder_conf path=exp/vocoder_small"
    (synth,) = calls(trained, "sitok_synth_systems")
    earlier = "--earlier unrefined=exp/sitok_x/3epoch.pth --earlier one=exp/sitok_x_one"
    assert f"--model exp/sitok_x_my_shortcut {earlier} {vocoder}" in synth
    (score,) = calls(trained, "sitok_score")
    assert "--eval_dir exp/sitok_x_my_shortcut/eval/test" in score and "--train_tokens dump/tokens/x/train" in score
    (curve,) = calls(trained, "sitok_step_curve")  # a shortcut is among the refinements
    models = "--model exp/sitok_x/3epoch.pth --model exp/sitok_x_one --model exp/sitok_x_my_shortcut"
    assert f"{models} {vocoder}" in curve and "--output_dir exp/sitok_x_my_shortcut/eval/test/steps" in curve
    (pack,) = calls(trained, "sitok_pack")
    assert "--checkpoint" not in pack and "--vocoder exp/vocoder_small" in pack
    assert "--output_dir exp/sitok_x_my_shortcut/packed" in pack
    write(trained / "exp/sitok_x_my_shortcut/packed/config.yaml")
    assert (
        "hf upload me/it exp/sitok_x_my_shortcut/packed" in run_one(trained, 10, *options, "--hf_repo", "me/it").stdout
    )


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ((), False),
        (("--refine", "conf/refine/one.yaml"), False),
        (("--refine", "conf/refine/one.yaml", "--step_curve", "true"), True),
        (("--step_curve", "true"), True),
        (REFINE, True),
        ((*REFINE, "--step_curve", "false"), False),
    ],
)
def test_when_the_step_curve_is_drawn(trained, options, drawn):
    finish(trained, "sitok_x_one")
    finish(trained, "sitok_x_my_shortcut")
    done = run_one(trained, 8, *options)
    assert done.returncode == 0, done.stderr
    assert bool(calls(trained, "sitok_step_curve")) == drawn
    assert bool(calls(trained, "--earlier")) == bool("--refine" in options)


def test_without_refinement_the_named_checkpoint_is_scored_and_packed(trained):
    for stage in (8, 9):
        assert run_one(trained, stage, "--inference_model", "3epoch.pth").returncode == 0
    for program in ("sitok_synth_systems", "sitok_pack"):
        assert "--model exp/sitok_x --checkpoint 3epoch.pth" in calls(trained, program)[0]


def test_training_on_a_gpu_that_is_not_there_is_refused(recipe):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    done = run_one(recipe, 5, "--ngpu", "1")
    assert done.returncode == 1 and "--ngpu 0 trains on the CPU" in done.stderr
    assert not (recipe / "exp/sitok_x").exists()


@pytest.mark.parametrize("stage", [4, 5])
def test_no_transcripts_at_all_need_the_ctc_off(recipe, stage):
    config = recipe / "conf/train_sitok.yaml"
    config.write_text("seed: 0\n")
    done = run_one(recipe, stage)
    assert done.returncode == 1 and '--train_args "--ctc null"' in done.stderr
    assert run_one(recipe, stage, "--train_args", "--ctc null").returncode == 0


def test_transcripts_of_train_alone_are_refused_with_a_way_out(recipe):
    write(recipe / "dump/raw/train/text")
    write(recipe / "data/token_list/bpe_unigram4000/tokens.txt")
    done = run_one(recipe, 5)
    assert done.returncode != 0
    assert "dump/raw/dev/text does not: make data/dev/text (the id alone" in done.stderr
    assert "--ctc null" in done.stderr
    assert not (recipe / "calls").exists()


def test_unknown_stage_option_and_stray_words(repository):
    assert "unknown option --steps_" in run_recipe(repository, "--steps_", "1").stderr
    assert "whole number" in run_recipe(repository, "--nj", "many").stderr
    assert "'stray' is not an option" in run_recipe(repository, "--nj", "1", "stray").stderr


def test_failed_stage_stops_and_seconds_are_kept_of_finished_ones(repository):
    recipe = repository / "egs2/toy/sitok1"
    done = run_recipe(repository, "--stage", "6", "--stop_stage", "7")
    assert done.returncode != 0
    rows = [line.split("\t") for line in (recipe / "exp/stage_seconds.tsv").read_text().splitlines()]
    assert [(number, name) for number, _, name in rows] == [("6", "refinement and vocoder")]
    assert "run stage 2 first" in done.stderr


def test_every_recipe_links_to_the_template():
    for recipe in ROOT.glob("egs2/*/sitok1"):
        for name in ("sitok.sh", "cmd.sh", "path.sh"):
            assert (recipe / name).resolve() == TEMPLATE / name
