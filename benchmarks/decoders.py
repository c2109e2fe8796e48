#!/usr/bin/env python3
"""How fast the decoders are beside the paper's: fewer steps, guidance, the light head, regression; one run, in turns.

Decoders of one size are built with random weights from a model or training YAML: speed does not depend on training.
Times are of mel decoding (tokens to mel, without vocoder) and reported as ratios to the full decoder at 16 steps.
"""

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import torch
import yaml

from sitok_espnet.evaluate.markdown import markdown_table
from sitok_espnet.evaluate.provenance import describe_machine, git_commit
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder, SamplingConfig
from sitok_espnet.sitok.slots import build_slot

MEL_BINS = 128
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
HEAD_SHARE = 4  # the paper's head has a quarter of the layers: 4 of 16


@dataclasses.dataclass(frozen=True)
class Way:
    """A decoder and how it samples."""

    decoder: str
    steps: int | None = None
    cfg_scale: float = 0.0

    @property
    def name(self) -> str:
        """For the table."""
        steps = "" if self.steps is None else f", {self.steps} step{'s' * (self.steps > 1)}"
        return f"{self.decoder}{steps}{', CFG' if self.cfg_scale else ''}"


REFERENCE = Way("flow_matching", 16)
WAYS = (
    REFERENCE,
    Way("flow_matching", 16, cfg_scale=1.0),
    *(Way("flow_matching", steps) for steps in (8, 4, 2, 1)),
    *(Way("flow_matching_light", steps) for steps in (16, 4, 2)),
    Way("regression"),
)


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="model or training YAML with decoder: flow_matching")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file")
    parser.add_argument("--seconds", type=float, default=10.0, help="speech in the batch's one utterance")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="the median is reported")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: where others use the machine as well")
    return parser


def decoder_options(conf: dict, kind: str) -> dict:
    """The YAML's decoder_conf for a decoder of the same size of another kind."""
    size = {key: conf[key] for key in ("hidden_size", "intermediate_size", "num_heads")}
    if kind == "regression":
        return {**size, "num_layers": conf["num_layers"]}
    if kind == "flow_matching":
        return {**size, "num_layers": conf["num_layers"], "prediction": conf["prediction"]}
    head = max(1, conf["num_layers"] // HEAD_SHARE)
    layers = {"num_body_layers": conf["num_layers"] - head, "num_head_layers": head}
    return {**size, **layers, "prediction": conf["prediction"]}


def build_decoders(config: dict, device: str, seed: int) -> dict[str, AbsDecoder]:
    """One of every kind, of the size that the YAML's decoder has."""
    sizes = {
        "mel_size": MEL_BINS * config["model_conf"]["stacking_factor"],
        "condition_size": config["encoder_conf"]["hidden_size"],
    }
    torch.manual_seed(seed)
    decoders = {}
    for kind in dict.fromkeys(way.decoder for way in WAYS):
        conf = {"decoder": kind, "decoder_conf": decoder_options(config["decoder_conf"], kind)}
        decoders[kind] = build_slot("decoder", conf, **sizes).to(device).eval()
    return decoders


def measure(config: dict, args: argparse.Namespace) -> list[dict]:
    """Median seconds of every way; the ways take turns, so that a slow moment of the machine meets all."""
    decoders, clock = build_decoders(config, args.device, args.seed), CLOCKS[args.clock]
    k = config["model_conf"]["stacking_factor"]
    tokens = max(1, round(args.seconds * 50 / k))
    quantized = torch.randn(1, tokens, config["encoder_conf"]["hidden_size"], device=args.device)
    noise = torch.randn(1, tokens, MEL_BINS * k, device=args.device)
    lengths = torch.tensor([tokens], device=args.device)

    def run(way: Way) -> float:
        start = clock()
        decoders[way.decoder].sample(quantized, lengths, noise, SamplingConfig(way.steps, way.cfg_scale))
        if quantized.is_cuda:
            torch.cuda.synchronize()
        return clock() - start

    for way in WAYS[-1:] + WAYS[4:6]:
        run(way)  # warm-up
    seconds = {way: [] for way in WAYS}
    with torch.inference_mode():
        for _ in range(args.repeats):
            for way in WAYS:
                seconds[way].append(run(way))
    middle = {way: statistics.median(times) for way, times in seconds.items()}
    return [
        {
            "way": way.name,
            "parameters": sum(p.numel() for p in decoders[way.decoder].parameters()),
            "seconds": middle[way],
            "ratio": middle[way] / middle[REFERENCE],
        }
        for way in WAYS
    ]


def main() -> None:
    args = get_parser().parse_args()
    config = yaml.safe_load(args.config.read_text(encoding="utf-8"))
    if config.get("decoder") != "flow_matching":
        raise SystemExit(f"{args.config}: decoder must be flow_matching, it is {config.get('decoder')}")
    rows = measure(config, args)
    settings = {name: str(value) for name, value in vars(args).items()}
    result = {"commit": git_commit(), "machine": describe_machine(), "settings": settings, "rows": rows}
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    header = ["decoder", "parameters", "time / full 16 steps"]
    print(markdown_table(header, [[r["way"], f"{r['parameters'] / 1e6:.1f} M", f"{r['ratio']:.3f}"] for r in rows]))


if __name__ == "__main__":
    main()
