"""Command-line options that training and scoring of probes share."""

import argparse
from pathlib import Path

from sitok_espnet.probes.card import DASB_INPUTS, INPUTS
from sitok_espnet.probes.plan import Places, ProbeJob, plan


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", nargs="+", required=True, help="folders of --task_dir")
    parser.add_argument(
        "--inputs", nargs="+", default=list(DASB_INPUTS), help=f"of {', '.join(INPUTS)} (default: %(default)s)"
    )
    parser.add_argument("--probes", nargs="+", default=[], help="architectures (default: the tasks' own)")
    parser.add_argument("--task_dir", type=Path, default=Path("dump/tasks"), help="of stage 3")
    parser.add_argument("--feats_dir", type=Path, default=Path("dump/feats"), help="of stage 4")
    parser.add_argument("--conf_dirs", type=Path, nargs="+", required=True, help="folders of <probe>.yaml, first wins")
    parser.add_argument("--expdir", type=Path, default=Path("exp"))


def planned_jobs(args: argparse.Namespace) -> list[ProbeJob]:
    places = Places(args.task_dir, args.feats_dir, tuple(args.conf_dirs), args.expdir)
    return plan(places, args.tasks, args.inputs, args.probes)
