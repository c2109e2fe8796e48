"""Refinements and the vocoder, and what later stages do with them; with a stand-in for Python."""

import os

import pytest
from stand_in_recipe import calls, finish, run_one, write

REFINE = ("--refine", "conf/refine/one.yaml conf/refine/my_shortcut.yaml")


def test_stage_6_without_options_does_nothing(repository):
    done = run_one(repository / "egs2/toy/sitok1", 6)
    assert done.returncode == 0 and "neither --refine nor --vocoder_config is given" in done.stdout


def test_refinements_follow_each_other(trained):
    done = run_one(trained, 6, *REFINE, "--refine_args", "--max_epoch 1", "--inference_model", "3epoch.pth")
    assert done.returncode == 0, done.stderr
    first, second = calls(trained, "refine.py prepare")
    assert "--experiment exp/sitok_x --checkpoint 3epoch.pth --overlay conf/refine/one.yaml" in first
    assert "--experiment exp/sitok_x_one --overlay conf/refine/my_shortcut.yaml --arguments --max_epoch 1" in second
    for name, line in zip(("one", "one_my_shortcut"), calls(trained, "espnet2.bin.launch"), strict=True):
        assert f"--config exp/sitok_x_{name}/train.yaml" in line
        assert f"--output_dir exp/sitok_x_{name} " in line and line.endswith("--max_epoch 1")
        assert (trained / f"exp/sitok_x_{name}/train.done").exists()
    assert len(calls(trained, "refine.py check")) == 2
    assert "--stage 6 --stop_stage 6" in (trained / "exp/sitok_x_one/run.sh").read_text()
    assert "refinement of exp/sitok_x_one by conf/refine/my_shortcut.yaml: exp/sitok_x_one_my_shortcut" in done.stdout


def test_a_refinement_is_named_after_all_before_it(trained):
    assert run_one(trained, 6, *REFINE).returncode == 0
    assert run_one(trained, 6, "--refine", "conf/refine/my_shortcut.yaml").returncode == 0
    assert run_one(trained, 6, "--refine", "conf/refine/one.yaml conf/refine/one.yaml").returncode == 0
    made = {path.name for path in (trained / "exp").glob("sitok_x_*")}
    assert made == {"sitok_x_one", "sitok_x_one_my_shortcut", "sitok_x_my_shortcut", "sitok_x_one_one"}


def test_a_finished_refinement_keeps_its_time_when_run_again(trained):
    assert run_one(trained, 6, *REFINE).returncode == 0
    stamps = [(trained / f"exp/sitok_x_{name}/train.done").stat().st_mtime_ns for name in ("one", "one_my_shortcut")]
    (trained / "training").write_text("true\n")  # nothing left to train
    assert run_one(trained, 6, *REFINE).returncode == 0
    again = [(trained / f"exp/sitok_x_{name}/train.done").stat().st_mtime_ns for name in ("one", "one_my_shortcut")]
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
    # Its name says its options, as a tokenizer's does.
    assert "sitok_espnet.bin.vocos_train --resume true --output_dir exp/vocoder_small_max_epoch3 " in line
    assert "--config conf/vocoder/small.yaml" in line and line.endswith("--max_epoch 3")
    assert "dump/raw/train/wav.scp,speech,sound" in line and "exp/sitok_stats/train/speech_shape" in line
    assert "text" not in line and "normalize" not in line
    assert (trained / "exp/vocoder_small_max_epoch3/train.done").exists()
    assert run_one(trained, 6, "--vocoder_config", "conf/vocoder/small.yaml").returncode == 0
    assert "--output_dir exp/vocoder_small --config" in calls(trained, "espnet2.bin.launch")[1]


def test_later_stages_use_the_last_refinement_and_the_vocoder(trained):
    options = (*REFINE, "--vocoder_config", "conf/vocoder/small.yaml", "--inference_model", "3epoch.pth")
    for missing in ("sitok_x_one", "sitok_x_one_my_shortcut", "vocoder_small"):
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
    assert f"--model exp/sitok_x_one_my_shortcut {earlier} {vocoder}" in synth
    (score,) = calls(trained, "sitok_score")
    assert "--eval_dir exp/sitok_x_one_my_shortcut/eval/test" in score and "--train_tokens dump/tokens/x/train" in score
    (curve,) = calls(trained, "sitok_step_curve")  # a shortcut is among the refinements
    models = "--model exp/sitok_x/3epoch.pth --model exp/sitok_x_one --model exp/sitok_x_one_my_shortcut"
    assert f"{models} {vocoder}" in curve and "--output_dir exp/sitok_x_one_my_shortcut/eval/test/steps" in curve
    folder = "exp/sitok_x_one_my_shortcut"
    (report,) = calls(trained, "sitok_espnet.bin.main")
    assert report.split() == f"-m sitok_espnet.bin.main report {folder}/eval/test --output {folder}/report.html".split()
    (pack,) = calls(trained, "sitok_pack")
    assert "--checkpoint" not in pack and "--vocoder exp/vocoder_small" in pack
    assert "--output_dir exp/sitok_x_one_my_shortcut/packed" in pack
    write(trained / "exp/sitok_x_one_my_shortcut/packed/config.yaml")
    assert (
        "hf upload me/it exp/sitok_x_one_my_shortcut/packed"
        in run_one(trained, 10, *options, "--hf_repo", "me/it").stdout
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
    finish(trained, "sitok_x_one_my_shortcut")
    done = run_one(trained, 8, *options)
    assert done.returncode == 0, done.stderr
    assert bool(calls(trained, "sitok_step_curve")) == drawn
    assert bool(calls(trained, "--earlier")) == bool("--refine" in options)


def test_how_it_is_sampled(trained):
    assert run_one(trained, 8, "--step_curve", "true").returncode == 0
    assert run_one(trained, 8, "--steps", "4", "--temperature", "0", "--step_curve", "true").returncode == 0
    assert run_one(trained, 8, "--steps", "", "--temperature", "").returncode == 0
    usual, asked, own = calls(trained, "sitok_synth_systems")
    assert " --steps 16 --temperature 1.0 " in usual and " --steps 4 --temperature 0 " in asked
    assert "--steps" not in own and "--temperature" not in own  # what a packed model was packed with
    temperatures = [line.split("--temperatures ")[1].split()[0] for line in calls(trained, "sitok_step_curve")]
    assert temperatures == ["1.0", "0"]
    assert run_one(trained, 9, "--pack_args", "--steps 4 --temperature 0").returncode == 0
    assert calls(trained, "sitok_pack")[0].endswith("--output_dir exp/sitok_x/packed --steps 4 --temperature 0")


def test_without_refinement_the_named_checkpoint_is_scored_and_packed(trained):
    for stage in (8, 9):
        assert run_one(trained, stage, "--inference_model", "3epoch.pth").returncode == 0
    for program in ("sitok_synth_systems", "sitok_pack"):
        assert "--model exp/sitok_x --checkpoint 3epoch.pth" in calls(trained, program)[0]


def test_the_report_is_of_the_sets_that_were_scored(trained):
    write(trained / "exp/sitok_x/eval/of_last_year/results.json")
    for name in ("easy", "hard"):
        write(trained / f"dump/raw/{name}/wav.scp")
    done = run_one(trained, 8, "--test_sets", "easy hard", "--report_args", "--utterances 9 --audio_format mp3")
    assert done.returncode == 0, done.stderr
    (report,) = calls(trained, "sitok_espnet.bin.main")
    sets = "exp/sitok_x/eval/easy exp/sitok_x/eval/hard"
    assert report.endswith(f"report {sets} --output exp/sitok_x/report.html --utterances 9 --audio_format mp3")
    assert "report: exp/sitok_x/report.html (open it in a browser)" in done.stdout


def steps_folder(recipe):
    return recipe / "exp/sitok_x/eval/test/steps"


def test_the_step_curve_has_the_vocoder_and_the_noise_of_the_scores(trained):
    options = "--seed 3 --systems reconstruction --vocoder_conf iterations=5 --vocoder griffin_lim"
    assert run_one(trained, 8, "--step_curve", "true", "--synth_args", options).returncode == 0
    (curve,) = calls(trained, "sitok_step_curve")
    assert "--seed 3 --vocoder_conf iterations=5 --vocoder griffin_lim --data_dir" in curve and "--systems" not in curve


def test_the_step_curve_is_measured_once(trained):
    def curves(*options: str) -> int:
        assert run_one(trained, 8, "--step_curve", "true", *options).returncode == 0
        return len(calls(trained, "sitok_step_curve"))

    assert curves() == 1
    assert curves() == 1
    assert curves("--step_curve_args", "--metrics mel") == 2
    assert curves("--step_curve_args", "--metrics mel") == 2
    assert curves("--step_curve_args", "--metrics mel", "--synth_args", "--seed 1") == 3
    assert curves() == 4
    os.utime(trained / "exp/sitok_x/train.done", (1, 1))  # trained on
    assert curves() == 5
    write(trained / "dump/raw/test/wav.scp", "c d\n")
    assert curves() == 6


def test_a_failed_step_curve_is_measured_again(trained):
    (trained / "curve").write_text("exit 1\n")
    assert run_one(trained, 8, "--step_curve", "true").returncode != 0
    (trained / "curve").write_text("")
    assert run_one(trained, 8, "--step_curve", "true").returncode == 0
    assert len(calls(trained, "sitok_step_curve")) == 2


def test_an_old_step_curve_does_not_stay_beside_new_scores(trained):
    assert run_one(trained, 8, "--step_curve", "true", "--step_curve_args", "--metrics mel").returncode == 0
    write(steps_folder(trained) / "STEPS.md")
    assert run_one(trained, 8, "--step_curve", "false").returncode == 0
    assert (steps_folder(trained) / "STEPS.md").is_file()  # still of these models
    os.utime(trained / "exp/sitok_x/train.done", (1, 1))
    done = run_one(trained, 8, "--step_curve", "false")
    assert done.returncode == 0 and "is of other models or settings: removed" in done.stdout
    assert not steps_folder(trained).exists()
