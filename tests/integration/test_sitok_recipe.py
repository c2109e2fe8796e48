"""The recipe, stages 1 to 9, on a tiny generated corpus; slots swapped by YAML and on the command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny import tiny_config

from sitok_espnet import SiTok
from sitok_espnet.bin import main as command_line
from sitok_espnet.checkpoint import load_model
from sitok_espnet.evaluate.metrics import METRICS
from sitok_espnet.tokens import read_tokens

ROOT = Path(__file__).parents[2]
# Stage 8 in brief, where the test is about other things.
BRIEF = ("--synth_args", "--vocoder griffin_lim --vocoder_conf iterations=2 --systems original reconstruction")
BRIEF = (*BRIEF, "--score_args", "--systems original reconstruction --metrics mel --spectrograms 1 --nj 1")
SETS = {"train": (20, 1), "dev": (4, 2), "test": (4, 3)}

DATA_SH = """#!/usr/bin/env bash
set -euo pipefail
. ./path.sh
python3 - <<'END'
import sys
sys.path.insert(0, "{tests}")
from speech_generator import write_corpus
for name, (count, seed) in {sets}.items():
    write_corpus("data/" + name, count, seed=seed, sample_rate=16000)
END
# One utterance without a transcript.
sed -i '1s/ .*//' data/train/text
"""

TRAINER = {
    "batch_type": "numel",
    "batch_bins": 300000,
    "max_epoch": 2,
    "num_workers": 0,
    "optim": "adamw",
    "optim_conf": {"lr": 1.0e-3},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 10},
    "grad_clip": 0.5,
    "use_matplotlib": False,
}


class Recipe:
    """A recipe folder beside links to the repository's own parts."""

    def __init__(self, root: Path, python: str):
        self.python = python
        for name in ("sitok_espnet", "local", "conf"):
            (root / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "egs2/TEMPLATE", root / "egs2/TEMPLATE", symlinks=True)
        subprocess.run(["egs2/TEMPLATE/sitok1/setup.sh", "egs2/toy/sitok1"], cwd=root, check=True, capture_output=True)
        self.path = root / "egs2/toy/sitok1"
        (self.path / "local/data.sh").write_text(DATA_SH.format(tests=ROOT / "tests", sets=SETS))
        self.write_config(
            "train_sitok",
            **{k: v for k, v in tiny_config().items() if k not in ("token_list", "normalize")},
            use_matplotlib=True,
        )

    def write_config(self, name: str, **slots) -> str:
        (self.path / f"conf/{name}.yaml").write_text(yaml.safe_dump(TRAINER | slots))
        return f"conf/{name}.yaml"

    def run(self, first: int, last: int, *options: str, fails: bool = False) -> str:
        """Output of ./run.sh; the options follow the stages."""
        environment = os.environ | {
            "SITOK_USE_ACTIVE_PYTHON": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        command = ["./run.sh", "--stage", str(first), "--stop_stage", str(last), "--ngpu", "0", "--nj", "2"]
        command += ["--python", self.python, "--nbpe", "40", "--steps", "2", *options]
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        if (done.returncode != 0) != fails:
            logs = [p.read_text()[-3000:] for p in self.path.glob("exp/**/*.log")]
            raise AssertionError(f"{command} ended with {done.returncode}\n{output[-5000:]}\n" + "\n".join(logs))
        return output

    def config_of(self, tag: str) -> dict:
        return yaml.safe_load((self.path / f"exp/sitok_{tag}/config.yaml").read_text())


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, python) -> Recipe:
    """Stages 1 to 9 have run."""
    recipe = Recipe(tmp_path_factory.mktemp("recipe"), python)
    early = recipe.run(5, 5, fails=True)
    assert "run stage 2 first" in early
    recipe.run(1, 9, "--sitok_tag", "base")
    return recipe


def test_results_have_every_system_and_number(recipe):
    out = recipe.path / "exp/sitok_base/eval/test"
    results = json.loads((out / "results.json").read_text())
    lines = (out / "RESULTS.md").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| "))
    rows = lines[first : lines.index("", first)]
    labels = ("original", "copy synthesis", "reconstruction", "reconstruction with CFG", "untrained")
    for label in (*labels, "control: mean mel", "control: other tokens"):
        (row,) = (r for r in rows if r.startswith(f"| {label} |"))
        rate, *cells = [c.strip() for c in row.split("|")[2:-1]]
        assert len(cells) == len(METRICS) and rate == ("50" if label.startswith("reconstruction") else "-")
        measured = [c for c in cells if c != "-"]
        assert len(measured) >= 3 and all("[" in c for c in measured), row
    assert len(results["systems"]) == 7
    assert len(list((out / "spectrograms").glob("*.png"))) == 3


def test_the_report_has_audio_transcripts_and_curves(recipe):
    page = (recipe.path / "exp/sitok_base/report.html").read_text()
    texts = (recipe.path / "dump/raw/test/text").read_text().splitlines()
    shown = [line.partition(" ")[2] for line in texts if f"<q>{line.partition(' ')[2]}</q>" in page]
    assert shown and page.count("<audio") == 7 * page.count('<article class="utterance">') > 0
    for part in (
        "total loss",
        "stacking_factor",
        "-m sitok_espnet.bin.sitok_train --resume true",
        "Codes by frequency",
    ):
        assert part in page, part


def test_tokens_are_the_same_through_recipe_interface_and_command_line(recipe, tmp_path):
    exp = recipe.path / "exp/sitok_base"
    scp = dict(line.split() for line in (recipe.path / "dump/raw/test/wav.scp").read_text().splitlines())
    wavs = {u: soundfile.read(recipe.path / p, dtype="float32")[0] for u, p in scp.items()}
    tokenizer = SiTok.from_pretrained(exp / "packed")
    together = dict(zip(wavs, tokenizer.encode(list(wavs.values()), 24000), strict=True))
    dumped = dict(read_tokens(recipe.path / "dump/tokens/base/test"))
    assert dumped.keys() == wavs.keys()
    where = os.getcwd()
    try:
        os.chdir(recipe.path)
        command_line.main(["encode", "dump/raw/test/wav.scp", "--model", str(exp), "-o", str(tmp_path / "cli.ark")])
    finally:
        os.chdir(where)
    by_command = dict(read_tokens(tmp_path / "cli.ark"))
    for utt, wav in wavs.items():
        alone = tokenizer.encode([wav], 24000)[0]
        assert len(alone) == -(-len(wav) // 1920)
        for other in (together[utt], dumped[utt], by_command[utt]):
            np.testing.assert_array_equal(alone, other)


def test_text_without_transcript_arrived_as_empty(recipe):
    lines = (recipe.path / "dump/raw/train/text").read_text().splitlines()
    assert sum(len(line.split()) == 1 for line in lines) == 1


def test_stages_can_be_run_again_and_name_what_is_missing(recipe):
    assert "stage 7: done" in recipe.run(7, 7, "--sitok_tag", "base")
    assert "run stage 5 first" in recipe.run(7, 7, "--sitok_tag", "nowhere", fails=True)
    assert "unknown option --sitok_tga" in recipe.run(6, 6, "--sitok_tga", "x", fails=True)
    upload = recipe.run(10, 10, "--sitok_tag", "base", "--hf_repo", "someone/something", fails=True)
    assert "hf upload someone/something" in upload and "HF_TOKEN" in upload


def test_slots_swapped_by_a_new_yaml(recipe):
    slots = {k: v for k, v in tiny_config().items() if k not in ("token_list", "normalize")}
    slots["model_conf"] = {"stacking_factor": 2, "lambda_ctc": 0.2}
    slots["feats_extract_conf"] = {"fmax": 8000.0}
    slots["normalize_conf"] = {"eps": 2.0}
    slots["encoder_conf"]["num_layers"] = 1
    slots["quantizer_conf"] = {"codebook_size": 8, "codebook_dim": 3, "l2_normalize": False}
    slots["ctc_conf"]["num_layers"] = 2
    slots["decoder_conf"]["prediction"] = "velocity"
    config = recipe.write_config("train_swapped", **slots)
    recipe.run(
        4, 8, "--train_config", config, "--sitok_tag", "swapped", "--sitok_stats_dir", "exp/stats_swapped", *BRIEF
    )
    saved = recipe.config_of("swapped")
    for key, value in slots.items():
        if key.endswith("_conf"):
            assert value.items() <= saved[key].items()
    tokenizer = SiTok.from_pretrained(recipe.path / "exp/sitok_swapped")
    assert str(tokenizer.frame_rate) == "25" and tokenizer.codebook_sizes == (8,)
    assert tokenizer.mel_config.fmax == 8000.0


def test_slots_swapped_on_the_command_line(recipe):
    arguments = (
        "--model_conf stacking_factor=8 --feats_extract_conf floor=1.0e-5 --normalize_conf eps=3.0 "
        "--encoder_conf num_layers=1 --quantizer_conf codebook_size=4 --ctc null "
        "--decoder_conf prediction=velocity --max_epoch 1"
    )
    recipe.run(5, 8, "--train_args", arguments, "--steps", "1", *BRIEF)
    (exp,) = (p for p in (recipe.path / "exp").glob("sitok_*encoder_confnum_layers1*") if p.is_dir())
    saved = yaml.safe_load((exp / "config.yaml").read_text())
    assert saved["encoder_conf"] == {**tiny_config()["encoder_conf"], "num_layers": 1}
    assert saved["ctc"] is None and saved["ctc_conf"] == {}
    assert saved["feats_extract_conf"] == {"floor": 1e-5} and saved["normalize_conf"]["eps"] == 3.0
    assert saved["quantizer_conf"]["codebook_size"] == 4
    assert saved["decoder_conf"]["prediction"] == "velocity"
    assert str(SiTok.from_pretrained(exp).frame_rate) == "25/4"
    assert "ctc" in (exp / "eval/test/RESULTS.md").read_text().lower()


def test_a_stage_killed_in_training_resumes(recipe):
    before = recipe.path / "exp/sitok_resumed"
    recipe.run(5, 5, "--sitok_tag", "resumed", "--train_args", "--use_matplotlib false --max_epoch 1")
    recipe.run(5, 5, "--sitok_tag", "resumed", "--train_args", "--use_matplotlib false")
    log = (before / "train.log").read_text()
    assert "The training was resumed using" in log and "2epoch" in log
    whole = SiTok.from_pretrained(recipe.path / "exp/sitok_base", checkpoint="latest.pth")
    assert SiTok.from_pretrained(before, checkpoint="latest.pth").model_hash == whole.model_hash


VOCODER = {
    "generator_conf": {"dim": 16, "intermediate_dim": 32, "num_layers": 1},
    "discriminator_conf": {"periods": [], "fft_sizes": [256], "mrd_channels": 4},
    "model_conf": {"mel_scales": [[512, 40]], "discriminator_start_step": 1},
    "segment_samples": 12000,
    "valid_segment_samples": 12000,
    "batch_type": "unsorted",
    "batch_size": 4,
    "max_epoch": 1,
    "num_iters_per_epoch": 3,
    "num_workers": 0,
    "use_matplotlib": False,
    "best_model_criterion": [["valid", "mel_l1", "min"]],
    "optim": "adamw",
    "optim2": "adamw",
}


def test_refinements_keep_the_tokens_and_are_scored_beside_what_they_refine(recipe):
    """Decoder fine-tuning, then shortcut, and a vocoder: stages 6, 8 and 9 on the tokens of stage 7."""
    (recipe.path / "conf/tiny_vocoder.yaml").write_text(yaml.safe_dump(VOCODER))
    plan = recipe.path / "dump/tokens/base/test/plan.json"
    dumped = plan.stat().st_mtime_ns
    refine = "conf/refine/decoder_finetune.yaml conf/refine/shortcut.yaml"
    options = ("--sitok_tag", "base", "--refine", refine, "--vocoder_config", "conf/tiny_vocoder.yaml")
    rows = "--systems original copy_synthesis copy_griffin_lim reconstruction reconstruction_unrefined"
    scoring = ("--synth_args", rows, "--score_args", f"{rows} --metrics mel --spectrograms 0 --resamples 50 --nj 1")
    scoring = (*scoring, "--step_curve_args", "--steps 1 2 --resamples 50")
    args = "--max_epoch 1 --use_matplotlib false --optim_conf lr=1.0e-2 --scheduler_conf warmup_steps=1"
    recipe.run(6, 9, *options, "--refine_args", args, *scoring)

    names = ("base", "base_decoder_finetune", "base_decoder_finetune_shortcut")
    base, tuned, shortcut = models = [load_model(recipe.path / f"exp/sitok_{name}") for name in names]
    assert base.codes_hash == tuned.codes_hash == shortcut.codes_hash
    assert len({loaded.model_hash for loaded in models}) == 3
    states = [loaded.model.state_dict() for loaded in models]
    for key, value in states[0].items():
        if not key.startswith("decoder."):  # the codebook's moving averages too
            assert all(torch.equal(state[key], value) for state in states[1:]), key
    assert not torch.equal(states[0]["decoder.output.weight"], states[1]["decoder.output.weight"])
    assert not torch.equal(states[1]["decoder.output.weight"], states[2]["decoder.output.weight"])
    assert states[2].keys() > states[1].keys() == states[0].keys()
    assert shortcut.config["decoder_conf"]["shortcut"] is True
    origin = json.loads((recipe.path / "exp/sitok_base_decoder_finetune_shortcut/refined_from.json").read_text())
    assert origin["model_hash"] == tuned.model_hash
    assert plan.stat().st_mtime_ns == dumped

    out = recipe.path / "exp/sitok_base_decoder_finetune_shortcut/eval/test"
    results = json.loads((out / "results.json").read_text())
    assert list(results["systems"]) == rows.split()[1:]
    assert results["codebook"]["train"]["status"] == "measured"
    pairs = [(pair["first"], pair["second"]) for pair in results["comparisons"]]
    assert ("reconstruction", "reconstruction_unrefined") in pairs and ("copy_synthesis", "copy_griffin_lim") in pairs
    steps = json.loads((out / "steps/steps.json").read_text())
    assert [(row["model"], row["steps"]) for row in steps["rows"]] == [(name, n) for name in names for n in (1, 2)]
    assert (out / "steps/steps.png").is_file() and "vocoder vocos" in (out / "steps/STEPS.md").read_text()

    packed = SiTok.from_pretrained(recipe.path / "exp/sitok_base_decoder_finetune_shortcut/packed")
    assert packed.model_hash == shortcut.model_hash and type(packed.vocoder).__name__ == "Vocos"
    assert "remove or rename exp/sitok_base_decoder_finetune" in recipe.run(6, 6, *options, fails=True)
