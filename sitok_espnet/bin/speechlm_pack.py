"""Pack a trained token language model into a folder that ``sitok tts --lm`` opens anywhere."""

import argparse
import sys

from sitok_espnet.bin.command import run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", required=True, help="experiment (stage 5)")
    parser.add_argument("--checkpoint", help="file name in it (default: the best one by its first criterion)")
    parser.add_argument("--half", action="store_true", help="float16 weights: half the size, rounded")
    parser.add_argument("--output_dir", required=True, help="a new folder: weights, configuration, text pieces")
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("speechlm_pack", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Pack, and say where."""
    from sitok_espnet.speechlm.checkpoint import pack_speech_lm

    print(f"packed into {pack_speech_lm(args.lm, args.output_dir, args.checkpoint, args.half)}")


if __name__ == "__main__":
    sys.exit(main())
