"""A tiny Vocos configuration and the experiment directory that its training would leave, for tests."""

import copy
from pathlib import Path

import torch
import yaml

from sitok_espnet.vocoder.gan_model import VocosGANModel, build_gan_model

TINY_VOCOS = {
    "feats_extract": "log_mel",
    "feats_extract_conf": {},
    "generator_conf": {"dim": 16, "intermediate_dim": 24, "num_layers": 2, "prior": True},
    "discriminator_conf": {"periods": [], "fft_sizes": [256, 128], "mrd_channels": 4, "mrd_weight": 0.5},
    "model_conf": {"mel_weight": 10.0, "mel_scales": [[512, 40], [1024, 80]]},
    "best_model_criterion": [["valid", "selection", "min"]],
}


def vocos_config(**changes) -> dict:
    """TINY_VOCOS with top-level entries replaced."""
    return {**copy.deepcopy(TINY_VOCOS), **changes}


def tiny_vocos(seed: int = 0, **changes) -> VocosGANModel:
    """A seeded random model of `vocos_config`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_gan_model(vocos_config(**changes))


def make_vocoder_dir(directory: Path, seed: int = 0, **changes) -> Path:
    """config.yaml and valid.selection.best.pth of a random model."""
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text(yaml.safe_dump(vocos_config(**changes)), encoding="utf-8")
    torch.save(tiny_vocos(seed, **changes).state_dict(), directory / "valid.selection.best.pth")
    return directory
