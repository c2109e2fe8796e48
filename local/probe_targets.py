#!/usr/bin/env python3
"""Targets of the probe tasks (stage 3): labels checked and listed, transcripts normalised, ready for text pieces.

data/tasks/<task> -> dump/tasks/<task>; utterances that stage 2 left out are dropped and counted. A task of texts
also gets train/{text,utt2num_samples} for local/train_sentencepiece.py, and --finish copies its pieces.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from recipe_files import atomic_text, read_table, write_table

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.text import normalize_words
from sitok_espnet.probes.plan import PIECES, SETS, TARGET, TARGET_LIST, TEST, TRAIN, TRIALS
from sitok_espnet.probes.tasks import EER, task_of


def prepare(source: Path, out: Path, num_samples: dict[str, str]) -> str:
    """One task; returns "label" or "text"."""
    if not (source / "task.json").is_file():
        raise SiTokError(f"{source} has no task.json: stage 1 makes data/tasks (tasks are the folders there)")
    content = json.loads((source / "task.json").read_text(encoding="utf-8"))
    task = task_of(content["kind"])
    (out / TARGET_LIST).unlink(missing_ok=True)  # written last: the sign of a finished stage
    sets, dropped = {}, 0
    for phase in SETS:
        table = read_table(source / phase / TARGET)
        kept = {utt: target for utt, target in table.items() if utt in num_samples}
        if task.target == "text":
            kept = {utt: " ".join(normalize_words(text)) for utt, text in kept.items()}
            kept = {utt: text for utt, text in kept.items() if text}
        if not kept:
            raise SiTokError(f"{source / phase}: no utterance is left (stage 2 has none of its {len(table)})")
        dropped += len(table) - len(kept)
        sets[phase] = kept
    labels = sorted(set(sets[TRAIN].values()))
    if task.target == "label":
        if len(labels) < 2:
            raise SiTokError(f"{source}: the training set has one label ({labels[0]}): nothing to learn")
        for phase, members in sets.items():
            # Verification judges speakers that training has not seen.
            unknown = sorted(set(members.values()) - set(labels)) if (phase, task.metric) != (TEST, EER) else []
            if unknown:
                raise SiTokError(f"{source / phase}: the label {unknown[0]!r} is not in the training set")
    for phase, members in sets.items():
        write_table(out / phase / TARGET, members)
    if (source / TRIALS).is_file():
        shutil.copyfile(source / TRIALS, out / TRIALS)
    elif task.metric == EER:
        raise SiTokError(f"{source / TRIALS} is missing: verification needs trials")
    shutil.copyfile(source / "task.json", out / "task.json")
    if task.target == "label":
        (out / PIECES).unlink(missing_ok=True)
        _write_list(out, labels)
    else:
        write_table(out / TRAIN / "text", sets[TRAIN])
        write_table(out / TRAIN / "utt2num_samples", {utt: num_samples[utt] for utt in sets[TRAIN]})
    counts = ", ".join(f"{len(members)} {phase}" for phase, members in sets.items())
    what = f"{len(labels)} labels" if task.target == "label" else "texts"
    print(f"{source.name}: {counts}, {what}" + (f"; {dropped} left out by stage 2" if dropped else ""), file=sys.stderr)
    return task.target


def _write_list(out: Path, names: list[str]) -> None:
    with atomic_text(out / TARGET_LIST) as file:
        file.writelines(f"{name}\n" for name in names)


def finish(out: Path) -> None:
    """The pieces that train_sentencepiece.py left in OUT/pieces become the targets."""
    shutil.copyfile(out / "pieces/bpe.model", out / PIECES)
    _write_list(out, (out / "pieces/tokens.txt").read_text(encoding="utf-8").splitlines())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task_dir", type=Path, help="data/tasks/<task>")
    parser.add_argument("--pool_dir", type=Path, help="dump/raw/pool, with utt2num_samples")
    parser.add_argument("--out_dir", type=Path, required=True, help="dump/tasks/<task>")
    parser.add_argument("--finish", action="store_true", help="only take over the trained pieces")
    args = parser.parse_args(argv)
    try:
        if args.finish:
            finish(args.out_dir)
        else:
            print(prepare(args.task_dir, args.out_dir, read_table(args.pool_dir / "utt2num_samples")))
    except SiTokError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
