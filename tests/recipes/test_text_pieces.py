"""SentencePiece stage: the token list's form, and the share of utterances that CTC can align."""

import json

import pytest
import sentencepiece
from recipe_files import write_table
from train_sentencepiece import ctc_fit, frames_needed
from train_sentencepiece import main as train_main

from sitok_espnet.errors import SiTokError

WORDS = "please enter your number followed by the pound key press star to hear this message again thank you".split()


def sentences(count: int) -> dict[str, str]:
    return {f"u{i:03d}": " ".join(WORDS[(i * j + j) % len(WORDS)] for j in range(2 + i % 7)) for i in range(count)}


def run(tmp_path, texts: dict[str, str], nbpe: int):
    write_table(tmp_path / "text", texts)
    write_table(tmp_path / "utt2num_samples", dict.fromkeys(texts, 24000))
    train_main(["--data_dir", str(tmp_path), "--out_dir", str(tmp_path / "out"), "--nbpe", str(nbpe)])
    return tmp_path / "out"


@pytest.mark.parametrize(
    "labels, frames", [([], 0), ([5], 1), ([5, 6, 5], 3), ([5, 5], 3), ([5, 5, 5], 5), ([1, 1, 2, 2, 3], 7)]
)
def test_frames_needed(labels, frames):
    assert frames_needed(labels) == frames


def test_ctc_fit_against_a_count_by_hand():
    labels = {"a": [1, 2, 3], "b": [1, 1], "c": [1, 2, 3, 4, 5, 6, 7], "d": []}
    # 6.25 Hz: a token is 3840 samples. a: 7681 samples are 3 tokens, needs 3. b: 3840 -> 1, needs 3. c: 3841 -> 2 of 7.
    # 12.5 Hz: a fits; b: 2 of 3; c: 3 of 7. 25 Hz: b: 4 of 3 fits; c: 5 of 7. 50 Hz: c: 9 of 7 fits.
    # d has no transcript and does not count.
    samples = {"a": 7681, "b": 3840, "c": 3841, "d": 480}
    assert ctc_fit(labels, samples) == {"6.25": 1 / 3, "12.5": 1 / 3, "25": 2 / 3, "50": 1.0}


def test_one_sample_makes_a_token():
    assert ctc_fit({"a": [1]}, {"a": 3841})["6.25"] == 1.0
    assert ctc_fit({"a": [1, 2]}, {"a": 3840})["6.25"] == 0.0
    assert ctc_fit({"a": [1, 2]}, {"a": 3841})["6.25"] == 1.0


def test_no_transcripts():
    with pytest.raises(SiTokError, match="no utterance has a transcript"):
        ctc_fit({"a": []}, {"a": 100})


def test_token_list_is_espnets(tmp_path, capsys):
    out = run(tmp_path, {**sentences(60), "v": ""}, 40)
    tokens = (out / "tokens.txt").read_text().splitlines()
    assert len(tokens) == len(set(tokens)) == 40
    assert tokens[:2] == ["<blank>", "<unk>"] and tokens[-1] == "<sos/eos>"
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(out / "bpe.model"))
    for sentence in sentences(60).values():
        assert set(pieces.encode(sentence, out_type=str)) <= set(tokens[2:-1])
    printed = capsys.readouterr().out
    shares = json.loads((out / "ctc_fit.json").read_text())["share_of_utterances_by_token_rate_hz"]
    # One second each: a second count, from the pieces themselves.
    for rate, tokens_a_second in (("6.25", 7), ("12.5", 13), ("25", 25), ("50", 50)):
        needed = [frames_needed(pieces.encode(s)) for s in sentences(60).values()]
        assert shares[rate] == sum(n <= tokens_a_second for n in needed) / 60
        assert f"{rate:>5} Hz: {100 * shares[rate]:6.2f} %" in printed


def test_training_again_gives_the_same_pieces(tmp_path):
    out = run(tmp_path, sentences(60), 40)
    first = (out / "tokens.txt").read_bytes()
    assert (run(tmp_path, sentences(60), 40) / "tokens.txt").read_bytes() == first


@pytest.mark.parametrize(
    "nbpe, message", [(5000, "use at most"), (12, "is too small: the text has"), (2, "leaves no piece beside")]
)
def test_impossible_sizes_come_with_advice(tmp_path, nbpe, message):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, sentences(60), nbpe)
    assert message in str(stopped.value)
    assert not (tmp_path / "out/tokens.txt").exists()


def test_the_advised_maximum_works_and_one_more_does_not(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, sentences(60), 5000)
    most = int(str(stopped.value).rsplit(maxsplit=1)[1])
    with pytest.raises(SystemExit):
        run(tmp_path, sentences(60), most + 1)
    assert len((run(tmp_path, sentences(60), most) / "tokens.txt").read_text().splitlines()) == most


def test_the_advised_minimum_works_and_one_less_does_not(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, sentences(60), 12)
    least = int(str(stopped.value).rsplit(maxsplit=1)[1])
    with pytest.raises(SystemExit):
        run(tmp_path, sentences(60), least - 1)
    run(tmp_path, sentences(60), least)


def test_a_corpus_without_transcripts_is_an_error(tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, {"a": "", "b": ""}, 40)
    assert "no utterance of the training set has a transcript" in str(stopped.value)
