"""Chains of training utterances: whose, how many, how long, and drawn how."""

import numpy as np
import pytest

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.joining import Joining, JoiningPreprocessor
from sitok_espnet.speechlm.pattern.choices import build_pattern
from sitok_espnet.speechlm.text import TextPreprocessor, TextTokenizer
from sitok_espnet.speechlm.vocabulary import JointVocabulary

COUNT = 30
SPEAKERS = ("anna", "bert", "solo")


def corpus(codebooks: int = 2) -> dict[str, dict]:
    """Utterance i says the word "i" and consists of the code i, 3 to 6 frames long; "solo" has only the last one."""
    names = [f"u{i}" for i in range(COUNT)]
    return {
        "text": {name: str(i) for i, name in enumerate(names)},
        "codes": {name: np.full(codebooks * (3 + i % 4), i, dtype=np.int32) for i, name in enumerate(names)},
        "speaker": {name: SPEAKERS[2 if i == COUNT - 1 else i % 2] for i, name in enumerate(names)},
    }


def joining(probability: float, max_positions: int = 512, pattern: str = "delay", training: dict | None = None):
    """Pieces are words, that is, numbers of utterances."""
    tokenizer = TextTokenizer(COUNT, "words", lambda text: [int(word) for word in text.split()], lambda text: set())
    vocabulary = JointVocabulary(COUNT, "words", (40, 40), "codes", "25/2")
    training = training or corpus()
    options = Joining.from_mapping({"probability": probability, "max_positions": max_positions})
    return JoiningPreprocessor(options, TextPreprocessor(tokenizer), build_pattern(pattern, vocabulary), training)


def item(training: dict, name: str) -> dict:
    return {key: values[name] for key, values in training.items()}


def chains(preprocessor: JoiningPreprocessor, rounds: int = 40) -> list[tuple[int, dict]]:
    """(the first utterance, what the model gets) of every utterance in every round."""
    training = corpus()
    np.random.seed(0)
    return [(int(n[1:]), preprocessor(n, item(training, n))) for _ in range(rounds) for n in training["text"]]


def test_chains_are_of_one_speaker_without_repetition_and_texts_stand_as_codes_do():
    training, seen = corpus(), set()
    for first, data in chains(joining(0.7)):
        members = data["text"].tolist()
        assert set(data) == {"text", "codes"} and members[0] == first
        assert len(set(members)) == len(members)
        assert len({training["speaker"][f"u{i}"] for i in members}) == 1
        expected = np.concatenate([training["codes"][f"u{i}"] for i in members])
        np.testing.assert_array_equal(data["codes"], expected)
        seen |= {(first, other) for other in members[1:]}
    # Partners are all others of the speaker, 15 times 14 pairs and 14 times 13, whatever they are batched with.
    assert len(seen) > 0.98 * (15 * 14 + 14 * 13)


def test_how_many_stand_together():
    members = [len(data["text"]) for first, data in chains(joining(0.5), 60) if first != COUNT - 1]
    assert abs(np.mean(members) - 2) < 0.1  # 1 / (1 - 0.5)
    assert abs(np.mean(np.array(members) == 1) - 0.5) < 0.04
    assert {len(data["text"]) for first, data in chains(joining(0.9)) if first == COUNT - 1} == {1}
    everything = [sorted(data["text"].tolist()) for first, data in chains(joining(0.999999)) if first == 0]
    assert everything == [list(range(0, COUNT - 1, 2))] * 40


@pytest.mark.parametrize("pattern", ["flatten", "delay"])
def test_chains_have_no_more_positions_than_allowed_and_use_them(pattern):
    preprocessor = joining(0.999999, 40, pattern)

    def positions(data):
        return len(data["text"]) + 2 + preprocessor.pattern.num_steps(len(data["codes"]) // 2)

    lengths = [positions(data) for _, data in chains(preprocessor)]
    assert 38 <= max(lengths) <= 40
    # One that is too long by itself stays as it is.
    short = joining(0.999999, 3, pattern)
    assert all(data["text"].tolist() == [first] for first, data in chains(short, 2))


def test_draws_are_of_the_seed_the_epoch_and_the_rank():
    training, preprocessor = corpus(), joining(0.7)

    def drawn(seed, rank=0):
        preprocessor.rank = rank
        np.random.seed(seed)
        return [preprocessor(n, item(training, n))["text"].tolist() for n in training["text"]]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, rank=1)


def test_what_follows_is_in_the_same_language_and_says_something_else():
    """As a prompt is chosen: the same words could be copied."""
    training = corpus()
    training["language"] = {name: "es" if int(name[1:]) % 4 < 2 else "en" for name in training["text"]}
    training["text"] |= {f"u{i}": "7" for i in range(0, 12)}
    preprocessor = joining(0.999999, training=training)
    np.random.seed(0)
    for first in ("u0", "u1", "u2", "u3", "u16"):
        data = preprocessor(first, item(training, first))
        members = list(dict.fromkeys(data["codes"].tolist()))
        voices = {(training["speaker"][f"u{i}"], training["language"][f"u{i}"]) for i in members}
        assert len(voices) == 1 and set(data) == {"text", "codes"}
        said = data["text"].tolist()
        assert len(set(said)) == len(said) == len(members)
        # All there is to say in this voice.
        assert set(said) == {
            int(text)
            for name, text in training["text"].items()
            if (training["speaker"][name], training["language"][name]) == next(iter(voices))
        }


def test_a_piece_may_go_across_the_seam_as_in_generation():
    """The texts are joined, not their pieces: a tokenizer that is not SentencePiece writes a word differently there."""
    preprocessor = joining(0.999999, 20)
    given = []
    tokenizer = TextTokenizer(1, "x", lambda text: given.append(text) or [0], lambda text: set())
    preprocessor.preprocessor = TextPreprocessor(tokenizer)
    preprocessor("u4", item(corpus(), "u4"))
    assert given[0] == "4" and given[1].startswith("4 ") and given[2].startswith(given[1] + " ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probabilty": 0.5}, "join_conf has unknown keys: probabilty; legal keys are probability, max_positions"),
        ({"probability": 1.0}, r"probability must be in \[0, 1\), got 1.0"),
        ({"probability": True}, "probability must be"),
        ({"probability": "often"}, "probability must be.*'often'"),
        ({"probability": 0.5, "max_positions": 0}, "max_positions must be a positive whole number, got 0"),
        ({"max_positions": 51.2}, "max_positions must be a positive whole number"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(SiTokError, match=message):
        Joining.from_mapping(options)
