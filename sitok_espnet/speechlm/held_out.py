"""How well held-out tokens are predicted: the language model with and without its text, and count models (ours)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.files import read_transcripts
from sitok_espnet.evaluate.metrics import Measurement
from sitok_espnet.evaluate.request import attempt
from sitok_espnet.evaluate.systems import assign_others
from sitok_espnet.speechlm.baselines import KneserNeyBigram, UnigramModel, events, nats
from sitok_espnet.speechlm.checkpoint import LoadedSpeechLM
from sitok_espnet.speechlm.generate_set import read_codes

TEXT, OTHER_TEXT, NO_TEXT = "text", "other_text", "no_text"
UNIGRAM, BIGRAM = "unigram", "kneser_ney_"
BATCH = 8  # utterances at once


@dataclass(frozen=True)
class TokenData:
    """Transcripts and codes (T, N) of the same utterances."""

    texts: Mapping[str, str]
    codes: Mapping[str, np.ndarray]

    @classmethod
    def read(cls, data_dir: Path, codebook_sizes: Sequence[int]) -> "TokenData":
        """A set of stage 2; SiTokError where it is not one."""
        data = cls(read_transcripts(data_dir / "text"), read_codes(data_dir / "codes.scp", codebook_sizes))
        if data.texts.keys() != data.codes.keys() or not data.codes:
            raise SiTokError(f"{data_dir}: text and codes.scp have different utterances, or none: run stage 2 again")
        return data


def held_out_nats(
    loaded: LoadedSpeechLM, training: TokenData, held_out: TokenData, resamples: int, seed: int
) -> dict[str, object]:
    """Nats per predicted code (all codes, and the end) of every model, with paired differences to the first.

    Args:
        loaded: the language model.
        training: what the count models count.
        held_out: what is predicted.
        resamples, seed: of the bootstrap; the seed also gives every utterance the text of another one.

    Returns:
        ``utterances``, ``predictions``, ``models`` (name -> cell) and ``comparisons`` ([first, second, cell]).
    """
    scores = lm_nats(loaded, held_out, seed) | count_nats(training, held_out, loaded.model.vocabulary.codebook_sizes)
    order = sorted(held_out.codes)
    cells = {
        name: attempt(lambda v=values: asdict(statistics.bootstrap([v[utt] for utt in order], resamples, seed)))
        for name, values in scores.items()
    }
    pairs = [
        {"first": TEXT, "second": name, **_compared(scores[TEXT], values, resamples, seed)}
        for name, values in scores.items()
        if name != TEXT
    ]
    predictions = int(sum(item.denominator for item in scores[TEXT].values()))
    return {"utterances": len(order), "predictions": predictions, "models": cells, "comparisons": pairs}


def _compared(first: Mapping[str, Measurement], second: Mapping[str, Measurement], resamples: int, seed: int) -> dict:
    return attempt(lambda: statistics.compare(first, second, False, resamples, seed))


def lm_nats(loaded: LoadedSpeechLM, data: TokenData, seed: int) -> dict[str, dict[str, Measurement]]:
    """Of the language model with the right text, that of another utterance of similar length, and none."""
    order = sorted(data.codes)
    pieces = {utt: torch.tensor(loaded.tokenizer.encode(data.texts[utt]), dtype=torch.long) for utt in order}
    result = {TEXT: _predict(loaded, data, pieces)}
    if len(order) > 1:  # a text of another utterance needs another one
        others = assign_others([len(pieces[utt]) for utt in order], seed)
        swapped = {utt: pieces[order[other]] for utt, other in zip(order, others, strict=True)}
        result[OTHER_TEXT] = _predict(loaded, data, swapped)
    result[NO_TEXT] = _predict(loaded, data, dict.fromkeys(order))
    return result


@torch.no_grad()
def _predict(
    loaded: LoadedSpeechLM, data: TokenData, pieces: Mapping[str, torch.Tensor | None]
) -> dict[str, Measurement]:
    order = sorted(pieces, key=lambda utt: (len(data.codes[utt]), utt))
    measured = {}
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        items = [(pieces[utt], torch.from_numpy(data.codes[utt])) for utt in part]
        values, where = loaded.model.losses_by_utterance(items)
        for index, utt in enumerate(part):
            own = values[where[:, 0] == index].double()
            measured[utt] = Measurement(float(own.sum()), float(len(own)))
    return measured


def count_nats(training: TokenData, held_out: TokenData, sizes: Sequence[int]) -> dict[str, dict[str, Measurement]]:
    """Of the count models; with one codebook both orders of histories are one model."""
    result = {}
    for order in ("frame", "flat") if len(sizes) > 1 else ("frame",):
        counted = [event for codes in training.codes.values() for event in events(codes, sizes, order)]
        models = {UNIGRAM: UnigramModel} if order == "frame" else {}
        for name, kind in {**models, BIGRAM + order: KneserNeyBigram}.items():
            model = kind(counted, sizes)
            predicted = {utt: events(codes, sizes, order) for utt, codes in held_out.codes.items()}
            result[name] = {utt: Measurement(nats(model, own), float(len(own))) for utt, own in predicted.items()}
    return result
