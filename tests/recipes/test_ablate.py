"""Ablations without training: what is merged, what runs, what is skipped, and the arithmetic of the table."""

import hashlib
import json
import re
import subprocess

import numpy as np
import pytest
import yaml
from ablate import main
from ablation_plan import Plan, Settings
from ablation_rows import expand, list_rows, read_row
from merge_config import read_yaml
from tiny import tiny_config

from sitok_espnet.errors import SiTokError

ROWS = {
    "scale/mini": {"ablation": {"scale": "mini"}, "quantizer_conf": {"codebook_size": 8}},
    "loss/diffusion": {"ablation": {"title": "base", "paper": {"wer": 4.06, "asr": 4.95}}},
    "loss/two": {
        "ablation": {"title": "second on first", "after": {"row": "weight/0.5", "load": ["encoder", "quantizer"]}},
        "freeze_param": ["encoder", "quantizer"],
    },
    "weight/0.1": {"ablation": {"title": "the base's weight"}, "model_conf": {"lambda_ctc": 0.1}},
    "weight/0.5": {
        "ablation": {"title": "weight 0.5", "paper": {"wer": 8.81}, "paper_note": "its data is private"},
        "model_conf": {"lambda_ctc": 0.5},
    },
    "rate/slow": {
        "ablation": {
            "title": "slow",
            "at": {"mini": {"quantizer_conf": {"codebook_size": 4}}},
        },
        "model_conf": {"stacking_factor": 8},
    },
    "cfg/2": {"ablation": {"title": "guided", "inference": {"cfg_scale": 2}}},
}
UTTERANCES = 12


def scores(shift: float) -> dict:
    """{"utt": {"mel": ...}}: errors (u + 1) * shift more than the base's, denominators u + 1."""
    random = np.random.default_rng(0).uniform(0.5, 1.0, UTTERANCES)
    pairs = [((random[u] + shift) * (u + 1), float(u + 1)) for u in range(UTTERANCES)]
    return {f"u{u}": {"mel": {"value": n / d, "numerator": n, "denominator": d}} for u, (n, d) in enumerate(pairs)}


def results(systems: list[str], shift: float, sizes: list[int]) -> dict:
    """What stage 8 leaves, as far as the table reads it."""
    utterances = scores(shift)
    mel = [v["mel"] for v in utterances.values()]
    value = sum(v["numerator"] for v in mel) / sum(v["denominator"] for v in mel)
    cell = {"status": "measured", "value": value, "low": value - 0.01, "high": value + 0.01, "count": UTTERANCES}
    return {
        "data": {"utterances": UTTERANCES},
        "bootstrap": {"resamples": 200, "seed": 0, "confidence": 0.95},
        "metrics": {"mel": {"title": "mel distance", "direction": "lower is better", "model": "m", "decimals": 3}},
        "systems": {name: {"metrics": {"mel": cell}, "utterances": utterances} for name in systems},
        "tokenizer": {"status": "measured", "parameters": 1234567},
        "ctc": {
            "cer": {"status": "not run", "reason": "no transcripts"},
            "utterances": {f"u{u}": {"errors": u + round(10 * shift), "length": 10} for u in range(UTTERANCES)},
        },
        "speed": {"status": "measured", "decode": {"value": 0.05 + shift / 10}},
        "codebook": {"train": {"used": [0.5] * len(sizes), "perplexity": [size / 4 for size in sizes]}},
        "bits_per_second": {"value": 37.5, "tokens_per_second": "25/2", "codebook_sizes": sizes},
    }


class FakeRecipe:
    """A folder with a run.sh that is never run: `run` stands in for subprocess.run."""

    def __init__(self, path):
        self.path, self.calls, self.broken, self.weights = path, [], None, "weights"
        base = {**tiny_config(), "max_epoch": 3, "best_model_criterion": [["valid", "loss_decoder", "min"]]}
        for name, content in {"conf/base": base, **{f"abl/{name}": row for name, row in ROWS.items()}}.items():
            (path / f"{name}.yaml").parent.mkdir(parents=True, exist_ok=True)
            (path / f"{name}.yaml").write_text(yaml.safe_dump(content))
        (path / "run.sh").write_text("exit 1\n")

    def ablate(self, *options: str, rows=("weight",), status: int = 0) -> list[str]:
        """Stages and experiments that one call of ablate.py ran: ["5 weight_0.5", ...]."""
        self.calls.clear()
        command = ["--recipe_dir", str(self.path), "--base", "conf/base.yaml", "--overlays", str(self.path / "abl")]
        command += ["--exp", "exp/a", "--metrics", "mel", "--rows", *rows, *options]
        assert main(command, runner=self.run) == status
        return [f"{call['stage']} {call['sitok_tag'].removeprefix('a_mini_')}" for call in self.calls]

    def run(self, command, cwd, stdout, stderr):
        """Do what a stage would do."""
        assert command[0] == "./run.sh" and cwd == self.path
        options = dict(zip(command[1::2], command[2::2], strict=True))
        call = {key.removeprefix("--"): value for key, value in options.items()}
        assert call["stage"] == call["stop_stage"] and call["sitok_stats_dir"].startswith("exp/")
        self.calls.append(call)
        experiment = self.path / call["expdir"] / f"sitok_{call['sitok_tag']}"
        config = read_yaml(self.path / call["train_config"])
        if call["stage"] == self.broken:
            stdout.write("error: something broke\nbye\n")
            return subprocess.CompletedProcess(command, 1)
        if call["stage"] == "5":
            pieces = f"data/token_list/bpe_unigram{call.get('nbpe', 40)}"
            (self.path / pieces).mkdir(parents=True, exist_ok=True)
            fit = {"6.25": 0.75, "12.5": 1.0}
            (self.path / pieces / "ctc_fit.json").write_text(json.dumps({"share_of_utterances_by_token_rate_hz": fit}))
            (experiment / "config.yaml").write_text(yaml.safe_dump({**config, "bpemodel": f"{pieces}/bpe.model"}))
            for name in ("checkpoint.pth", "valid.loss_decoder.best.pth"):
                (experiment / name).write_text(self.weights)
            (experiment / "train.done").touch()
        if call["stage"] == "8":
            systems = re.search("--systems ([a-z_ ]+)", call["synth_args"])[1].split()
            shift = config["model_conf"]["lambda_ctc"] - 0.1 + float(call.get("cfg_scale", 0))
            content = results(systems, shift, [config["quantizer_conf"]["codebook_size"]])
            (experiment / "eval/test").mkdir(parents=True, exist_ok=True)
            (experiment / "eval/test/results.json").write_text(json.dumps(content))
        return subprocess.CompletedProcess(command, 0)

    def config(self, row: str) -> dict:
        return read_yaml(self.path / f"exp/a/sitok_a_mini_{row}/train_config.yaml")

    def table(self) -> dict:
        return json.loads((self.path / "exp/a/table_mini.json").read_text())["test"]


@pytest.fixture
def recipe(tmp_path):
    return FakeRecipe(tmp_path)


def test_rows_and_groups(recipe):
    rows = list_rows(recipe.path / "abl")
    assert rows == sorted(set(ROWS) - {"scale/mini"})
    assert expand(["weight", "cfg/2", "weight/0.5"], recipe.path / "abl") == ["weight/0.1", "weight/0.5", "cfg/2"]
    assert expand(["all"], recipe.path / "abl") == rows
    with pytest.raises(SiTokError, match="--rows wait: .* cfg, loss, rate, weight"):
        expand(["wait"], recipe.path / "abl")


@pytest.mark.parametrize(
    "notes, message",
    [
        ({"title": "x", "papers": {}}, "unknown notes papers"),
        ({}, "no title"),
        ({"title": "x", "inference": {"stepz": 4}}, "cfg_scale, steps, temperature"),
        ({"title": "x", "after": {"row": "a/b"}}, "after must be"),
        ({"title": "x", "paper_note": "of another size"}, "there are none"),
    ],
)
def test_notes_that_are_wrong(tmp_path, notes, message):
    (tmp_path / "g").mkdir()
    (tmp_path / "g/r.yaml").write_text(yaml.safe_dump({"ablation": notes}))
    with pytest.raises(SiTokError, match=message):
        read_row("g/r", tmp_path)


def test_the_merged_yaml_is_what_trains(recipe):
    recipe.ablate("--set", "max_epoch=1", "--nbpe", "rate/slow=50", rows=("rate", "weight/0.5"))
    expected = {**tiny_config(), "max_epoch": 1, "best_model_criterion": [["valid", "loss_decoder", "min"]]}
    expected["quantizer_conf"]["codebook_size"] = 8
    assert recipe.config("loss_diffusion") == expected
    expected["model_conf"] = {"stacking_factor": 4, "lambda_ctc": 0.5}
    assert recipe.config("weight_0.5") == expected
    expected["model_conf"] = {"stacking_factor": 8, "lambda_ctc": 0.1}
    expected["quantizer_conf"]["codebook_size"] = 4
    assert recipe.config("rate_slow") == expected
    for call in recipe.calls:
        assert call["train_config"] == f"exp/a/sitok_{call['sitok_tag']}/train_config.yaml"
        assert call.get("nbpe") == ("50" if "slow" in call["sitok_tag"] else None)
    header = (recipe.path / "exp/a/sitok_a_mini_rate_slow/train_config.yaml").read_text().splitlines()[:4]
    assert all(part in " ".join(header) for part in ("conf/base.yaml", "scale/mini", "rate/slow", "max_epoch=1"))


def test_finished_work_is_not_done_again(recipe):
    assert recipe.ablate(rows=("weight/0.5",)) == [
        *("5 loss_diffusion", "7 loss_diffusion", "8 loss_diffusion"),
        *("5 weight_0.5", "7 weight_0.5", "8 weight_0.5"),
    ]
    assert recipe.ablate(rows=("weight/0.5",)) == []
    assert recipe.ablate("--synth_args=--seed 1", rows=("loss/diffusion",)) == ["7 loss_diffusion", "8 loss_diffusion"]
    assert recipe.ablate("--metrics", "mel", "stoi", rows=("loss/diffusion",)) == [
        "7 loss_diffusion",
        "8 loss_diffusion",
    ]
    trained = recipe.path / "exp/a/sitok_a_mini_weight_0.5/train.done"
    trained.unlink()
    assert recipe.ablate("--stages", "train", rows=("weight/0.5",)) == ["5 weight_0.5"]
    assert recipe.ablate("--table_only", rows=("weight/0.5",)) == []


def test_metrics_that_are_there_already_need_no_scoring(recipe):
    recipe.ablate("--metrics", "mel", "stoi", rows=("loss/diffusion",))
    assert recipe.ablate(rows=("loss/diffusion",)) == []


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        ("--ngpu 0 --nj 2", "--ngpu 1 --nj 8 --gpu_inference true", []),
        ("--test_sets a", "--test_sets b", ["7 loss_diffusion", "8 loss_diffusion"]),
        ("", "--vocoder_config conf/v.yaml", ["7 loss_diffusion", "8 loss_diffusion"]),
        ("--train-args x", "--train_args y --train_args x", []),
    ],
)
def test_other_recipe_args_are_other_scores(recipe, before, after, again):
    recipe.ablate("--recipe_args", before, rows=("loss/diffusion",))
    assert recipe.ablate("--recipe_args", after, rows=("loss/diffusion",)) == again


@pytest.mark.parametrize("option", ["--recipe_args=--train_set other", "--stats_dir=exp/other"])
def test_other_training_options_are_another_experiment(recipe, capsys, option):
    recipe.ablate(rows=("loss/diffusion",))
    assert recipe.ablate(option, rows=("loss/diffusion",), status=2) == []
    assert "other options than" in capsys.readouterr().err
    recipe.ablate("--table_only", option, rows=("loss/diffusion",), status=2)
    assert "no row is finished" in capsys.readouterr().err


def test_the_table_has_rows_of_the_present_settings_only(recipe):
    recipe.ablate(rows=("weight/0.5",))
    # Another vocoder for the reference alone.
    recipe.ablate("--synth_args=--vocoder other", rows=("loss/diffusion",))
    recipe.ablate("--table_only", "--synth_args=--vocoder other", rows=("weight/0.5",))
    row = recipe.table()["rows"]["weight/0.5"]
    assert (row["status"], row["reason"]) == ("not run", "scores of other settings (synth_args)")
    assert recipe.table()["rows"]["loss/diffusion"]["status"] == "measured"
    # Another base, with which the reference alone is trained again.
    base = recipe.path / "conf/base.yaml"
    base.write_text(base.read_text().replace("max_epoch: 3", "max_epoch: 4"))
    for folder in recipe.path.glob("exp/a/sitok_*diffusion"):
        folder.rename(folder.with_name("old"))
    recipe.ablate(rows=("loss/diffusion",))
    recipe.ablate("--table_only", rows=("weight/0.5",))
    row = recipe.table()["rows"]["weight/0.5"]
    assert row["status"] == "not run" and "was trained with another" in row["reason"]


def test_a_failure_now_wins_over_scores_of_before(recipe):
    recipe.ablate(rows=("weight/0.5",))
    (recipe.path / "exp/a/sitok_a_mini_weight_0.5/train.done").unlink()
    recipe.broken = "5"
    recipe.ablate(rows=("weight/0.5",), status=1)
    row = recipe.table()["rows"]["weight/0.5"]
    assert row["status"] == "not run" and "something broke" in row["reason"]
    recipe.ablate("--table_only", rows=("weight/0.5",))
    assert recipe.table()["rows"]["weight/0.5"]["reason"] == "not trained"


def test_a_second_phase_is_of_the_first_as_it_is_now(recipe):
    recipe.ablate(rows=("loss/two",))
    notes = json.loads((recipe.path / "exp/a/sitok_a_mini_loss_two/ablation.json").read_text())
    assert notes["start"] == hashlib.sha256(b"weights").hexdigest()[:16]
    done = recipe.path / "exp/a/sitok_a_mini_weight_0.5/train.done"
    done.unlink()
    assert recipe.ablate(rows=("loss/two",)) == ["5 weight_0.5"]  # the same weights again: the second phase still holds
    done.unlink()
    recipe.weights = "other weights"
    assert recipe.ablate(rows=("loss/two",), status=1) == ["5 weight_0.5"]
    row = recipe.table()["rows"]["loss/two"]
    assert row["status"] == "not run" and "remove" in row["reason"] and "a_mini_weight_0.5" in row["reason"]
    (recipe.path / "exp/a/sitok_a_mini_loss_two").rename(recipe.path / "old")
    assert recipe.ablate(rows=("loss/two",)) == ["5 loss_two", "7 loss_two", "8 loss_two"]


@pytest.mark.parametrize(
    "change",
    ["quantizer=residual_vq", "decoder=regression", "model_conf.stacking_factor=2"],
)
def test_a_base_that_rows_do_not_fit_is_refused(recipe, capsys, change):
    key, value = change.split("=")
    config = read_yaml(recipe.path / "conf/base.yaml")
    if "." in key:
        config["model_conf"]["stacking_factor"] = int(value)
    else:
        config |= {key: value, f"{key}_conf": {"num_codebooks": 2} if key == "quantizer" else {"num_heads": 2}}
    (recipe.path / "conf/base.yaml").write_text(yaml.safe_dump(config))
    assert recipe.ablate(status=2) == []
    assert f"{key} = {value}" in capsys.readouterr().err


def test_rows_with_the_same_yaml_share_training_and_scores(recipe):
    assert recipe.ablate(rows=("weight/0.1", "cfg/2")) == [
        *("5 loss_diffusion", "7 loss_diffusion", "8 loss_diffusion"),
        *("7 loss_diffusion", "8 loss_diffusion"),
    ]
    guided = recipe.calls[-1]
    assert guided["cfg_scale"] == "2" and "--systems reconstruction_cfg" in guided["synth_args"]
    assert "original copy_synthesis reconstruction" in recipe.calls[2]["score_args"]
    rows = recipe.table()["rows"]
    assert {row["experiment"] for row in rows.values()} == {"a_mini_loss_diffusion"}
    assert rows["weight/0.1"]["difference"]["mel"]["value"] == 0.0
    assert "the same training as the reference" in rows["weight/0.1"]["notes"]


def test_a_second_phase_starts_from_the_first(recipe):
    ran = recipe.ablate(rows=("loss/two",))
    assert ran[3:] == ["5 weight_0.5", "5 loss_two", "7 loss_two", "8 loss_two"]
    best = "exp/a/sitok_a_mini_weight_0.5/valid.loss_decoder.best.pth"
    config = recipe.config("loss_two")
    assert config["init_param"] == [f"{best}:encoder:encoder", f"{best}:quantizer:quantizer"]
    assert config["freeze_param"] == ["encoder", "quantizer"]
    notes = {tag: json.loads((recipe.path / f"exp/a/sitok_a_mini_{tag}/ablation.json").read_text()) for tag in
             ("weight_0.5", "loss_two")}  # fmt: skip
    both = sum(note["train_seconds"] for note in notes.values())
    assert both > 0 and recipe.table()["rows"]["loss/two"]["train_seconds"] == pytest.approx(both)
    assert recipe.ablate(rows=("weight/0.5",)) == ["7 weight_0.5", "8 weight_0.5"]


def test_pieces_are_made_once_where_they_are_missing(recipe):
    longer = ("--nbpe", "rate/slow=50")
    ran = recipe.ablate("--stages", "train", *longer, rows=("rate",))
    assert ran == ["5 loss_diffusion", "3 rate_slow", "5 rate_slow"]
    (recipe.path / "exp/a/sitok_a_mini_rate_slow/train.done").unlink()
    (recipe.path / "data/token_list/bpe_unigram250").mkdir()
    (recipe.path / "data/token_list/bpe_unigram250/tokens.txt").touch()
    assert recipe.ablate("--stages", "train", *longer, rows=("rate",)) == ["3 rate_slow", "5 rate_slow"]
    (recipe.path / "data/token_list/bpe_unigram50/tokens.txt").touch()
    elsewhere = recipe.ablate("--recipe_args", "--token_listdir other", *longer, "--exp", "exp/b", rows=("rate",))
    assert "3 b_mini_rate_slow" in elsewhere
    (recipe.path / "exp/a/sitok_a_mini_rate_slow/train.done").unlink()
    assert recipe.ablate("--stages", "train", *longer, rows=("rate",)) == ["5 rate_slow"]
    recipe.ablate(*longer, rows=("rate",))
    row = recipe.table()["rows"]["rate/slow"]
    assert row["ctc_fit"] == 0.75
    assert any("75.0%" in note and "--nbpe rate/slow=N" in note for note in row["notes"])
    recipe.ablate(rows=("rate",), status=2)  # other pieces are another experiment


def test_other_options_do_not_mix_with_an_experiment(recipe, capsys):
    recipe.ablate(rows=("weight/0.5",))
    recipe.ablate("--set", "max_epoch=9", rows=("weight/0.5",), status=2)
    assert "choose another --exp" in capsys.readouterr().err


def test_a_failed_row_does_not_stop_the_others(recipe, capsys):
    recipe.ablate("--stages", "train", rows=("weight/0.5", "rate"))
    recipe.ablate(rows=("weight/0.5",))
    recipe.broken = "7"
    assert recipe.ablate(rows=("rate", "weight/0.5"), status=1) == ["7 rate_slow"]
    rows = recipe.table()["rows"]
    assert rows["rate/slow"]["status"] == "not run" and "error: something broke" in rows["rate/slow"]["reason"]
    assert rows["weight/0.5"]["status"] == "measured"
    assert "not run: ./run.sh" in capsys.readouterr().out


def test_dry_run_prints_what_is_left(recipe, capsys):
    assert recipe.ablate("--dry_run", rows=("loss/two",)) == []
    printed = capsys.readouterr().out
    assert not (recipe.path / "exp").exists()
    assert [line.split("--sitok_tag ")[1].split()[0] for line in printed.splitlines() if "--stage 5" in line] == [
        "a_mini_loss_diffusion",
        "a_mini_weight_0.5",
        "a_mini_loss_two",
    ]
    recipe.ablate(rows=("loss/two",))
    recipe.ablate("--dry_run", rows=("loss/two",))
    assert capsys.readouterr().out.endswith("# loss/diffusion: base: finished\n# loss/two: second on first: finished\n")


def test_arithmetic_of_the_table(recipe):
    recipe.ablate(rows=("weight/0.5", "cfg/2"))
    table = recipe.table()
    base = np.random.default_rng(0).uniform(0.5, 1.0, UTTERANCES)
    weights = np.arange(1, UTTERANCES + 1)
    expected = float((base * weights).sum() / weights.sum())
    assert table["rows"]["loss/diffusion"]["scores"]["mel"]["value"] == pytest.approx(expected)
    assert table["rows"]["weight/0.5"]["scores"]["mel"]["value"] == pytest.approx(expected + 0.4)
    # Every utterance is worse by the same amount, so the paired interval has no width although each row's own has.
    for row, shift in (("weight/0.5", 0.4), ("cfg/2", 2.0)):
        difference = table["rows"][row]["difference"]["mel"]
        assert [difference[key] for key in ("value", "low", "high")] == pytest.approx([shift] * 3)
        assert difference["verdict"] == "worse" and difference["p_value"] == pytest.approx(2 / 201)
    # CTC: 4 errors more of 10 characters in every utterance.
    difference = table["rows"]["weight/0.5"]["difference"]["ctc_cer"]
    assert [difference[key] for key in ("value", "low", "high")] == pytest.approx([0.4] * 3)
    assert difference["verdict"] == "worse"
    # Time is of the unguided reconstruction: not of the guided row.
    assert table["rows"]["weight/0.5"]["decode_rtf"]["value"] == pytest.approx(0.09)
    assert table["rows"]["cfg/2"]["decode_rtf"] is None
    assert "difference" not in table["rows"]["loss/diffusion"]
    assert set(table["anchors"]) == {"original", "copy_synthesis"}


def test_page_and_plot(recipe, capsys):
    recipe.ablate(rows=("weight/0.5",))
    page = (recipe.path / "exp/a/table_mini.md").read_text()
    assert capsys.readouterr().out == page + "\n"
    (row,) = (line for line in page.splitlines() if line.startswith("| weight/0.5 | weight 0.5 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2:5] == ["37.5", "12.5", "1,234,567"]
    assert re.fullmatch(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", cells[5])
    assert cells[6].startswith("not run: no transcripts")
    assert cells[7] == "25% of 8 (50%)" and cells[8] == "0.090 (1.80)" and cells[10] == "8.81 / - / - *"
    assert "- weight/0.5: the paper's numbers (*) may be of something else: its data is private." in page
    assert "p 0.010: worse" in page
    assert (recipe.path / "exp/a/table_mini_test.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_other_conditions_are_marked(recipe):
    recipe.ablate(rows=("weight/0.5",))
    scored = recipe.path / "exp/a/rows/mini/weight/0.5/test.results.json"
    content = json.loads(scored.read_text())
    content["metrics"]["mel"]["model"] = "another"
    content["data"]["utterances"] = 11
    scored.write_text(json.dumps(content))
    del content["ctc"]["utterances"]  # of a model without the branch
    scored.write_text(json.dumps(content))
    recipe.ablate("--table_only", rows=("weight/0.5",))
    notes = " ".join(recipe.table()["rows"]["weight/0.5"]["notes"])
    assert "another test set" in notes and "another model" in notes
    assert recipe.table()["rows"]["weight/0.5"]["difference"]["ctc_cer"]["status"] == "not run"


def test_mistakes_on_the_command_line(recipe, capsys):
    recipe.ablate("--stages", "train,scores", status=2)
    recipe.ablate("--scale", "huge", status=2)
    recipe.ablate("--table_only", status=2)
    recipe.ablate("--nbpe", "rate/slow", status=2)
    recipe.ablate("--nbpe", "rate/fast=3", status=2)
    recipe.ablate("--recipe_args", "--ngpu 1 --nj", status=2)
    errors = capsys.readouterr().err
    assert (
        errors.count("is not ROW=N") == 2
        and "choose from train, score" in errors
        and "there are mini" in errors
        and "are --NAME VALUE" in errors
        and "no row is finished" in errors
    )


def test_a_continuous_model_has_no_token_dump(recipe):
    settings = Settings(recipe.path, "conf/base.yaml", recipe.path / "abl", "mini", "loss/diffusion", "exp/a", "exp/s")
    plan = Plan(settings)
    experiment = plan.experiment(plan.row("loss/diffusion"))
    assert len(plan.score_commands(plan.row("loss/diffusion"), experiment)) == 2
    experiment.config["quantizer"] = "identity"
    (command,) = plan.score_commands(plan.row("loss/diffusion"), experiment)
    assert command[command.index("--stage") + 1] == "8"
