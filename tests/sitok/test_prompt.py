"""Mel prompts inside the model: the clean prefix in training, what the decoder sees, joining and cutting."""

import pytest
import torch
from decoder_parts import ITERATIVE, FixedDraws, batch_of, context_of, randomise_step_size, row_of, small
from tiny import tiny_config, tiny_model

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.decoder.prompt import MelPrompt, TokenPrompt, cut, join, random_prefix
from sitok_espnet.sitok.randomness import ValidationDraws


def test_three_in_ten_have_no_prefix_the_others_whole_tokens_up_to_three_tenths_evenly():
    lengths = torch.tensor([1, 3, 4, 10, 19, 20, 100])
    most = [0, 0, 1, 3, 5, 6, 30]
    edge = torch.full((7,), 1 - 2**-24)
    assert random_prefix(edge, lengths).tolist() == most
    assert not random_prefix(torch.full((7,), 0.2999), lengths).any()
    assert random_prefix(torch.full((7,), 0.3001), lengths).tolist() == [min(1, longest) for longest in most]
    torch.manual_seed(0)
    many = random_prefix(torch.rand(8000), torch.full((8000,), 10)).bincount()
    assert len(many) == 4 and (many / 8000 - torch.tensor([0.3, *[0.7 / 3] * 3])).abs().max() < 0.02
    long = random_prefix(torch.rand(8000), torch.full((8000,), 125))
    assert abs((long == 0).float().mean() - 0.3) < 0.02 and long.max() == 37


def test_join_and_cut_by_hand():
    prompts = torch.arange(1, 7).view(2, 3, 1)
    targets = 10 * torch.arange(1, 9).view(2, 4, 1)
    prompt_lengths, lengths = torch.tensor([2, 0]), torch.tensor([3, 4])
    joined = join(prompts, prompt_lengths, targets, lengths)
    assert joined.shape == (2, 5, 1)
    assert joined[0].ravel().tolist() == [1, 2, 10, 20, 30]
    assert joined[1, :4].ravel().tolist() == [50, 60, 70, 80]
    back = cut(joined, prompt_lengths, 4)
    assert back.shape == targets.shape
    assert torch.equal(back[0, :3], targets[0, :3]) and torch.equal(back[1], targets[1])


@pytest.mark.parametrize("name", ITERATIVE)
def test_prefix_is_clean_and_out_of_the_loss(name):
    decoder, batch = small(name, prompt=True), batch_of([10, 7], positions=10)
    t, noise = torch.tensor([0.2, 0.6]), torch.randn(2, 10, 8)
    got = decoder.loss(batch, FixedDraws(t, noise, prompt=torch.tensor([0.6, 0.99]))).loss  # 2 of 1..3, 2 of 1..2
    total = 0.0
    for row, length in enumerate((10, 7)):
        one = row_of(batch, row)
        x_t = t[row] * one.target + (1 - t[row]) * noise[row : row + 1, :length]
        x_t[:, :2] = one.target[:, :2]
        out = decoder.predict(x_t, t[row : row + 1], context_of(decoder, one), one.lengths)
        total = total + length * ((out - one.target).abs() / (1 - t[row]))[:, 2:].mean()
    torch.testing.assert_close(got, total / 17)


def test_half_steps_of_a_shortcut_keep_the_prefix_clean(monkeypatch):
    decoder, batch = randomise_step_size(small(shortcut=True, prompt=True)), batch_of([10], positions=10)
    predict, seen = decoder.predict, []
    monkeypatch.setattr(decoder, "predict", lambda *a: seen.append(a[0]) or predict(*a))
    uniforms = {name: torch.tensor([0.9]) for name in ("prompt", "step_size", "step_time")}
    decoder.loss(batch, FixedDraws(torch.rand(1), torch.randn(1, 10, 8), share=torch.tensor([0.25]), **uniforms))
    assert len(seen) == 4
    for x_t in seen:
        assert torch.equal(x_t[:, :3], batch.target[:, :3])
        assert (x_t[:, 3:] != batch.target[:, 3:]).all()


def test_validation_with_prefixes_depends_on_the_utterance_alone():
    decoder, batch = small(prompt=True), batch_of([30, 21], positions=30)
    draws = ValidationDraws(["b", "c"], torch.device("cpu"))
    assert random_prefix(draws.uniform("prompt"), batch.lengths).min() > 0  # or this tests nothing
    together = decoder.loss(batch, draws).loss
    alone = [
        decoder.loss(row_of(batch, row), ValidationDraws([utt], torch.device("cpu"))).loss
        for row, utt in enumerate("bc")
    ]
    torch.testing.assert_close(together, (30 * alone[0] + 21 * alone[1]) / 51)


@pytest.mark.parametrize("name", ITERATIVE)
@pytest.mark.parametrize("prediction", ["velocity", "x"])
def test_the_prompt_is_put_back_at_every_evaluation(name, prediction, monkeypatch):
    decoder, batch = small(name, prediction=prediction, prompt=True), batch_of([5, 4])
    predict, seen = decoder.predict, []
    monkeypatch.setattr(decoder, "predict", lambda *a: seen.append(a[0]) or predict(*a))
    prompt = MelPrompt(batch.target, torch.tensor([2, 0]))
    noise = torch.randn(2, 5, 8)
    got = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(3, 0.5), prompt)
    assert len(seen) == 6
    for x_t in seen:
        assert torch.equal(x_t[0, :2], batch.target[0, :2])
        assert not torch.isclose(x_t[0, 2:], batch.target[0, 2:]).all(-1).any()
    seen.clear()
    decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(1, 0.0, 0.5), prompt)
    assert torch.equal(seen[0][0, :2], batch.target[0, :2])  # the temperature is of the noise alone
    assert torch.equal(seen[0][0, 2:], noise[0, 2:] / 2) and torch.equal(seen[0][1], noise[1] / 2)
    without = decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(3, 0.5))
    assert not torch.allclose(got[0, 2:], without[0, 2:], atol=1e-2)
    torch.testing.assert_close(got[1, :4], without[1, :4])


def test_a_decoder_without_prompts_refuses():
    decoder, batch = small(), batch_of([5])
    assert not decoder.takes_prompt and small(prompt=True).takes_prompt
    with pytest.raises(SiTokError, match="prompt: false"):
        decoder.sample(
            batch.quantized,
            batch.lengths,
            torch.randn(1, 5, 8),
            SamplingConfig(),
            MelPrompt(batch.target, batch.lengths),
        )


def test_the_model_gives_the_decoder_normalised_prompts_and_the_targets_own_noise(tmp_path, monkeypatch):
    import numpy as np

    count = 10.0
    np.savez(tmp_path / "stats.npz", count=count, sum=np.full(128, -30.0), sum_square=np.full(128, 90.0 + 4.0 * count))
    config = tiny_config()
    model = tiny_model(
        normalize="global_mvn",
        normalize_conf={"stats_file": str(tmp_path / "stats.npz")},
        decoder_conf={**config["decoder_conf"], "prompt": True},
    ).eval()
    mel = torch.randn(2, 8, 128)
    prompt = TokenPrompt(torch.tensor([[[1], [2]], [[0], [0]]]), mel, torch.tensor([2, 0]))
    before, codes, lengths = mel.clone(), torch.tensor([[[3], [4], [0]], [[5], [6], [7]]]), torch.tensor([2, 3])
    noise, got = torch.randn(1, 12, 128).expand(2, -1, -1), {}
    sample = model.decoder.sample

    def spy(quantized, lengths, noise, sampling, known):
        got.update(quantized=quantized, lengths=lengths, noise=noise, known=known)
        return sample(quantized, lengths, noise, sampling, known)

    monkeypatch.setattr(model.decoder, "sample", spy)
    out = model.decode(codes, lengths, noise, SamplingConfig(2), prompt)
    assert out.shape == (2, 12, 128) and torch.equal(mel, before)
    assert got["lengths"].tolist() == [4, 3]
    expected = model.quantizer.decode_codes(torch.tensor([[[1], [2], [3], [4]]]))
    torch.testing.assert_close(got["quantized"][:1], expected)
    stacked = noise[0].reshape(3, 512)
    assert torch.equal(got["noise"][0, 2:4], stacked[:2]) and torch.equal(got["noise"][1, :3], stacked)
    # Mean -3 and deviation 2, from the statistics above.
    torch.testing.assert_close(got["known"].mel[0, :2], ((before[0] + 3) / 2).reshape(2, 512))
    assert got["known"].positions()[:, :, 0].tolist() == [[True, True, False, False], [False] * 4]
    assert (out[0, 8:] == model.feats_extract.config.log_floor).all() and out[0, :8].isfinite().all()
