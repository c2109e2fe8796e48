"""The registry: parameter totals, every shipped YAML, errors, and a toy quantizer from one file, one line, one YAML."""

from pathlib import Path

import pytest
import torch
import yaml
from tiny import tiny_config, tiny_model

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok import slots
from sitok_espnet.sitok.quantizer.abs_quantizer import AbsQuantizer, QuantizerOutput
from sitok_espnet.sitok.slots import SLOTS, assumes_vocabulary, build_model, count_parameters, legal_keys

ROOT = Path(__file__).parents[2]
# Full configurations; overlays (conf/ablation) are built on their bases in tests/recipes/test_conf.py.
SHIPPED = sorted(
    [*ROOT.glob("conf/*.yaml"), *ROOT.glob("conf/model/*.yaml"), *ROOT.glob("egs2/*/sitok1/conf/**/train_*.yaml")]
)


@pytest.mark.parametrize("size, billions", [("S", 0.63), ("B", 0.88), ("L", 1.12), ("XL", 1.61)])
def test_totals_of_the_paper(size, billions):
    config = yaml.safe_load((ROOT / f"conf/model/{size}.yaml").read_text())
    total = count_parameters(config)["total"]
    assert total == pytest.approx(billions * 1e9, rel=0.015)


def test_an_assumed_vocabulary_is_told_from_a_stated_one():
    assert not assumes_vocabulary({"ctc_conf": {"vocab_size": 7}}) and not assumes_vocabulary({"ctc": None})
    assert not assumes_vocabulary(tiny_config()) and assumes_vocabulary({"token_list": "tokens.txt"})
    stated, assumed = tiny_config(), tiny_config(token_list=None)
    width = 32 + 1  # weights and bias of the output layer, a piece
    assert count_parameters(assumed)["ctc"] - count_parameters(stated)["ctc"] == (4000 - 6) * width


def test_counts_by_hand():
    """Linear maps of L, counted without the model (PAPER section 3)."""
    counts = count_parameters(yaml.safe_load((ROOT / "conf/model/L.yaml").read_text()))
    width, hidden, mel, layers = 1536, 4096, 512, 16
    block = 4 * width**2 + 3 * width * hidden
    linear = lambda a, b: a * b + b  # noqa: E731
    assert counts["encoder"] == linear(mel, width) + layers * (block + 2 * width) + width
    assert counts["quantizer"] == linear(width, 32) + linear(32, width)
    assert counts["ctc"] == 4 * (block + 2 * width) + width + linear(width, 4000)
    adaptive = layers * (block + 2 * linear(width, width)) + linear(width, width)
    step = linear(width, 4 * width) + linear(4 * width, width)
    ends = linear(mel, width) + linear(width, width) + width + linear(width, mel)
    assert counts["decoder"] == adaptive + step + ends
    assert counts["total"] == sum(v for k, v in counts.items() if k != "total")


def test_counts_of_the_other_decoders_by_hand():
    config = yaml.safe_load((ROOT / "conf/model/L.yaml").read_text())
    sizes = {key: config["decoder_conf"][key] for key in ("hidden_size", "intermediate_size", "num_heads")}
    width, hidden, mel = 1536, 4096, 512
    block, gain = 4 * width**2 + 3 * width * hidden, width**2 + width
    step = 4 * width**2 + 4 * width + 4 * width**2 + width
    projections = (mel + 1) * width + (width + 1) * width + (width + 1) * mel

    def count(name, **options):
        return count_parameters({**config, "decoder": name, "decoder_conf": {**sizes, **options}})["decoder"]

    light = 12 * (block + 2 * width) + width + 4 * (block + 2 * gain) + gain + step + projections + width
    assert count("flow_matching_light") == count("flow_matching_light", prompt=True) == light
    assert count("flow_matching_light", shortcut=True) == light + step
    assert count("flow_matching", shortcut=True) == count("flow_matching") + step
    assert count("regression") == 16 * (block + 2 * width) + width + projections - (mel + 1) * width


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_shipped_yaml_builds(path):
    assert count_parameters(yaml.safe_load(path.read_text()))["total"] > 0


def test_shipped_yamls_are_found():
    assert {p.name for p in SHIPPED} >= {"S.yaml", "B.yaml", "L.yaml", "XL.yaml", "train_sitok_mini.yaml"}


@pytest.mark.parametrize(
    "training, model",
    [
        ("conf/train_sitok_S.yaml", "conf/model/S.yaml"),
        ("conf/train_sitok_L.yaml", "conf/model/L.yaml"),
        ("conf/train_sitok_XL.yaml", "conf/model/XL.yaml"),
        ("egs2/mini_asterisk/sitok1/conf/train_sitok_mini.yaml", "conf/model/mini.yaml"),
    ],
)
def test_training_configurations_train_the_models_they_name(training, model):
    trained, stated = (yaml.safe_load((ROOT / path).read_text()) for path in (training, model))
    stated["ctc_conf"].pop("vocab_size", None)
    assert {key: trained[key] for key in stated} == stated


@pytest.mark.parametrize("slot", [s for s in SLOTS if s not in ("normalize",)])
def test_unknown_keys_name_the_slot_and_its_legal_keys(slot):
    config = tiny_config()
    config[f"{slot}_conf"]["sise"] = 3
    with pytest.raises(SiTokError, match=f"{slot}_conf.*sise.*legal keys are.*{legal_keys(slot, config[slot])[0]}"):
        build_model(config)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"encoder": None}, "encoder may not be null"),
        ({"encoder": "lama"}, "unknown choice 'lama'; there are llama"),
        ({"model_conf": {"stacking": 4}}, "model_conf.*stacking.*stacking_factor"),
        ({"model_conf": {"stacking_factor": 0}}, "whole number of at least 1"),
        ({"model_conf": {"stacking_factor": 2.5}}, "whole number of at least 1"),
        ({"token_list": None}, "token_list"),
        ({"ctc_conf": {"vocab_size": 9}}, "9, but the token list has 6"),
    ],
)
def test_bad_configurations_are_explained(changes, message):
    with pytest.raises(SiTokError, match=message):
        build_model(tiny_config(**changes))


@pytest.mark.parametrize(
    "name, conf, dimensions",
    [
        ("residual_vq", {"num_codebooks": 8, "codebook_size": 16384}, 32),
        ("residual_vq", {"num_codebooks": 2, "codebook_size": [16384, 1024], "codebook_dim": 8}, 8),
        ("fsq", {}, 6),
        ("fsq", {"levels": [8, 8, 8, 8, 4, 4]}, 6),
        ("bsq", {"num_bits": 16}, 16),
        ("identity", {}, None),
    ],
)
def test_quantizers_at_full_size(name, conf, dimensions):
    """Two projections of the width 1536, and what the CTC decoder adds to read several codebooks."""
    config = yaml.safe_load((ROOT / "conf/model/L.yaml").read_text())
    plain = count_parameters(config)
    counts = count_parameters({**config, "quantizer": name, "quantizer_conf": conf})
    expected = 0 if dimensions is None else 2 * 1536 * dimensions + 1536 + dimensions
    assert counts["quantizer"] == expected
    extra = 1536 * dimensions + 1536 if name == "residual_vq" else 0
    assert counts["ctc"] == plain["ctc"] + extra


@pytest.mark.parametrize("name, keys", [("fsq", "levels"), ("bsq", "num_bits, entropy_weight"), ("identity", "")])
def test_keys_of_another_quantizer_are_refused(name, keys):
    with pytest.raises(
        SiTokError, match=f"quantizer_conf of quantizer '{name}' has unknown keys: .*legal keys.*{keys}"
    ):
        build_model(tiny_config(quantizer=name))  # keeps the keys of ema_vq


def test_a_width_given_by_the_model_is_not_a_key():
    assert "input_size" not in legal_keys("encoder", "llama")
    layers = {"hidden_size", "intermediate_size", "num_heads"}
    flow = layers | {"prediction", "token_drop", "shortcut", "prompt", "loss_on"}
    flow |= {"time_sampling", "time_mean", "time_std"}
    light = flow | {"num_body_layers", "num_head_layers"}
    iterative = {"flow_matching", "flow_matching_light", "flow_matching_coarse"}
    assert set(SLOTS["decoder"].choices) == iterative | {"regression"}
    assert set(legal_keys("decoder", "regression")) == layers | {"num_layers"}
    assert set(legal_keys("decoder", "flow_matching")) == flow | {"num_layers"}
    assert set(legal_keys("decoder", "flow_matching_light")) == light
    assert set(legal_keys("decoder", "flow_matching_coarse")) == light | {"start_time"}


class RoundingQuantizer(AbsQuantizer):
    """A toy: the sign of the first latent dimension. One class in one file."""

    def __init__(self, input_size: int, scale: float = 1.0):
        super().__init__()
        self.scale, self.width = scale, input_size
        self.unused = torch.nn.Parameter(torch.zeros(()))

    @property
    def codebook_sizes(self):
        return (2,)

    @property
    def codebook_dim(self):
        return self.width

    def forward(self, x, lengths):
        codes = self.encode(x)
        quantized = x + (self.decode_codes(codes) - x).detach() + 0 * self.unused
        return QuantizerOutput(quantized, x[:, :, None], codes, x.new_zeros(()))

    def encode(self, x):
        return (x[..., :1] > 0).long()

    def decode_codes(self, codes):
        return self.scale * (2.0 * codes - 1).expand(*codes.shape[:2], self.width)

    def decode_per_codebook(self, codes):
        return self.decode_codes(codes)[:, :, None]


def test_toy_quantizer_is_one_line_and_one_yaml(monkeypatch, tmp_path):
    monkeypatch.setitem(SLOTS["quantizer"].choices, "rounding", RoundingQuantizer)  # the one line
    (tmp_path / "toy.yaml").write_text("quantizer: rounding\nquantizer_conf:\n    scale: 0.5\n")
    config = tiny_config(**yaml.safe_load((tmp_path / "toy.yaml").read_text()))
    model = build_model(config)
    assert model.quantizer.scale == 0.5
    speech, lengths = 0.1 * torch.randn(2, 9600), torch.tensor([9600, 5000])
    loss, _, _ = model(speech, lengths)
    loss.backward()
    codes, tokens = model.encode(speech, lengths)
    assert codes.shape == (2, 5, 1) and set(codes.unique().tolist()) <= {0, 1}
    assert slots.count_parameters(config)["quantizer"] == 1


def test_same_seed_same_model():
    first, second = tiny_model(3), tiny_model(3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
