#!/usr/bin/env python3
"""Perplexity of the codebooks in the first updates of two or more trainings: a table and a plot.

Each training is an experiment folder with TensorBoard logs, short and alike but for what is compared:

    cd egs2/mini_asterisk/sitok1 && ./run.sh --stage 1 --stop_stage 4
    opts="--max_epoch 1 --num_iters_per_epoch 500 --log_interval 10"
    ./run.sh --stage 5 --stop_stage 5 --train_args "${opts}" --sitok_tag start_growing
    ./run.sh --stage 5 --stop_stage 5 --train_args "${opts} --quantizer_conf decay_warmup=false" --sitok_tag start_fixed
    python ../../../benchmarks/codebook_start.py -o codebook_start.svg growing=exp/sitok_start_growing \\
        fixed=exp/sitok_start_fixed
"""

import argparse
import json
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.markdown import markdown_table
from sitok_espnet.evaluate.page.training import Series, read_curves
from sitok_espnet.evaluate.provenance import describe_machine, git_commit

UPDATES = (50, 150, 300, 490)  # of the table


def perplexities(experiment: Path) -> dict[str, Series]:
    """Codebook ("perplexity", or "perplexity_0" ...) -> its perplexity in a batch over the updates.

    Raises:
        SiTokError: the folder has no logs, or those of a model without a codebook.
    """
    found = {name: s for name, s in read_curves(experiment / "tensorboard").train.items() if "perplexity" in name}
    if not found:
        raise SiTokError(f"{experiment}: nothing about a codebook in its logs")
    # At the last update of an epoch ESPnet's log has the mean over the epoch.
    return {name.split("/")[-1]: Series(s.steps[:-1], s.values[:-1]) for name, s in sorted(found.items())}


def plot(curves: dict[str, dict[str, Series]], path: Path) -> None:
    """First and last codebook of every training over the updates."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for number, (label, series) in enumerate(curves.items()):
        for style, name in zip(("-", ":"), dict.fromkeys((min(series), max(series))), strict=False):
            line = series[name]
            axes.plot(line.steps, line.values, style, color=f"C{number}", label=f"{label}: {name}")
    axes.set(xlabel="update", ylabel="perplexity in a batch", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def at(series: Series, update: int) -> float | None:
    """The last value up to an update."""
    index = int(np.searchsorted(series.steps, update, side="right")) - 1
    return float(series.values[index]) if index >= 0 else None


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", metavar="LABEL=DIR")
    parser.add_argument("-o", "--output", required=True, help="picture (svg or png); the numbers lie beside it as json")
    args = parser.parse_args()
    curves = {}
    for pair in args.experiments:
        label, equals, folder = pair.partition("=")
        if not equals:
            parser.error(f"expected LABEL=DIR, got {pair!r}")
        curves[label] = perplexities(Path(folder))
    rows = [
        [label, name, *(f"{value:.0f}" if (value := at(s, update)) is not None else "-" for update in UPDATES)]
        for label, series in curves.items()
        for name, s in series.items()
    ]
    print(markdown_table(["training", "codebook", *(f"update {update}" for update in UPDATES)], rows))
    output = Path(args.output)
    plot(curves, output)
    numbers = {
        label: {name: {"updates": s.steps.tolist(), "values": s.values.round(2).tolist()} for name, s in series.items()}
        for label, series in curves.items()
    }
    content = {"curves": numbers, "commit": git_commit(), "machine": describe_machine()}
    output.with_suffix(".json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
