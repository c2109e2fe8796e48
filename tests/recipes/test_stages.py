"""The order of the stages, their options, and training that is resumed; with a stand-in for Python."""

import os
import re
import shutil
import subprocess

import pytest
from stand_in_recipe import ROOT, calls, run_one, run_recipe, write


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


def test_text_pieces_go_where_they_are_told(repository):
    for name in ("dump/raw/train/wav.scp", "dump/raw/dev/wav.scp", "dump/raw/train/text"):
        write(repository / "egs2/toy/sitok1" / name)
    done = run_recipe(repository, "--stage", "4", "--stop_stage", "4", "--token_listdir", "other/pieces")
    assert "other/pieces/bpe_unigram4000/tokens.txt is missing: run stage 3 first" in done.stderr


@pytest.mark.parametrize("corpus", ["asterisk", "fillets"])
def test_a_documented_choice_of_languages_has_folders_of_its_own(corpus):
    text = (ROOT / f"egs2/{corpus}/sitok1/README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [line for line in text.splitlines() if "--langs" in line and "run.sh" in line]
    assert commands
    for command in commands:
        folders = [re.search(rf"--{option} (\S+)", command) for option in ("dumpdir", "expdir", "token_listdir")]
        assert all(folders), command
        assert not {folder[1] for folder in folders} & {"dump", "exp", "data/token_list"}


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


def test_deepspeed_training_leaves_weights_and_a_new_time_for_a_new_epoch(recipe):
    finished = recipe / "exp/sitok_x/train.done"
    epoch = "mkdir -p exp/sitok_x/checkpoint_{0} && touch exp/sitok_x/checkpoint_{0}/latest\n"
    (recipe / "training").write_text(epoch.format(1))
    assert run_one(recipe, 5).returncode == 0
    assert len(calls(recipe, "sitok_espnet.bin.deepspeed_weights exp/sitok_x")) == 1
    first = finished.stat().st_mtime_ns
    (recipe / "training").write_text("true\n")
    assert run_one(recipe, 5).returncode == 0
    assert finished.stat().st_mtime_ns == first
    (recipe / "training").write_text("sleep .05; " + epoch.format(2))
    assert run_one(recipe, 5).returncode == 0
    assert finished.stat().st_mtime_ns > first


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


@pytest.mark.parametrize("skip", ["6 7", "6,7", "07, 6", "7,6,"])
def test_skipped_stages(repository, skip):
    done = run_recipe(repository, "--stage", "6", "--stop_stage", "8", "--skip_stages", skip)
    assert "stage 8: resynthesis" in done.stdout
    assert "stage 6" not in done.stdout and "stage 7" not in done.stdout


@pytest.mark.parametrize("skip", ["six", "6-7", "11", "0", "6;7", "100"])
def test_skipped_stages_are_numbers(repository, skip):
    done = run_recipe(repository, "--stage", "6", "--stop_stage", "6", "--skip_stages", skip)
    assert (
        done.returncode != 0
        and f"--skip_stages are numbers from 1 to 10, as \"6 9\" or 6,9, not '{skip}'" in done.stderr
    )


def test_unknown_stage_option_and_stray_words(repository):
    assert "unknown option --steps_" in run_recipe(repository, "--steps_", "1").stderr
    assert "whole number" in run_recipe(repository, "--nj", "many").stderr
    for bad in ("2.1", "-1", "warm", "0.5.1", "."):
        assert f"a number from 0 to 2, not '{bad}'" in run_recipe(repository, "--temperature", bad).stderr
    assert "'stray' is not an option" in run_recipe(repository, "--nj", "1", "stray").stderr


def test_failed_stage_stops_and_seconds_are_kept_of_finished_ones(repository):
    recipe = repository / "egs2/toy/sitok1"
    done = run_recipe(repository, "--stage", "6", "--stop_stage", "7")
    assert done.returncode != 0
    rows = [line.split("\t") for line in (recipe / "exp/stage_seconds.tsv").read_text().splitlines()]
    assert [(number, name) for number, _, name, _ in rows] == [("6", "refinement and vocoder")]
    assert all(seconds.isdecimal() and cpu.isdecimal() for _, seconds, _, cpu in rows)
    assert "run stage 2 first" in done.stderr
