"""Options of token generation, for `sitok tts` and `speechlm_generate`; torch is not imported to parse them."""

import argparse
from fractions import Fraction

from sitok_espnet.errors import SiTokError


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """The fields of TokenSampling, its bounds in seconds."""
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of the tokens, 0 takes the best (default: %(default)s)"
    )
    parser.add_argument("--top_k", type=int, help="draw of so many best codes (default: of all)")
    parser.add_argument(
        "--top_p", type=float, default=1.0, help="draw of the best codes with this share (default: %(default)s)"
    )
    parser.add_argument("--repetition_penalty", type=float, default=1.0, help="1 is off (default: %(default)s)")
    parser.add_argument(
        "--text_cfg_scale", type=float, default=0.0, help="guidance by the text, 0 is off (default: %(default)s)"
    )
    parser.add_argument("--min_seconds", type=float, default=0.0, help="shortest speech (default: %(default)s)")
    parser.add_argument(
        "--max_seconds", type=float, default=20.0, help="longest: stopped there, a run-away (default: %(default)s)"
    )
    parser.add_argument(
        "--max_length_ratio",
        type=float,
        help="longest also: so many times what the text takes at the prompt's speaking rate (default: no such bound)",
    )


def sampling_of(args: argparse.Namespace, frame_rate: Fraction | str):
    """TokenSampling of the options; SiTokError for values that make no sense."""
    from sitok_espnet.speechlm.requests import frames_of
    from sitok_espnet.speechlm.sampling import TokenSampling

    for option in ("min_seconds", "max_seconds"):
        if not 0 <= getattr(args, option) < float("inf"):
            raise SiTokError(f"--{option} cannot be {getattr(args, option)}")
    if args.max_seconds == 0 or args.min_seconds > args.max_seconds:
        raise SiTokError(f"--max_seconds {args.max_seconds:g} must be above 0 and --min_seconds {args.min_seconds:g}")
    return TokenSampling(
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        repetition_penalty=args.repetition_penalty,
        cfg_scale=args.text_cfg_scale,
        min_frames=frames_of(args.min_seconds, frame_rate),
        max_frames=frames_of(args.max_seconds, frame_rate),
        max_length_ratio=args.max_length_ratio,
    )
