"""local/refine.py: what a refinement is trained with, and that changed tokens are noticed."""

import json
import re
import shutil
from pathlib import Path

import pytest
import refine
import torch
import yaml
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model
from experiment_dir import PIECES, make_model_dir
from merge_config import read_yaml

from sitok_espnet.checkpoint import hash_codes, load_model
from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import build_model, count_parameters
from sitok_espnet.tasks.checks import check_init_param

ROOT = Path(__file__).resolve().parents[2]
FREEZE = {"freeze_param": ["encoder", "quantizer", "ctc"]}


@pytest.fixture
def experiment(tiny_model_dir, tmp_path) -> Path:
    """An experiment as training leaves it: its config.yaml also tells how it was started."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_model_dir, folder)
    config = read_yaml(folder / "config.yaml")
    config |= {"optim": "adamw", "optim_conf": {"lr": 0.001, "weight_decay": 0.01}, "max_epoch": 30}
    config |= {"output_dir": "exp/base", "ngpu": 8, "dist_rank": 3, "resume": True, "init_param": ["old.pth"]}
    config |= {"train_shape_file": ["shapes"], "config": "conf/x.yaml", "version": "1", "batch_bins": 7}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def prepare(experiment: Path, overlay: dict, out: str = "refined", arguments: str = "") -> dict:
    source = experiment.parent / "overlay.yaml"
    source.write_text(yaml.safe_dump(overlay))
    folder = experiment.parent / out
    refine.prepare(str(experiment), None, str(source), folder, arguments)
    return yaml.safe_load((folder / "train.yaml").read_text())


def test_everything_but_the_overlay_is_as_in_the_experiment(experiment):
    config = prepare(experiment, FREEZE | {"optim_conf": {"lr": 0.5}, "max_epoch": 2})
    base = read_yaml(experiment / "config.yaml")
    assert config["optim_conf"] == {"lr": 0.5, "weight_decay": 0.01} and config["max_epoch"] == 2
    assert config["batch_bins"] == 7
    for slot in ("encoder", "quantizer", "ctc", "decoder", "normalize", "model"):
        assert config[f"{slot}_conf"] == base[f"{slot}_conf"]
    assert config["freeze_param"] == FREEZE["freeze_param"]
    assert config["init_param"] == [str(experiment / "valid.loss.best.pth")]
    past = {"output_dir", "ngpu", "dist_rank", "resume", "train_shape_file", "config", "version", "token_list"}
    assert not past & set(config)


def test_parts_from_scratch_are_left_out_of_the_initialisation(experiment):
    decoder = {"decoder": "regression", "decoder_conf": {"num_layers": 1, "hidden_size": 32, "num_heads": 2}}
    config = prepare(experiment, FREEZE | decoder | {"refine": {"from_scratch": ["decoder", "ctc.output"]}})
    assert config["init_param"] == [f"{experiment / 'valid.loss.best.pth'}:::decoder,ctc.output"]
    assert config["decoder"] == "regression" and config["decoder_conf"] == decoder["decoder_conf"]
    assert "refine" not in config


def test_a_diffusion_decoder_starts_anew_on_a_regression_tokenizer(tmp_path):
    """R+D through the check before training and ESPnet's own loader."""
    sizes = {"num_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    base = make_model_dir(tmp_path / "base", decoder="regression", decoder_conf=sizes)
    changes = {"decoder": "flow_matching", "decoder_conf": sizes | {"prediction": "x"}}
    config = prepare(base, FREEZE | changes | {"refine": {"from_scratch": ["decoder"]}})
    (specification,) = config["init_param"]
    config["normalize_conf"]["stats_file"] = str(base / "feats_stats.npz")
    model = build_model(config | {"token_list": PIECES})
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    check_init_param(model, specification, False)
    load_pretrained_model(specification, model, ignore_init_mismatch=False)
    trained = torch.load(base / "valid.loss.best.pth", weights_only=True)
    for key, value in model.state_dict().items():
        assert torch.equal(value, fresh[key] if key.startswith("decoder.") else trained[key]), key
    assert hash_codes(config, model.state_dict()) == load_model(base).codes_hash


def test_options_of_the_class_before_do_not_reach_the_new_one(experiment):
    base = read_yaml(experiment / "config.yaml")
    (experiment / "config.yaml").write_text(yaml.safe_dump(base | {"optim_conf": {"betas": [0.9, 0.99]}}))
    config = prepare(experiment, FREEZE | {"optim": "sgd", "optim_conf": {"lr": 0.1}})
    assert config["optim_conf"] == {"lr": 0.1}


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ({}, "freeze_param leaves out encoder, quantizer"),
        ({"freeze_param": ["encoder", "decoder"]}, "freeze_param leaves out quantizer"),
        (FREEZE | {"quantizer_conf": {"codebook_size": 32}}, "the tokens would be others"),
        (FREEZE | {"model_conf": {"stacking_factor": 2}}, "the tokens would be others"),
        (FREEZE | {"feats_extract_conf": {"fmax": 8000.0}}, "the tokens would be others"),
        (
            FREEZE | {"refine": {"from_scratch": ["decoder", "encoder.stack"]}},
            "encoder.stack, which decides the tokens",
        ),
        (FREEZE | {"refine": {"init": ["decoder"]}}, "one key, from_scratch"),
        (FREEZE | {"refine": {"from_scratch": "decoder"}}, "must be a list"),
        (FREEZE | {"decoder_conf": {"nonsense": 1}}, "does not make a model.*nonsense"),
    ],
)
def test_overlays_that_cannot_be(experiment, overlay, message):
    with pytest.raises(SiTokError, match=message):
        prepare(experiment, overlay)
    assert not (experiment.parent / "refined").exists()


def test_a_begun_refinement_stays_with_its_model(experiment):
    prepare(experiment, FREEZE)
    (experiment.parent / "refined/checkpoint.pth").touch()
    prepare(experiment, FREEZE | {"max_epoch": 9})  # the same model, longer
    weights = torch.load(experiment / "valid.loss.best.pth", weights_only=True)
    weights["decoder.output.bias"] += 1.0
    torch.save(weights, experiment / "valid.loss.best.pth")
    with pytest.raises(SiTokError, match="as it is now .* remove or rename"):
        prepare(experiment, FREEZE)


@pytest.mark.parametrize(
    ("overlay", "arguments", "message"),
    [
        ({}, "--optim_conf lr=2 --max_epoch 3", None),
        ({"max_epoch": 9}, "--max_epoch 7 --optim_conf lr=2", None),
        ({}, "--optim_conf lr=3", r"--refine_args \['--optim_conf', 'lr=3'\], was \['--optim_conf', 'lr=2'\]"),
        ({}, "", "--refine_args"),
        ({"seed": 5}, "--optim_conf lr=2", "seed 5, was 1"),
        ({"grad_clip": 2}, "--optim_conf lr=2", "grad_clip 2, was None"),
    ],
)
def test_a_begun_refinement_stays_with_its_options(experiment, overlay, arguments, message):
    prepare(experiment, FREEZE, arguments="--optim_conf lr=2")
    prepare(experiment, FREEZE | {"grad_clip": 1}, arguments="--optim_conf lr=5")  # nothing is trained yet
    prepare(experiment, FREEZE, arguments="--optim_conf lr=2")
    (experiment.parent / "refined/checkpoint.pth").touch()
    before = (experiment.parent / "refined/train.yaml").read_text()
    if message is None:
        prepare(experiment, FREEZE | overlay, arguments=arguments)
        return
    with pytest.raises(SiTokError, match=f"begun with other options .*{message}.*only max_epoch"):
        prepare(experiment, FREEZE | overlay, arguments=arguments)
    assert (experiment.parent / "refined/train.yaml").read_text() == before


def test_the_size_of_the_model_is_printed(experiment, capsys):
    decoder = {"decoder": "regression", "decoder_conf": {"num_layers": 1, "hidden_size": 32, "num_heads": 2}}
    config = prepare(experiment, FREEZE | decoder)
    tokens = {"token_list": read_yaml(experiment / "config.yaml")["token_list"]}
    sizes = count_parameters(config | tokens)
    before = count_parameters(read_yaml(experiment / "config.yaml"))
    assert sizes["total"] != before["total"]
    text = f"{sizes['total'] / 1e6:.1f} M parameters, {sizes['decoder'] / 1e6:.1f} M the decoder's"
    printed = capsys.readouterr().out
    assert text in printed and f"before: {before['total'] / 1e6:.1f} M" in printed and "overlay.yaml" in printed


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("decoder.output.weight", True),
        ("ctc.output.weight", True),
        ("encoder.stack.final_norm.gain", False),
        ("quantizer.codebook.entries", False),
        ("quantizer.project_out.weight", False),
        ("normalize.mean", False),
    ],
)
def test_changed_tokens_are_noticed(experiment, key, same, capsys):
    prepare(experiment, FREEZE)
    refined = experiment.parent / "refined"
    state = torch.load(experiment / "valid.loss.best.pth", weights_only=True)
    state[key] = state[key].clone()
    state[key].view(-1)[0] += 2.0**-10
    torch.save(state, refined / "valid.loss.best.pth")
    for name in ("config.yaml", "feats_stats.npz"):
        shutil.copy(experiment / name, refined / name)
    assert refine.main(["check", "--output_dir", str(refined)]) == (0 if same else 2)
    output = capsys.readouterr()
    if same:
        assert json.loads((refined / "refined_from.json").read_text())["codes_hash"] in output.out
    else:
        assert "makes other tokens than" in output.err and load_model(experiment).codes_hash in output.err


OVERLAYS = [
    path for pattern in ("conf/refine/*.yaml", "egs2/*/sitok1/conf/refine/*.yaml") for path in ROOT.glob(pattern)
]


# Recipes with a training; seedtts_eval scores what others have trained.
RECIPES = [path.parent for path in ROOT.glob("egs2/*/sitok1/conf")]


def base_of(overlay: Path) -> Path:
    """The training that an overlay goes with: the paper's, or that of a recipe's run.sh."""
    where = overlay.parents[2]
    if where == ROOT:
        return ROOT / "conf/train_sitok_L.yaml"
    return where / re.search(r"^ +--train_config (\S+)", (where / "run.sh").read_text(), re.MULTILINE)[1]


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_overlay_makes_a_model_of_its_training(path):
    base = base_of(path)
    config = read_yaml(base) | {"token_list": ["<blank>", "<unk>", "a", "<sos/eos>"]}
    made = refine.make_config(config, read_yaml(path), str(path), "weights.pth")
    assert made["optim_conf"]["betas"] == config["optim_conf"]["betas"]
    assert made["encoder_conf"] == config["encoder_conf"]
    size = count_parameters(config)["total"]  # an overlay of another size is one of another recipe
    assert 0.8 * size < count_parameters(made | {"token_list": config["token_list"]})["total"] < 1.2 * size
    new_decoder = "from_scratch" in (read_yaml(path).get("refine") or {})
    assert made["init_param"] == ["weights.pth:::decoder" if new_decoder else "weights.pth"]


def test_overlays_of_every_refinement_are_there():
    names = {path.stem for path in OVERLAYS if path.parents[1] == ROOT / "conf"}
    assert {"decoder_finetune", "shortcut", "regression_then_diffusion", "light_head"} == names
    # No recipe trains SiTok L by default: an overlay that it lacks would be of that size.
    for recipe in RECIPES:
        assert {path.stem for path in (recipe / "conf/refine").glob("*.yaml")} == names, recipe
