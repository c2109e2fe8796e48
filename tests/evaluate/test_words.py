"""Kinds of recognition errors: against every alignment there is, and where they are printed."""

from functools import cache
from itertools import product

import editdistance
import numpy as np
import pytest

from sitok_espnet.evaluate.metrics import Measurement
from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate
from sitok_espnet.evaluate.words import count_kinds, error_rows


@cache
def alignments(reference: str, hypothesis: str) -> frozenset[tuple[int, int, int, int]]:
    """(correct, substituted, deleted, inserted) of all alignments."""
    if not reference and not hypothesis:
        return frozenset({(0, 0, 0, 0)})
    steps = []
    if reference and hypothesis:
        same = reference[0] == hypothesis[0]
        steps.append(((1, 0, 0, 0) if same else (0, 1, 0, 0), reference[1:], hypothesis[1:]))
    if reference:
        steps.append(((0, 0, 1, 0), reference[1:], hypothesis))
    if hypothesis:
        steps.append(((0, 0, 0, 1), reference, hypothesis[1:]))
    return frozenset(
        tuple(a + b for a, b in zip(step, rest, strict=True)) for step, *left in steps for rest in alignments(*left)
    )


def test_it_is_the_best_of_all_alignments():
    words = ["".join(letters) for length in range(5) for letters in product("ab", repeat=length)]
    for reference, hypothesis in product(words, words):
        best = min(alignments(reference, hypothesis), key=lambda found: (sum(found[1:]), -found[0]))
        assert tuple(count_kinds([(reference, hypothesis)]).values()) == best


def test_errors_are_the_edit_distance():
    generator = np.random.default_rng(0)
    for _ in range(50):
        reference, hypothesis = (list(generator.integers(5, size=generator.integers(30))) for _ in range(2))
        kinds = count_kinds([(reference, hypothesis)])
        assert sum(kinds.values()) - kinds["correct"] == editdistance.eval(reference, hypothesis)
        assert sum(kinds.values()) - kinds["inserted"] == len(reference)
        assert sum(kinds.values()) - kinds["deleted"] == len(hypothesis)


class Words(AbsErrorRate):
    name, title, unit, sample_rate, model, version = "any_wer", "WER", "errors per reference word", 16000, "none", "0"

    def transcribe(self, speech, utterance):
        return ""

    def split(self, text, utterance):
        return text.split()


class Characters(Words):
    name, has_kinds = "any_cer", False

    def split(self, text, utterance):
        return list(text)


TEXTS = {"a": "press one now", "b": "hold on", "c": "unmeasured"}
MEASURED = {
    "a": Measurement(3, 3, "press two please now thanks"),
    "b": Measurement(2, 2, ""),
    "c": Measurement(float("nan"), 0, notice="no speech"),
}


def test_words_are_pooled_without_the_excluded_and_characters_are_not_counted():
    found = Words().extras(TEXTS, MEASURED)["error_kinds"]
    assert found == {"correct": 2, "substituted": 1, "deleted": 2, "inserted": 2}
    assert found == count_kinds([(TEXTS[utt].split(), MEASURED[utt].detail.split()) for utt in "ab"])
    assert Characters().extras(TEXTS, MEASURED) == {}


def test_an_utterance_keeps_its_words_as_they_were_compared():
    class Lower(Words):
        def split(self, text, utterance):
            return text.lower().split()

    remarks = Lower().remarks("Press One", "a", Measurement(1, 2, "PRESS two"))
    assert remarks == {"said": "press one", "heard": "press two"}
    assert Characters().remarks("Press One", "a", Measurement(1, 9, "PRESS")) == {}


@pytest.mark.parametrize("kinds", [True, False])
def test_rows(kinds):
    cell = {"status": "measured", **(Words().extras(TEXTS, MEASURED) if kinds else {})}
    results = {"metrics": {"any_wer": {"title": "WER"}}, "systems": {"x": {"metrics": {"any_wer": cell}}}}
    rows = [["X", "WER", "5", "40.0 %", "20.0 %", "40.0 %", "40.0 %"]]
    assert error_rows(results, str.upper) == (rows if kinds else [])
