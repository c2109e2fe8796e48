"""Promise 1: the check holds for our model, and can fail."""

import pytest
import torch
from speech_generator import speech

from sitok_espnet.evaluate.invariance import verify_tokens


@pytest.fixture(scope="module")
def wavs():
    return [speech(seconds, seed=i, speaker=i % 3) for i, seconds in enumerate((0.4, 3.1, 1.7, 2.2, 0.9, 2.6))]


def test_tokens_do_not_depend_on_batch_order_or_padding(tiny_tokenizer, wavs):
    report = verify_tokens(tiny_tokenizer, wavs, batch_size=4)
    assert report.tokens == 3 * sum(-(-len(w) // 1920) for w in wavs)
    assert report.holds, report


def test_an_encoder_that_sees_its_batch_is_found_out(tiny_tokenizer, wavs, monkeypatch):
    encoder = tiny_tokenizer.model.encoder
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda x: forward(x + 0.01 * x.mean(dim=(0, 1))))
    report = verify_tokens(tiny_tokenizer, wavs, batch_size=4)
    assert not report.holds and report.worst_latent > 1e-4


def test_a_differing_code_must_be_a_near_tie(tiny_tokenizer, wavs, monkeypatch):
    """A search that takes the second best for batches: differing codes that no near tie explains."""
    quantizer = tiny_tokenizer.model.quantizer
    encode = quantizer.encode
    shift = lambda x: encode(x) if len(x) == 1 else (encode(x) + 1) % 64  # noqa: E731
    monkeypatch.setattr(quantizer, "encode", shift)
    report = verify_tokens(tiny_tokenizer, wavs, batch_size=4)
    assert report.differing > report.tokens / 2 and report.unproven == report.differing
    # With entries in equal pairs, the same differences are near ties.
    entries = quantizer.codebook.entries
    original = entries.clone()
    monkeypatch.setattr(quantizer, "encode", lambda x: encode(x) // 2 * 2 + (len(x) > 1))
    with torch.no_grad():
        entries[1::2] = entries[::2]
    try:
        report = verify_tokens(tiny_tokenizer, wavs, batch_size=4)
    finally:
        with torch.no_grad():
            entries.copy_(original)
    assert report.differing > 0 and report.unproven == 0
