"""Check on real speech that tokens do not depend on batching, order or padding (DESIGN section 6, promise 1).

Every utterance is used twice: as it is, and without its first half token, which gives other tokens of the same speech.
"""

import argparse
import dataclasses
import json
import sys

from sitok_espnet.errors import SiTokError


def main(cmd=None) -> int:
    """Entry point: exit status 0 if the promise holds, 1 if not, 2 for bad input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="experiment or packed directory")
    parser.add_argument("--wav_scp", required=True, nargs="+", help="24 kHz speech")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances a batch")
    parser.add_argument("--min_tokens", type=int, default=20000, help="fewer distinct tokens are not enough to tell")
    parser.add_argument("--device", default="cpu", help="torch device")
    args = parser.parse_args(cmd)

    from sitok_espnet.evaluate.invariance import verify_tokens
    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import load_at_rate, read_scp

    try:
        tokenizer = SiTok.from_pretrained(args.model, device=args.device)
        items = [item for scp in args.wav_scp for item in read_scp(scp)]
        wavs = [load_at_rate(item, tokenizer.sample_rate) for item in items]
        half = tokenizer.samples_per_token // 2
        wavs += [wav[half:] for wav in wavs if len(wav) > half]
        distinct = sum(tokenizer.num_tokens(len(wav)) for wav in wavs)
        if distinct < args.min_tokens:
            raise SiTokError(f"{distinct} tokens are too few: give more speech, or a smaller --min_tokens")
        report = verify_tokens(tokenizer, wavs, args.batch_size)
    except SiTokError as error:
        print(f"sitok_verify: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({**dataclasses.asdict(report), "distinct_tokens": distinct, "holds": report.holds}))
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
