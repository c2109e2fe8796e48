"""The probe recipe, stages 1 to 7, on a tiny generated corpus and an untrained tokenizer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from experiment_dir import make_model_dir

ROOT = Path(__file__).parents[2]
PREPARE = """
import sys
from pathlib import Path
sys.path.insert(0, "{tests}")
from probe_sets import ProbeCorpus, TaskSets
from recipe_files import read_table
from speech_generator import write_corpus
made = write_corpus("data/made", 24, sample_rate=16000, words=(1, 2))
wavs, texts, speakers = (read_table(made / name) for name in ("wav.scp", "text", "utt2spk"))
corpus = ProbeCorpus()
for utt, path in wavs.items():
    corpus.add(utt, path, speakers[utt])
for name, kind, table in (("voices", "speaker_verification", speakers), ("words", "asr_ctc", texts)):
    task = TaskSets(kind, "generated")
    for number, utt in enumerate(wavs):
        task.sets["train" if number % 12 < 6 else "valid" if number % 12 < 8 else "test"][utt] = table[utt]
    corpus.tasks[name] = task
tested = list(corpus.tasks["voices"].sets["test"])
corpus.tasks["voices"].trials = [(a, b, speakers[a] == speakers[b]) for a in tested for b in tested if a < b]
print("\\n".join(corpus.write(Path("data"))))
"""
TRAINER = {
    "max_epoch": 2,
    "num_workers": 0,
    "optim": "adamw",
    "optim_conf": {"lr": 5.0e-3},
    "use_tensorboard": False,
    "use_matplotlib": False,
    "best_model_criterion": [["valid", "error", "min"]],
    "keep_nbest_models": 1,
    "batch_type": "unsorted",
    "batch_size": 4,
    "input_adapter_conf": {"size": 8},
}
TINY_PROBES = {
    "speaker_ecapa_tdnn": {"body": "ecapa_tdnn", "body_conf": {"channels": 8, "scale": 2}, "head": "aam_softmax"},
    "speaker_xvector": {"body": "xvector", "body_conf": {"channels": 8, "pooled_channels": 8}, "head": "aam_softmax"},
    "asr_bilstm": {"body": "bilstm", "body_conf": {"hidden_size": 8}, "head": "ctc"},
    "asr_contextnet": {"body": "contextnet", "body_conf": {"channels": 8, "num_blocks": 1}, "head": "ctc"},
}


def make_recipe(root: Path) -> Path:
    for name in ("sitok_espnet", "local", "conf"):
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "egs2/TEMPLATE", root / "egs2/TEMPLATE", symlinks=True)
    recipe = root / "egs2/toy/sitok_probe1"
    (recipe / "local").mkdir(parents=True)
    (recipe / "conf/probe").mkdir(parents=True)
    for name, target in (("sitok_probe.sh", "sitok_probe1"), ("cmd.sh", "sitok1"), ("path.sh", "sitok1")):
        (recipe / name).symlink_to(f"../../TEMPLATE/{target}/{name}")
    (recipe / "prepare.py").write_text(PREPARE.format(tests=ROOT / "tests"))
    (recipe / "local/data.sh").write_text("#!/usr/bin/env bash\nset -e\n. ./path.sh\npython3 prepare.py\n")
    (recipe / "local/data.sh").chmod(0o755)
    for name, slots in TINY_PROBES.items():
        (recipe / f"conf/probe/{name}.yaml").write_text(yaml.safe_dump(slots | TRAINER))
    make_model_dir(root / "tokenizer")
    return recipe


def run(python: str, recipe: Path, first: int, last: int, *options: str, fails: bool = False) -> str:
    environment = os.environ | {
        "SITOK_USE_ACTIVE_PYTHON": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["./sitok_probe.sh", "--stage", str(first), "--stop_stage", str(last), "--nbpe", "28"]
    command += ["--python", python]
    command += ["--sitok_exp", str(recipe.parents[2] / "tokenizer"), "--table_args", "--resamples 50", *options]
    done = subprocess.run(command, cwd=recipe, env=environment, capture_output=True, text=True)
    output = done.stdout + done.stderr
    if (done.returncode != 0) != fails:
        logs = [p.read_text()[-3000:] for p in recipe.glob("*/**/*.log")]
        raise AssertionError(f"{command} ended with {done.returncode}\n{output[-5000:]}\n" + "\n".join(logs))
    return output


def test_the_whole_recipe(tmp_path, python):
    recipe = make_recipe(tmp_path)
    assert "run stage 1 first" in run(python, recipe, 2, 2, fails=True)
    assert "run stage 3 first" in run(python, recipe, 5, 5, "--tasks", "voices", fails=True)
    assert "1 <= --stage <= --stop_stage <= 7" in run(python, recipe, 1, 8, fails=True)
    run(python, recipe, 1, 7)
    results = json.loads((recipe / "exp/probes/results.json").read_text())
    assert {name: task["metric"] for name, task in results["tasks"].items()} == {"voices": "eer", "words": "wer"}
    for name, probes in (
        ("voices", ("speaker_ecapa_tdnn", "speaker_xvector")),
        ("words", ("asr_bilstm", "asr_contextnet")),
    ):
        cells = results["tasks"][name]["inputs"]
        assert set(cells) == {"mel", "tokens", "continuous"}
        for source, cell in cells.items():
            assert set(cell["probes"]) == set(probes) and cell["probe"] in probes
            assert cell["low"] <= cell["value"] <= cell["high"] and cell["count"] > 0
            assert (recipe / f"exp/probe_{name}_{source}/{cell['probe']}/train.done").is_file()
    assert {card["frame_rate"] for card in results["inputs"].values()} == {"25/2"}
    assert len({card["codes_hash"] for card in results["inputs"].values()}) == 1
    page = (recipe / "exp/probes/RESULTS.md").read_text()
    assert "| words (speech recognition (CTC)) | WER ↓ | 8 utterances | 100.0 |" in page and "generated" in page
    assert "12.5 frames a second" in page
    report = (recipe / "exp/probes/report.html").read_text()
    assert "speech recognition (CTC)" in report and "speaker verification" in report
    # Again: nothing is trained or dumped a second time.
    stamps = {
        path: path.stat().st_mtime_ns
        for path in [*recipe.glob("exp/probe_*/*/train.done"), *recipe.glob("dump/feats/*/*")]
    }
    assert len(stamps) > 12
    run(python, recipe, 4, 6)
    assert {path: path.stat().st_mtime_ns for path in stamps if "logs" not in path.parts} == {
        path: stamp for path, stamp in stamps.items() if "logs" not in path.parts
    }
