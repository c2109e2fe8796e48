"""Loading and packing: strict keys, weights only, other mel or vocabulary, missing files (promise 7, promise 4)."""

import copy

import numpy as np
import pytest
import torch
import yaml
from tiny import tiny_config, tiny_model

from sitok_espnet.checkpoint import hash_codes, hash_model, load_model, pack
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import build_model


@pytest.fixture
def experiment(tmp_path):
    """A recipe with exp/sitok_x as ESPnet leaves it, statistics named relative to the recipe."""
    stats = tmp_path / "exp/sitok_stats/train/feats_stats.npz"
    stats.parent.mkdir(parents=True)
    np.savez(stats, count=10, sum=np.full(128, -50.0), sum_square=np.full(128, 290.0))
    directory = tmp_path / "exp/sitok_x"
    directory.mkdir()
    config = tiny_config(
        normalize="global_mvn",
        normalize_conf={"stats_file": "exp/sitok_stats/train/feats_stats.npz", "eps": 1.0},
        best_model_criterion=[["valid", "loss_decoder", "min"]],
        seed=1,
    )
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(9)
    built = copy.deepcopy(config)
    built["normalize_conf"]["stats_file"] = str(stats)
    model = build_model(built)
    torch.save(model.state_dict(), directory / "valid.loss_decoder.best.pth")
    return directory


def test_experiment_and_packed_directory_are_the_same_model(experiment, tmp_path):
    loaded = load_model(experiment)
    assert loaded.weights.name == "valid.loss_decoder.best.pth" and not loaded.model.training
    packed = load_model(pack(experiment, tmp_path / "elsewhere/packed"))
    assert packed.model_hash == loaded.model_hash
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, packed.model.state_dict()[name])
    assert not list((tmp_path / "elsewhere").glob("*.tmp"))
    (tmp_path / "exp/sitok_stats/train/feats_stats.npz").unlink()
    assert load_model(tmp_path / "elsewhere/packed").model_hash == loaded.model_hash


def test_packing_in_half_precision_is_the_rounded_model(experiment, tmp_path):
    whole = load_model(experiment)
    directory = pack(experiment, tmp_path / "half", half=True)
    packed = load_model(directory)
    assert (
        packed.model_hash == yaml.safe_load((directory / "config.yaml").read_text())["model_hash"] != whole.model_hash
    )
    for name, value in whole.model.state_dict().items():
        loaded = packed.model.state_dict()[name]
        assert loaded.dtype == value.dtype
        assert torch.equal(loaded, value.half().float() if value.dtype == torch.float32 else value)
    entries = packed.model.quantizer.codebook.entries
    assert len(entries.unique(dim=0)) == len(entries)  # no two codes have become one
    sizes = [(d / "model.pth").stat().st_size for d in (directory, pack(experiment, tmp_path / "whole"))]
    assert sizes[0] < 0.6 * sizes[1]
    state = torch.load(experiment / "valid.loss_decoder.best.pth", weights_only=True)
    state["encoder.input.weight"][0, 0] = 1e6
    torch.save(state, experiment / "valid.loss_decoder.best.pth")
    with pytest.raises(SiTokError, match="encoder.input.weight has values beyond float16"):
        pack(experiment, tmp_path / "other", half=True)


def test_untrained_is_seeded_normalised_and_leaves_the_global_generator_alone(experiment):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first, second = (load_model(experiment, "untrained") for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    trained = load_model(experiment)
    assert first.model_hash == second.model_hash != trained.model_hash and first.weights is None
    assert torch.equal(first.model.normalize.mean, trained.model.normalize.mean)


def test_hash_sees_weights_and_architecture_but_not_where_files_lie():
    model, config = tiny_model(), tiny_config()
    reference = hash_model(config, model.state_dict())
    moved = tiny_config(normalize_conf={"stats_file": "/elsewhere/feats_stats.npz"})
    assert hash_model(moved, model.state_dict()) == reference
    assert hash_model(tiny_config(model_conf={"stacking_factor": 2}), model.state_dict()) != reference
    model.quantizer.codebook.entries[0, 0] += 1e-6
    assert hash_model(config, model.state_dict()) != reference


def test_refining_the_decoder_keeps_the_codes_hash(experiment):
    loaded = load_model(experiment)
    state, config = loaded.model.state_dict(), loaded.config
    state["decoder.output.bias"] += 1.0
    state["quantizer.codebook.ema_count"] += 1.0
    assert hash_codes(config, state) == loaded.codes_hash and hash_model(config, state) != loaded.model_hash
    state["encoder.input.bias"] += 1e-3
    assert hash_codes(config, state) != loaded.codes_hash


@pytest.mark.parametrize("kind", ["the experiment", "the folder above", "somebody's folder", "a file"])
def test_packing_never_deletes_what_it_did_not_make(experiment, tmp_path, kind):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    output = {"the experiment": experiment, "the folder above": experiment.parent, "somebody's folder": other}
    output = output.get(kind, other / "thesis.tex")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SiTokError, match="not a packed model"):
        pack(experiment, output)
    assert sorted(tmp_path.rglob("*")) == before


def test_packing_again_replaces_what_was_packed(experiment, tmp_path):
    output = pack(experiment, tmp_path / "packed")
    (output / "old").touch()
    assert not (pack(experiment, output) / "old").exists()
    assert sorted(p.name for p in tmp_path.glob("packed*")) == ["packed"]


def change(experiment, edit):
    path = experiment / "valid.loss_decoder.best.pth"
    state = torch.load(path)
    edit(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.pop("encoder.input.bias"),
        lambda s: s.update(extra=torch.zeros(1)),
        lambda s: s.update({"ctc.output.bias": torch.zeros(7)}),
    ],
    ids=["missing key", "extra key", "other vocabulary"],
)
def test_checkpoint_of_another_model_is_refused(experiment, edit):
    change(experiment, edit)
    with pytest.raises(SiTokError, match="does not belong to the configuration"):
        load_model(experiment)


def test_checkpoint_of_another_mel_is_refused(experiment):
    change(experiment, lambda s: s.update({"feats_extract.mel_hash": s["feats_extract.mel_hash"] + 1}))
    with pytest.raises(SiTokError, match="valid.loss_decoder.best.pth.*mel"):
        load_model(experiment)


def test_code_in_a_checkpoint_is_never_run(experiment):
    torch.save({"model": torch.nn.Linear(2, 2)}, experiment / "valid.loss_decoder.best.pth")
    with pytest.raises(SiTokError, match="not a readable checkpoint of weights"):
        load_model(experiment)


@pytest.mark.parametrize(
    "remove, message", [("config.yaml", "stage 5"), ("valid.loss_decoder.best.pth", "does not exist")]
)
def test_missing_files_name_the_stage(experiment, remove, message):
    (experiment / remove).unlink()
    with pytest.raises(SiTokError, match=message):
        load_model(experiment)


def test_truncated_checkpoint_and_missing_statistics(experiment):
    path = experiment / "valid.loss_decoder.best.pth"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SiTokError, match="not a readable checkpoint"):
        load_model(experiment)
    (experiment.parent / "sitok_stats/train/feats_stats.npz").unlink()
    with pytest.raises(SiTokError, match="stats_file .* is not found"):
        load_model(experiment)
