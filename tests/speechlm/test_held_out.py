"""Nats of held-out tokens: what they are sums of, whose text is shuffled, and what the count models know."""

import math

import numpy as np
import pytest
import soundfile
import torch
from lm_dir import make_lm_dir
from recipe_files import write_table

from sitok_espnet.dump import dump_tokens
from sitok_espnet.inputs import read_scp
from sitok_espnet.speechlm.checkpoint import load_speech_lm
from sitok_espnet.speechlm.held_out import TokenData, held_out_nats, lm_nats, other_texts
from sitok_espnet.tokens import open_tokens

WORDS = "one two three four five six seven".split()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, tiny_tokenizer):
    return load_speech_lm(make_lm_dir(tmp_path_factory.mktemp("nats") / "lm", tiny_tokenizer))


def data(count=7, seed=0, voices=None):
    rng = np.random.default_rng(seed)
    codes = {f"u{n}": rng.integers(0, 64, (3 + 2 * n, 1)) for n in range(count)}
    return TokenData({utt: WORDS[n] for n, utt in enumerate(codes)}, codes, voices or {})


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


def test_the_other_text_is_of_the_same_speaker_and_language_and_says_something_else():
    texts = {
        "a1": "Hello, there!",
        "a2": "hello there",
        "a3": "good bye",
        "a4": "see you",
        "b1": "alone",
        "s1": "adios",
    }
    texts |= {f"z{n}": f"number {n}" for n in range(12)}
    voices = {utt: ("b" if utt == "b1" else utt[0], "es" if utt == "s1" else "en") for utt in texts}
    voices["s1"] = ("a", "es")  # the same person in another language
    lengths = {utt: len(text) for utt, text in texts.items()}
    chosen = [other_texts(TokenData(texts, {}, voices), lengths, seed) for seed in range(8)]
    for others in chosen:
        assert texts.keys() - others.keys() == {"b1", "s1"}
        for utt, other in others.items():
            assert voices[utt] == voices[other] and utt != other
        assert others["a1"] in ("a3", "a4") and others["a2"] in ("a3", "a4")
    assert len({tuple(others.items()) for others in chosen}) > 2  # the seed decides
    far = other_texts(TokenData(texts, {}, voices), lengths | {"z1": 0, "z2": 0, "z3": 0, "z4": 0, "z5": 0}, 0)
    assert far["z1"] in {"z2", "z3", "z4", "z5"}  # of similar length


def test_the_comparison_is_over_those_that_have_another_text(loaded):
    held_out = data(voices={f"u{n}": ("b" if n == 6 else "a", "en") for n in range(7)})
    result = held_out_nats(loaded, held_out, held_out, resamples=20, seed=0)
    assert result["without_other_text"] == 1 and result["models"]["other_text"]["count"] == 6
    (pair,) = (item for item in result["comparisons"] if item["second"] == "other_text")
    assert pair["count"] == 6
    alone = data(voices={f"u{n}": (str(n), "en") for n in range(7)})
    result = held_out_nats(loaded, alone, alone, resamples=20, seed=0)
    assert result["models"]["other_text"]["status"] == "not run" and result["without_other_text"] == 7


def test_a_set_brings_its_voices(loaded, tiny_tokenizer, tmp_path):
    rng = np.random.default_rng(0)
    inputs = {}
    for utt in ("u1", "u2"):
        soundfile.write(tmp_path / f"{utt}.wav", 0.1 * rng.standard_normal(9600), 24000)
        inputs[utt] = tmp_path / f"{utt}.wav"
    write_table(tmp_path / "wav.scp", inputs)
    dump_tokens(tiny_tokenizer, read_scp(tmp_path / "wav.scp"), tmp_path / "tokens", progress=False)
    entries = open_tokens(tmp_path / "tokens").entries
    write_table(tmp_path / "codes.scp", {entry.utt: f"{entry.ark}:{entry.offset}" for entry in entries})
    write_table(tmp_path / "text", {"u1": "one", "u2": "two"})
    write_table(tmp_path / "utt2spk", {"u1": "a", "u2": "b"})
    write_table(tmp_path / "utt2lang", {"u1": "en", "u2": "es"})
    found = TokenData.read(tmp_path, tiny_tokenizer.codes_hash)
    assert found.voices == {"u1": ("a", "en"), "u2": ("b", "es")} and len(found.codes["u1"]) == 5


def test_a_pattern_that_counting_knows_is_predicted_by_the_bigram_alone(loaded):
    counted = TokenData({}, {f"t{n}": (np.arange(40)[:, None] + n) % 64 for n in range(0, 64, 4)})
    cycle = TokenData(
        {f"u{n}": WORDS[n] for n in range(6)}, {f"u{n}": (np.arange(40)[:, None] + n) % 64 for n in range(6)}
    )
    result = held_out_nats(loaded, counted, cycle, resamples=50, seed=0)
    models = {name: cell["value"] for name, cell in result["models"].items()}
    assert result["predictions"] == 6 * 41 and result["utterances"] == 6
    assert models["kneser_ney_frame"] < 1 < models["unigram"] < math.log(65)
    (pair,) = (item for item in result["comparisons"] if item["second"] == "kneser_ney_frame")
    assert pair["value"] == pytest.approx(models["text"] - models["kneser_ney_frame"])
    assert not pair["first_is_better"] and pair["p_value"] < 0.05
    # Counting is done on the training set: what that has never seen cannot be known.
    backwards = TokenData({}, {utt: codes[::-1] for utt, codes in counted.codes.items()})
    result = held_out_nats(loaded, backwards, cycle, resamples=20, seed=0)
    assert result["models"]["kneser_ney_frame"]["value"] > 3
