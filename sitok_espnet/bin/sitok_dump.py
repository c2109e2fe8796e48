"""`python -m sitok_espnet.bin.sitok_dump`: the tokens of a wav.scp as a dump directory (stage 7)."""

import argparse
import sys
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sitok_dump",
        description="Encode a wav.scp to a token dump. Interrupted dumps are resumed by the same command. With "
        "--num_jobs N, start it once for each --job 1..N, with the same other options, in any order or at once.",
    )
    parser.add_argument("--model", required=True, help="packed model or experiment directory")
    parser.add_argument("--checkpoint", help="file in the directory, or `untrained`; default: packed or best")
    parser.add_argument("--wav_scp", required=True, help="utterances to encode, at the model's sampling rate")
    parser.add_argument("--output_dir", required=True, help="dump/tokens/<tag>/<set>")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="(default: %(default)s)")
    parser.add_argument("--batch_seconds", type=float, default=120.0, help="audio in a batch (default: %(default)s)")
    parser.add_argument("--shard_size", type=int, default=64, help="utterances a shard (default: %(default)s)")
    parser.add_argument("--resample", action="store_true", help="convert other sampling rates instead of refusing")
    parser.add_argument("--num_jobs", type=int, default=1, help="processes that share the shards")
    parser.add_argument("--job", type=int, default=1, help="number of this process, from 1")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from sitok_espnet.dump import DumpOptions, dump_tokens
    from sitok_espnet.errors import SiTokError
    from sitok_espnet.inference import DTYPES, SiTok
    from sitok_espnet.inputs import read_scp

    try:
        options = DumpOptions(args.shard_size, args.batch_seconds, args.resample, args.num_jobs, args.job)
        inputs = read_scp(args.wav_scp)
        tokenizer = SiTok.from_pretrained(args.model, args.checkpoint, args.device, DTYPES[args.dtype])
        complete = dump_tokens(tokenizer, inputs, args.output_dir, options)
    except (SiTokError, OSError) as error:
        print(f"sitok_dump: error: {error}", file=sys.stderr)
        return 2
    if complete:
        report(args.output_dir)
    else:
        print(f"{args.output_dir}: job {args.job} of {args.num_jobs} is done, other jobs are not: no manifest yet")
    return 0


def report(directory: str) -> None:
    """One line about a finished dump."""
    from sitok_espnet.tokens import open_tokens

    manifest = open_tokens(directory).manifest
    line = f"{directory}: {manifest['num_utterances']} utterances, {manifest['num_tokens']} tokens"
    if "token_miss_rate" in manifest:
        compared = manifest["compared_with_float32"]
        line += (
            f"; {manifest['dtype']}: {compared['differing']} of {compared['codes']} compared codes differ from float32 "
            f"(miss rate {100 * manifest['token_miss_rate']:.2f} %)"
        )
    print(line)


if __name__ == "__main__":
    sys.exit(main())
