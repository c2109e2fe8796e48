"""The whole model: wiring of the objective, independence of padding, rates, optional text, frozen parts."""

import pytest
import torch
import yaml
from tiny import tiny_config, tiny_model

from sitok_espnet.nn.stacking import stack_frames
from sitok_espnet.sitok.ctc.objective import ctc_loss
from sitok_espnet.sitok.decoder.abs_decoder import DecoderBatch, SamplingConfig
from sitok_espnet.sitok.randomness import ValidationDraws, utterance_noise
from sitok_espnet.sitok.slots import build_model


def noise_batch(lengths, seed=0):
    torch.manual_seed(seed)
    speech = torch.zeros(len(lengths), max(lengths))
    for row, length in enumerate(lengths):
        speech[row, :length] = 0.1 * torch.randn(length)
    return speech, torch.tensor(lengths)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("samples", [1, 479, 480, 481, 1920, 1921, 24000])
def test_number_of_tokens(factor, samples):
    model = tiny_model(model_conf={"stacking_factor": factor})
    stacked, frames, tokens = model.mel(*noise_batch([samples]))
    assert frames.item() == -(-samples // 480)
    assert tokens.item() == -(-samples // (480 * factor)) == stacked.size(1)


def test_total_loss_is_the_sum_of_its_parts():
    model = tiny_model(model_conf={"lambda_ctc": 0.7}).eval()
    speech, lengths = noise_batch([9000, 20000])
    text, text_lengths = torch.tensor([[2, 3], [4, -1]]), torch.tensor([2, 1])
    (loss,), stats, weight = model(speech, lengths, text, text_lengths, utt_id=["a", "b"])
    stacked, frames, tokens = model.mel(speech, lengths)
    out = model.quantizer(model.encoder(stacked), tokens)
    frame_valid = torch.zeros(2, stacked.size(1) * 4, 128)
    for row, count in enumerate(frames):
        frame_valid[row, :count] = 1
    batch = DecoderBatch(stacked, out.quantized, tokens, stack_frames(frame_valid, 4))
    decoder = model.decoder.loss(batch, ValidationDraws(["a", "b"], speech.device)).loss
    ctc = ctc_loss(model.ctc(out.quantized, out.quantized_per_codebook), tokens, text, text_lengths).loss
    torch.testing.assert_close(loss, decoder + 0.7 * ctc + out.loss)
    torch.testing.assert_close(stats["loss_ctc"][0], ctc.detach())
    assert weight == frames.sum() == 19 + 42


LAYERS = {key: tiny_config()["decoder_conf"][key] for key in ("hidden_size", "intermediate_size", "num_heads")}
DECODERS = {
    "plain": {},
    "refined": {"decoder_conf": {**tiny_config()["decoder_conf"], "shortcut": True, "prompt": True}},
    "light": {
        "decoder": "flow_matching_light",
        "decoder_conf": {**LAYERS, "num_body_layers": 1, "num_head_layers": 1, "prediction": "x", "shortcut": True},
    },
    "regression": {"decoder": "regression", "decoder_conf": {**LAYERS, "num_layers": 1}},
}


@pytest.mark.parametrize("decoder", DECODERS)
def test_validation_loss_of_an_utterance_does_not_depend_on_its_batch(decoder):
    model = tiny_model(**DECODERS[decoder]).eval()
    speech, lengths = noise_batch([9000, 20000])
    together = model(speech, lengths, utt_id=["a", "b"])[1]["loss_decoder"]
    a = model(speech[:1, :9000], lengths[:1], utt_id=["a"])[1]["loss_decoder"]
    b = model(speech[1:], lengths[1:], utt_id=["b"])[1]["loss_decoder"]
    torch.testing.assert_close(together, (19 * a + 42 * b) / 61)


def test_latents_and_codes_do_not_depend_on_padding_or_garbage_in_it():
    model = tiny_model().eval()
    speech, lengths = noise_batch([7001, 24000, 1])
    speech[0, 7001:] = 5.0  # a careless caller
    together, tokens = model.latents(speech, lengths)
    codes, _ = model.encode(speech, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, count = model.latents(speech[row : row + 1, :length], lengths[row : row + 1])
        assert count == tokens[row]
        torch.testing.assert_close(together[row, :count], alone[0], atol=1e-5, rtol=1e-5)
        assert torch.equal(
            codes[row, :count], model.encode(speech[row : row + 1, :length], lengths[row : row + 1])[0][0]
        )


def test_decoding_pads_with_the_log_floor_and_does_not_depend_on_the_batch():
    model = tiny_model().eval()
    codes, lengths = torch.randint(0, 16, (2, 6, 1)), torch.tensor([6, 4])
    noise = torch.stack([utterance_noise(3, 24, 128)] * 2)
    mel = model.decode(codes, lengths, noise, SamplingConfig(2))
    assert (mel[1, 16:] == model.feats_extract.config.log_floor).all()
    alone = model.decode(codes[1:, :4], lengths[1:], noise[1:, :16], SamplingConfig(2))
    torch.testing.assert_close(mel[1, :16], alone[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
def test_text_is_optional_and_every_parameter_gets_a_gradient(decoder):
    for text in ({}, {"text": torch.full((2, 1), -1), "text_lengths": torch.zeros(2).long()}):
        model = tiny_model(**DECODERS[decoder]).train()
        speech, lengths = noise_batch([9000, 20000])
        loss, stats, _ = model(speech, lengths, **text)
        loss.backward()
        assert stats["ctc_without_text"] == 2
        missing = [n for n, p in model.named_parameters() if p.grad is None]
        assert not missing


def test_lambda_zero_and_no_ctc_at_all():
    speech, lengths = noise_batch([9000])
    text = {"text": torch.tensor([[2, 3]]), "text_lengths": torch.tensor([2])}
    model = tiny_model(model_conf={"lambda_ctc": 0.0}).eval()
    loss, stats, _ = model(speech, lengths, utt_id=["a"], **text)
    torch.testing.assert_close(loss, stats["loss_decoder"] + stats["loss_quantizer"])
    without = tiny_model(ctc=None).eval()
    assert "loss_ctc" not in without(speech, lengths, utt_id=["a"], **text)[1]
    with pytest.raises(ValueError, match="ctc: null"):
        without.ctc_greedy(torch.zeros(1, 2, 1).long(), torch.tensor([2]))


def test_full_band_noise_survives_statistics_of_band_limited_speech(tmp_path):
    """DESIGN section 8: |x| < 20 for full-band noise with bins whose training deviation was nothing."""
    import numpy as np

    count = 1000
    mean = np.where(np.arange(128) < 64, -5.0, np.log(1e-5))
    square = mean**2 + np.where(np.arange(128) < 64, 4.0, 0.0)
    np.savez(tmp_path / "stats.npz", count=count, sum=count * mean, sum_square=count * square)
    config = tiny_config(normalize="global_mvn", normalize_conf={"stats_file": str(tmp_path / "stats.npz"), "eps": 1.0})
    model = build_model(config)
    assert model.normalize.std.min() == pytest.approx(1.0)
    torch.manual_seed(0)
    stacked, _, _ = model.mel(2 * torch.rand(1, 24000) - 1, torch.tensor([24000]))
    assert stacked.abs().max() < 20


def test_configuration_is_plain_yaml():
    config = tiny_config()
    assert yaml.safe_load(yaml.safe_dump(config)) == config
