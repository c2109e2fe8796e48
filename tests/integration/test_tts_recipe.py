"""The recipe around the language model, stages 1 to 8, on a tiny generated corpus and an untrained tokenizer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from experiment_dir import make_model_dir

from sitok_espnet.tokens import open_tokens

ROOT = Path(__file__).parents[2]
SETS = {"train": (12, 1), "dev": (4, 2), "test": (4, 3)}
# Stands for stages 1 to 3 of a sitok1 recipe.
PREPARE = """
import sys
sys.path.insert(0, "{tests}")
import soundfile
from pathlib import Path
from recipe_files import read_table, write_table
from speech_generator import WORDS, write_corpus
for name, (count, seed) in {sets}.items():
    made = write_corpus("dump/raw/" + name, count, seed=seed, words=(1, 2))
    wavs = read_table(made / "wav.scp")
    write_table(made / "utt2num_samples", {{utt: soundfile.info(path).frames for utt, path in wavs.items()}})
    # As a recipe has them: relative to its folder, and other utterances in every set.
    for table in ("wav.scp", "text", "utt2spk", "utt2num_samples"):
        content = {{name + "-" + utt: value for utt, value in read_table(made / table).items()}}
        if table == "wav.scp":
            content = {{utt: str(Path(path).relative_to(Path.cwd())) for utt, path in content.items()}}
        write_table(made / table, content)
Path("data").mkdir()
import sentencepiece
Path("data/words").write_text("\\n".join(WORDS) + "\\n" + " ".join("abcdefghijklmnopqrstuvwxyz") + "\\n")
sentencepiece.SentencePieceTrainer.train(input="data/words", model_prefix="data/bpe", vocab_size=40, minloglevel=2)
"""
LM = {
    "pattern": "flatten",
    "lm_conf": {
        "model_type": "llama",
        "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    },
    "model_conf": {"text_drop": 0.1, "pack_length": 128},
    "join_conf": {"probability": 0.5, "max_positions": 128},
    "batch_type": "numel",
    "batch_bins": 200,
    "max_epoch": 1,
    "num_workers": 0,
    "optim": "adamw",
    "optim_conf": {"lr": 1.0e-2},
    "use_matplotlib": False,
    "best_model_criterion": [["valid", "loss", "min"]],
    "keep_nbest_models": 1,
}


class Recipe:
    """A recipe folder beside links to the repository's own parts, and a tokenizer's recipe."""

    def __init__(self, root: Path, python: str):
        self.python = python
        for name in ("sitok_espnet", "local", "conf"):
            (root / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "egs2/TEMPLATE", root / "egs2/TEMPLATE", symlinks=True)
        self.sitok = root / "egs2/toy/sitok1"
        self.sitok.mkdir(parents=True)
        program = PREPARE.format(tests=ROOT / "tests", sets=SETS)
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'local'}"}
        subprocess.run([sys.executable, "-c", program], cwd=self.sitok, env=environment, check=True)
        make_model_dir(self.sitok / "exp/sitok_tiny", bpemodel="data/bpe.model")
        setup = ["egs2/TEMPLATE/sitok_tts1/setup.sh", "egs2/toy/sitok_tts1"]
        subprocess.run(setup, cwd=root, check=True, capture_output=True)
        assert subprocess.run(setup, cwd=root, capture_output=True).returncode == 1  # exists
        self.path = root / "egs2/toy/sitok_tts1"
        (self.path / "conf/train_lm.yaml").write_text(yaml.safe_dump(LM))

    def run(self, first: int, last: int, *options: str, fails: bool = False) -> str:
        environment = os.environ | {
            "SITOK_USE_ACTIVE_PYTHON": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        command = ["./run.sh", "--stage", str(first), "--stop_stage", str(last), "--ngpu", "0", "--nj", "1"]
        command += ["--python", self.python]
        command += ["--tokenizer", "../sitok1/exp/sitok_tiny", "--generate_args", "--max_seconds 0.5"]
        command += ["--vocode_args", "--steps 2 --vocoder_conf iterations=2"]
        command += ["--score_args", "--metrics sim_prompt --resamples 50 --spectrograms 1", *options]
        done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)
        output = done.stdout + done.stderr
        if (done.returncode != 0) != fails:
            logs = [p.read_text()[-3000:] for p in self.path.glob("exp/**/*.log")]
            raise AssertionError(f"{command} ended with {done.returncode}\n{output[-5000:]}\n" + "\n".join(logs))
        return output


def test_the_whole_recipe(tmp_path, python):
    recipe = Recipe(tmp_path, python)
    for stage, maker in ((2, 1), (3, 1), (4, 3), (5, 3), (6, 5), (7, 6), (8, 5)):
        assert f"run stage {maker} first" in recipe.run(stage, stage, fails=True)
    assert "1 <= --stage <= --stop_stage <= 8" in recipe.run(1, 9, fails=True)
    assert "run stages 1 and 2" in recipe.run(1, 1, "--sitok_dir", "../nowhere", fails=True)
    recipe.run(1, 8)
    joint = json.loads((recipe.path / "dump/joint/tiny/vocabulary.json").read_text())
    assert (joint["text_size"], joint["codebook_sizes"]) == (40, [64])
    exp = recipe.path / "exp/lm_tiny"
    results = json.loads((exp / "eval/test/results.json").read_text())
    assert list(results["systems"]) == ["original", "resynthesis", "generated", "prompt_copy"]
    for row in results["systems"].values():
        assert row["metrics"]["sim_prompt"]["status"] == "measured"
    lm = results["speech_lm"]
    assert list(lm["held_out"]) == ["test", "dev"]
    for held_out in lm["held_out"].values():
        models = held_out["models"]
        assert set(models) == {"text", "other_text", "no_text", "unigram", "kneser_ney_frame"}
        assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in models.values())
        for pair in held_out["comparisons"]:
            difference = models["text"]["value"] - models[pair["second"]]["value"]
            assert abs(pair["value"] - difference) < 1e-9
    codes = sum(len(c) for _, c in open_tokens(recipe.path / "dump/tokens/tiny/test"))
    assert lm["held_out"]["test"]["predictions"] == codes + 4  # and the ends
    assert sum(lm["generation"]["counts"].values()) == 4
    assert lm["generation"]["duration"]["utterances"] == 4 and lm["generation"]["left_out"] == {}
    assert all(lm["speed"][part]["value"] > 0 for part in ("lm", "decoder", "vocoder"))
    page = (exp / "eval/test/RESULTS.md").read_text()
    for part in (
        "| control: copy of the prompt's tokens |",
        "| unigram |",
        "run-away",
        "| duration, generated / recorded | median ",
        "| real-time factor, vocoder |",
    ):
        assert part in page, part
    assert (exp / "report.html").read_text().count("<audio") >= 4
    # Again: what is finished is kept.
    # A dump of the tokenizer's own recipe is borrowed, unless another checkpoint is asked for.
    theirs = recipe.sitok / "dump/tokens/tiny"
    shutil.copytree(recipe.path / "dump/tokens/tiny", theirs)
    recipe.run(1, 1, "--inference_model", "valid.loss.best.pth")
    assert not any((recipe.path / "dump/tokens/tiny" / name).is_symlink() for name in SETS)
    recipe.run(1, 1)
    assert (recipe.path / "dump/tokens/tiny/test").resolve() == (theirs / "test").resolve()
    kept = [*exp.glob("vocoded/*/*/wav.scp"), *exp.glob("generated/*/tokens.ark")]
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    assert len(stamps) == 4
    recipe.run(6, 7)
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps


def test_training_speech_at_other_speeds(tmp_path, python):
    recipe = Recipe(tmp_path, python)
    speeds = ("--speed_perturb_factors", "0.9 1.1")
    assert "run stage 1 first" in recipe.run(2, 2, *speeds, fails=True)
    recipe.run(1, 5, *speeds)
    sets = recipe.path / "dump/tts/tiny"
    assert sorted(path.name for path in sets.iterdir()) == ["dev", "test", "train", "train_sp0.9-1.1"]
    own = set((recipe.path / "dump/raw/train/wav.scp").read_text().splitlines())
    together = set((sets / "train_sp0.9-1.1/wav.scp").read_text().splitlines())
    assert own < together and len(together) == 3 * len(own)
    speakers = {line.split()[1] for line in (sets / "train_sp0.9-1.1/utt2spk").read_text().splitlines()}
    assert {name.split("-")[0] for name in speakers if name[2].isdigit()} == {"sp0.9", "sp1.1"}
    exp = recipe.path / "exp"
    assert (exp / "lm_tiny_sp0.9-1.1/train.done").is_file() and (exp / "lm_stats_tiny_sp0.9-1.1").is_dir()
    lengths = (exp / "lm_stats_tiny_sp0.9-1.1/train/codes_shape").read_text().splitlines()
    assert len(lengths) == len(together)
    recipe.run(6, 6, *speeds)
    prompts = (sets / "test/prompts").read_text().split()
    assert not any(name.startswith("sp") for name in prompts)
    # The same factors in other words; what the recogniser expects does not depend on them.
    recipe.run(7, 8, "--speed_perturb_factors", "1.10 1.0 .9")
    results = json.loads((exp / "lm_tiny_sp0.9-1.1/eval/test/results.json").read_text())
    assert results["speech_lm"]["training"]["utterances"] == len(together)
    command = (exp / "lm_tiny_sp0.9-1.1/eval/test.log").read_text()
    assert "--train_text dump/tts/tiny/train/text" in command
    for wrong in ("0.9,1.1", "0.4", "0.955", "9/10"):
        assert f"'{wrong}' is not a number from 0.5 to 2" in recipe.run(
            1, 1, "--speed_perturb_factors", wrong, fails=True
        )
