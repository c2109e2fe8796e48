"""What every choice of the quantizer slot must do: masks, fp32, codes and back, save and load, two training steps."""

import copy

import pytest
import torch
from tiny import tiny_model

from sitok_espnet.sitok.slots import SLOTS, build_slot

QUANTIZERS = {
    "ema_vq": {"codebook_size": 16, "codebook_dim": 4, "l2_normalize": True},
    "residual_vq": {"num_codebooks": 3, "codebook_size": [16, 8, 5], "codebook_dim": 4},
    "fsq": {"levels": [5, 4, 3]},
    "bsq": {"num_bits": 6, "commitment": 0.25},
    "identity": {},
}
WITH_CODES = [name for name in QUANTIZERS if name != "identity"]


def test_every_choice_is_tested():
    assert set(QUANTIZERS) == set(SLOTS["quantizer"].choices)


def ready(name, seed=0):
    """A quantizer of D = 6 that has seen enough batches to have its codebooks."""
    torch.manual_seed(seed)
    quantizer = build_slot("quantizer", {"quantizer": name, "quantizer_conf": QUANTIZERS[name]}, input_size=6)
    for _ in range(8):
        quantizer(torch.randn(4, 20, 6), torch.full((4,), 20))
        quantizer.update_codebook()
    assert all(codebook.initialised for codebook in getattr(quantizer, "chain", ()))
    return quantizer


@pytest.mark.parametrize("name", QUANTIZERS)
def test_padding_enters_nothing(name):
    """Padded equals truncated: outputs, losses, statistics, and the codebook that they lead to."""
    padded = ready(name)
    cut = copy.deepcopy(padded)
    x = torch.randn(2, 7, 6)
    garbage = torch.full((2, 4, 6), 50.0)
    garbage[1] = float("nan")
    long = padded(torch.cat((x, garbage), dim=1), torch.tensor([7, 7]))
    short = cut(x, torch.tensor([7, 7]))
    torch.testing.assert_close(long.loss, short.loss)
    torch.testing.assert_close(long.quantized[:, :7], short.quantized)
    torch.testing.assert_close(long.quantized_per_codebook[:, :7], short.quantized_per_codebook)
    assert long.stats.keys() == short.stats.keys()
    for statistic in short.stats:
        torch.testing.assert_close(long.stats[statistic], short.stats[statistic])
    if short.codes is not None:
        assert torch.equal(long.codes[:, :7], short.codes)
    for quantizer in (padded, cut):
        quantizer.update_codebook()
    for key, value in cut.state_dict().items():
        torch.testing.assert_close(padded.state_dict()[key], value)


@pytest.mark.parametrize("name", WITH_CODES)
def test_codes_stand_for_what_the_decoders_read(name):
    quantizer = ready(name).eval()
    x = 2 * torch.randn(3, 50, 6)
    out = quantizer(x, torch.full((3,), 50))
    sizes = torch.tensor(quantizer.codebook_sizes)
    assert out.codes.dtype == torch.int64 and out.codes.shape == (3, 50, quantizer.num_codebooks)
    assert (out.codes >= 0).all() and (out.codes < sizes).all() and len(out.codes[..., 0].unique()) > 5
    assert out.quantized_per_codebook.shape == (3, 50, quantizer.num_codebooks, quantizer.codebook_dim)
    assert torch.equal(quantizer.encode(x), out.codes)
    torch.testing.assert_close(quantizer.decode_codes(out.codes), out.quantized)
    torch.testing.assert_close(quantizer.decode_per_codebook(out.codes), out.quantized_per_codebook)


@pytest.mark.parametrize("name", WITH_CODES)
def test_quantization_stays_fp32_under_autocast(name):
    quantizer = ready(name).eval()
    x = torch.randn(2, 9, 6)
    expected = quantizer(x, torch.tensor([9, 9]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = quantizer(x, torch.tensor([9, 9]))
        codes, decoded = quantizer.encode(x), quantizer.decode_codes(expected.codes)
    assert torch.equal(got.codes, expected.codes) and torch.equal(codes, expected.codes)
    assert torch.equal(got.quantized, expected.quantized) and decoded.dtype == torch.float32


@pytest.mark.parametrize("name", WITH_CODES)
def test_codes_survive_saving_and_no_integer_is_saved(name, tmp_path):
    """ESPnet's checkpoint averaging sums integer buffers."""
    quantizer, other = ready(name, seed=1).eval(), ready(name, seed=2).eval()
    torch.save(quantizer.state_dict(), tmp_path / "q.pth")
    state = torch.load(tmp_path / "q.pth", weights_only=True)
    assert all(value.is_floating_point() for value in state.values())
    x = torch.randn(2, 30, 6)
    assert not torch.equal(other.encode(x), quantizer.encode(x))
    other.load_state_dict(state)
    assert torch.equal(other.encode(x), quantizer.encode(x))
    assert torch.equal(other.decode_codes(quantizer.encode(x)), quantizer.decode_codes(quantizer.encode(x)))


@pytest.mark.parametrize("name", WITH_CODES)
def test_broken_latents_are_still_legal_codes(name):
    """A batch with NaN is skipped by the trainer; counting its codes must not end the training before that."""
    quantizer = ready(name)
    x = torch.randn(1, 4, 6)
    x[0, 1:3] = torch.tensor([[float("nan")], [float("inf")]])
    codes = quantizer(x, torch.tensor([4])).codes
    assert (codes >= 0).all() and (codes < torch.tensor(quantizer.codebook_sizes)).all()


@pytest.mark.parametrize("name", QUANTIZERS)
def test_two_training_steps(name):
    """The whole model with the optimizer and the hook that the task gives it."""
    model = tiny_model(quantizer=name, quantizer_conf=QUANTIZERS[name]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.register_step_post_hook(lambda *_: model.quantizer.update_codebook())
    before = copy.deepcopy(model.state_dict())
    speech, lengths = 0.1 * torch.randn(3, 48000), torch.tensor([48000, 40000, 30000])
    text, text_lengths = torch.tensor([[2, 3], [4, -1], [-1, -1]]), torch.tensor([2, 1, 0])
    for _ in range(2):
        loss, stats, _ = model(speech, lengths, text, text_lengths)
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        assert model.encoder.input.weight.grad.any()
        optimizer.step()
    after = model.state_dict()
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    assert all(value.isfinite().all() for value in after.values())
    assert {"encoder.input.weight", "decoder.output.weight", "ctc.output.weight"} <= moved
    if name == "residual_vq":
        initialised = [codebook.initialised for codebook in model.quantizer.chain]
        assert initialised == [True, True, False]  # one codebook a step
    speech_codes = model.eval().analyze(speech, lengths)[0]
    assert speech_codes.shape[:2] == (3, 25)


@pytest.mark.parametrize("name", WITH_CODES)
def test_frozen_or_evaluated_quantizer_stands_still(name):
    for prepare in (lambda q: q.eval(), lambda q: q.train().requires_grad_(False)):
        quantizer = ready(name)
        prepare(quantizer)
        before = copy.deepcopy(quantizer.state_dict())
        quantizer(torch.randn(2, 9, 6), torch.tensor([9, 4]))
        quantizer.update_codebook()
        assert all(torch.equal(before[key], value) for key, value in quantizer.state_dict().items())
