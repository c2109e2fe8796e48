#!/usr/bin/env python3
"""What each metric hears: speech is damaged on purpose, one way at a time, and all metrics measure every damage.

Values are corpus values against the undamaged original, as in the tables of stage 8. Beside them: processor time of
each metric, per second of speech.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyworld
import torch

from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.files import read_transcripts
from sitok_espnet.evaluate.metrics import METRICS, AbsMetric, MetricContext, Sample, build_metric
from sitok_espnet.evaluate.provenance import describe_machine, git_commit
from sitok_espnet.evaluate.table import markdown_table
from sitok_espnet.inputs import load_at_rate, read_scp
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.vocoder.griffin_lim import GriffinLim

RATE = 24000


@dataclass(frozen=True)
class Speech:
    """float32 (S,) samples at 24 kHz, and those of another utterance of the speaker."""

    wav: np.ndarray
    other: np.ndarray


def fit(wav: np.ndarray, samples: int) -> np.ndarray:
    """Cut, or repeat from the beginning, to this length."""
    return np.resize(wav, samples).astype(np.float32)


def add_noise(wav: np.ndarray, ratio_db: float) -> np.ndarray:
    """White noise this far below the mean power."""
    noise = np.random.default_rng(0).standard_normal(len(wav))
    level = np.sqrt(np.mean(wav.astype(np.float64) ** 2)) * 10 ** (-ratio_db / 20)
    return (wav + level * noise).astype(np.float32)


def through_mel(wav: np.ndarray, frames: int = 1, iterations: int = 32) -> np.ndarray:
    """Copy synthesis by Griffin-Lim, with the log-mel averaged over an odd number of frames of 20 ms."""
    with torch.no_grad():
        mel, _ = LogMel()(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
        smooth = torch.nn.functional.avg_pool1d(
            mel.transpose(1, 2), frames, stride=1, padding=frames // 2, count_include_pad=False
        )
        return GriffinLim(MelConfig(), iterations=iterations)(smooth.transpose(1, 2))[0, : len(wav)].numpy()


def through_world(wav: np.ndarray, cents: float = 0.0, formants: float = 1.0, whisper: bool = False) -> np.ndarray:
    """Copy synthesis by WORLD with pitch moved by cents, formants scaled, or all voicing replaced by noise."""
    speech = wav.astype(np.float64)
    pitch, times = pyworld.harvest(speech, RATE)
    envelope = pyworld.cheaptrick(speech, pitch, times, RATE)
    noisiness = pyworld.d4c(speech, pitch, times, RATE)
    if formants != 1.0:
        bins = np.arange(envelope.shape[1])
        envelope = np.exp(np.stack([np.interp(bins / formants, bins, row) for row in np.log(envelope)]))
    pitch = np.zeros_like(pitch) if whisper else pitch * 2 ** (cents / 1200)
    return fit(pyworld.synthesize(pitch, envelope, noisiness, RATE), len(wav))


DAMAGES: dict[str, Callable[[Speech], np.ndarray]] = {
    "nothing": lambda speech: speech.wav,
    "half as loud": lambda speech: 0.5 * speech.wav,
    "50 ms late": lambda speech: np.concatenate([np.zeros(RATE // 20, np.float32), speech.wav])[: len(speech.wav)],
    "noise, 20 dB": lambda speech: add_noise(speech.wav, 20.0),
    "noise, 5 dB": lambda speech: add_noise(speech.wav, 5.0),
    "Griffin-Lim copy": lambda speech: through_mel(speech.wav),
    "blur, 100 ms": lambda speech: through_mel(speech.wav, 5),
    "blur, 300 ms": lambda speech: through_mel(speech.wav, 15),
    "WORLD copy": lambda speech: through_world(speech.wav),
    "pitch +300 cents": lambda speech: through_world(speech.wav, cents=300.0),
    "formants +20 %": lambda speech: through_world(speech.wav, formants=1.2),
    "whispered": lambda speech: through_world(speech.wav, whisper=True),
    "other words": lambda speech: fit(speech.other, len(speech.wav)),
    "silence": lambda speech: np.zeros_like(speech.wav),
}


@dataclass
class Cell:
    """Corpus value of a metric: sum of numerators over sum of denominators, None if every utterance was excluded."""

    value: float | None
    excluded: int
    seconds: float


def corpus_value(metric: AbsMetric, samples: Sequence[Sample]) -> Cell:
    """Measure all utterances and time it (processor time)."""
    start, total, weight, excluded = time.process_time(), 0.0, 0.0, 0
    for sample in samples:
        try:
            measured = metric.measure(sample)
        except NotMeasurable:
            excluded += 1
            continue
        total, weight = total + measured.numerator, weight + measured.denominator
    return Cell(total / weight if weight else None, excluded, time.process_time() - start)


def response(
    speech: Sequence[Speech], texts: Sequence[str | None], metrics: dict[str, AbsMetric], damages: Sequence[str]
) -> dict[str, dict[str, Cell]]:
    """damage -> metric -> its value."""
    table = {}
    for damage in damages:
        samples = [
            Sample(str(number), item.wav, DAMAGES[damage](item), RATE, text)
            for number, (item, text) in enumerate(zip(speech, texts, strict=True))
        ]
        table[damage] = {name: corpus_value(metric, samples) for name, metric in metrics.items()}
    return table


def render(table: dict[str, dict[str, Cell]], metrics: dict[str, AbsMetric], seconds: float) -> str:
    """The Markdown table; the last row is the cost."""
    rows = []
    for damage, cells in table.items():
        row = [damage]
        for name, cell in cells.items():
            text = "-" if cell.value is None else f"{cell.value:.{metrics[name].decimals}f}"
            row.append(text + (f" ({cell.excluded} excluded)" if cell.excluded else ""))
        rows.append(row)
    spoken = seconds * len(table)
    cost = [f"{1000 * sum(cells[name].seconds for cells in table.values()) / spoken:.1f} ms" for name in metrics]
    header = ["damage", *(f"{item.title} {'↑' if item.higher_is_better else '↓'}" for item in metrics.values())]
    return markdown_table(header, [*rows, ["processor time per second of speech", *cost]])


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path, help="wav.scp and text of one speaker")
    parser.add_argument("-o", "--output", required=True, type=Path, help="JSON file")
    parser.add_argument("--train_text", type=Path, help="training transcripts for the offline recogniser")
    parser.add_argument("--utterances", type=int, default=10, help="every n-th, so that this many are taken")
    parser.add_argument("--metrics", nargs="+", default=list(METRICS), metavar="METRIC")
    parser.add_argument("--damages", nargs="+", default=list(DAMAGES), choices=DAMAGES, metavar="DAMAGE")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    args = get_parser().parse_args(arguments)
    torch.set_num_threads(1)
    items = sorted(read_scp(args.data_dir / "wav.scp"), key=lambda item: item.utt)
    texts = read_transcripts(args.data_dir / "text")
    context = MetricContext.read(args.train_text, {item.utt: texts[item.utt] for item in items}, args.data_dir)
    step = max(1, len(items) // args.utterances)
    items = items[::step][: args.utterances]
    wavs = [load_at_rate(item, RATE) for item in items]
    speech = [Speech(wav, wavs[number - 1]) for number, wav in enumerate(wavs)]
    metrics = {}
    for name in args.metrics:
        try:
            metrics[name] = build_metric(name, context)
        except MetricUnavailable as error:
            print(f"{name}: not run: {error}")
    seconds = sum(map(len, wavs)) / RATE
    table = response(speech, [texts[item.utt] for item in items], metrics, args.damages)
    result = {
        "utterances": [item.utt for item in items],
        "seconds": seconds,
        "metrics": {name: metric.card() for name, metric in metrics.items()},
        "damages": {damage: {name: vars(cell) for name, cell in cells.items()} for damage, cells in table.items()},
        "commit": git_commit(),
        "machine": describe_machine(),
    }
    args.output.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(items)} utterances, {seconds:.1f} s\n\n{render(table, metrics, seconds)}")


if __name__ == "__main__":
    main()
