"""Training utterances go on with others of their speaker, as a prompt goes on with its target (ours)."""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from espnet2.fileio.read_text import read_2columns_text
from espnet2.train.dataset import ESPnetDataset

from sitok_espnet.draws import utterance_generator
from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.distributed import rank
from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern
from sitok_espnet.speechlm.text import continued


@dataclass(frozen=True)
class Joining:
    """``join_conf`` of a training.

    Attributes:
        probability: that an utterance goes on with another one, which again goes on with the same probability: on
            average 1 / (1 - probability) utterances stand together.
        max_positions: of the language model, of all together: an utterance that does not fit is not added.
    """

    probability: float = 0.0
    max_positions: int = 512

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> "Joining":
        """From a configuration; SiTokError names the option."""
        legal = [field.name for field in fields(cls)]
        if unknown := sorted(set(options) - set(legal)):
            raise SiTokError(f"join_conf has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(legal)}")
        joining = cls(**options)
        probability, positions = joining.probability, joining.max_positions
        if isinstance(probability, bool) or not isinstance(probability, int | float) or not 0 <= probability < 1:
            raise SiTokError(f"join_conf probability must be in [0, 1), got {probability!r}")
        if isinstance(positions, bool) or not isinstance(positions, int) or positions < 1:
            raise SiTokError(f"join_conf max_positions must be a positive whole number, got {positions!r}")
        return joining


def training_tables(args: argparse.Namespace) -> dict[str, Mapping[str, Any]]:
    """Data name -> utterance -> what a training has of it, read with ESPnet's options of a training.

    Raises:
        SiTokError: an utterance of the training has no entry in one of them, nobody says who speaks, or ESPnet would
            keep the chains of the first epoch for all others.
    """
    if args.max_cache_size:
        raise SiTokError(
            f"--max_cache_size {args.max_cache_size} would keep the chains that join_conf made in the first epoch: "
            "leave it at 0"
        )
    if args.multiple_iterator:
        raise SiTokError("join_conf needs the whole training set at once: leave --multiple_iterator false")
    places = {name: path for path, name, _ in args.train_data_path_and_name_and_type}
    if "speaker" not in places:
        raise SiTokError(
            "join_conf needs to know who speaks: give the training data utt2spk,speaker,text (stage 5 does)"
        )
    tables = dict(ESPnetDataset([tuple(item) for item in args.train_data_path_and_name_and_type]).loader_dict)
    # ESPnet trains on the utterances of the first shape file, of which the tables may have more.
    utterances = list(tables["speaker"])
    if args.train_shape_file:
        utterances = list(read_2columns_text(args.train_shape_file[0]))
    for name, table in tables.items():
        if missing := [utterance for utterance in utterances if utterance not in table]:
            raise SiTokError(
                f"{places[name]}: {len(missing)} training utterances are missing, the first is {missing[0]}: "
                "run stages 2 and 4 of the recipe again"
            )
    speakers = tables["speaker"]
    return tables | {"speaker": {utterance: speakers[utterance] for utterance in utterances}}


class JoiningPreprocessor:
    """ESPnet's preprocessor of a training: texts and codes of one or several utterances, then the text's preprocessor.

    What follows is drawn as a prompt is chosen: from all training utterances of the same speaker in the same language,
    none of the same words as another of the chain (they could be copied). Batches are made by the length of the first
    utterance: `joining.max_positions` times its utterances is what a batch can grow to.

    Args:
        joining: how likely, how long.
        preprocessor: text to pieces.
        pattern: how many steps a number of frames takes.
        training: data name (text, codes, speaker, maybe language) -> utterance -> transcript, codes (T N,), name or
            code; the utterances are those of ``speaker``.
    """

    def __init__(
        self,
        joining: Joining,
        preprocessor: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
        pattern: AbsPattern,
        training: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.joining = joining
        self.preprocessor = preprocessor
        self.pattern = pattern
        self.texts, self.codes = training["text"], training["codes"]
        self.utterances: dict[tuple[str, str], list[str]] = defaultdict(list)
        languages = training.get("language", {})
        for utterance, speaker in training["speaker"].items():
            self.utterances[speaker, languages.get(utterance, "")].append(utterance)
        self.different_texts = {
            voice: len({self.texts[utterance] for utterance in own}) for voice, own in self.utterances.items()
        }
        self.rank = rank()

    def __call__(self, uid: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """An utterance and, by its own generator, what follows it."""
        random = utterance_generator(uid, self.rank)
        voice = (data["speaker"], data.get("language", ""))
        candidates = self.utterances[voice]
        said, whole = {data["text"]}, self.preprocessor(uid, data)
        while len(said) < self.different_texts[voice] and random.random() < self.joining.probability:
            other = candidates[random.integers(len(candidates))]
            while self.texts[other] in said:
                other = candidates[random.integers(len(candidates))]
            text = continued(data["text"], self.texts[other])
            data = {**data, "text": text, "codes": np.concatenate([data["codes"], self.codes[other]])}
            longer = self.preprocessor(uid, data)
            frames = len(longer["codes"]) // self.pattern.num_codebooks
            if len(longer["text"]) + 2 + self.pattern.num_steps(frames) > self.joining.max_positions:
                break
            said.add(self.texts[other])
            whole = longer
        return whole
