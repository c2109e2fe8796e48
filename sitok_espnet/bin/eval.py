"""`sitok eval`: judge anybody's audio against originals; no SiTok model is involved."""

import argparse
import json
import logging
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.foreign import ORIGINAL, Options, parse_hypotheses, prepare
from sitok_espnet.evaluate.metrics import check_names, default_metrics
from sitok_espnet.evaluate.request import Request
from sitok_espnet.evaluate.versa import write_versa
from sitok_espnet.evaluate.write import write_results


def run(args: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    for option in ("resamples", "nj"):
        if getattr(args, option) < 1:
            raise SiTokError(f"--{option} must be at least 1, not {getattr(args, option)}")
    if args.spectrograms < 0:
        raise SiTokError(f"--spectrograms must be at least 0, not {args.spectrograms}")
    output = Path(args.output)
    files = {name: _file(args, name) for name in ("text", "utt2spk", "utt2lang")}
    train_text, prompts = _file(args, "train_text"), _file(args, "prompts")
    metrics = tuple(args.metrics or [*default_metrics(), *(["sim_prompt"] if prompts else [])])
    check_names(metrics)  # before an earlier call's rows are replaced
    options = Options(args.resample, args.fit_length)
    prepared = prepare(args.ref, parse_hypotheses(args.hyp), output, files, options)
    if args.versa:
        folders = write_versa(output, prepared.systems, metrics, Path(args.versa))
        logging.warning("VERSA's inputs: %s", ", ".join(map(str, folders)))
    request = Request(
        eval_dir=output,
        data_dir=output / ORIGINAL,
        systems=prepared.systems,
        metrics=metrics,
        train_text=train_text,
        resamples=args.resamples,
        seed=args.seed,
        processes=args.nj,
        tokenizer=False,
        prompts=prompts,
        cache=Path(args.cache) if args.cache else None,
    )
    results, page = write_results(request, "sitok_espnet.bin.main", args.arguments, args.spectrograms)
    print(json.dumps(results, indent=1, ensure_ascii=False) if args.json else page)


def _file(args: argparse.Namespace, name: str) -> Path | None:
    value = getattr(args, name)
    if value is None:
        return None
    if not Path(value).is_file():
        raise SiTokError(f"--{name} {value}: no such file")
    return Path(value)
