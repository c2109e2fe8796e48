#!/usr/bin/env python3
"""Streaming against offline encoding, and chunked against whole decoding, side by side on this machine.

Speech of the given files is joined to `--encode_seconds` and `--decode_seconds`. Every decoding runs in a process of
its own, so that its peak resident memory is its own; this process imports neither torch nor the model, because a
child's ru_maxrss begins at what its parent held when it was started.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

WARM_UP_SECONDS = 2.0
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", help="audio files, directories or a wav.scp, at the model's rate")
    parser.add_argument("--model", required=True, help="experiment or packed directory")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--encode_seconds", type=float, default=30.0, help="length of the encoded speech")
    parser.add_argument("--decode_seconds", type=float, nargs="+", default=[60.0, 300.0], help="lengths to decode")
    parser.add_argument("--push_ms", type=float, nargs="+", default=[80.0, 320.0, 1000.0], help="stream chunks")
    parser.add_argument("--chunk_seconds", type=float, nargs="+", default=[2.0, 5.0, 10.0], help="decoding chunks")
    parser.add_argument("--steps", type=int, default=16, help="solver steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3, help="the median is reported")
    parser.add_argument(
        "--clock", default="wall", choices=CLOCKS, help="cpu: processor time, where others use the machine as well"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser


# ---------------------------------------------------------------- in the processes that measure


def open_tokenizer(args: argparse.Namespace):
    from sitok_espnet import SiTok

    return SiTok.from_pretrained(args.model, device=args.device)


def joined_speech(tokenizer, inputs: list[str], seconds: float) -> np.ndarray:
    """Files one after the other, from the beginning again if they do not suffice."""
    from sitok_espnet.inputs import collect_inputs, load_at_rate

    wanted = round(seconds * tokenizer.sample_rate)
    parts, have = [], 0
    items = collect_inputs(inputs)
    while have < wanted:
        parts.append(load_at_rate(items[len(parts) % len(items)], tokenizer.sample_rate))
        have += len(parts[-1])
    return np.concatenate(parts)[:wanted]


def timed(args: argparse.Namespace, call: Callable[[], object]) -> tuple[float, object]:
    clock = CLOCKS[args.clock]
    start = clock()
    result = call()
    return clock() - start, result


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_encoding(args: argparse.Namespace, _: dict) -> dict:
    """Seconds of computing for each way; the ways take turns, so that a slow moment of the machine meets all."""
    tokenizer = open_tokenizer(args)
    wav, rate = joined_speech(tokenizer, args.inputs, args.encode_seconds), tokenizer.sample_rate

    def streamed(milliseconds: float) -> tuple[np.ndarray, float]:
        size = round(milliseconds * rate / 1000)
        stream, codes, slowest = tokenizer.stream(), [], 0.0
        for start in range(0, len(wav), size):
            seconds, new = timed(args, lambda start=start: stream.push(wav[start : start + size], rate))
            slowest = max(slowest, seconds)
            codes.append(new)
        return np.concatenate([*codes, stream.flush()]), slowest

    offline = tokenizer.encode([wav], rate)[0]
    ways = {"offline": lambda: (tokenizer.encode([wav], rate)[0], None)}
    ways |= {f"{ms:g} ms": lambda ms=ms: streamed(ms) for ms in args.push_ms}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rows = {}
    for _ in range(args.repeats):
        for name, way in ways.items():
            took, (codes, slowest) = timed(args, way)
            seconds[name].append(took)
            rows[name] = {"differing_tokens": int((codes != offline).any(axis=1).sum()), "slowest_push": slowest}
    for name, row in rows.items():
        row["seconds"] = statistics.median(seconds[name])
    return {
        "tokens": len(offline),
        "latency_ms": tokenizer.stream().latency_ms,
        "attention_window": tokenizer.model.encoder.attention_window,
        "ways": rows,
    }


def prepare(args: argparse.Namespace, job: dict) -> dict:
    """Tokens and mel of the speech to decode, encoded utterance by utterance so that no context is longer than 30 s."""
    tokenizer = open_tokenizer(args)
    wav = joined_speech(tokenizer, args.inputs, job["seconds"])
    size = 30 * tokenizer.sample_rate // tokenizer.samples_per_token * tokenizer.samples_per_token
    parts = [wav[start : start + size] for start in range(0, len(wav), size)]
    codes = np.concatenate(tokenizer.encode(parts, tokenizer.sample_rate))
    mel = np.concatenate([tokenizer.log_mel(part, tokenizer.sample_rate) for part in parts])
    np.savez(job["data"], codes=codes, mel=mel, num_samples=len(wav))
    return {}


def measure_decoding(args: argparse.Namespace, job: dict) -> dict:
    """One way of decoding (chunk_seconds None: whole) and the peak memory of this process."""
    tokenizer = open_tokenizer(args)
    data = np.load(job["data"])
    codes, num_samples = data["codes"], int(data["num_samples"])
    tokenizer.decode([codes[: int(WARM_UP_SECONDS * tokenizer.frame_rate)]], steps=args.steps)
    row = {"loaded_mib": peak_mib()}
    options = {"steps": args.steps, "seed": job["seed"], "chunk_seconds": job["chunk_seconds"]}
    times = [timed(args, lambda: tokenizer.decode([codes], num_samples=[num_samples], **options))[0]]
    row["peak_mib"] = peak_mib()
    for _ in range(args.repeats - 1):
        times.append(timed(args, lambda: tokenizer.decode([codes], num_samples=[num_samples], **options))[0])
    row["seconds"] = statistics.median(times)
    np.save(job["mel"], decoded_mel(tokenizer, codes, options))
    if job["chunk_seconds"] is not None:
        from sitok_espnet.chunked import LOOK_AHEAD_SECONDS

        row["latency_ms"] = round(1000 * (job["chunk_seconds"] + LOOK_AHEAD_SECONDS), 3)
    return row


def decoded_mel(tokenizer, codes: np.ndarray, options: dict) -> np.ndarray:
    """(kT, M) as it reaches the vocoder."""
    from sitok_espnet.chunked import chunked_mel, token_layout
    from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

    if options["chunk_seconds"] is None:
        return tokenizer.decode_mel([codes], steps=options["steps"], seed=options["seed"])[0]
    layout = token_layout(tokenizer, options["chunk_seconds"])
    sampling = SamplingConfig(steps=options["steps"])
    return np.concatenate(list(chunked_mel(tokenizer, codes, layout, sampling, options["seed"])))


def provenance(args: argparse.Namespace, _: dict) -> dict:
    from sitok_espnet.evaluate.provenance import describe_machine, git_commit

    tokenizer = open_tokenizer(args)
    parts = ("model", "feats_extract", "encoder", "quantizer", "decoder")
    names = [name for part in parts for name in (part, f"{part}_conf")]
    kept = {name: tokenizer.config[name] for name in names if name in tokenizer.config}
    return {
        "commit": git_commit(),
        "model_hash": tokenizer.model_hash,
        "config": kept,
        "machine": describe_machine(),
    }


WORK = {f.__name__: f for f in (measure_encoding, prepare, measure_decoding, provenance)}

# ---------------------------------------------------------------- in the process that compares


def work(argv: list[str], **job) -> dict:
    command = [sys.executable, __file__, *argv, "--worker", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{job['do']} failed, see above")
    return json.loads(done.stdout.splitlines()[-1])


def compare_decoding(args: argparse.Namespace, argv: list[str], seconds: float, folder: Path) -> list[dict]:
    """Rows: whole, whole with another seed (how much the noise alone changes), and every chunk length."""
    data = str(folder / "data.npz")
    work(argv, do="prepare", seconds=seconds, data=data)
    target = np.load(data)["mel"]
    ways = [("whole", None, args.seed), ("whole, another seed", None, args.seed + 1)]
    ways += [(f"{chunk:g} s", chunk, args.seed) for chunk in args.chunk_seconds]
    rows, mels = [], []
    for name, chunk, seed in ways:
        mel = str(folder / "mel.npy")
        row = work(argv, do="measure_decoding", data=data, mel=mel, chunk_seconds=chunk, seed=seed)
        mels.append(np.load(mel)[: len(target)])
        row["mel_l1_to_whole"] = float(np.abs(mels[-1] - mels[0]).mean())
        row["mel_l1_to_original"] = float(np.abs(mels[-1] - target).mean())
        rows.append({"way": name, "audio_seconds": seconds, **row})
    return rows


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def encoding_table(encoding: dict, audio_seconds: float) -> str:
    whole = encoding["ways"]["offline"]["seconds"]
    rows = []
    for name, row in encoding["ways"].items():
        slowest = "" if row["slowest_push"] is None else f"{1000 * row['slowest_push']:.1f}"
        rows.append(
            [
                name,
                f"{1000 * row['seconds'] / audio_seconds:.1f}",
                f"{row['seconds'] / whole:.2f}",
                slowest,
                f"{row['differing_tokens']} of {encoding['tokens']}",
            ]
        )
    return markdown(["encode, chunk", "ms per s of audio", "x offline", "slowest push, ms", "differing tokens"], rows)


def decoding_table(rows: list[dict]) -> str:
    table, whole = [], 1.0
    for row in rows:
        whole = row["seconds"] if row["way"] == "whole" else whole
        table.append(
            [
                f"{row['audio_seconds']:g}",
                row["way"],
                f"{1000 * row['seconds'] / row['audio_seconds']:.0f}",
                f"{row['seconds'] / whole:.2f}",
                f"{row['peak_mib']:.0f}",
                f"{row['peak_mib'] - row['loaded_mib']:.0f}",
                f"{row['mel_l1_to_whole']:.3f}",
                f"{row['mel_l1_to_original']:.3f}",
            ]
        )
    header = ["audio, s", "decode, chunk", "ms per s of audio", "x whole", "peak, MiB", "above the loaded model"]
    return markdown([*header, "mel L1 to whole", "mel L1 to original"], table)


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    args = get_parser().parse_args(argv)
    if args.worker:
        job = json.loads(args.worker)
        print(json.dumps(WORK[job["do"]](args, job)))
        return
    encoding = work(argv, do="measure_encoding")
    decoding = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.decode_seconds:
            decoding += compare_decoding(args, argv, seconds, Path(folder))
    options = {k: v for k, v in vars(args).items() if k not in ("inputs", "model", "output", "worker")}
    result = {
        **work(argv, do="provenance"),
        "options": options,
        "encoding": encoding,
        "decoding": decoding,
    }
    args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(encoding_table(encoding, args.encode_seconds), "\n\n", decoding_table(decoding), sep="")


if __name__ == "__main__":
    main()
