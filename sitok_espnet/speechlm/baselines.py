"""Count models of tokens, which a language model must beat: unigram and interpolated Kneser-Ney bigram.

They predict what `SpeechLMModel` predicts: every code, and the end behind the last frame, each among the choices of its
codebook. With c(h, w) counts of w after the history h, D = n1 / (n1 + 2 n2) (Ney et al. 1994; n1, n2: how many pairs
occur once, twice) and N(. w) the number of different histories before w (Chen & Goodman 1998, section 2.7):

    P(w | h) = max(c(h, w) - D, 0) / c(h) + D N(h .) / c(h) P(w)
    P(w)     = max(N(. w) - D', 0) / N(. .) + D' N(. .)_types / N(. .) / C

with D' from the continuation counts in the same way, and C choices. The unigram model is the second line with plain
counts in place of N(. w).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sitok_espnet.errors import SiTokError

BEGIN = -1  # the history at the beginning of an utterance


@dataclass(frozen=True)
class Event:
    """One prediction. codebook; history: what is known; symbol: 0 ... C - 1 (of codebook 0, C - 1 is the end)."""

    codebook: int
    history: int
    symbol: int


def events(codes: np.ndarray, sizes: Sequence[int], order: str) -> list[Event]:
    """All predictions of an utterance, codes (T, N).

    Args:
        codes: within their codebooks.
        sizes: of the codebooks.
        order: "frame": the history of a code is that of the same codebook in the frame before; "flat": the code before
            it in frame-major order.
    """
    if order not in ("frame", "flat"):
        raise SiTokError(f"order of histories {order!r}: choose frame or flat")
    found = []
    frames, books = codes.shape
    flat = [BEGIN, *codes.reshape(-1).tolist()]
    for frame in range(frames + 1):
        for book in range(books if frame < frames else 1):
            if order == "flat":
                history = flat[frame * books + book]
            else:
                history = int(codes[frame - 1, book]) if frame else BEGIN
            symbol = int(codes[frame, book]) if frame < frames else sizes[0]
            found.append(Event(book, history, symbol))
    return found


class UnigramModel:
    """How often each symbol of each codebook occurs, discounted towards equal shares."""

    def __init__(self, training: Iterable[Event], sizes: Sequence[int]) -> None:
        self._choices = [size + (book == 0) for book, size in enumerate(sizes)]
        self._counts: list[Counter[int]] = [Counter() for _ in sizes]
        for event in training:
            self._count(event)
        if any(not counter for counter in self._counts):
            raise SiTokError("a count model needs training utterances")
        self._totals = [sum(counter.values()) for counter in self._counts]
        self._discounts = [_discount(counter.values()) for counter in self._counts]

    def _count(self, event: Event) -> None:
        self._counts[event.codebook][event.symbol] += 1

    def probability(self, event: Event) -> float:
        """P(symbol), whatever the history."""
        book = event.codebook
        count, total, discount = self._counts[book][event.symbol], self._totals[book], self._discounts[book]
        left = discount * len(self._counts[book]) / total
        return max(count - discount, 0.0) / total + left / self._choices[book]


class KneserNeyBigram(UnigramModel):
    """Interpolated Kneser-Ney; its lower order counts in how many histories a symbol occurs."""

    def __init__(self, training: Iterable[Event], sizes: Sequence[int]) -> None:
        self._pairs: list[Counter[tuple[int, int]]] = [Counter() for _ in sizes]
        super().__init__(training, sizes)
        self._pair_discounts = [_discount(pairs.values()) for pairs in self._pairs]
        self._history_totals: list[Counter[int]] = [Counter() for _ in sizes]
        self._followers: list[Counter[int]] = [Counter() for _ in sizes]
        for book, pairs in enumerate(self._pairs):
            for (history, _), count in pairs.items():
                self._history_totals[book][history] += count
                self._followers[book][history] += 1

    def _count(self, event: Event) -> None:
        pairs = self._pairs[event.codebook]
        if not pairs[event.history, event.symbol]:
            super()._count(event)  # a new pair: one more history of this symbol
        pairs[event.history, event.symbol] += 1

    def probability(self, event: Event) -> float:
        """P(symbol | history)."""
        lower, book = super().probability(event), event.codebook
        total = self._history_totals[book][event.history]
        if not total:
            return lower
        discount = self._pair_discounts[book]
        left = discount * self._followers[book][event.history] / total
        return max(self._pairs[book][event.history, event.symbol] - discount, 0.0) / total + left * lower


def _discount(counts: Iterable[int]) -> float:
    """n1 / (n1 + 2 n2), kept away from 0 and 1 where nothing, or everything, occurs once."""
    seen = Counter(counts)
    if not seen[1] or not seen[2]:
        return 0.5
    return seen[1] / (seen[1] + 2 * seen[2])


def nats(model: UnigramModel, utterance: Sequence[Event]) -> float:
    """-log P of an utterance."""
    return float(-np.log([model.probability(event) for event in utterance]).sum())
