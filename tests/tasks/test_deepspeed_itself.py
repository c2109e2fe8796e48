"""DeepSpeed itself, where it is installed: ZeRO 2 in two processes on a CPU trains as ESPnet's ordinary trainer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny import TINY, tiny_config

from sitok_espnet.bin.deepspeed_weights import read_states, write_weights

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed (pip install deepspeed): docs/scale.md")
ROOT = Path(__file__).parents[2]
RATE = 1e-2


@pytest.fixture
def data(tmp_path) -> list[str]:
    """Options for eight utterances with transcripts, in batches of four: two for each process."""
    rng = np.random.default_rng(0)
    lines = {"wav.scp": [], "text": [], "shape": [], "tokens.txt": TINY["token_list"]}
    for number in range(8):
        samples = 12000 + 700 * number
        soundfile.write(tmp_path / f"u{number}.wav", 0.1 * rng.standard_normal(samples), 24000, subtype="PCM_16")
        lines["wav.scp"].append(f"u{number} {tmp_path}/u{number}.wav")
        lines["shape"].append(f"u{number} {samples}")
        lines["text"].append(f"u{number} a b")
    for name, content in lines.items():
        (tmp_path / name).write_text("\n".join(content) + "\n")
    options = ["--token_type", "word", "--token_list", f"{tmp_path}/tokens.txt"]
    for phase in ("train", "valid"):
        options += [f"--{phase}_data_path_and_name_and_type", f"{tmp_path}/wav.scp,speech,sound"]
        options += [f"--{phase}_data_path_and_name_and_type", f"{tmp_path}/text,text,text"]
        options += [f"--{phase}_shape_file", f"{tmp_path}/shape"]
    return options


def train(tmp_path: Path, name: str, *options: str) -> Path:
    config = {k: v for k, v in tiny_config().items() if k not in ("token_list", "normalize")}
    config |= {"batch_type": "unsorted", "batch_size": 4, "max_epoch": 2, "num_workers": 0, "grad_clip": 0.5}
    config |= {"optim": "adamw", "optim_conf": {"lr": RATE}, "best_model_criterion": [["valid", "loss", "min"]]}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["tests/deepspeed_worker.py", "--config", f"{tmp_path}/tiny.yaml", "--ngpu", "0"]
    command += ["--dist_backend", "gloo", "--multiprocessing_distributed", "false", "--use_tensorboard", "false"]
    command += ["--dist_launcher", "null", "--resume", "true", "--output_dir", f"{tmp_path}/{name}", *options]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=800,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return tmp_path / name


def test_zero_2_is_the_ordinary_training(tmp_path, data):
    config = json.loads((ROOT / "conf/deepspeed/zero2.json").read_text())
    config["optimizer"]["params"]["lr"] = RATE
    config["torch_autocast"]["enabled"] = False
    del config["scheduler"]  # a constant rate, which both know
    (tmp_path / "ds.json").write_text(json.dumps(config))
    expected = torch.load(train(tmp_path, "ordinary", *data) / "2epoch.pth", weights_only=True)
    zero = ["--use_deepspeed", "true", "--deepspeed_config", f"{tmp_path}/ds.json"]
    train(tmp_path, "zero", *data, *zero, "--max_epoch", "1")
    folder = train(tmp_path, "zero", *data, *zero)  # resumed
    found = read_states(folder, 2)["module"]
    assert found.keys() == expected.keys() and expected["quantizer.codebook.num_updates"] > 1
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4, msg=lambda m, key=key: f"{key}: {m}")
    assert [link.name for link in write_weights(folder)] == ["valid.loss.best.pth"]
