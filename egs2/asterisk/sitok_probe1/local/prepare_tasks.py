#!/usr/bin/env python3
"""The tasks of the mini probe recipe, from the formatted data of the tokenizer recipes.

Test and validation utterances are those of the tokenizer's own test and dev sets: it was trained on the others. Not so
for keywords, of which the dev set has 26, and not all 12: there both sets test, and a part of the training prompts
validates.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from probe_sets import ProbeCorpus, TaskSets, hash_share, print_report, require
from recipe_files import read_table
from word_clips import Aligner, check_aligner

from sitok_espnet.audio import write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.verification import make_trials

SETS = {"train": ("train",), "valid": ("dev",), "test": ("test", "test_es", "test_fr", "test_it", "test_ru")}
# What is said often enough in the training prompts, and at all in the others.
KEYWORDS = "call conference enter message number one please pound press three two your".split()
TRAIN_LIMIT = 150  # training utterances of a language or voice: none outweighs the others, and a CPU is enough
FILLETS_VOICES = ("fillets-cs-big", "fillets-cs-small")

LANGUAGE_NOTE = (
    "Confounded: fr, it and ru are each one voice, recorded in its own studio, so that voice or channel alone tells "
    "these languages; en and es are the same person."
)
PAIR_NOTE = (
    "The same person speaks both languages, so that voice does not give it away; but the recordings are of different "
    "years and sound different: a linear probe on the mean mel tells them apart without an error."
)
SPEAKER_NOTE = (
    "Closed set: the {count} voices of the trials are those that the probe was trained on, with other utterances. "
    "Trials pair utterances within a corpus only ({pairs}), half of them of the same voice; among the Asterisk voices "
    "other voices mean other languages and studios, and same-voice pairs of Allison may be of two languages."
)
ASR_NOTE = (
    "English prompts of one voice, 15 minutes: words are rarely whole; read the character error rate. "
    "The test prompts share no sentence and no word 4-gram with the training prompts."
)
KEYWORD_NOTE = (
    "Single words cut from the English prompts of one voice by a forced alignment (pocketsphinx), "
    "validation words from 15 % of the tokenizer's training prompts (the probe was trained on the others), test words "
    "from the tokenizer's dev and test prompts, which trained neither (the dev prompts validated the "
    "tokenizer): {words}."
)


class Source:
    """A recipe's dump/raw: sets with wav.scp, text, utt2spk and utt2lang."""

    def __init__(self, root: Path):
        self.root = root

    def table(self, name: str, file: str) -> dict[str, str]:
        return read_table(self.root / name / file)

    def wavs(self, name: str) -> dict[str, Path]:
        """Paths in wav.scp are relative to the recipe, two folders above the set's."""
        return {utt: self.root.resolve().parents[1] / path for utt, path in self.table(name, "wav.scp").items()}

    def merged(self, names: tuple[str, ...], file: str) -> dict[str, str]:
        return {utt: value for name in names for utt, value in self.table(name, file).items()}


def limited(labels: dict[str, str]) -> dict[str, str]:
    """At most TRAIN_LIMIT utterances of each label, the same ones whatever else is asked of them."""
    kept: dict[str, str] = {}
    for label in sorted(set(labels.values())):
        mine = sorted((utt for utt in labels if labels[utt] == label), key=hash_share)
        kept.update(dict.fromkeys(mine[:TRAIN_LIMIT], label))
    return kept


def language_tasks(corpus: ProbeCorpus, source: Source) -> None:
    five, pair = TaskSets("language", LANGUAGE_NOTE), TaskSets("language", PAIR_NOTE)
    for phase, names in SETS.items():
        labels = source.merged(names, "utt2lang")
        labels = limited(labels) if phase == "train" else labels
        five.sets[phase] = labels
        pair.sets[phase] = {utt: lang for utt, lang in labels.items() if lang in ("en", "es")}
    corpus.tasks["language"], corpus.tasks["language_en_es"] = five, pair


def recognition_tasks(corpus: ProbeCorpus, source: Source) -> None:
    for kind in ("asr_ctc", "asr_lm"):
        task = TaskSets(kind, ASR_NOTE)
        for phase, names in SETS.items():
            english = {utt for utt, lang in source.merged(names, "utt2lang").items() if lang == "en"}
            task.sets[phase] = {u: text for u, text in source.merged(names, "text").items() if u in english}
        corpus.tasks[kind] = task


def speaker_task(corpus: ProbeCorpus, source: Source, fillets: Source | None) -> None:
    task, pairs = TaskSets("speaker_verification"), []
    tested = source.merged(SETS["test"], "utt2spk")
    groups = [(source.merged(SETS["train"], "utt2spk"), source.merged(SETS["valid"], "utt2spk"), tested)]
    if fillets:
        ours = [
            {u: s for u, s in fillets.table(name, "utt2spk").items() if s in FILLETS_VOICES}
            for name in ("train", "dev", "test")
        ]
        groups.append(tuple(ours))
    for train, valid, test in groups:
        task.sets["train"].update(limited(train))
        task.sets["valid"].update(valid)
        task.sets["test"].update(test)
        made = make_trials(test)
        names = made.utterances
        task.trials += [
            (names[e], names[t], bool(same)) for e, t, same in zip(made.enrolment, made.test, made.target, strict=True)
        ]
        pairs.append(f"{len(made.target)} of {len(set(test.values()))} voices")
    task.note = SPEAKER_NOTE.format(count=len(set(task.sets["train"].values())), pairs=", ".join(pairs))
    corpus.tasks["speaker_verification"] = task


def keyword_task(corpus: ProbeCorpus, source: Source, audio_dir: Path) -> str:
    """Cut the words; a part of the training prompts, by their names, validates: dev prompts have too few of them."""
    names = tuple(name for part in SETS.values() for name in part)
    texts, languages = source.merged(names, "text"), source.merged(names, "utt2lang")
    paths = {utt: path for name in names for utt, path in source.wavs(name).items()}
    held_out = {utt for phase in ("valid", "test") for utt in source.merged(SETS[phase], "utt2spk")}
    speakers = source.merged(names, "utt2spk")
    english = sorted(utt for utt, lang in languages.items() if lang == "en")
    wanted = frozenset(KEYWORDS)
    spoken = [utt for utt in english if wanted & set(texts[utt].split())]
    aligner, task, aligned = Aligner(texts[utt] for utt in english), TaskSets("keyword"), 0
    for utterance in spoken:
        phase = "test" if utterance in held_out else "valid" if hash_share(utterance) < 0.15 else "train"
        found = list(aligner.clips(paths[utterance], texts[utterance], wanted))
        aligned += bool(found)
        for clip in found:
            name = f"{utterance}-word{clip.number:03d}"
            path = audio_dir / f"{name}.flac"
            write_audio(path, clip.samples, clip.rate)
            task.sets[phase][corpus.add(name, path, speakers[utterance])] = clip.word
    check_aligner(aligned, len(spoken))
    counts = Counter(task.sets["test"].values())
    task.note = KEYWORD_NOTE.format(words=", ".join(f"{word} {counts[word]}" for word in KEYWORDS))
    corpus.tasks["keyword"] = task
    return f"keyword: {aligned} of {len(spoken)} prompts aligned"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--asterisk", type=Path, required=True, help="dump/raw of egs2/asterisk/sitok1")
    parser.add_argument("--fillets", type=Path, help="dump/raw of egs2/fillets/sitok1, if it is there")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    try:
        parts = [name for names in SETS.values() for name in names]
        require(args.asterisk, [f"{name}/utt2lang" for name in parts], "ASTERISK (stages 1 and 2 of that recipe)")
        source = Source(args.asterisk)
        there = args.fillets is not None and (args.fillets / "test/wav.scp").is_file()
        fillets = Source(args.fillets) if there else None
        corpus = ProbeCorpus()
        sources = [(source, parts)] + ([(fillets, ["train", "dev", "test"])] if fillets else [])
        for origin, names in sources:
            for name in names:
                speakers = origin.table(name, "utt2spk")
                for utterance, path in origin.wavs(name).items():
                    corpus.add(utterance, path, speakers[utterance])
        language_tasks(corpus, source)
        recognition_tasks(corpus, source)
        speaker_task(corpus, source, fillets)
        line = keyword_task(corpus, source, args.data_dir / "audio/keyword")
        remarks = [line, None if fillets else f"no {args.fillets}: no Czech voices"]
        print_report(corpus.write(args.data_dir, remarks))
    except SiTokError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
