"""VocosTask on ESPnet's GANTrainer: training opens as a vocoder, resumes, and refuses what cannot work."""

from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from speech_generator import speech
from vocos_dir import vocos_config

from sitok_espnet.bin import vocos_train
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.vocoder.choices import build_vocoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    lines = []
    for number in range(4):
        path = directory / f"u{number}.wav"
        soundfile.write(path, speech(0.3 + 0.1 * number, seed=number), 24000, subtype="PCM_16")
        lines.append(f"u{number} {path}\n")
    (directory / "wav.scp").write_text("".join(lines))
    return directory


@pytest.fixture(scope="module")
def config(corpus):
    content = vocos_config() | {
        "segment_samples": 4800,
        "valid_segment_samples": 9600,
        "batch_type": "unsorted",
        "batch_size": 4,
        "max_epoch": 2,
        "num_workers": 0,
        "use_matplotlib": False,
        "seed": 3,
        "optim": "adamw",
        "optim_conf": {"lr": 1.0e-3},
        "optim2": "adamw",
        "optim2_conf": {"lr": 1.0e-3},
        "model_conf": {"mel_scales": [[512, 40]], "discriminator_start_step": 1},
    }
    (corpus / "tiny.yaml").write_text(yaml.safe_dump(content))
    return corpus / "tiny.yaml"


def train(config, corpus, output, *more):
    data = f"{corpus}/wav.scp,speech,sound"
    return vocos_train.main(
        [
            *("--config", str(config), "--output_dir", str(output), "--ngpu", "0", "--use_tensorboard", "false"),
            *("--train_data_path_and_name_and_type", data, "--valid_data_path_and_name_and_type", data),
            *map(str, more),
        ]
    )


@pytest.fixture(scope="module")
def trained(config, corpus, tmp_path_factory):
    """One generator step of warm-up, then one with the discriminators; the log."""
    output = tmp_path_factory.mktemp("exp") / "vocos"
    assert train(config, corpus, output) == 0
    return output


def test_two_steps_open_as_a_vocoder(trained):
    state = torch.load(trained / "latest.pth", weights_only=True)
    assert state["generator_steps"] == 2 and all(v.is_floating_point() for v in state.values())
    vocoder = build_vocoder("vocos", {"path": str(trained)}, MelConfig())
    assert vocoder.weights.name == "valid.selection.best.pth"
    wav = vocoder(torch.randn(1, 5, 128))
    assert wav.shape == (1, 2400) and wav.isfinite().all()
    last = build_vocoder("vocos", {"path": str(trained), "checkpoint": "latest.pth"}, MelConfig())
    for key, value in last.generator.state_dict().items():
        assert torch.equal(value, state[f"generator.{key}"])


def test_resuming_repeats_the_uninterrupted_training(trained, config, corpus, tmp_path):
    assert train(config, corpus, tmp_path / "cut", "--max_epoch", 1) == 0
    first = torch.load(tmp_path / "cut/latest.pth", weights_only=True)
    assert train(config, corpus, tmp_path / "cut", "--resume", "true") == 0
    whole, resumed = (torch.load(d / "latest.pth", weights_only=True) for d in (trained, tmp_path / "cut"))
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    # Epoch 1 is warm-up: only epoch 2 moves the discriminators. The generator moves in both.
    moved = {key.split(".")[0] for key in whole if not torch.equal(first[key], whole[key])}
    assert moved == {"generator", "discriminators", "generator_steps"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--use_amp", "true"), "trains in float32 only"),
        (("--train_dtype", "float64"), "trains in float32 only"),
        (("--generator_conf", "width=3"), "generator_conf has unknown keys: width"),
        (("--init_param", "nowhere.pth"), "nowhere.pth does not exist"),
        (("--segment_samples", "1000"), "1000 samples is no multiple of the mel's hop 480"),
    ],
)
def test_refusals_are_one_line(config, corpus, tmp_path, capsys, options, message):
    assert train(config, corpus, tmp_path / "exp", *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("vocos_train: error: ") and message in last


def test_dry_run_of_the_mini_configuration(tmp_path):
    mini = ROOT / "conf/vocoder/vocos_mini.yaml"
    output = ["--dry_run", "true", "--output_dir", str(tmp_path), "--ngpu", "0"]
    assert vocos_train.main(["--config", str(mini), *output]) == 0
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["generator_conf"] == yaml.safe_load(mini.read_text())["generator_conf"]
    assert saved["num_att_plot"] == 0 and not list(tmp_path.glob("*.pth"))
