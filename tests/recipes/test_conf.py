"""Every row of conf/ablation at every scale: it builds, on the meta device, and is what it says it is."""

import math
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from ablation_rows import list_rows, read_row, row_config, scale_file
from merge_config import merge_files, read_yaml

from sitok_espnet.sitok.slots import SLOTS, assumes_vocabulary, build_model, count_parameters

ROOT = Path(__file__).parents[2]
ABLATION = ROOT / "conf/ablation"
MINI = ROOT / "egs2/mini_asterisk/sitok1/conf"
BASES = {"paper": [ROOT / "conf/train_sitok_L.yaml"], "mini": [MINI / "train_sitok_mini.yaml"]}
BASES["mini"] += sorted((MINI / "tuning").glob("*.yaml"))
ROWS = list_rows(ABLATION)
# Rows that are the base itself, by scale.
SAME = {
    "paper": {
        *("loss/diffusion", "prediction/velocity", "size/L", "lambda_ctc/0.1", "codebook_size/2_16", "codebooks/1"),
        *("codebook_dim/32", "quantizer/vq", "frame_rate/12.5", "ctc_depth/4"),
    }
}
SAME["mini"] = SAME["paper"] - {"prediction/velocity", "ctc_depth/4"} | {"prediction/x", "ctc_depth/2"}


def config_of(name: str, scale: str, base: Path | None = None) -> dict:
    return row_config(read_row(name, ABLATION), base or BASES[scale][0], ABLATION, scale)


def bits_per_second(config: dict) -> float:
    """Frame rate times the sum of log2 of what the built model calls its codebook sizes."""
    config = {**config, "normalize": None}
    if assumes_vocabulary(config):
        config["ctc_conf"] = {**config["ctc_conf"], "vocab_size": 100}
    with torch.device("meta"):
        quantizer = build_model(config).quantizer
    rate = Fraction(50, config["model_conf"]["stacking_factor"])
    return float(rate) * sum(math.log2(size) for size in quantizer.codebook_sizes)


def test_every_ablation_of_the_paper_has_its_group():
    papers = (
        "loss size lambda_ctc codebook_size codebooks codebook_dim quantizer frame_rate cfg decoder ctc_depth".split()
    )
    ours = "prediction steps temperature ctc_codebooks seed".split()
    ours += "time_sampling x_loss codebook_average weight_average".split()
    assert {name.split("/")[0] for name in ROWS} == {*papers, *ours}
    assert len(BASES["mini"]) >= 3


@pytest.mark.parametrize("scale", BASES)
@pytest.mark.parametrize("name", ROWS)
def test_rows_build_on_every_base_of_their_scale(name, scale):
    for base in BASES[scale]:
        config = config_of(name, scale, base)  # proven by building
        row = read_row(name, ABLATION)
        assert "ablation" not in config
        assert row.after is None or (row.after.row in ROWS and set(row.after.load) <= {*SLOTS})


@pytest.mark.parametrize("scale", BASES)
def test_scales_are_their_bases(scale):
    base = read_yaml(BASES[scale][0])
    assert merge_files(BASES[scale][0], [scale_file(ABLATION, scale)]) == base
    for name in ROWS:
        same = config_of(name, scale) == base
        assert same == (name in SAME[scale] or bool(read_row(name, ABLATION).inference)), name


@pytest.mark.parametrize("name, size, billions", [("S", 8, 0.63), ("B", 12, 0.88), ("L", 16, 1.12), ("XL", 24, 1.61)])
def test_sizes_are_the_papers(name, size, billions):
    config = config_of(f"size/{name}", "paper")
    assert config["encoder_conf"]["num_layers"] == config["decoder_conf"]["num_layers"] == size
    assert count_parameters(config)["total"] == pytest.approx(billions * 1e9, rel=0.01)
    model = read_yaml(ROOT / f"conf/model/{name}.yaml")
    for part in ("encoder_conf", "quantizer_conf", "decoder_conf"):
        assert config[part].items() >= model[part].items()


def test_training_configurations_of_the_paper_differ_in_size_only():
    """XL trains as L does; LibriTTS' four codebooks are the ablation's, on S."""
    assert read_yaml(ROOT / "conf/train_sitok_XL.yaml") == config_of("size/XL", "paper")
    small = ROOT / "conf/train_sitok_S.yaml"
    codebooks = read_yaml(ROOT / "egs2/libritts/sitok1/conf/tuning/train_sitok_rvq4.yaml")
    assert codebooks == merge_files(small, [ABLATION / "codebooks/4_small.yaml"])


PAPER_BITS = {
    "loss/diffusion": 200,
    "codebook_size/2_13": 12.5 * 13,
    "codebook_size/2_14": 12.5 * 14,
    "codebook_size/2_15": 12.5 * 15,
    "codebook_size/2_17": 12.5 * 17,
    "codebooks/2": 12.5 * 2 * 16,
    "codebooks/4": 800,
    "codebooks/4_small": 700,  # the paper's 0.70 kbit/s
    "codebooks/8": 1600,
    "frame_rate/6.25": 100,
    "frame_rate/25": 400,
    "frame_rate/50": 800,
    "quantizer/fsq": 200,
    "quantizer/bsq": 200,
}


@pytest.mark.parametrize("name", PAPER_BITS)
def test_bit_rates_are_the_papers(name):
    assert bits_per_second(config_of(name, "paper")) == pytest.approx(PAPER_BITS[name], rel=1e-12)
    # At mini scale the relation to the base (10 bits a codebook) is the same.
    base, here = 12.5 * 10, bits_per_second(config_of(name, "mini"))
    if name.startswith("codebook_size"):
        assert here - base == PAPER_BITS[name] - 200
    elif name == "codebooks/4_small":
        assert here == 4 * (base - 25)  # a quarter of the entries: two bits fewer, at every scale
    else:
        assert here / base == PAPER_BITS[name] / 200


def test_kept_options_reach_the_new_class():
    light = config_of("decoder/light_head", "mini", MINI / "tuning/train_sitok_mini_gpu.yaml")
    assert light["decoder_conf"] == {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_heads": 12,
        "prediction": "velocity",
        "token_drop": 0.1,
        "num_body_layers": 4,
        "num_head_layers": 2,
    }
    assert config_of("loss/regression", "mini")["decoder_conf"] == {
        "num_layers": 6,
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_heads": 4,
    }
    assert config_of("codebooks/4", "mini")["quantizer_conf"] == {
        "codebook_dim": 16,
        "commitment": 0.25,
        "decay": 0.99,
        "l2_normalize": True,
        "num_codebooks": 4,
        "codebook_size": 1024,
    }


@pytest.mark.parametrize("scale", BASES)
def test_the_default_of_what_the_ctc_reads_is_trained_once(scale):
    assert config_of("ctc_codebooks/all", scale) == config_of("codebooks/4_small", scale)
    assert config_of("ctc_codebooks/all", scale) != config_of("ctc_codebooks/first", scale)


def test_the_page_has_every_row_and_the_papers_numbers():
    page = (ABLATION / "README.md").read_text(encoding="utf-8")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if "|" in line]
    table = {line[0].strip("`"): line for line in cells}
    for name in ROWS:
        row = read_row(name, ABLATION)
        paper = row.paper
        expected = (
            " / ".join(f"{paper[key]:g}" if key in paper else "-" for key in ("wer", "sim", "asr")) if paper else "-"
        ) + (" *" if row.paper_note else "")
        assert table[name][-1] == expected, name
    assert {name for name in table if "/" in name and " " not in name} == set(ROWS)
