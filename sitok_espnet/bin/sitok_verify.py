"""Check on real speech that tokens do not depend on batching, order or padding (DESIGN section 6, promise 1).

Every utterance is used twice: as it is, and without its first half token, which gives other tokens of the same speech.
It is encoded alone, in batches sorted by length, in shuffled batches, and in shuffled batches with extra padding.
Prints JSON: distinct_tokens; tokens (compared, three ways each); differing; unproven (differing and no near tie).
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
    parser.add_argument("--wav_scp", required=True, nargs="+", help="24 kHz speech: wav.scp lists, files or folders")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances a batch")
    parser.add_argument("--min_tokens", type=int, default=20000, help="(20000: 14 minutes at 12.5 Hz)")
    parser.add_argument("--device", default="cpu", help="torch device")
    args = parser.parse_args(cmd)

    from sitok_espnet.evaluate.invariance import verify_tokens
    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import collect_inputs, load_at_rate

    try:
        tokenizer = SiTok.from_pretrained(args.model, device=args.device)
        wavs = [load_at_rate(item, tokenizer.sample_rate) for item in collect_inputs(args.wav_scp)]
        half = tokenizer.samples_per_token // 2
        wavs += [wav[half:] for wav in wavs if len(wav) > half]
        distinct = sum(tokenizer.num_tokens(len(wav)) for wav in wavs)
        if distinct < args.min_tokens:
            raise SiTokError(
                f"{distinct} tokens are fewer than --min_tokens {args.min_tokens}: give more speech, or lower it"
            )
        report = verify_tokens(tokenizer, wavs, args.batch_size)
    except SiTokError as error:
        print(f"sitok_verify: error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({**dataclasses.asdict(report), "distinct_tokens": distinct, "holds": report.holds}))
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
