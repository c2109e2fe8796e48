#!/usr/bin/env python3
"""How fast other codecs are beside SiTok: encoding and decoding one utterance, in turns, in one run.

Neural codecs whose weights are not at hand are timed with the published architecture at random weights: their speed
does not depend on training (the table says which). Times are reported as real-time factors and as ratios to SiTok at
the first number of --steps. They include what a user pays: resampling, and for Codec2 starting its programs. SiTok's
decoding includes its vocoder.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.streaming import joined_speech
from sitok_espnet import SiTok
from sitok_espnet.evaluate.codebook import bits_per_second
from sitok_espnet.evaluate.peers import AbsPeer, PeerUnavailable, build_peer, peer_row, peer_title
from sitok_espnet.evaluate.provenance import describe_machine, git_commit
from sitok_espnet.evaluate.table import markdown_table

DEFAULT = ("opus:6", "codec2:1200", "encodec:1.5", "dac:2", "mimi:8", "snac:24khz")


def processor_time() -> float:
    """Seconds of this process and of the programs that it has started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


CLOCKS = {"wall": time.perf_counter, "cpu": processor_time}


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", help="audio files, directories or a wav.scp, 24 kHz")
    parser.add_argument("--model", required=True, help="SiTok's experiment or packed directory")
    parser.add_argument("--peers", nargs="+", default=list(DEFAULT), metavar="CODEC:SETTING")
    parser.add_argument("--peer_dir", type=Path, help="where programs and weights may lie: DIR/codec2, DIR/mimi ...")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file")
    parser.add_argument("--seconds", type=float, default=5.0, help="speech, joined from the inputs")
    parser.add_argument("--steps", type=int, nargs="+", default=[16, 4], help="SiTok's solver steps")
    parser.add_argument("--device", default="cpu", help="of the neural codecs")
    parser.add_argument("--repeats", type=int, default=3, help="the median is reported")
    parser.add_argument("--clock", default="wall", choices=CLOCKS, help="cpu: where others use the machine as well")
    return parser


def sitok_way(tokenizer: SiTok, steps: int, wav: np.ndarray, watch: Callable[[], float]) -> tuple[float, float]:
    """Seconds of encoding and of decoding."""
    steps = steps if tokenizer.model.decoder.iterative else None
    start = watch()
    codes = tokenizer.encode([wav], tokenizer.sample_rate)
    encoded = watch()
    tokenizer.decode(codes, steps=steps, num_samples=[len(wav)])
    return encoded - start, watch() - encoded


def peer_way(peer: AbsPeer, wav: np.ndarray, watch: Callable[[], float]) -> tuple[float, float]:
    """Seconds of encoding and of decoding."""
    start = watch()
    coded = peer.encode(wav)
    encoded = watch()
    peer.decode(coded.payload, len(wav))
    return encoded - start, watch() - encoded


def measure(args: argparse.Namespace) -> tuple[list[dict], dict[str, str]]:
    """A row for each way that runs here, SiTok's first; reasons for the others."""
    tokenizer = SiTok.from_pretrained(args.model, device=args.device)
    wav = joined_speech(tokenizer, args.inputs, args.seconds)
    cuda = str(args.device).startswith("cuda")

    def watch() -> float:
        if cuda:
            torch.cuda.synchronize()
        return CLOCKS[args.clock]()

    rows, ways, missing = [], [], {}
    for steps in args.steps:
        rows.append(
            {
                "way": f"SiTok, {steps} step{'s' * (steps > 1)}",
                "weights": "trained",
                "parameters": sum(parameter.numel() for parameter in tokenizer.model.parameters()),
                "bits_per_second": bits_per_second(tokenizer.frame_rate, tokenizer.codebook_sizes),
            }
        )
        ways.append(lambda steps=steps: sitok_way(tokenizer, steps, wav, watch))
    for name in args.peers:
        title = peer_title(peer_row(name))
        try:
            peer = build_peer(name, args.peer_dir, args.device)
        except PeerUnavailable as error:
            missing[title] = str(error)
            continue
        model = getattr(peer, "model", None)
        parameters = sum(parameter.numel() for parameter in model.parameters()) if model is not None else None
        rows.append(
            {"way": title, "weights": peer.weights, "parameters": parameters, "bits_per_second": peer.nominal}
            | {"version": peer.version}
        )
        ways.append(lambda peer=peer: peer_way(peer, wav, watch))
    for way in ways:
        way()  # warm-up
    times = [[way() for way in ways] for _ in range(args.repeats)]  # in turns: a slow moment meets all
    for index, row in enumerate(rows):
        for part, name in enumerate(("encode", "decode")):
            row[name] = statistics.median(turn[index][part] for turn in times) / args.seconds
    for row in rows:
        row |= {f"{name}_ratio": row[name] / rows[0][name] for name in ("encode", "decode")}
    return rows, missing


def table(rows: list[dict], missing: dict[str, str]) -> str:
    """Markdown."""
    header = ["codec", "weights", "parameters", "bit/s", "encode", "decode", "encode / SiTok", "decode / SiTok"]
    lines = []
    for row in rows:
        parameters = f"{row['parameters'] / 1e6:.1f} M" if row["parameters"] else "-"
        times = [f"{row[key]:.4f}" for key in ("encode", "decode")]
        ratios = [f"{row[key]:.2f}" for key in ("encode_ratio", "decode_ratio")]
        lines.append([row["way"], row["weights"], parameters, f"{row['bits_per_second']:,.0f}", *times, *ratios])
    text = markdown_table(header, lines)
    return "\n".join([text, *(f"{title}: not run: {reason}" for title, reason in missing.items())])


def main(cmd: list[str] | None = None) -> None:
    args = get_parser().parse_args(cmd)
    rows, missing = measure(args)
    settings = {name: getattr(args, name) for name in ("seconds", "steps", "device", "repeats", "clock")}
    result = {"commit": git_commit(), "machine": describe_machine(), "threads": torch.get_num_threads()}
    result |= {"settings": settings, "rows": rows, "missing": missing}
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(table(rows, missing))


if __name__ == "__main__":
    main()
