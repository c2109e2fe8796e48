"""Nats of held-out tokens: what they are sums of, whose text is shuffled, and what the count models know."""

import math

import numpy as np
import pytest
import torch
from lm_dir import make_lm_dir

from sitok_espnet.speechlm.checkpoint import load_speech_lm
from sitok_espnet.speechlm.held_out import TokenData, held_out_nats, lm_nats

WORDS = "one two three four five six seven".split()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, tiny_tokenizer):
    return load_speech_lm(make_lm_dir(tmp_path_factory.mktemp("nats") / "lm", tiny_tokenizer))


def data(count=7, seed=0):
    rng = np.random.default_rng(seed)
    codes = {f"u{n}": rng.integers(0, 64, (3 + 2 * n, 1)) for n in range(count)}
    return TokenData({utt: WORDS[n] for n, utt in enumerate(codes)}, codes)


def test_each_utterance_alone_has_the_same_nats(loaded):
    held_out = data()
    together = lm_nats(loaded, held_out, 0)
    for utt, codes in held_out.codes.items():
        pieces = torch.tensor(loaded.tokenizer.encode(held_out.texts[utt]))
        for name, condition in (("text", pieces), ("no_text", None)):
            with torch.no_grad():
                alone, _ = loaded.model.losses([(condition, torch.from_numpy(codes))])
            assert together[name][utt].numerator == pytest.approx(float(alone.double().sum()), rel=1e-4)
            assert together[name][utt].denominator == len(codes) + 1


def test_the_other_text_is_that_of_another_utterance(loaded):
    held_out = data()
    scores = lm_nats(loaded, held_out, 0)["other_text"]
    for utt, codes in held_out.codes.items():
        possible = []
        for other in held_out.texts:
            pieces = torch.tensor(loaded.tokenizer.encode(held_out.texts[other]))
            with torch.no_grad():
                possible.append(
                    (other, float(loaded.model.losses([(pieces, torch.from_numpy(codes))])[0].double().sum()))
                )
        nearest = min(possible, key=lambda pair: abs(pair[1] - scores[utt].numerator))
        assert nearest[0] != utt and nearest[1] == pytest.approx(scores[utt].numerator, rel=1e-5)


def test_a_pattern_that_counting_knows_is_predicted_by_the_bigram_alone(loaded):
    cycle = TokenData(
        {f"u{n}": "one" for n in range(6)}, {f"u{n}": (np.arange(40)[:, None] + n) % 64 for n in range(6)}
    )
    result = held_out_nats(loaded, cycle, cycle, resamples=50, seed=0)
    models = {name: cell["value"] for name, cell in result["models"].items()}
    assert result["predictions"] == 6 * 41 and result["utterances"] == 6
    assert models["kneser_ney_frame"] < 1 < models["unigram"] < math.log(65)
    (pair,) = (item for item in result["comparisons"] if item["second"] == "kneser_ney_frame")
    assert pair["value"] == pytest.approx(models["text"] - models["kneser_ney_frame"])
    assert not pair["first_is_better"] and pair["p_value"] < 0.05
