"""How well held-out tokens are predicted: the language model with and without its text, and count models (ours)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.files import read_languages, read_transcripts
from sitok_espnet.evaluate.metrics import Measurement
from sitok_espnet.evaluate.request import attempt
from sitok_espnet.evaluate.text import normalize_words
from sitok_espnet.speechlm.baselines import KneserNeyBigram, UnigramModel, events, nats
from sitok_espnet.speechlm.checkpoint import LoadedSpeechLM
from sitok_espnet.speechlm.requests import utterance_seed
from sitok_espnet.tokens import read_places

TEXT, OTHER_TEXT, NO_TEXT = "text", "other_text", "no_text"
UNIGRAM, BIGRAM = "unigram", "kneser_ney_"
BATCH = 8  # utterances at once
NEAREST = 4  # texts, by length, of which an utterance gets one


@dataclass(frozen=True)
class TokenData:
    """Of the same utterances: transcripts, codes (T, N) and voices (speaker and language; none: all the same)."""

    texts: Mapping[str, str]
    codes: Mapping[str, np.ndarray]
    voices: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, data_dir: Path, codes_hash: str) -> "TokenData":
        """A set of stage 2 with tokens of the tokenizer with this hash; SiTokError where it is not one."""
        texts, codes = read_transcripts(data_dir / "text"), read_places(data_dir / "codes.scp", codes_hash)
        speakers = read_transcripts(data_dir / "utt2spk") if (data_dir / "utt2spk").is_file() else {}
        languages = read_languages(data_dir / "text")
        data = cls(texts, codes, {utt: (speakers.get(utt, ""), languages.get(utt, "")) for utt in texts})
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
        ``utterances``, ``predictions``, ``without_other_text`` (utterances that `other_texts` leaves out), ``models``
        (name -> cell) and ``comparisons`` ([first, second, cell], over the utterances that both have).
    """
    scores = lm_nats(loaded, held_out, seed) | count_nats(training, held_out, loaded.model.vocabulary.codebook_sizes)
    cells = {name: attempt(lambda v=values: _value(v, resamples, seed)) for name, values in scores.items()}
    pairs = [
        {"first": TEXT, "second": name, **_compared(scores[TEXT], values, resamples, seed)}
        for name, values in scores.items()
        if name != TEXT
    ]
    predictions = int(sum(item.denominator for item in scores[TEXT].values()))
    return {
        "utterances": len(held_out.codes),
        "predictions": predictions,
        "without_other_text": len(held_out.codes) - len(scores[OTHER_TEXT]),
        "models": cells,
        "comparisons": pairs,
    }


def _value(scores: Mapping[str, Measurement], resamples: int, seed: int) -> dict:
    if not scores:
        raise SiTokError("no utterance has another one of its speaker and language with other words")
    return asdict(statistics.bootstrap([scores[utt] for utt in sorted(scores)], resamples, seed))


def _compared(first: Mapping[str, Measurement], second: Mapping[str, Measurement], resamples: int, seed: int) -> dict:
    return attempt(lambda: statistics.compare(first, second, False, resamples, seed))


def lm_nats(loaded: LoadedSpeechLM, data: TokenData, seed: int) -> dict[str, dict[str, Measurement]]:
    """Of the language model with the right text, another one (see `other_texts`), and none."""
    order = sorted(data.codes)
    pieces = {utt: torch.tensor(loaded.tokenizer.encode(data.texts[utt]), dtype=torch.long) for utt in order}
    result = {TEXT: _predict(loaded, data, pieces)}
    others = other_texts(data, {utt: len(pieces[utt]) for utt in order}, seed)
    result[OTHER_TEXT] = _predict(loaded, data, {utt: pieces[other] for utt, other in others.items()})
    result[NO_TEXT] = _predict(loaded, data, dict.fromkeys(order))
    return result


def other_texts(data: TokenData, lengths: Mapping[str, int], seed: int) -> dict[str, str]:
    """Utterance -> another one with other words, of the same speaker in the same language.

    Any other partner would let the model tell the texts apart by who speaks, or in which language. Of the NEAREST in
    length, the seed and the utterance's name choose one; an utterance that nobody suits is left out.
    """
    voices: dict[tuple[str, str], list[str]] = defaultdict(list)
    for utt in sorted(data.texts):
        voices[data.voices.get(utt, ("", ""))].append(utt)
    words = {utt: normalize_words(text) for utt, text in data.texts.items()}
    chosen = {}
    for members in voices.values():
        for utt in members:
            others = [other for other in members if words[other] != words[utt]]
            others.sort(key=lambda other, utt=utt: (abs(lengths[other] - lengths[utt]), other))
            if others:
                chosen[utt] = others[utterance_seed(seed, utt) % min(NEAREST, len(others))]
    return chosen


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
