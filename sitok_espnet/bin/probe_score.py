"""Score all trained probes (stage 6), or make the table of the scores (stage 7, --table DIR)."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.errors import SiTokError

MODULE = "sitok_espnet.bin.probe_score"
RESULTS, PAGE = "results.json", "RESULTS.md"


def get_parser() -> argparse.ArgumentParser:
    from sitok_espnet.probes.command import add_plan_options

    parser = argparse.ArgumentParser(description=__doc__)
    add_plan_options(parser)
    parser.add_argument("--table", type=Path, help="folder for results.json and RESULTS.md; nothing is scored then")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    return parser


def main(argv=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(argv)
    try:
        if args.table:
            make_table(args, sys.argv[1:] if argv is None else list(argv))
        else:
            score_all(args)
    except SiTokError as error:
        print(f"probe_score: error: {error}", file=sys.stderr)
        return 2
    return 0


def score_all(args: argparse.Namespace) -> None:
    """Every probe of the plan; scores of the same training are kept."""
    from tqdm import tqdm

    from sitok_espnet.probes.command import planned_jobs
    from sitok_espnet.probes.scoring import score

    for job in tqdm(planned_jobs(args), unit="probe"):
        score(job, args.device)


def make_table(args: argparse.Namespace, arguments: list[str]) -> None:
    """results.json and RESULTS.md."""
    from sitok_espnet import __version__
    from sitok_espnet.evaluate.files import write_json, write_text
    from sitok_espnet.evaluate.provenance import command_line, describe_machine, git_commit
    from sitok_espnet.probes.command import planned_jobs
    from sitok_espnet.probes.results import build_results
    from sitok_espnet.probes.table import render

    for name in (RESULTS, PAGE):
        (args.table / name).unlink(missing_ok=True)
    results = build_results(planned_jobs(args), args.resamples, args.seed)
    results["provenance"] = {
        "command": command_line(MODULE, arguments),
        "commit": git_commit(),
        "package_version": __version__,
        "seed": args.seed,
        "machine": describe_machine(),
    }
    write_json(args.table / RESULTS, results)
    page = render(results)
    write_text(args.table / PAGE, page)
    print(page)


if __name__ == "__main__":
    sys.exit(main())
