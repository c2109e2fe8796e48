#!/usr/bin/env python3
"""Train and score rows of the ablation tables in a recipe and print one table with confidence intervals.

    cd egs2/mini_asterisk/sitok1
    python ../../../local/ablate.py --base conf/train_sitok_mini.yaml --scale mini --rows loss --set max_epoch=6

A row is base + scale + its overlay (conf/ablation/README.md), merged into one full YAML in the row's experiment: that
file trains, by the recipe's own run.sh (stages 5, 7 and 8; stages 1 to 4 must have run). Rows with the same YAML share
an experiment, rows about inference alone share the base's. The reference is always among the rows. What is finished is
not done again.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ablation_plan import Experiment, Plan, Settings
from ablation_rows import Row, expand, list_rows
from ablation_table import write_table

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics import default_recognizers

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("train", "score")


def run_rows(plan: Plan, names: Sequence[str], stages: Sequence[str], dry_run: bool) -> dict[str, str]:
    """Run the stages of all rows; a row that fails does not stop the others. Returns the failures: row -> reason."""
    failures = {}
    rows = {name: plan.row(name) for name in names}
    jobs = {name: plan.experiment(row) for name, row in rows.items()}  # all YAMLs are proven before the first training
    for number, (name, row) in enumerate(rows.items(), 1):
        experiment = jobs[name]
        logging.info("row %d of %d: %s (%s), experiment %s", number, len(rows), name, row.title, experiment.tag)
        try:
            if dry_run:
                show(plan, row, experiment, stages)
                continue
            if "train" in stages:
                for part in experiment.chain():
                    plan.train(part)
            if "score" in stages and not plan.scored(row, experiment):
                if not plan.trained(experiment):
                    raise SiTokError(f"{experiment.tag} is not trained: run --stages train first")
                plan.score(row, experiment)
        except SiTokError as error:
            failures[name] = str(error)
            logging.error("%s: %s", name, error)
    return failures


def finished_rows(plan: Plan, rows: Sequence[Row], failures: dict[str, str]) -> dict[str, Path]:
    """Folders of the rows whose scores are of the present settings; ``failures`` gets the reason of each other row."""
    folders = {}
    for row in rows:
        if row.name in failures:  # what an earlier call left is not this call's
            continue
        try:
            reason = plan.why_not_scored(row, plan.experiment(row))
        except SiTokError as error:
            reason = str(error)
        if reason is None:
            folders[row.name] = plan.row_dir(row)
        else:
            failures[row.name] = reason
    return folders


def show(plan: Plan, row: Row, experiment: Experiment, stages: Sequence[str]) -> None:
    """Print the commands of a row that are left to run."""
    commands = []
    for part in experiment.chain() if "train" in stages else ():
        commands += [] if plan.trained(part) else plan.train_commands(part)
    if "score" in stages and not plan.scored(row, experiment):
        commands += plan.score_commands(row, experiment)
    print(f"# {row.name}: {row.title}" + ("" if commands else ": finished"))
    for command in dict.fromkeys(map(shlex.join, commands)):
        print(command)


def parse_pieces(pairs: Sequence[str], directory: Path) -> dict[str, int]:
    """``["frame_rate/6.25=400"]`` -> {"frame_rate/6.25": 400}; raises SiTokError for anything else."""
    pieces = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if name not in list_rows(directory) or not number.isdecimal():
            raise SiTokError(f"--nbpe {pair} is not ROW=N with a row of {directory}")
        pieces[name] = int(number)
    return pieces


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe_dir", default=".", help="recipe folder; other paths are relative to it (default: .)")
    parser.add_argument("--base", required=True, help="full training YAML")
    parser.add_argument("--scale", default="mini", help="one of conf/ablation/scale (default: mini)")
    parser.add_argument("--rows", nargs="+", required=True, help="GROUP/NAME, whole groups, or all")
    parser.add_argument("--reference", default="loss/diffusion", help="row that the others are compared with")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="laid over all rows")
    parser.add_argument(
        "--nbpe", nargs="+", default=[], metavar="ROW=N", help="text pieces of a row, as frame_rate/6.25=400"
    )
    parser.add_argument("--exp", default="exp/ablation", help="folder of the experiments and the table")
    parser.add_argument("--stats_dir", default="exp/sitok_stats", help="mel statistics of stage 4")
    parser.add_argument("--stages", default="train,score", help="train (stage 5), score (7 and 8), or both")
    parser.add_argument("--metrics", nargs="+", default=None, help="of stage 8, columns; default: mel, stoi, WER")
    parser.add_argument("--recipe_args", default="", help='more options of run.sh, as "--ngpu 1 --nj 4"')
    parser.add_argument("--synth_args", default="", help='more options of the resynthesis, as "--vocoder vocos"')
    parser.add_argument("--overlays", default=str(ROOT / "conf/ablation"), help="folder of the rows")
    parser.add_argument("--dry_run", action="store_true", help="print the commands that are left to run, run nothing")
    parser.add_argument("--table_only", action="store_true", help="make the table of what is finished")
    return parser


def main(cmd: Sequence[str] | None = None, runner: Callable[..., subprocess.CompletedProcess] = subprocess.run) -> int:
    """Entry point; 1 if a row failed."""
    args = get_parser().parse_args(cmd)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s (%(module)s) %(levelname)s: %(message)s")
    try:
        stages = [stage for stage in args.stages.split(",") if stage]
        if not stages or set(stages) - set(STAGES):
            raise SiTokError(f"--stages {args.stages}: choose from {', '.join(STAGES)}")
        settings = Settings(
            recipe=Path(args.recipe_dir),
            base=args.base,
            directory=Path(args.overlays),
            scale=args.scale,
            reference=args.reference,
            exp=args.exp,
            stats=args.stats_dir,
            changes=tuple(args.set),
            nbpe=parse_pieces(args.nbpe, Path(args.overlays)),
            metrics=tuple(args.metrics or ("mel", "stoi", default_recognizers()[0])),
            recipe_args=tuple(shlex.split(args.recipe_args)),
            synth_args=args.synth_args,
        )
        if not (settings.recipe / "run.sh").is_file():
            raise SiTokError(f"--recipe_dir {settings.recipe}: there is no run.sh")
        (reference,) = expand([args.reference], settings.directory)
        names = list(dict.fromkeys([reference, *expand(args.rows, settings.directory)]))
        settings.check_base()
        plan = Plan(settings, runner)
        failures = {} if args.table_only else run_rows(plan, names, stages, args.dry_run)
        if args.table_only or ("score" in stages and not args.dry_run):
            rows = [plan.row(name) for name in names]
            reasons = dict(failures)
            folders = finished_rows(plan, rows, reasons)
            write_table(rows, folders, settings.recipe / args.exp / f"table_{args.scale}", reasons)
    except SiTokError as error:
        print(f"ablate.py: error: {error}", file=sys.stderr)
        return 2
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
