"""`sitok tts`: what it writes is what the interface gives, and how a bad result is said."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from lm_dir import make_lm_dir
from speech_generator import speech

from sitok_espnet.bin.main import main
from sitok_espnet.speechlm.sampling import TokenSampling
from sitok_espnet.speechlm.tts import SiTokTTS


@pytest.fixture(scope="module")
def lm_dir(tmp_path_factory, tiny_tokenizer):
    return make_lm_dir(tmp_path_factory.mktemp("command") / "lm", tiny_tokenizer)


@pytest.fixture
def tts(lm_dir, tiny_model_dir):
    def call(*more, lm=lm_dir):
        command = ["tts", "--lm", lm, "--model", tiny_model_dir, "--steps", 2, "--vocoder_conf", "iterations=4", *more]
        return main([str(word) for word in command])

    return call


def test_it_says_what_the_interface_says(tts, lm_dir, tiny_tokenizer, tmp_path, capsys):
    prompt = speech(1.0, seed=0)
    soundfile.write(tmp_path / "x.wav", prompt, 24000, "FLOAT")
    options = ["--prompt", tmp_path / "x.wav", "--prompt_text", "one two", "--seed", 5, "--min_seconds", 0.4]
    options += ["--decoder_temperature", 0.5]  # --temperature is of the tokens
    status = tts("--text", "three", *options, "--max_seconds", 0.64, "-o", tmp_path / "y.wav")
    model = SiTokTTS.from_pretrained(lm_dir, tiny_tokenizer)
    sampling = TokenSampling(min_frames=5, max_frames=8)
    prompts = [model.make_prompt(prompt, 24000, "one two")]
    (spoken,) = model.speak(["three"], prompts, sampling, [5], steps=2, decoder_temperature=0.5)
    wav, rate = soundfile.read(tmp_path / "y.wav")
    assert rate == 24000
    np.testing.assert_allclose(wav, np.clip(spoken.wav, -1, 1), atol=1e-3)
    assert status == (3 if spoken.status == "run-away" else 0)


def test_a_run_away_is_written_and_said(tts, tmp_path, capsys):
    options = ["--text", "one", "--min_seconds", 0.4, "-o", tmp_path / "y.wav"]
    assert tts(*options, "--max_seconds", 0.4) == 3
    assert "run-away" in capsys.readouterr().err
    assert len(soundfile.read(tmp_path / "y.wav")[0]) == 5 * 1920
    soundfile.write(tmp_path / "x.wav", speech(1.0, seed=0), 24000, "FLOAT")
    options += ["--prompt", tmp_path / "x.wav", "--prompt_text", "one two", "--max_length_ratio", 0.01]
    assert tts(*options) == 3
    assert "had not ended after 0.40 s" in capsys.readouterr().err


def test_an_empty_result_is_said_and_not_written(tts, tiny_tokenizer, tmp_path, capsys):
    folder = make_lm_dir(tmp_path / "lm", tiny_tokenizer, lm_conf={"model_type": "llama", "config": {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "tie_word_embeddings": False}})  # fmt: skip
    state = torch.load(folder / "valid.loss.best.pth", weights_only=True)
    # All scores are equal, so the best is the first choice: the end.
    state["lm.model.lm_head.weight"].zero_()
    torch.save(state, folder / "valid.loss.best.pth")
    options = ["--temperature", 0, "-o", tmp_path / "y.wav"]
    (tmp_path / "y.wav").write_bytes(b"an older result")
    assert tts("--text", "one", *options, lm=folder) == 3
    assert "empty" in capsys.readouterr().err
    assert not (tmp_path / "y.wav").exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (["--text", "one", "--prompt", "x.wav"], "belong together"),
        (["--text", " "], "empty text"),
        (["--text", "one 2"], "no text pieces for '2'"),
        (["--text", "one", "--top_p", "2"], "top_p of generation cannot be 2"),
        (["--text", "one", "--max_seconds", "nan"], "--max_seconds cannot be nan"),
        (["--text", "one", "--max_length_ratio", "1.5"], "--max_length_ratio is of the prompt's speaking rate"),
        (["--text", "one", "--max_seconds", "0"], "--max_seconds 0 must be above 0"),
        (["--text", "one", "--min_seconds", "3", "--max_seconds", "2"], "--min_seconds 3"),
        (["--text", "one", "--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--text", "one", "--steps", "0"], "steps"),
        (["--text", "one", "--prompt", "none.wav", "--prompt_text", "two"], "none.wav"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(tts, more, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tts(*more, "-o", tmp_path / "y.wav") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sitok: error: ")]
    assert message in line
    assert not (tmp_path / "y.wav").exists()


def test_other_formats_are_refused_before_anything_is_opened(tmp_path, capsys):
    assert main(["tts", "--text", "one", "--lm", "none", "--model", "none", "-o", str(tmp_path / "y.mp3")]) == 2
    assert "can only write .wav and .flac" in capsys.readouterr().err


def test_without_transformers_one_line_says_what_to_install(tmp_path):
    program = "import sys; sys.modules['transformers'] = None; from sitok_espnet.bin.main import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "tts", "--text", "one", "--lm", "x", "-o", str(tmp_path / "y.wav")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("sitok: error: ") and "pip install 'sitok_espnet[tts]'" in line
