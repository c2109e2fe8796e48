"""Score generated speech and the language model: results.json, RESULTS.md, spectrograms (stage 8 of sitok_tts1)."""

import argparse
import shutil
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command
from sitok_espnet.errors import SiTokError

MODULE = "sitok_espnet.bin.speechlm_score"
METRICS = ("sim_prompt", "distillmos")  # beside the recogniser's: what needs no recording of the same words


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--lm", required=True, help="experiment or packed directory of the language model")
    parser.add_argument("--checkpoint", default=None, help="file name in it; default: the packed or best one")
    parser.add_argument("--data_dir", type=Path, required=True, help="test set with prompts (stage 2)")
    parser.add_argument("--train_dir", type=Path, required=True, help="training set (stage 2), for the count models")
    parser.add_argument(
        "--train_text",
        type=Path,
        default=None,
        help="transcripts that the recogniser expects words by; default: those of --train_dir",
    )
    parser.add_argument("--valid_dir", type=Path, default=None, help="also predict this set (it chose the checkpoint)")
    parser.add_argument("--generated", type=Path, required=True, help="what speechlm_generate wrote (stage 6)")
    parser.add_argument("--vocoded", type=Path, required=True, help="what speechlm_vocode wrote (stage 7)")
    parser.add_argument("--output_dir", type=Path, required=True, help="evaluation directory")
    parser.add_argument(
        "--metrics", nargs="+", default=None, metavar="METRIC", help=f"columns; default: WER, CER, {', '.join(METRICS)}"
    )
    parser.add_argument(
        "--cache", default=None, type=Path, help="file of measurements to share; default: one in --output_dir"
    )
    parser.add_argument("--resamples", type=int, default=2000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap, and of who gets whose text")
    parser.add_argument("--nj", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--spectrograms", type=int, default=3, help="number of utterances to draw")
    parser.add_argument("--device", default="cpu", help="torch device of the language model")
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("speechlm_score", lambda: run(args, sys.argv[1:] if cmd is None else list(cmd)))


def run(args: argparse.Namespace, arguments: list[str]) -> None:
    """Measure, write results.json and RESULTS.md, draw."""
    from sitok_espnet.evaluate.foreign import prepare
    from sitok_espnet.evaluate.metrics import check_names, default_recognizers
    from sitok_espnet.evaluate.request import Request
    from sitok_espnet.evaluate.synthesis import CLIPPED
    from sitok_espnet.evaluate.write import write_results
    from sitok_espnet.speechlm.checkpoint import load_speech_lm
    from sitok_espnet.speechlm.results import speech_lm_results
    from sitok_espnet.speechlm.vocode_set import ROWS

    for option in ("resamples", "nj"):
        if getattr(args, option) < 1:
            raise SiTokError(f"--{option} must be at least 1, not {getattr(args, option)}")
    metrics = tuple(args.metrics or (*default_recognizers(), *METRICS))
    check_names(metrics)
    loaded = load_speech_lm(args.lm, args.checkpoint, args.device)
    content = speech_lm_results(loaded, args)
    tables = {name: args.data_dir / name for name in ("text", "utt2spk", "utt2lang")}
    prepared = prepare(
        str(args.data_dir / "wav.scp"),
        {row: str(args.vocoded / row / "wav.scp") for row in ROWS},
        args.output_dir,
        {name: path if path.is_file() else None for name, path in tables.items()},
    )
    for row in ROWS:
        if (args.vocoded / row / CLIPPED).is_file():
            shutil.copyfile(args.vocoded / row / CLIPPED, args.output_dir / row / CLIPPED)
    request = Request(
        eval_dir=args.output_dir,
        data_dir=args.output_dir / "original",
        systems=prepared.systems,
        metrics=metrics,
        train_text=args.train_text or args.train_dir / "text",
        resamples=args.resamples,
        seed=args.seed,
        processes=args.nj,
        tokenizer=False,
        prompts=args.data_dir / "prompt.scp",
        cache=args.cache,
    )
    print(write_results(request, MODULE, arguments, args.spectrograms, {"speech_lm": content})[1])


if __name__ == "__main__":
    sys.exit(main())
