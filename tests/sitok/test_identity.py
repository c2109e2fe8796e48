"""The continuous upper bound: latents pass, tokens are refused by name, resynthesis and scoring work."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from experiment_dir import make_model_dir
from speech_generator import speech, write_corpus

from sitok_espnet.bin import main as sitok
from sitok_espnet.bin import sitok_synth_systems, sitok_verify
from sitok_espnet.dump import dump_tokens
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import tokenizer_results
from sitok_espnet.evaluate.systems import SYSTEMS
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import read_scp
from sitok_espnet.sitok.quantizer.identity import IdentityQuantizer


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return make_model_dir(tmp_path_factory.mktemp("identity") / "exp", quantizer="identity", quantizer_conf={})


@pytest.fixture(scope="module")
def tokenizer(model_dir):
    return SiTok.from_pretrained(model_dir, vocoder_conf={"iterations": 2})


@pytest.fixture(scope="module")
def wavs():
    return [speech(seconds, seed=i) for i, seconds in enumerate((0.5, 1.3, 0.9))]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"), 3, words=(1, 2))


def test_latents_pass_with_their_gradient():
    x = torch.randn(2, 5, 6, dtype=torch.bfloat16, requires_grad=True)
    quantizer = IdentityQuantizer(6)
    out = quantizer(x, torch.tensor([5, 3]))
    assert torch.equal(out.quantized, x.float()) and out.quantized.dtype == torch.float32
    assert torch.equal(out.quantized_per_codebook[:, :, 0], out.quantized)
    assert out.codes is None and out.loss == 0 and not out.stats
    assert (quantizer.codebook_sizes, quantizer.num_codebooks, quantizer.codebook_dim) == ((), 0, 6)
    assert torch.equal(torch.autograd.grad(out.quantized.sum(), x)[0], torch.ones_like(x))


@pytest.mark.parametrize("verb", ["encode", "decode_codes", "decode_per_codebook"])
def test_codes_are_refused(verb):
    with pytest.raises(SiTokError, match="quantizer identity is continuous and has no codes: train with"):
        getattr(IdentityQuantizer(6), verb)(torch.zeros(1, 2, 6))


def test_resynthesis_decodes_the_latents(tokenizer, wavs):
    latents = tokenizer.analyze(wavs, 24000)
    for wav, item in zip(wavs, latents, strict=True):
        assert item.shape == (-(-len(wav) // 1920), 32) and item.dtype == np.float32
        speech_, length = torch.from_numpy(wav)[None], torch.tensor([len(wav)])
        np.testing.assert_allclose(item, tokenizer.model.latents(speech_, length)[0][0], atol=1e-5)
    again = tokenizer.resynthesize(wavs, 24000, steps=2, seed=4)
    for index, wav in enumerate(wavs):
        alone = tokenizer.decode(latents[index : index + 1], steps=2, seed=4, num_samples=[len(wav)])[0]
        assert len(alone) == len(wav) and np.isfinite(alone).all()
        np.testing.assert_allclose(again[index], alone, atol=1e-4)
    mel = tokenizer.decode_mel(latents[:1], steps=2)[0]
    assert np.abs(mel - tokenizer.decode_mel([latents[0][::-1]], steps=2)[0]).max() > 1e-3
    assert len(tokenizer.transcribe(latents)) == 3


def test_tokens_are_refused_by_name(tokenizer, wavs):
    for call in (
        lambda: tokenizer.encode(wavs, 24000),
        lambda: tokenizer.decode([np.zeros((3, 1), int)]),
        lambda: tokenizer.bits_per_second,
    ):
        with pytest.raises(SiTokError, match=r"quantizer \(identity\) is continuous"):
            call()
    for wrong in (np.zeros((3, 31)), np.zeros((0, 32)), np.full((3, 32), np.nan), np.zeros(32)):
        with pytest.raises(SiTokError, match=r"latents 0: expected finite numbers of shape \(T, 32\)"):
            tokenizer.decode([wrong])


def test_dump_is_refused_with_advice(tokenizer, data_dir, tmp_path):
    with pytest.raises(SiTokError, match="'identity' is continuous.*nothing to dump.*go on with stage 8"):
        dump_tokens(tokenizer, read_scp(data_dir / "wav.scp"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_verification_is_refused(model_dir, data_dir, capsys):
    command = ["--model", str(model_dir), "--wav_scp", str(data_dir / "wav.scp"), "--min_tokens", "1"]
    assert sitok_verify.main(command) == 2
    assert "quantizer identity is continuous" in capsys.readouterr().err


def test_command_line(model_dir, data_dir, tmp_path, capsys):
    wav = read_scp(data_dir / "wav.scp")[0].location
    options = ["--model", str(model_dir)]
    assert sitok.main(["encode", wav, "-o", str(tmp_path / "a.ark"), *options]) == 2
    assert "continuous" in capsys.readouterr().err
    vocoder = ["--steps", "1", "--vocoder_conf", "iterations=1"]
    assert sitok.main(["resynth", wav, "-o", str(tmp_path / "out"), *options, *vocoder]) == 0
    assert len(list((tmp_path / "out").glob("*.wav"))) == 1


def test_stage_8_scores_it_and_says_what_it_has_not(model_dir, data_dir, tmp_path):
    command = ["--model", str(model_dir), "--data_dir", str(data_dir), "--output_dir", str(tmp_path), "--steps", "1"]
    assert sitok_synth_systems.main([*command, "--vocoder_conf", "iterations=1"]) == 0
    for name in set(SYSTEMS) - {"copy_griffin_lim"}:  # there is no other vocoder to compare it with
        assert len(read_scp(tmp_path / name / "wav.scp")) == 3, name
    assert not (tmp_path / "tokens.json").exists()
    assert len((tmp_path / "ctc_text").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "tokenizer.json").read_text())["codebook_sizes"] == []
    request = SimpleNamespace(eval_dir=tmp_path, train_tokens=None, resamples=100, seed=0)
    for part in (tokenizer_results._train_codebook, tokenizer_results._test_codebook, tokenizer_results._bits):
        with pytest.raises(SiTokError, match="the model is continuous"):
            part(request)
    assert tokenizer_results._speed(request)["encode"]["value"] > 0
