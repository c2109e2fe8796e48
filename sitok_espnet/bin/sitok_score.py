"""Score the systems that sitok_synth_systems wrote: results.json, RESULTS.md, spectrograms (stage 8, second half)."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command
from sitok_espnet.errors import SiTokError

MODULE = "sitok_espnet.bin.sitok_score"


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--eval_dir", required=True, help="directory filled by sitok_synth_systems; results go there")
    parser.add_argument("--data_dir", required=True, help="the originals: wav.scp and, if there are transcripts, text")
    parser.add_argument("--train_text", default=None, help="training transcripts for the recogniser's language model")
    parser.add_argument("--train_tokens", default=None, help="token dump of the training set (stage 7)")
    parser.add_argument(
        "--prompts", default=None, help="wav.scp with another recording of each utterance's speaker, for sim_prompt"
    )
    parser.add_argument("--systems", nargs="+", default=None, metavar="SYSTEM", help="rows of the table; default: all")
    parser.add_argument(
        "--metrics", nargs="+", default=None, metavar="METRIC", help="columns; default: docs/metrics.md"
    )
    parser.add_argument(
        "--judge_all", action="store_true", help="Whisper judges every row, not only those that the table is about"
    )
    parser.add_argument(
        "--cache", default=None, help="file of measurements, which evaluations may share; default: one in --eval_dir"
    )
    parser.add_argument("--resamples", type=int, default=2000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.add_argument("--nj", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--spectrograms", type=int, default=3, help="number of utterances to draw")
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("sitok_score", lambda: run(args, sys.argv[1:] if cmd is None else list(cmd)))


def run(args: argparse.Namespace, arguments: list[str]) -> None:
    """Measure, write results.json and RESULTS.md, draw."""
    from sitok_espnet.evaluate.files import read_json
    from sitok_espnet.evaluate.metrics import default_metrics
    from sitok_espnet.evaluate.request import Request
    from sitok_espnet.evaluate.synthesis import TOKENIZER
    from sitok_espnet.evaluate.write import write_results

    for option in ("resamples", "nj"):
        if getattr(args, option) < 1:
            raise SiTokError(f"--{option} must be at least 1, not {getattr(args, option)}")
    card = Path(args.eval_dir, TOKENIZER)
    card = read_json(card) if card.is_file() else {}
    request = Request(
        eval_dir=Path(args.eval_dir),
        data_dir=Path(args.data_dir),
        systems=tuple(args.systems or all_rows(card)),
        metrics=tuple(args.metrics or [*default_metrics(), *(["sim_prompt"] if args.prompts else [])]),
        train_text=Path(args.train_text) if args.train_text else None,
        train_tokens=Path(args.train_tokens) if args.train_tokens else None,
        resamples=args.resamples,
        seed=args.seed,
        processes=args.nj,
        prompts=Path(args.prompts) if args.prompts else None,
        judge_all=args.judge_all,
        cache=Path(args.cache) if args.cache else None,
    )
    print(write_results(request, MODULE, arguments, args.spectrograms)[1])


def all_rows(card: dict) -> list[str]:
    """All rows that a synthesis with this card made."""
    from sitok_espnet.evaluate.earlier import row_order

    return row_order(card.get("vocoder", "griffin_lim"), card.get("earlier", ()), card.get("peers", ()))


if __name__ == "__main__":
    sys.exit(main())
