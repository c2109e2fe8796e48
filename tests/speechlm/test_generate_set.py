"""A test set spoken in batches: seeds, resuming, the token set, audio of the rows, and what is refused."""

import argparse
import hashlib
import json
import shutil

import numpy as np
import pytest
import soundfile
from lm_dir import make_lm_dir
from speech_generator import write_corpus
from tts_sets import main as make_sets

from sitok_espnet.bin import speechlm_generate, speechlm_vocode
from sitok_espnet.dump import dump_tokens
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.speech_lm_table import speech_lm_section
from sitok_espnet.inputs import read_scp
from sitok_espnet.speechlm import generate_set as module
from sitok_espnet.speechlm.checkpoint import load_speech_lm
from sitok_espnet.speechlm.generate_set import generate_set, read_texts
from sitok_espnet.speechlm.requests import frames_of, utterance_seed
from sitok_espnet.speechlm.results import durations, speech_lm_results
from sitok_espnet.speechlm.sampling import TokenSampling
from sitok_espnet.tokens import open_tokens, read_places, read_tokens

SAMPLING = TokenSampling(min_frames=0, max_frames=6)


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_tokenizer, tiny_model_dir):
    """data, tokens (a dump), set (stage 2), lm (stage 5)."""
    root = tmp_path_factory.mktemp("spoken")
    data = write_corpus(root / "data", 6, seed=5, words=(1, 2))
    lengths = {item.utt: len(item.read()[0]) for item in read_scp(data / "wav.scp")}
    (data / "utt2num_samples").write_text("".join(f"{utt} {count}\n" for utt, count in lengths.items()))
    dump_tokens(tiny_tokenizer, read_scp(data / "wav.scp"), root / "tokens", progress=False)
    options = ["--data_dir", data, "--tokens", root / "tokens", "--out_dir", root / "set"]
    make_sets([str(word) for word in (*options, "--prompts_from", data, root / "tokens")])
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    make_lm_dir(root / "lm", tiny_tokenizer, texts=f"{letters}\n" * 2 + "alpha bravo\n", pieces=31)
    return root


def speak(place, output, **options):
    loaded = load_speech_lm(place / "lm")
    texts = read_texts(place / "set", loaded.model.vocabulary.codes_hash)
    return generate_set(loaded, texts, place / "tokens", output, **{"sampling": SAMPLING, **options})


def test_seeds_are_the_documented_ones():
    digest = hashlib.sha256(b"7 utt-1").hexdigest()
    assert utterance_seed(7, "utt-1") == int(digest[:8], 16)
    assert frames_of(0.4, "25/2") == 5 and frames_of(0.41, "25/2") == 6


def test_a_token_set_with_a_status_for_everybody(place, tmp_path):
    counts = speak(place, tmp_path / "out", batch_size=4)
    status = dict(line.split() for line in (tmp_path / "out/utt2status").read_text().splitlines())
    assert sum(counts.values()) == len(status) == 6
    tokens = open_tokens(tmp_path / "out")
    codes = dict(tokens)
    assert codes.keys() == {utt for utt, what in status.items() if what != "empty"}
    assert tokens.manifest["codes_hash"] == open_tokens(place / "tokens").manifest["codes_hash"]
    for entry in tokens.entries:
        assert entry.num_samples == 1920 * len(codes[entry.utt])
        # Within the longest length, and below it unless the model was stopped or ended just there.
        assert len(codes[entry.utt]) == 6 or (len(codes[entry.utt]) < 6 and status[entry.utt] == "ended")
    report = json.loads((tmp_path / "out/generation.json").read_text())
    assert {utt: item["status"] for utt, item in report["utterances"].items()} == status
    assert all(item["seconds"] > 0 for item in report["utterances"].values())


def test_batching_does_not_matter_and_the_seed_does(place, tmp_path):
    for name, options in (("a", {"batch_size": 6}), ("b", {"batch_size": 1}), ("c", {"batch_size": 6, "seed": 1})):
        speak(place, tmp_path / name, **options)
    one, two, three = (dict(read_tokens(tmp_path / name)) for name in "abc")
    assert one.keys() == two.keys()
    for utt in one:
        np.testing.assert_array_equal(one[utt], two[utt])
    assert three.keys() != one.keys() or any(one[u].shape != three[u].shape or (one[u] != three[u]).any() for u in one)


def test_an_interrupted_generation_goes_on(place, tmp_path, monkeypatch):
    speak(place, tmp_path / "whole", batch_size=2)
    calls, generate = [], module.generate

    def counted(model, requests, *rest):
        calls.append(len(requests))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(model, requests, *rest)

    monkeypatch.setattr(module, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        speak(place, tmp_path / "parts", batch_size=2)
    assert not (tmp_path / "parts/generation.json").exists()
    with pytest.raises(SiTokError, match="not a set of tokens"):
        open_tokens(tmp_path / "parts")
    speak(place, tmp_path / "parts", batch_size=2)
    assert calls == [2, 2, 2, 2]  # the first batch is not spoken again
    assert (tmp_path / "parts/tokens.ark").read_bytes() == (tmp_path / "whole/tokens.ark").read_bytes()
    speak(place, tmp_path / "parts", batch_size=2)
    assert len(calls) == 4
    speak(place, tmp_path / "parts", batch_size=2, seed=3)  # other settings: all of it again
    assert len(calls) == 7


def test_rows_of_audio_and_silence_for_the_empty(place, tmp_path, tiny_model_dir, tiny_tokenizer, capsys):
    speak(place, tmp_path / "made")
    command = ["--tokenizer", tiny_model_dir, "--data_dir", place / "set", "--generated", tmp_path / "made"]
    command += ["--output_dir", tmp_path / "rows", "--steps", 2, "--vocoder_conf", "iterations=4"]
    command += ["--temperature", 0.5]
    assert speechlm_vocode.main([str(word) for word in command]) == 0
    codes = dict(read_tokens(place / "tokens"))
    samples = dict(line.split() for line in (place / "set/utt2num_samples").read_text().splitlines())
    prompts = dict(line.split() for line in (place / "set/prompts").read_text().splitlines())
    status = dict(line.split() for line in (tmp_path / "made/utt2status").read_text().splitlines())
    made = dict(read_tokens(tmp_path / "made"))
    for utt, other in prompts.items():
        wavs = {row: soundfile.read(tmp_path / "rows" / row / f"wav/{utt}.wav") for row in
                ("resynthesis", "generated", "prompt_copy")}  # fmt: skip
        assert len(wavs["resynthesis"][0]) == int(samples[utt]) and wavs["resynthesis"][1] == 24000
        assert len(wavs["prompt_copy"][0]) == 1920 * len(codes[other])
        expected = tiny_tokenizer.decode([codes[other]], steps=2, temperature=0.5)[0]
        np.testing.assert_allclose(wavs["prompt_copy"][0], np.clip(expected, -1, 1), atol=1e-3)
        if status[utt] == "empty":
            assert len(wavs["generated"][0]) == 12000 and not wavs["generated"][0].any()
        else:
            assert len(wavs["generated"][0]) == 1920 * len(made[utt])
    timing = json.loads((tmp_path / "rows/generated/timing.json").read_text())
    assert timing.keys() == made.keys() and all(item["decoder"] > 0 for item in timing.values())
    settings = json.loads((tmp_path / "rows/generated/settings.json").read_text())
    assert (settings["steps"], settings["temperature"], settings["cfg_scale"]) == (2, 0.5, 0.0)


@pytest.fixture(scope="module")
def scored(place, tmp_path_factory, tiny_model_dir):
    """made (stage 6) and rows (stage 7), and the arguments of stage 8."""
    root = tmp_path_factory.mktemp("scored")
    vocode(place, root, tiny_model_dir)
    return root


def vocode(place, root, model_dir):
    speak(place, root / "made")
    command = ["--tokenizer", model_dir, "--data_dir", place / "set", "--generated", root / "made"]
    command += ["--output_dir", root / "rows", "--steps", 1, "--vocoder_conf", "iterations=2"]
    assert speechlm_vocode.main([str(word) for word in command]) == 0


def results(place, root):
    args = argparse.Namespace(data_dir=place / "set", train_dir=place / "set", valid_dir=None, generated=root / "made")
    args.vocoded, args.resamples, args.seed = root / "rows", 20, 0
    return speech_lm_results(load_speech_lm(place / "lm"), args)


def test_results_of_what_was_generated(place, scored):
    content = results(place, scored)
    made = dict(read_tokens(scored / "made"))
    recorded = {utt: len(codes) for utt, codes in read_tokens(place / "tokens")}
    shares = [len(made.get(utt, ())) / length for utt, length in recorded.items()]
    found = content["generation"]["duration"]
    assert found["median"] == pytest.approx(np.median(shares)) and found["utterances"] == 6
    assert found["below_half"] == sum(share < 0.5 for share in shares) > 0 and found["above_twice"] == 0
    page = speech_lm_section({"speech_lm": content})
    assert f"median {found['median']:.2f}; below 0.5: {found['below_half']} of 6; above 2: 0 of 6" in page
    assert f"leaves out {content['held_out']['set']['without_other_text']} of set." in page
    assert "Left out" not in page
    content["generation"]["left_out"] = {"no transcript": 3}
    assert "Left out of the test set: 3 (no transcript)." in speech_lm_section({"speech_lm": content})
    report = json.loads((scored / "made/generation.json").read_text())["utterances"]
    timing = json.loads((scored / "rows/generated/timing.json").read_text())
    whole = sum(item["seconds"] for item in report.values()) / sum(item["audio"] for item in timing.values())
    assert content["speed"]["lm"]["value"] == pytest.approx(whole)  # empty utterances cost time as well


@pytest.mark.parametrize("changed", ["generated", "resynthesis", "prompt_copy"])
def test_audio_of_other_tokens_is_not_scored(place, scored, tmp_path, changed):
    shutil.copytree(scored, tmp_path / "own")
    if changed == "generated":
        speak(place, tmp_path / "own/made", seed=9)
    else:
        path = tmp_path / "own/rows" / changed / "settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"codes": "0"}))
    with pytest.raises(SiTokError, match=f"{changed} is the audio of other tokens.*stage 7"):
        results(place, tmp_path / "own")


def test_duration_shares():
    recorded = {utt: np.zeros((10, 1)) for utt in "abcd"}
    generated = {utt: np.zeros((length, 1)) for utt, length in zip("abcd", (0, 5, 20, 21), strict=True)}
    expected = {"median": 1.25, "below_half": 1, "above_twice": 1, "utterances": 4}
    assert durations(generated, recorded) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("u1 touch {folder}/hacked |", "command pipe"),
        ("u1 {folder}/tokens/tokens.ark", "expected `utterance archive:offset`"),
        ("u1 {folder}/tokens/tokens.ark:3", "no entry"),
        ("u1 {folder}/none/tokens.ark:3", "no such token file"),
    ],
)
def test_a_list_of_codes_names_entries_of_dumps_and_nothing_else(place, tmp_path, line, message):
    shutil.copytree(place / "tokens", tmp_path / "tokens")
    manifest = open_tokens(tmp_path / "tokens").manifest
    (tmp_path / "codes.scp").write_text(line.format(folder=tmp_path) + "\n")
    with pytest.raises(SiTokError, match=message):
        read_places(tmp_path / "codes.scp", manifest["codes_hash"])
    assert not (tmp_path / "hacked").exists()


def test_tokens_that_were_made_again_by_another_model_are_noticed(place, tmp_path):
    shutil.copytree(place / "tokens", tmp_path / "tokens")
    manifest = open_tokens(tmp_path / "tokens").manifest
    entry = open_tokens(tmp_path / "tokens").entries[2]
    (tmp_path / "codes.scp").write_text(f"x {tmp_path}/tokens/tokens.ark:{entry.offset}\n")
    codes = read_places(tmp_path / "codes.scp", manifest["codes_hash"])
    np.testing.assert_array_equal(codes["x"], dict(read_tokens(place / "tokens"))[entry.utt])
    (tmp_path / "tokens/manifest.json").write_text(json.dumps(manifest | {"codes_hash": "other"}))
    with pytest.raises(SiTokError, match="another tokenizer.*stage 2"):
        read_places(tmp_path / "codes.scp", manifest["codes_hash"])


def test_bad_input_is_one_line(place, tmp_path, capsys):
    common = ["--lm", place / "lm", "--tokens", place / "tokens", "--output_dir", tmp_path / "out"]
    for more, message in (
        (("--data_dir", place / "data"), "no prompt_codes.scp"),
        (("--data_dir", place / "set", "--temperature", "-1"), "temperature of generation cannot be -1"),
        (("--data_dir", place / "set", "--max_seconds", "inf"), "--max_seconds cannot be inf"),
        (("--data_dir", place / "set", "--batch_size", "0"), "batch_size must be at least 1"),
    ):
        assert speechlm_generate.main([str(word) for word in (*common, *more)]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
        assert message in line
        assert not (tmp_path / "out").exists()
    row = tmp_path / "row"  # of audio: it has a settings.json, too
    (row / "wav").mkdir(parents=True)
    (row / "settings.json").write_text(json.dumps({"model_hash": "x", "codes": "y"}))
    (row / "wav/a.wav").write_text("x")
    with pytest.raises(SiTokError, match="something else"):
        speak(place, row)
    assert (row / "wav/a.wav").exists()
    speak(place, tmp_path / "made")
    (tmp_path / "made/notes.txt").write_text("mine")
    speak(place, tmp_path / "made", seed=4)
    assert (tmp_path / "made/notes.txt").read_text() == "mine"  # only its own files are made again
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(SiTokError, match="something else"):
        speak(place, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tex").exists()
