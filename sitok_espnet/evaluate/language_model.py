"""A small back-off n-gram language model with an ARPA writer (ours), for the offline recogniser.

Witten-Bell smoothing, interpolated (Chen & Goodman 1998, section 2.6). With c(h) the count of the history h, T(h) the
number of different words seen after it, and h' the history without its oldest word:

    P(w | h) = (c(h w) + T(h) P(w | h')) / (c(h) + T(h)),        P(w | no history at all) = 1 / V

Written as a back-off model this is exact: a seen n-gram stores P(w | h), an unseen one costs
bow(h) = T(h) / (c(h) + T(h)) times P(w | h'), and the probabilities of every context sum to one.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from sitok_espnet.errors import SiTokError

BEGIN, END = "<s>", "</s>"
NEVER = -99.0  # ARPA's habit for log10 of zero: <s> is never predicted


class NGramModel:
    """Interpolated Witten-Bell n-gram model over a closed vocabulary.

    Args:
        sentences: training sentences as lists of words.
        extra_words: words that the model must know although no sentence has them: each counts once in the unigram
            and appears in no longer n-gram.
        order: length of the longest n-gram, in words.
    """

    def __init__(self, sentences: Iterable[Sequence[str]], extra_words: Iterable[str] = (), order: int = 3):
        if order < 1:
            raise SiTokError(f"the order of the language model must be at least 1, not {order}")
        self.order = order
        self._followers: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        words: set[str] = set()
        for sentence in sentences:
            padded = [BEGIN, *sentence, END]
            words.update(sentence)
            for end in range(1, len(padded)):
                for length in range(min(order, end + 1)):
                    self._followers[tuple(padded[end - length : end])][padded[end]] += 1
        if () not in self._followers:
            raise SiTokError("the language model has no training sentence: check the file given as --train_text")
        for word in set(extra_words) - words:
            words.add(word)
            self._followers[()][word] = 1
        if words & {BEGIN, END}:
            raise SiTokError(f"{BEGIN} and {END} are reserved by the language model: remove them from the texts")
        self.words = sorted(words)
        self.vocabulary = [*self.words, END]  # everything that can be predicted

    def probability(self, word: str, history: Sequence[str] = ()) -> float:
        """P(word | history): only the last ``order - 1`` words of the history count."""
        history = tuple(history)[-(self.order - 1) :] if self.order > 1 else ()
        lower = self.probability(word, history[1:]) if history else 1.0 / len(self.vocabulary)
        followers = self._followers.get(history)
        if followers is None:
            return lower
        total, kinds = sum(followers.values()), len(followers)
        return (followers.get(word, 0) + kinds * lower) / (total + kinds)

    def _backoff(self, history: tuple[str, ...]) -> float | None:
        followers = self._followers.get(history)
        if followers is None:
            return None
        return len(followers) / (sum(followers.values()) + len(followers))

    def arpa(self) -> str:
        """The model as the text of an ARPA file (log10 probabilities, back-off weights where an n-gram is extended)."""
        grams: list[list[tuple[str, ...]]] = [[(word,) for word in sorted([BEGIN, *self.vocabulary])]]
        for length in range(2, self.order + 1):
            histories = sorted(history for history in self._followers if len(history) == length - 1)
            grams.append([(*history, word) for history in histories for word in sorted(self._followers[history])])
        lines = ["\\data\\", *(f"ngram {length}={len(level)}" for length, level in enumerate(grams, 1))]
        for length, level in enumerate(grams, 1):
            lines += ["", f"\\{length}-grams:"]
            for gram in level:
                value = NEVER if gram == (BEGIN,) else math.log10(self.probability(gram[-1], gram[:-1]))
                backoff = self._backoff(gram) if length < self.order else None
                tail = "" if backoff is None else f"\t{math.log10(backoff):.7f}"
                lines.append(f"{value:.7f}\t{' '.join(gram)}{tail}")
        return "\n".join([*lines, "", "\\end\\", ""])

    def hash(self) -> str:
        """16 hex digits that identify the model."""
        return hashlib.sha256(self.arpa().encode()).hexdigest()[:16]
