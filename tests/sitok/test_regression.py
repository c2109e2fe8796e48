"""The regression decoder: L1 on the mel in one pass, and nothing else."""

import pytest
import torch
from decoder_parts import FixedDraws, batch_of, row_of, small

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.decoder.prompt import MelPrompt


def sample(decoder, batch, noise, *sampling, **prompt):
    return decoder.sample(batch.quantized, batch.lengths, noise, SamplingConfig(*sampling), **prompt)


def test_loss_is_the_distance_of_the_sample_over_valid_elements():
    decoder, batch = small("regression"), batch_of([5, 3])
    batch.valid[1, 2] = 0.0  # a frame beyond the end within the last token
    got = decoder.loss(batch, FixedDraws(None, None, dropped=())).loss
    mel = sample(decoder, batch, torch.zeros(2, 5, 8))
    error = (mel - batch.target).abs()
    torch.testing.assert_close(got, (error[0].sum() + error[1, :2].sum()) / (7 * 8))
    got.backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_noise_and_padding_do_not_matter():
    decoder, batch = small("regression"), batch_of([5, 3])
    together = sample(decoder, batch, torch.randn(2, 5, 8))
    assert torch.equal(together, sample(decoder, batch, torch.zeros(2, 5, 8)))
    alone = sample(decoder, row_of(batch, 1), torch.randn(1, 3, 8))
    torch.testing.assert_close(together[1:, :3], alone, atol=1e-5, rtol=1e-5)


def test_it_has_ordinary_norms_and_sees_the_future():
    decoder, batch = small("regression"), batch_of([5])
    assert not any("to_gain" in name or "embedding" in name for name, _ in decoder.named_parameters())
    before = sample(decoder, batch, None)
    batch.quantized[:, -1] += 1
    assert not torch.allclose(before[:, 0], sample(decoder, batch, None)[:, 0])


@pytest.mark.parametrize(
    "sampling, message", [((16,), "steps"), ((None, 0.5), "cfg_scale"), ((None, 0.0, 1.0), "temperature")]
)
def test_what_belongs_to_iterative_decoders_is_refused(sampling, message):
    decoder, batch = small("regression"), batch_of([5])
    assert not decoder.iterative and not decoder.takes_prompt
    with pytest.raises(SiTokError, match=f"regression decoder has no .*{message}"):
        sample(decoder, batch, None, *sampling)
    with pytest.raises(SiTokError, match="regression decoder takes no mel prompt"):
        sample(decoder, batch, None, prompt=MelPrompt(batch.target, torch.tensor([1])))
