"""Training utterances go on with others of their speaker, as a prompt goes on with its target (ours)."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

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


class JoiningPreprocessor:
    """ESPnet's preprocessor of a training: texts and codes of one or several utterances, then the text's preprocessor.

    The others are drawn from all training utterances of the speaker, none twice in a chain (a repetition could be
    copied). Every utterance begins one sequence an epoch; batches are made by its own length, before others follow.

    Args:
        joining: how likely, how long.
        preprocessor: text to pieces.
        pattern: how many steps a number of frames takes.
        training: data name (text, codes, speaker) -> utterance -> transcript, codes (T N,) or speaker.
    """

    def __init__(
        self,
        joining: Joining,
        preprocessor: Callable[[str, dict[str, Any]], dict[str, np.ndarray]],
        pattern: AbsPattern,
        training: Mapping[str, Mapping[str, Any]],
    ) -> None:
        if "speaker" not in training:
            raise SiTokError(
                "join_conf needs to know who speaks: give the training data utt2spk,speaker,text (stage 5 does)"
            )
        self.joining = joining
        self.preprocessor = preprocessor
        self.pattern = pattern
        self.texts, self.codes = training["text"], training["codes"]
        self.utterances: dict[str, list[str]] = defaultdict(list)
        for utterance, speaker in training["speaker"].items():
            self.utterances[speaker].append(utterance)
        self.rank = rank()

    def __call__(self, uid: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """An utterance and, by its own generator, what follows it."""
        random = utterance_generator(uid, self.rank)
        candidates = self.utterances[data["speaker"]]
        members, whole = {uid}, self.preprocessor(uid, data)
        while len(members) < len(candidates) and random.random() < self.joining.probability:
            other = uid
            while other in members:
                other = candidates[random.integers(len(candidates))]
            text = continued(data["text"], self.texts[other])
            data = {**data, "text": text, "codes": np.concatenate([data["codes"], self.codes[other]])}
            longer = self.preprocessor(uid, data)
            frames = len(longer["codes"]) // self.pattern.num_codebooks
            if len(longer["text"]) + 2 + self.pattern.num_steps(frames) > self.joining.max_positions:
                break
            members.add(other)
            whole = longer
        return whole
