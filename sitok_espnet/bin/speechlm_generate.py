"""Speak a test set with the token language model: a token set, and a status for each utterance (stage 6)."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command
from sitok_espnet.bin.sampling_options import add_sampling, sampling_of


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", required=True, help="experiment (stage 5) or packed directory of the language model")
    parser.add_argument("--checkpoint", help="file name in it (default: the packed or best one)")
    parser.add_argument("--data_dir", type=Path, required=True, help="test set with prompts (stage 2)")
    parser.add_argument("--tokens", type=Path, required=True, help="token dump of the test set (stage 1)")
    parser.add_argument("--output_dir", type=Path, required=True, help="the token set; continued if interrupted")
    parser.add_argument("--batch_size", type=int, default=8, help="utterances at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all utterances (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    add_sampling(parser)
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("speechlm_generate", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Generate, and say how it ended."""
    from sitok_espnet.speechlm.checkpoint import load_speech_lm
    from sitok_espnet.speechlm.generate_set import generate_set, read_texts

    loaded = load_speech_lm(args.lm, args.checkpoint, args.device)
    vocabulary = loaded.model.vocabulary
    sampling = sampling_of(args, vocabulary.frame_rate)
    texts = read_texts(args.data_dir, vocabulary.codes_hash)
    counts = generate_set(loaded, texts, args.tokens, args.output_dir, sampling, args.seed, args.batch_size)
    print(f"{args.output_dir}: {', '.join(f'{count} {status}' for status, count in sorted(counts.items()))}")


if __name__ == "__main__":
    sys.exit(main())
