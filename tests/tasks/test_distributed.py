"""Training in two processes (DDP, gloo): every parameter is reached, the codebook moves, nothing hangs."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from lm_corpus import CONFIG, data_options, write_lm_corpus
from speech_generator import speech
from tiny import TINY, tiny_config
from vocos_dir import vocos_config

ROOT = Path(__file__).parents[2]
CHAIN = {
    "quantizer": "residual_vq",
    "quantizer_conf": {"num_codebooks": 2, "codebook_size": 8, "codebook_dim": 4},
    "ctc_conf": TINY["ctc_conf"] | {"codebooks": [1]},
    "decoder_conf": TINY["decoder_conf"] | {"shortcut": True, "prompt": True},
}


def train_in_two(python, module, directory, config, *options):
    """Two processes of `module` with `config`; the weights. The experiment is in <directory>/exp."""
    (directory / "tiny.yaml").write_text(yaml.safe_dump(config | {"use_matplotlib": False}))
    command = [*python.split(), "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "--no-python"]
    command += [*python.split(), "-m", f"sitok_espnet.bin.{module}", "--config", f"{directory}/tiny.yaml"]
    command += ["--ngpu", "0"]
    command += ["--dist_backend", "gloo", "--multiprocessing_distributed", "false", "--use_tensorboard", "false"]
    command += ["--dist_launcher", "null", "--output_dir", f"{directory}/exp", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "world_size=2" in done.stderr or "dist_world_size=2" in done.stderr or ":0/2]" in done.stderr
    state = torch.load(directory / "exp/latest.pth", weights_only=True)
    assert all(v.isfinite().all() for v in state.values())
    return state


@pytest.mark.parametrize("changes", [{}, CHAIN], ids=["ema_vq", "residual_vq, shortcut, prompt"])
def test_two_processes_train_with_and_without_text(tmp_path, python, changes):
    rng = np.random.default_rng(0)
    scp, text, shape = [], [], []
    for number in range(8):
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(12000 + 700 * number), 24000, subtype="PCM_16")
        scp.append(f"u{number} {path}")
        shape.append(f"u{number} {12000 + 700 * number}")
        # Utterances 0, 2, 4, 6 have no transcript: one of the ranks has none in many batches.
        text.append(f"u{number} a b" if number % 2 else f"u{number}")
    for name, lines in (("wav.scp", scp), ("text", text), ("shape", shape), ("tokens.txt", TINY["token_list"])):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    config = {k: v for k, v in tiny_config(**changes).items() if k not in ("token_list", "normalize")}
    config |= {"batch_type": "unsorted", "batch_size": 4, "max_epoch": 2, "num_workers": 0, "optim": "adamw"}
    data = ["--token_type", "word", "--token_list", f"{tmp_path}/tokens.txt"]
    for phase in ("train", "valid"):
        data += [f"--{phase}_data_path_and_name_and_type", f"{tmp_path}/wav.scp,speech,sound"]
        data += [f"--{phase}_data_path_and_name_and_type", f"{tmp_path}/text,text,text"]
        data += [f"--{phase}_shape_file", f"{tmp_path}/shape"]
    state = train_in_two(python, "sitok_train", tmp_path, config, *data)
    # 2 batches an epoch, 2 epochs, fewer latents than entries in no batch: each codebook is initialised at once when
    # its turn comes, then moved.
    updates = [state[key] for key in state if key.endswith("num_updates")]
    assert len(updates) == (2 if changes else 1) and all(count >= 2 for count in updates)
    if changes:
        assert state["decoder.step_size_embedding.mlp.2.weight"].any()  # it started at zero


def test_two_processes_train_a_vocoder(tmp_path, python):
    """Each of its turns leaves one network without gradients, and the warm-up has turns without any."""
    lines = []
    for number in range(4):
        path = tmp_path / f"u{number}.wav"
        soundfile.write(path, speech(0.3 + 0.1 * number, seed=number), 24000, subtype="PCM_16")
        lines.append(f"u{number} {path}\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    config = vocos_config() | {"segment_samples": 4800, "valid_segment_samples": 4800, "batch_type": "unsorted"}
    config |= {"batch_size": 2, "max_epoch": 2, "num_workers": 0, "optim": "adamw", "optim2": "adamw", "seed": 3}
    config["model_conf"] = {"mel_scales": [[512, 40]], "discriminator_start_step": 2}
    data = f"{tmp_path}/wav.scp,speech,sound"
    options = ["--train_data_path_and_name_and_type", data, "--valid_data_path_and_name_and_type", data]
    state = train_in_two(python, "vocos_train", tmp_path, config, *options)
    assert state["generator_steps"] == 4
    first = torch.load(tmp_path / "exp/1epoch.pth", weights_only=True)
    moved = {key.split(".")[0] for key in state if not torch.equal(first[key], state[key])}
    assert moved == {"generator", "discriminators", "generator_steps"}


def test_two_processes_train_a_language_model_as_one_does(tmp_path, python):
    """Ranks have different numbers of predictions: only their weighted mean is the gradient of the whole batch."""
    write_lm_corpus(tmp_path)
    config = CONFIG | {"model_conf": {"text_drop": 0.0, "pack_length": 64}, "batch_type": "unsorted", "batch_size": 4}
    config |= {"optim": "sgd", "optim_conf": {"lr": 0.5}, "seed": 1}
    data = data_options(tmp_path)
    for phase in ("train", "valid"):
        data += [f"--{phase}_shape_file", f"{tmp_path}/keys"]
    state = train_in_two(python, "speechlm_train", tmp_path, config, *data)
    command = [*python.split(), "-m", "sitok_espnet.bin.speechlm_train", "--config", f"{tmp_path}/tiny.yaml"]
    command += ["--ngpu", "0", "--use_tensorboard", "false", "--output_dir", f"{tmp_path}/one", *data]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    one, first = (torch.load(tmp_path / name, weights_only=True) for name in ("one/latest.pth", "one/1epoch.pth"))
    assert max(float((one[key] - first[key]).abs().max()) for key in one) > 1e-2  # it moves
    for key, value in one.items():
        torch.testing.assert_close(state[key], value, rtol=1e-4, atol=1e-5, msg=key)
