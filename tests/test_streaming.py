"""Streams against the offline encoder (DESIGN section 6, promise 2), for any chunking."""

import numpy as np
import pytest
import torch
from experiment_dir import experiment_config, make_model_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from near_ties import assert_same_codes
from speech_generator import speech

from sitok_espnet import streaming
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.sitok.encoder.abs_encoder import AbsEncoder
from sitok_espnet.sitok.slots import SLOTS, build_model

WINDOW = 7
RATE = 24000
CHAIN = {
    "model_conf": {"stacking_factor": 2},
    "quantizer": "residual_vq",
    "quantizer_conf": {"num_codebooks": 3, "codebook_size": [32, 16, 8], "codebook_dim": 8},
}
SPEECH = np.concatenate([speech(3.0, seed=s, speaker=s) for s in range(2)])  # 75 tokens: over ten windows


def windowed(**changes):
    encoder = experiment_config()["encoder_conf"] | {"attention_window": WINDOW}
    return {"encoder_conf": encoder, **changes}


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory, tiny_tokenizer):
    folder = tmp_path_factory.mktemp("streaming")
    return {
        "unbounded": tiny_tokenizer,
        "window": SiTok.from_pretrained(make_model_dir(folder / "window", **windowed())),
        "k = 2": SiTok.from_pretrained(make_model_dir(folder / "k2", **windowed(model_conf={"stacking_factor": 2}))),
        "chain": SiTok.from_pretrained(make_model_dir(folder / "chain", **windowed(**CHAIN))),
    }


def cut(wav, cuts):
    return np.split(wav, sorted(c for c in cuts if c < len(wav)))


def run(tokenizer, chunks):
    """Codes (T, N) and pre-quantizer latents (T, D) of a stream."""
    latents = []
    quantizer = tokenizer.model.quantizer
    with pytest.MonkeyPatch.context() as patch:
        encode = quantizer.encode
        patch.setattr(quantizer, "encode", lambda x: latents.append(x[0]) or encode(x))
        stream = tokenizer.stream()
        codes = [stream.push(chunk, RATE) for chunk in chunks] + [stream.flush()]
    return np.concatenate(codes), torch.cat(latents)


def assert_equals_offline(tokenizer, chunks):
    wav = np.concatenate(chunks)
    codes, latents = run(tokenizer, chunks)
    expected = tokenizer.encode([wav], RATE)[0]
    assert_same_codes(tokenizer, wav, codes, expected)
    with torch.inference_mode():
        reference = tokenizer.model.latents(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))[0][0]
        relative = (latents - reference).norm(dim=1) / reference.norm(dim=1)
        assert relative.max() < 1e-5
    return codes


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["unbounded", "window", "k = 2", "chain"]))
def test_any_chunking_gives_the_offline_tokens(tokenizers, data, name):
    length = data.draw(st.one_of(st.integers(1, 6000), st.integers(1, len(SPEECH))), label="samples")
    start = data.draw(st.integers(0, len(SPEECH) - length), label="start")
    cuts = data.draw(st.lists(st.integers(0, length), max_size=40), label="cuts")
    assert_equals_offline(tokenizers[name], cut(SPEECH[start : start + length], cuts))


@pytest.mark.parametrize("name", ["unbounded", "window", "k = 2", "chain"])
@pytest.mark.parametrize("size", [160, 1920, 5000, 10**9])
def test_regular_chunks_beyond_many_windows(tokenizers, name, size):
    codes = assert_equals_offline(tokenizers[name], cut(SPEECH, range(size, len(SPEECH), size)))
    assert len(codes) > 3 * WINDOW and len(np.unique(codes)) > 10


def test_single_samples(tokenizers):
    assert_equals_offline(tokenizers["window"], cut(SPEECH[5000:9500], range(4500)))


@pytest.mark.parametrize("samples", [1, 719, 720, 721, 1919, 1920, 1921, 2639, 2640, 2641, 3840])
def test_ends(tokenizers, samples):
    for name in ("unbounded", "window"):
        assert_equals_offline(tokenizers[name], [SPEECH[3000 : 3000 + samples]])


def test_long_chunks_are_encoded_in_parts(tokenizers, monkeypatch):
    monkeypatch.setattr(streaming, "TOKENS_AT_ONCE", 9)
    assert_equals_offline(tokenizers["window"], [SPEECH])
    assert_equals_offline(tokenizers["unbounded"], [SPEECH[:1000], SPEECH[1000:]])


@pytest.mark.parametrize(("name", "latency", "first"), [("unbounded", 110.0, 2640), ("k = 2", 70.0, 1680)])
def test_a_token_comes_with_the_sample_that_the_latency_promises(tokenizers, name, latency, first):
    stream = tokenizers[name].stream()
    assert stream.latency_ms == latency == 1000 * first / RATE
    assert stream.push(SPEECH[: first - 1], RATE).shape == (0, 1)
    assert stream.push(SPEECH[first - 1 : first], RATE).shape == (1, 1)


def test_torch_and_empty_chunks_and_an_empty_stream(tokenizers):
    stream = tokenizers["window"].stream()
    for nothing in (np.zeros(0, np.float32), torch.zeros(0), []):
        assert stream.push(nothing, RATE).shape == (0, 1)
    got = np.concatenate([stream.push(torch.from_numpy(SPEECH[:9000]), RATE), stream.flush()])
    np.testing.assert_array_equal(got, run(tokenizers["window"], [SPEECH[:9000]])[0])
    empty = tokenizers["window"].stream().flush()
    assert empty.shape == (0, 1) and empty.dtype == np.int64


def test_a_refused_chunk_changes_nothing(tokenizers):
    stream = tokenizers["window"].stream()
    got = [stream.push(SPEECH[:5000], RATE)]
    for chunk, rate, message in [
        (SPEECH[:10], 16000, r"16000 Hz.*24000 Hz.*resample"),
        (np.array([0.0, np.nan]), RATE, "chunk at sample 5000: NaN or infinite.*sample 1"),
        (np.zeros((2, 10), np.float32), RATE, r"expected one channel.*\(2, 10\)"),
        (np.zeros((0, 2), np.float32), RATE, "expected one channel"),
        (np.zeros(10, np.int16), RATE, "int16.*32768"),
    ]:
        with pytest.raises(SiTokError, match=message):
            stream.push(chunk, rate)
    got += [stream.push(SPEECH[5000:20000], RATE), stream.flush()]
    np.testing.assert_array_equal(np.concatenate(got), run(tokenizers["window"], [SPEECH[:20000]])[0])


def test_a_flushed_stream_is_closed(tokenizers):
    stream = tokenizers["window"].stream()
    stream.push(SPEECH[:100], RATE)
    stream.flush()
    for call in (lambda: stream.push(SPEECH[:10], RATE), stream.flush):
        with pytest.raises(SiTokError, match="closed.*open another"):
            call()


def held(stream):
    return stream._audio.base, stream._audio.nbytes, stream._state.num_values()


def test_memory_is_bounded_with_a_window_only(tokenizers):
    sizes = {}
    for name in ("window", "unbounded"):
        stream = tokenizers[name].stream()
        sizes[name] = []
        for chunk in cut(SPEECH, range(24000, len(SPEECH), 24000)):
            stream.push(chunk, RATE)
            base, audio, cache = held(stream)
            assert base is None and audio <= 4 * (960 + 1920 + 720)
            sizes[name].append(cache)
    assert set(sizes["window"]) == {2 * 2 * (WINDOW - 1) * 32}  # layers, keys and values, positions, width
    assert sizes["unbounded"] == sorted(set(sizes["unbounded"]))


def test_without_a_window_a_stream_ends_at_the_stated_length(tokenizers, monkeypatch):
    assert streaming.MAX_SECONDS_WITHOUT_WINDOW == 600
    monkeypatch.setattr(streaming, "MAX_SECONDS_WITHOUT_WINDOW", 2.0)
    stream = tokenizers["unbounded"].stream()
    got = [stream.push(SPEECH[:48000], RATE)]
    with pytest.raises(SiTokError, match="attention_window: null.*ends at 2 s.*attention_window: W"):
        stream.push(SPEECH[:1], RATE)
    got.append(stream.flush())
    np.testing.assert_array_equal(np.concatenate(got), tokenizers["unbounded"].encode([SPEECH[:48000]], RATE)[0])
    endless = tokenizers["window"].stream()
    assert len(endless.push(SPEECH, RATE)) > 70


def test_encode_streams_what_is_longer_than_a_batch(tokenizers, monkeypatch):
    wavs = [SPEECH[:9000], SPEECH, SPEECH[:24001]]
    whole = tokenizers["window"].encode(wavs, RATE)
    opened = []
    original = SiTok.stream
    monkeypatch.setattr(SiTok, "stream", lambda self: opened.append(1) or original(self))
    for got, expected in zip(tokenizers["window"].encode(wavs, RATE, batch_seconds=2.0), whole, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert len(opened) == 1
    tokenizers["unbounded"].encode(wavs, RATE, batch_seconds=2.0)
    assert len(opened) == 1


def test_bfloat16_streams(tokenizers):
    lower = SiTok.from_pretrained(tokenizers["window"].directory, dtype=torch.bfloat16)
    codes, latents = run(lower, cut(SPEECH, range(2000, len(SPEECH), 2000)))
    expected, reference = run(tokenizers["window"], [SPEECH])
    relative = (latents - reference).norm(dim=1) / reference.norm(dim=1)
    assert 1e-4 < relative.max() < 0.2  # it was bfloat16, and the same stream
    assert np.mean(codes == expected) > 0.4


class Whole(AbsEncoder):
    """An encoder without a step."""

    def __init__(self, input_size):
        super().__init__()
        self.linear = torch.nn.Linear(input_size, 32)

    def output_size(self):
        return 32

    def forward(self, x):
        return self.linear(x)


def test_an_encoder_without_a_step_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(SLOTS["encoder"].choices, "whole", Whole)
    tokenizer = SiTok.from_pretrained(make_model_dir(tmp_path / "exp", encoder="whole", encoder_conf={}))
    assert len(tokenizer.encode([SPEECH], RATE, batch_seconds=1.0)[0]) == 75
    with pytest.raises(SiTokError, match="encoder Whole cannot stream"):
        tokenizer.stream()
    with pytest.raises(SiTokError, match="encoder Whole cannot stream"):
        tokenizer.model.encoder.step(torch.zeros(1, 1, 512), None)


def test_a_continuous_model_is_refused(tokenizers, monkeypatch):
    monkeypatch.setattr(type(tokenizers["window"].model.quantizer), "codebook_sizes", ())
    with pytest.raises(SiTokError, match="cannot stream tokens"):
        tokenizers["window"].stream()


@pytest.mark.parametrize("value", [0, -3, 2.5, "long", True])
def test_bad_window(value):
    encoder = experiment_config()["encoder_conf"] | {"attention_window": value}
    with pytest.raises(SiTokError, match="encoder_conf attention_window must be null or a number of tokens"):
        build_model(experiment_config(normalize=None, encoder_conf=encoder))


def test_a_model_with_a_window_trains():
    torch.manual_seed(0)
    model = build_model(experiment_config(normalize=None, ctc=None, **windowed())).train()
    speech_batch = torch.from_numpy(np.stack([SPEECH[:48000], SPEECH[48000:96000]]))
    lengths = torch.tensor([48000, 30000])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(1)  # the same draws
        loss, _, _ = model(speech_batch, lengths)
        optimizer.zero_grad()
        loss.backward()
        assert model.encoder.stack.blocks[0].attention.query_key_value.weight.grad.abs().max() > 0
        optimizer.step()
        model.quantizer.update_codebook()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
