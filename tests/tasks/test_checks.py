"""Checks before training: statistics of another mel, checkpoints for --init_param (promises 4 and 7)."""

import numpy as np
import pytest
import torch
import yaml
from tiny import tiny_config, tiny_model

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import build_model
from sitok_espnet.tasks.checks import check_init_param, check_statistics


@pytest.fixture
def stats(tmp_path):
    """exp/sitok_stats as stage 4 leaves it, for the default mel."""
    path = tmp_path / "train/feats_stats.npz"
    path.parent.mkdir()
    np.savez(path, count=10, sum=np.full(128, -50.0), sum_square=np.full(128, 250.1))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"feats_extract": "log_mel", "feats_extract_conf": {}}))
    return path


def test_statistics_of_another_mel_are_refused(stats):
    check_statistics(tiny_model(), str(stats))
    with pytest.raises(SiTokError, match="stage 4"):
        check_statistics(tiny_model(feats_extract_conf={"fmax": 8000.0}), str(stats))


def test_deviation_is_floored_without_being_asked(stats):
    config = tiny_config(normalize="global_mvn", normalize_conf={"stats_file": str(stats)})
    assert build_model(config).normalize.std.min() == 1.0


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(tiny_model(3).state_dict(), path)
    return path


@pytest.mark.parametrize(
    "parts", ["", ":encoder:encoder", ":quantizer.codebook:quantizer.codebook", ":::decoder.output"]
)
def test_matching_parts_are_accepted(weights, parts):
    check_init_param(tiny_model(), f"{weights}{parts}", False)


def test_other_architecture_is_refused_unless_asked_for(weights):
    decoder = {**tiny_config()["decoder_conf"], "num_layers": 3}
    model = tiny_model(decoder_conf=decoder)
    with pytest.raises(SiTokError, match=r"missing: decoder.stack.blocks.2.*FILE:encoder:encoder"):
        check_init_param(model, str(weights), False)
    check_init_param(model, str(weights), True)
    check_init_param(model, f"{weights}:encoder:encoder", False)


@pytest.mark.parametrize("parts", ["", ":decoder:decoder", "::"])
def test_a_shortcut_decoder_starts_from_one_without(weights, tmp_path, parts):
    conf = {**tiny_config()["decoder_conf"], "shortcut": True}
    model = tiny_model(decoder_conf=conf)
    check_init_param(model, f"{weights}{parts}", False)
    shortcut = tmp_path / "shortcut.pth"
    state = model.state_dict()
    torch.save(state, shortcut)
    check_init_param(model, f"{shortcut}{parts}", False)
    with pytest.raises(SiTokError, match="unknown: decoder.step_size_embedding"):
        check_init_param(tiny_model(), f"{shortcut}{parts}", False)
    state.pop("decoder.step_size_embedding.mlp.0.weight")  # a damaged file, not one from before the refinement
    torch.save(state, shortcut)
    with pytest.raises(SiTokError, match="missing: decoder.step_size_embedding.mlp.0.weight"):
        check_init_param(model, f"{shortcut}{parts}", False)


def test_code_in_the_file_is_never_run(tmp_path):
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "bad.pth")
    with pytest.raises(SiTokError, match="not a readable checkpoint"):
        check_init_param(tiny_model(), str(tmp_path / "bad.pth"), True)
    with pytest.raises(SiTokError, match="does not exist"):
        check_init_param(tiny_model(), str(tmp_path / "none.pth"), False)
