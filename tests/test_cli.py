"""The command `sitok`: the same tokens and audio as the Python API, one-line errors, nothing half-written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from experiment_dir import experiment_config, make_model_dir
from speech_generator import speech, write_corpus

from sitok_espnet import pretrained, resample
from sitok_espnet.audio import read_audio
from sitok_espnet.bin.main import main
from sitok_espnet.inputs import read_scp
from sitok_espnet.tokens import open_tokens, read_tokens

FAST = ["--steps", "2", "--vocoder_conf", "iterations=4"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), 5, seed=9, words=(1, 2))


@pytest.fixture(autouse=True)
def model(monkeypatch, tiny_model_dir):
    monkeypatch.setenv("SITOK_MODEL", str(tiny_model_dir))


@pytest.fixture
def run(capsys):
    """Exit status 0 and the output, or the one line of an error."""

    def call(*arguments, fails=False):
        status = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert status == (2 if fails else 0), captured.err
        if not fails:
            return captured.out
        lines = [line for line in captured.err.splitlines() if line.startswith("sitok: error: ")]
        assert len(lines) == 1 and "Traceback" not in captured.err
        return lines[0]

    return call


def names(directory):
    return sorted(p.relative_to(directory).as_posix() for p in Path(directory).rglob("*"))


def test_encode_and_decode_equal_the_api(run, corpus, tiny_tokenizer, tmp_path):
    items = read_scp(corpus / "wav.scp")
    wavs = [item.read()[0] for item in items]
    codes = tiny_tokenizer.encode(wavs, 24000)
    out = run("encode", corpus / "wav.scp", "-o", tmp_path / "tok" / "tokens.ark")
    assert "tokens.ark: 5 utterances" in out
    assert names(tmp_path / "tok") == [f"tokens.{s}" for s in ("ark", "manifest.json", "scp", "utt2num_samples")]
    run("encode", corpus / "wav.scp", "-o", tmp_path / "set", "--batch_seconds", "1")
    for source in ("tok/tokens.ark", "tok/tokens.scp", "set", "set/wav.scp", "set/tokens.ark"):
        seen = dict(read_tokens(tmp_path / source))
        assert list(seen) == [item.utt for item in items]
        for item, expected in zip(items, codes, strict=True):
            np.testing.assert_array_equal(seen[item.utt], expected)

    asked = {"steps": 2, "cfg_scale": 1.5, "seed": 5, "temperature": 0.5}
    expected = tiny_tokenizer.decode(codes, num_samples=[len(w) for w in wavs], **asked)
    options = ["--cfg_scale", "1.5", "--seed", "5", "--temperature", "0.5", *FAST]
    run("decode", tmp_path / "tok" / "tokens.ark", "-o", tmp_path / "a", *options)
    run("decode", tmp_path / "set", "-o", tmp_path / "b", *options)
    run("resynth", corpus / "wav", "-o", tmp_path / "c", *options)
    assert names(tmp_path / "a") == names(tmp_path / "b") == names(tmp_path / "c") == [f"{i.utt}.wav" for i in items]
    for item, wav in zip(items, expected, strict=True):
        for folder in "abc":
            got, rate = read_audio(tmp_path / folder / f"{item.utt}.wav")
            assert rate == 24000 and len(got) == len(wav)
            np.testing.assert_allclose(got, np.clip(wav, -1, 1), atol=2e-4)


def test_decode_in_chunks_equals_the_api(run, tiny_tokenizer, tmp_path):
    wav = speech(5.0, seed=4)
    soundfile.write(tmp_path / "a.wav", wav, 24000, "FLOAT")
    codes = tiny_tokenizer.encode([wav], 24000)
    expected = tiny_tokenizer.decode(codes, steps=2, num_samples=[len(wav)], chunk_seconds=1.5)[0]
    run("encode", tmp_path / "a.wav", "-o", tmp_path / "a.ark")
    run("decode", tmp_path / "a.ark", "-o", tmp_path / "one", "--chunk_seconds", "1.5", *FAST)
    run("resynth", tmp_path / "a.wav", "-o", tmp_path / "two", "--chunk_seconds", "1.5", *FAST)
    for folder in ("one", "two"):
        np.testing.assert_allclose(read_audio(tmp_path / folder / "a.wav")[0], np.clip(expected, -1, 1), atol=2e-4)
    assert np.abs(expected - tiny_tokenizer.decode(codes, steps=2, num_samples=[len(wav)])[0]).max() > 0.01
    assert "chunk_seconds" in run(
        "decode", tmp_path / "a.ark", "-o", tmp_path / "x", "--chunk_seconds", "0", fails=True
    )


def test_token_file_can_be_moved_together_and_replaced(run, corpus, tmp_path):
    first, second = (item.location for item in read_scp(corpus / "wav.scp")[:2])
    run("encode", first, second, "-o", tmp_path / "a" / "x.ark")
    (tmp_path / "a").rename(tmp_path / "b")
    assert [utt for utt, _ in read_tokens(tmp_path / "b" / "x.scp")] == [Path(first).stem, Path(second).stem]
    run("encode", second, "-o", tmp_path / "b" / "x.ark")
    assert [utt for utt, _ in read_tokens(tmp_path / "b" / "x.ark")] == [Path(second).stem]


def test_resample_option(run, tmp_path, tiny_tokenizer):
    wav = speech(0.5, sample_rate=16000)
    soundfile.write(tmp_path / "a.wav", wav, 16000, "FLOAT")
    for verb, output in (("encode", "a.ark"), ("resynth", "out")):
        line = run(verb, tmp_path / "a.wav", "-o", tmp_path / output, fails=True)
        assert "a.wav has 16000 Hz, the model needs 24000 Hz" in line and "--resample" in line
    assert names(tmp_path) == ["a.wav"]
    run("encode", tmp_path / "a.wav", "-o", tmp_path / "a.ark", "--resample")
    expected = tiny_tokenizer.encode([resample(wav, 16000, 24000)], 24000)[0]
    np.testing.assert_array_equal(dict(read_tokens(tmp_path / "a.ark"))["a"], expected)
    assert open_tokens(tmp_path / "a.ark").entries[0].num_samples == 12000


def test_failed_encode_leaves_nothing_and_keeps_the_old(run, corpus, tmp_path):
    good = read_scp(corpus / "wav.scp")[0].location
    (tmp_path / "bad.wav").write_text("not audio")
    line = run("encode", good, tmp_path / "bad.wav", "-o", tmp_path / "new" / "x.ark", fails=True)
    assert "bad.wav: cannot be read as audio" in line
    assert names(tmp_path / "new") == []
    run("encode", good, "-o", tmp_path / "new" / "x.ark")
    before = {name: (tmp_path / "new" / name).read_bytes() for name in names(tmp_path / "new")}
    run("encode", good, tmp_path / "bad.wav", "-o", tmp_path / "new" / "x.ark", fails=True)
    assert before == {name: (tmp_path / "new" / name).read_bytes() for name in names(tmp_path / "new")}
    run("resynth", good, tmp_path / "bad.wav", "-o", tmp_path / "out", *FAST, fails=True)
    assert not (tmp_path / "out").exists()


def test_tokens_of_another_model_are_refused(run, corpus, tmp_path):
    run("encode", corpus / "wav.scp", "-o", tmp_path / "x.ark")
    line = run("decode", tmp_path / "x.ark", "-o", tmp_path / "out", "--checkpoint", "untrained", fails=True)
    assert "x.ark: these tokens were made by model" in line and "--model" in line
    assert not (tmp_path / "out").exists()


def test_damaged_tokens_are_refused_before_anything_is_written(run, corpus, tmp_path):
    run("encode", corpus / "wav.scp", "-o", tmp_path / "x.ark")
    data = (tmp_path / "x.ark").read_bytes()
    (tmp_path / "x.ark").write_bytes(data[:-3])
    assert "truncated" in run("decode", tmp_path / "x.ark", "-o", tmp_path / "out", *FAST, fails=True)
    (tmp_path / "x.ark").write_bytes(data)
    (tmp_path / "x.manifest.json").unlink()
    assert "no manifest.json" in run("decode", tmp_path / "x.scp", "-o", tmp_path / "out", *FAST, fails=True)
    assert not (tmp_path / "out").exists()


def test_one_utterance_in_two_sets_is_refused(run, corpus, tmp_path):
    run("encode", corpus / "wav.scp", "-o", tmp_path / "x.ark")
    run("encode", corpus / "wav.scp", "-o", tmp_path / "y.ark")
    line = run("decode", tmp_path / "x.ark", tmp_path / "y.ark", "-o", tmp_path / "out", fails=True)
    assert "spk00-utt0000 occurs in more than one" in line


def test_resynthesis_does_not_overwrite_its_input(run, corpus, tmp_path):
    shutil.copytree(corpus / "wav", tmp_path / "wav")
    line = run("resynth", tmp_path / "wav", "-o", tmp_path / "wav", fails=True)
    assert "would be overwritten" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "absent.wav", "-o", "x.ark"], "absent.wav: no such file or directory"),
        (["encode", "WAV", "-o", "x.ark", "--model", "nowhere"], "nowhere"),
        (["encode", "WAV", "-o", "x.ark", "--device", "abacus"], "device 'abacus'"),
        (["encode", "WAV", "-o", "x.ark", "--batch_seconds", "-1"], "batch_seconds"),
        (["encode", "WAV", "-o", "WAV"], "is a file"),
        (["decode", "absent.ark", "-o", "out"], "absent.ark: no such token file"),
        (["resynth", "WAV", "-o", "out", "--steps", "0"], "steps"),
        (["resynth", "WAV", "-o", "out", "--temperature", "2.01"], "temperature must be a number from 0 to 2"),
        (["resynth", "WAV", "-o", "out", "--temperature", "nan"], "temperature must be a number from 0 to 2"),
        (["resynth", "WAV", "-o", "out", "--seed", "-1"], "seed"),
        (["resynth", "WAV", "-o", "out", "--vocoder", "wavenet"], "unknown vocoder 'wavenet'"),
        (["resynth", "WAV", "-o", "out", "--vocoder_conf", "iterations"], "expected KEY=VALUE"),
        (["resynth", "WAV", "-o", "out", "--vocoder_conf", "colour=1"], "bad vocoder_conf"),
        (["params", "absent.yaml"], "absent.yaml: no such configuration"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(run, arguments, message, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wav = read_scp(corpus / "wav.scp")[0].location
    assert message in run(*[wav if a == "WAV" else a for a in arguments], fails=True)
    assert names(tmp_path) == []


def test_a_regression_model_decodes_without_steps_and_refuses_them(run, corpus, tmp_path):
    layers = {"num_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    model = make_model_dir(tmp_path / "exp", decoder="regression", decoder_conf=layers)
    words = ["resynth", read_scp(corpus / "wav.scp")[0].location, "-o", tmp_path / "out", "--model", model]
    words += ["--vocoder_conf", "iterations=1"]
    assert "no solver steps" in run(*words, "--steps", "16", fails=True)
    assert "has no noise: leave temperature (--temperature) out" in run(*words, "--temperature", "1", fails=True)
    assert not (tmp_path / "out").exists()
    run(*words)
    assert len(names(tmp_path / "out")) == 1


def test_no_model(run, corpus, tmp_path, monkeypatch):
    monkeypatch.delenv("SITOK_MODEL")
    monkeypatch.setattr(pretrained, "MODELS", tmp_path / "none")
    assert "--model" in run("encode", corpus / "wav.scp", "-o", tmp_path / "x.ark", fails=True)


def test_params(run, tmp_path):
    from sitok_espnet.sitok.slots import build_model

    config = experiment_config(normalize=None)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    counts = json.loads(run("params", tmp_path / "c.yaml", "--json"))
    model = build_model(config)
    for slot in ("encoder", "quantizer", "ctc", "decoder"):
        assert counts[slot] == sum(p.numel() for p in getattr(model, slot).parameters())
    assert counts["total"] == sum(p.numel() for p in model.parameters())
    table = run("params", tmp_path / "c.yaml")
    assert f"{counts['total']:,}" in table and "100.0%" in table and "decoder" in table


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "expected a YAML mapping"),
        ("a: [", "not YAML"),
        ("encoder: lama\n", "encoder: unknown choice 'lama'; there are llama"),
        ("encoder_conf: {layers: 3}\n", "encoder_conf .* unknown keys: layers; legal keys are num_layers"),
    ],
)
def test_params_of_a_bad_configuration(run, text, message, tmp_path):
    import re

    (tmp_path / "c.yaml").write_text(text)
    assert re.search(message, run("params", tmp_path / "c.yaml", fails=True))


def test_help_and_errors_of_parsing_import_nothing_heavy():
    code = """
import sys
import sitok_espnet
from sitok_espnet.bin import main, sitok_dump
for call in (main.main, sitok_dump.main):
    try:
        call(["--help"])
    except SystemExit as end:
        assert end.code == 0
heavy = {"torch", "espnet", "espnet2", "numpy", "torchaudio"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "encode" in done.stdout and "resynth" in done.stdout and "--wav_scp" in done.stdout
