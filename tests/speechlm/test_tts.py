"""From text and prompt to a waveform, packed models, and what is refused."""

import numpy as np
import pytest
import torch
import yaml
from lm_dir import make_lm_dir
from speech_generator import speech
from tiny_lm import LLAMA
from transformers import LlamaConfig, LlamaForCausalLM

import sitok_espnet.pretrained as pretrained
from sitok_espnet.bin import main, speechlm_pack
from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.checkpoint import load_speech_lm, pack_speech_lm
from sitok_espnet.speechlm.requests import VoicePrompt, make_request
from sitok_espnet.speechlm.sampling import TokenSampling
from sitok_espnet.speechlm.tts import SiTokTTS


@pytest.fixture(scope="module")
def lm_dir(tmp_path_factory, tiny_tokenizer):
    return make_lm_dir(tmp_path_factory.mktemp("tts") / "lm", tiny_tokenizer)


def test_speaking_with_and_without_a_prompt(lm_dir, tiny_tokenizer):
    tts = SiTokTTS.from_pretrained(lm_dir, tiny_tokenizer)
    with torch.no_grad():  # an untrained model hardly listens to its prompt
        tts.lm.model.lm.model.get_output_embeddings().weight.mul_(30)
    prompt = tts.make_prompt(speech(1.0, seed=0), 24000, "one two")
    sampling = TokenSampling(min_frames=tts.frames(0.4), max_frames=tts.frames(0.61))
    assert (sampling.min_frames, sampling.max_frames) == (5, 8)
    options = {"sampling": sampling, "steps": 2}
    spoken = tts.speak(["three four", "five"], [prompt, None], seeds=[1, 2], **options)
    for result in spoken:
        assert 5 <= len(result.codes) <= 8 and len(result.wav) == 1920 * len(result.codes)
        assert np.isfinite(result.wav).all() and result.status in ("ended", "run-away")
    (alone,) = tts.speak(["five"], [None], seeds=[2], **options)
    np.testing.assert_array_equal(alone.codes, spoken[1].codes)
    np.testing.assert_allclose(alone.wav, spoken[1].wav, atol=1e-4)
    expected = tiny_tokenizer.decode([alone.codes], steps=2, seed=2)[0]
    np.testing.assert_allclose(alone.wav, expected, atol=1e-4)
    (still,) = tts.speak(["five"], [None], seeds=[2], decoder_temperature=0, **options)
    np.testing.assert_array_equal(still.codes, alone.codes)
    expected = tiny_tokenizer.decode([alone.codes], steps=2, temperature=0)[0]
    np.testing.assert_allclose(still.wav, expected, atol=1e-4)
    other = tts.speak(["three four"], [None], seeds=[1], **options)[0]
    assert other.codes.shape != spoken[0].codes.shape or (other.codes != spoken[0].codes).any()
    seconds = tts.seconds
    assert seconds.speech == pytest.approx(sum(len(r.wav) for r in (*spoken, alone, still, other)) / 24000)
    assert min(seconds.lm, seconds.decoder, seconds.vocoder) > 0


def test_a_prompt_says_how_long_a_text_takes(lm_dir, tiny_tokenizer):
    tts = SiTokTTS.from_pretrained(lm_dir, tiny_tokenizer)
    prompt = tts.make_prompt(speech(1.0, seed=0), 24000, "one two")
    assert make_request(tts.lm, "three four", prompt).expected == pytest.approx(len(prompt.codes) * 10 / 7)
    assert make_request(tts.lm, "three four", None).expected is None
    assert make_request(tts.lm, " three four ", VoicePrompt(prompt.codes, " one two")).expected == pytest.approx(
        len(prompt.codes) * 10 / 7
    )
    assert make_request(tts.lm, "three four", VoicePrompt(prompt.codes, " ")).expected is None


def test_an_empty_utterance_is_said_to_be_empty(lm_dir, tiny_tokenizer):
    tts = SiTokTTS.from_pretrained(lm_dir, tiny_tokenizer)
    with torch.no_grad():  # the end is all that this model knows
        weight = tts.lm.model.lm.model.get_output_embeddings().weight
        weight.zero_()
    results = [
        tts.speak(["one"], [None], TokenSampling(min_frames=0, max_frames=1), [seed], steps=1)[0] for seed in range(200)
    ]
    empty = [result for result in results if result.status == "empty"]
    assert empty and all(len(result.wav) == 0 and len(result.codes) == 0 for result in empty)


@pytest.mark.parametrize("half", [False, True])
def test_a_packed_model_speaks_the_same(lm_dir, tiny_tokenizer, tmp_path, half):
    packed = pack_speech_lm(lm_dir, tmp_path / "packed", half=half)
    one, two = load_speech_lm(lm_dir), load_speech_lm(packed)
    assert (one.model_hash == two.model_hash) == (not half)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(two.model.state_dict()[name], value.half().float() if half else value)
    assert two.tokenizer.encode("one two") == one.tokenizer.encode("one two")
    assert str(lm_dir) not in (packed / "config.yaml").read_text()
    with pytest.raises(SiTokError, match="exists"):
        pack_speech_lm(lm_dir, packed)


def test_a_packed_model_no_longer_needs_the_text_model_it_started_from(tiny_tokenizer, tmp_path):
    torch.manual_seed(1)
    text_lm = LlamaForCausalLM(LlamaConfig(vocab_size=22, **LLAMA))
    text_lm.save_pretrained(tmp_path / "text_lm")
    folder = make_lm_dir(tmp_path / "lm", tiny_tokenizer, lm="pretrained", lm_conf={"path": str(tmp_path / "text_lm")})
    packed = pack_speech_lm(folder, tmp_path / "packed")
    before = load_speech_lm(folder)
    (tmp_path / "text_lm/model.safetensors").unlink()
    after = load_speech_lm(packed)
    assert before.model_hash == after.model_hash
    with pytest.raises(SiTokError):
        load_speech_lm(folder)


def test_the_command_packs_and_the_package_finds_it_by_name(lm_dir, tiny_model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    command = ["--lm", str(lm_dir), "--half", "--output_dir", str(tmp_path / "speaker")]
    assert speechlm_pack.main(command) == 0
    assert pretrained.pretrained_language_models() == ["speaker"] and pretrained.pretrained_models() == []
    options = ["--model", str(tiny_model_dir), "--steps", "1", "--vocoder_conf", "iterations=2", "--max_seconds", "0.4"]
    options += ["--min_seconds", "0.1", "-o", str(tmp_path / "y.wav")]
    assert main.main(["tts", "--text", "one", "--lm", "speaker", *options]) in (0, 3)
    assert (tmp_path / "y.wav").is_file()
    capsys.readouterr()
    assert speechlm_pack.main(command) == 2
    assert "exists: give a new folder" in capsys.readouterr().err
    assert main.main(["tts", "--text", "one", "--lm", str(tiny_model_dir), *options]) == 2
    assert "is a tokenizer" in capsys.readouterr().err
    assert main.main(["tts", "--text", "one", "--lm", "speaker", *options, "--model", str(lm_dir)]) == 2
    assert "is a language model over tokens" in capsys.readouterr().err


def test_what_is_refused(lm_dir, tiny_tokenizer, tmp_path):
    tts = SiTokTTS.from_pretrained(lm_dir, tiny_tokenizer)
    for text, message in (("", "empty text"), ("one 2", "no text pieces for '2'")):
        with pytest.raises(SiTokError, match=message):
            tts.speak([text], [None], TokenSampling(), [0])
    with pytest.raises(SiTokError, match="device 'cuda:99' cannot be used"):
        load_speech_lm(lm_dir, device="cuda:99")
    with pytest.raises(SiTokError, match="no config.yaml"):
        load_speech_lm(tmp_path)
    other = make_lm_dir(tmp_path / "other", tiny_tokenizer)
    config = yaml.safe_load((other / "config.yaml").read_text())
    config["vocabulary"]["codes_hash"] = "another"
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SiTokError, match="another tokenizer"):
        SiTokTTS.from_pretrained(other, tiny_tokenizer)
    (other / "valid.loss.best.pth").unlink()
    with pytest.raises(SiTokError, match="does not exist"):
        load_speech_lm(other)
    (other / "bpe.model").write_bytes((lm_dir / "bpe.model").read_bytes() + b"x")
    with pytest.raises(SiTokError):
        load_speech_lm(other)
