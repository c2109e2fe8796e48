"""The language models of the recipes build, and have the sizes that they promise."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from sitok_espnet.speechlm.joining import Joining
from sitok_espnet.speechlm.slots import build_speech_lm
from sitok_espnet.speechlm.vocabulary import JointVocabulary

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("egs2/*/sitok_tts1/conf/*.yaml"))
QWEN2_05B = 494_032_768  # parameters of the published model, with its 151,936 text pieces


def build(path, text_size, sizes):
    config = yaml.safe_load(path.read_text())
    words = asdict(JointVocabulary(text_size, "t", sizes, "c", "25/2")) | {"codebook_sizes": list(sizes)}
    with torch.device("meta"):
        return build_speech_lm({**config, "vocabulary": words}), config


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_configuration_builds(path):
    model, config = build(path, 300, (64,) * 8)
    assert model.pattern.num_streams == (8 if config["pattern"] == "delay" else 1)
    assert config["best_model_criterion"] == [["valid", "loss", "min"]] and config["batch_type"] == "numel"
    model.check_positions(Joining.from_mapping(config.get("join_conf", {})).max_positions, "join_conf max_positions")
    if config["scheduler"] == "piecewiselinearwarmuplr":  # behind the last point the rate would jump up again
        assert config["scheduler_conf"]["warmup_steps_list"][-1] == config["max_epoch"] * config["num_iters_per_epoch"]


def test_sizes():
    paths = {path.stem: path for path in CONFIGS}
    model, config = build(paths["train_lm_05b"], 151_936, (65_536,))
    assert parameters(model) == QWEN2_05B + (65_536 + 4) * 896
    assert config["use_amp"] and config["lm_conf"]["gradient_checkpointing"]
    model, _ = build(paths["train_lm_mini"], 254, (1024,))
    assert 0.9e6 < parameters(model) < 1e6


def test_every_recipe_links_to_the_template():
    for recipe in ROOT.glob("egs2/*/sitok_tts1"):
        for name, template in (("sitok_tts.sh", "sitok_tts1"), ("cmd.sh", "sitok1"), ("path.sh", "sitok1")):
            assert (recipe / name).resolve() == (ROOT / "egs2/TEMPLATE" / template / name).resolve()
