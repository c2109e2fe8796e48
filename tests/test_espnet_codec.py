"""The adapter, called the way the installed ESPnet calls a codec."""

import logging

import numpy as np
import pytest
import torch
from espnet2.bin.gan_codec_inference import AudioCoding
from experiment_dir import make_model_dir
from speech_generator import speech

from sitok_espnet import SiTok
from sitok_espnet.errors import SiTokError
from sitok_espnet.espnet_codec import PADDING, SiTokCodec, main, meta_info

STEPS = 2


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    quantizer = {
        "quantizer": "residual_vq",
        "quantizer_conf": {"num_codebooks": 2, "codebook_size": [64, 32], "codebook_dim": 8},
    }
    return make_model_dir(tmp_path_factory.mktemp("model"), **quantizer)


@pytest.fixture(scope="module")
def codec(model_dir):
    return SiTokCodec(model=str(model_dir), steps=STEPS)


@pytest.fixture(scope="module")
def tokenizer(model_dir):
    return SiTok.from_pretrained(model_dir)


def wavs() -> list[np.ndarray]:
    return [speech(seconds, seed=index, speaker=index) for index, seconds in enumerate((1.0, 0.61))]


def padded(items) -> torch.Tensor:
    rows = [torch.from_numpy(item) for item in items]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)[:, None]


def test_meta_info_without_a_model(model_dir, codec, monkeypatch):
    expected = {"fs": 24000, "num_streams": 2, "frame_shift": 1920, "code_size_per_stream": [64, 32]}
    monkeypatch.setattr(SiTok, "from_pretrained", None)  # opening the model would fail
    assert meta_info(model_dir) == expected
    assert SiTokCodec(model=str(model_dir)).meta_info() == expected


def test_audio_coding_of_espnet_gives_the_tokens_of_sitok(model_dir, tokenizer, tmp_path):
    assert main(["--model", str(model_dir), "--output", str(tmp_path / "codec.yaml")]) == 0
    coding = AudioCoding(train_config=tmp_path / "codec.yaml")
    assert coding.fs == 24000 and coding.model.meta_info()["num_streams"] == 2
    wav = wavs()[0]
    result = coding(torch.from_numpy(wav))
    (expected,) = tokenizer.encode([wav], 24000)
    np.testing.assert_array_equal(result["codes"][:, 0].T.numpy(), expected)
    (sound,) = tokenizer.decode([expected])
    np.testing.assert_allclose(result["resyn_audio"].numpy(), sound, atol=1e-5)
    again = coding.decode(result["codes"])["resyn_audio"]
    np.testing.assert_allclose(again[0, 0].numpy(), sound, atol=1e-5)


def test_zero_padded_rows_have_the_codes_of_the_unpadded(codec, tokenizer, caplog):
    expected = tokenizer.encode(wavs(), 24000)
    with caplog.at_level(logging.WARNING):
        codes = codec.encode(padded(wavs()))
        codec.encode(padded(wavs()))
    assert codes.shape == (2, 2, len(expected[0])) and codes.dtype == torch.int64
    for row, item in enumerate(expected):
        np.testing.assert_array_equal(codes[:, row, : len(item)].T.numpy(), item)
    assert (codes >= 0).all()
    assert sum("counts as full" in record.message for record in caplog.records) == 1


def test_lengths_mark_padding_and_decoding_reads_it(codec, tokenizer):
    items = wavs()
    lengths = torch.tensor([len(item) for item in items])
    codes = codec.encode(padded(items), lengths)
    own = [-(-len(item) // 1920) for item in items]
    assert (codes[:, 1, own[1] :] == PADDING).all() and (codes[:, 1, : own[1]] >= 0).all()
    alone = tokenizer.decode(tokenizer.encode(items, 24000), steps=STEPS)
    by_mark, by_length = codec.decode(codes), codec.decode(codes.clamp(min=0), lengths=own)
    by_list = codec.decode([codes[:, row, :length] for row, length in enumerate(own)])
    torch.testing.assert_close(codec.decode(codes.numpy()), by_mark, rtol=0, atol=0)  # ESPnet's signature allows it
    for sound in (by_mark, by_length, by_list):
        assert sound.shape == (2, 1, 1920 * own[0])
        for row, wav in enumerate(alone):
            np.testing.assert_allclose(sound[row, 0, : len(wav)].numpy(), wav, atol=1e-5)
        assert not sound[1, 0, 1920 * own[1] :].any()
    still = SiTokCodec(model=str(codec.directory), steps=STEPS, temperature=0).decode([codes[:, 0]])[0, 0]
    expected = tokenizer.decode([codes[:, 0].T.numpy()], steps=STEPS, temperature=0)[0]
    np.testing.assert_allclose(still.numpy(), expected, atol=1e-5)
    assert np.abs(expected - alone[0]).max() > 1e-3
    full = codec.decode(codes.clamp(min=0))  # padding taken for codes is heard before it: why lengths are wanted
    assert (full[1, 0, : len(alone[1])] - torch.from_numpy(alone[1])).abs().max() > 1e-3


def test_continuous_features_are_the_latents(codec, tokenizer):
    audio = padded(wavs()[:1])
    latents = codec.generator.encoder(audio)
    expected = tokenizer.model.latents(audio[:, 0], torch.tensor([audio.shape[2]]))[0]
    torch.testing.assert_close(latents, expected.detach().transpose(1, 2))
    with pytest.raises(SiTokError, match="decodes codes"):
        codec.generator.decoder(latents)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.encode(torch.zeros(1, 2, 4000)), r"\(B, 1, samples\)"),
        (lambda c: c.encode(torch.zeros(2, 1, 4000), [4000]), "lengths"),
        (lambda c: c.encode(torch.zeros(1, 1, 4000), [4001]), "lengths"),
        (lambda c: c.encode(torch.zeros(1, 1, 4000), target_bw=6.0), "no option target_bw"),
        (lambda c: c.encode(torch.full((1, 1, 4000), torch.nan)), "waveform 0"),
        (lambda c: c.decode(torch.zeros(1, 1, 4, dtype=torch.long)), "expected codes"),
        (lambda c: c.decode([]), "no codes were given"),
        (lambda c: c.decode(torch.full((2, 1, 4), 64)), "codes 0"),
        (lambda c: c.decode(torch.tensor([[[1, -1, 1]], [[1, 1, 1]]])), "row 0 has negative codes before its end"),
        (lambda c: c.decode(torch.full((2, 1, 3), -1)), "lengths"),
        (lambda c: c(audio=torch.zeros(1, 4000)), "for inference"),
    ],
)
def test_what_is_refused(codec, call, message):
    with pytest.raises(SiTokError, match=message):
        call(codec)


def test_models_that_are_no_codec(tmp_path, capsys):
    with pytest.raises(SiTokError, match="continuous"):
        meta_info(make_model_dir(tmp_path / "identity", quantizer="identity", quantizer_conf={}))
    assert main(["--model", str(tmp_path / "none"), "--output", str(tmp_path / "x.yaml")]) == 2
    assert "neither a folder" in capsys.readouterr().err
