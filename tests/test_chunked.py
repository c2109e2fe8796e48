"""Chunked decoding: windows, cross-fades and noise against plain arithmetic, and against the whole decode."""

import numpy as np
import pytest
import torch
from experiment_dir import experiment_config, make_model_dir
from hypothesis import given
from hypothesis import strategies as st
from speech_generator import speech
from vocos_dir import make_vocoder_dir

from sitok_espnet import chunked
from sitok_espnet.chunked import Layout, Reader, cross_fade
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.prompts import check_prompts
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.randomness import noise_blocks, utterance_noise

FAST = {"steps": 2, "seed": 3}
SAMPLING = SamplingConfig(steps=2)


@pytest.fixture(scope="module")
def codes(tiny_tokenizer):
    wav = np.concatenate([speech(4.0, seed=s, speaker=s) for s in range(2)])
    return tiny_tokenizer.encode([wav[:-900]], 24000)[0]  # 100 tokens


layouts = st.builds(
    lambda chunk, before, fade, more: Layout(chunk, before, fade + more, fade),
    st.integers(1, 12),
    st.integers(0, 9),
    st.integers(1, 7),
    st.integers(0, 5),
)


@given(layouts, st.integers(1, 120))
def test_windows_cover_everything_with_their_surroundings(layout, total):
    windows = layout.windows(total)
    assert windows[0].first == windows[0].start == 0 and windows[-1].last == windows[-1].stop == total
    for window in windows:
        assert window.start == max(0, window.first - layout.before)
        assert window.stop - window.start <= layout.before + layout.chunk + 2 * layout.after
    for one, two in zip(windows, windows[1:], strict=False):
        assert two.first - one.first == layout.chunk and one.last - two.first == layout.fade
        assert one.stop == min(total, two.first + layout.after)
        assert two.last - two.first >= layout.fade
    assert len(layout.windows(layout.chunk)) == 1


@given(layouts, st.integers(1, 60), st.integers(1, 20))
def test_pieces_of_one_sequence_fade_into_the_sequence(layout, total, block):
    """Through a reader of blocks, too; and with other pieces the weights are those of the formula."""
    sequence = np.random.default_rng(0).standard_normal((total, 2)).astype(np.float32)
    reader = Reader(iter(np.array_split(sequence, range(block, total, block))))
    windows = layout.windows(total)
    read = [(w, reader.read(w.start, w.stop)) for w in windows]
    assert all(np.array_equal(part, sequence[w.start : w.stop]) for w, part in read)
    pieces = [part[w.first - w.start : w.last - w.start] for w, part in read]
    np.testing.assert_allclose(np.concatenate(list(cross_fade(iter(pieces), layout.fade))), sequence, atol=1e-6)


def test_cross_fade_is_linear():
    faded = np.concatenate(list(cross_fade(iter([np.zeros(6, np.float32), np.ones(7, np.float32)]), 4)))
    np.testing.assert_allclose(faded, [0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1, 1])
    single = np.arange(5.0)
    assert np.array_equal(np.concatenate(list(cross_fade(iter([single]), 2))), single)


def test_reader_holds_no_more_than_a_slice_and_two_blocks():
    reader = Reader(np.full((8, 1), n) for n in range(1000))
    for start in range(0, 7000, 50):
        reader.read(start, start + 20)
        assert sum(map(len, reader._held)) <= 20 + 2 * 8


def test_noise_in_blocks_is_the_same_draw():
    whole = utterance_noise(11, 1000, 5).numpy()
    for size in (1, 7, 64, 999):
        reader = Reader(noise_blocks(11, 5, size))
        for start, stop in [(0, 10), (3, 130), (130, 131), (500, 1000)]:
            assert np.array_equal(reader.read(start, stop), whole[start:stop])


def test_an_utterance_of_one_chunk_is_the_ordinary_decode(tiny_tokenizer, codes):
    items = [codes[:25], codes[:3], codes[:40]]
    lengths = [25 * 1920 - 7, 3 * 1920, 40 * 1920 - 1900]
    whole = tiny_tokenizer.decode(items, num_samples=lengths, **FAST)
    for seconds in (3.2, 100):
        got = tiny_tokenizer.decode(items, num_samples=lengths, chunk_seconds=seconds, **FAST)
        assert all(np.array_equal(a, b) for a, b in zip(got, whole, strict=True))
    default = tiny_tokenizer.decode(items[:1], **FAST)[0]
    for seconds in (2, np.int64(2), np.float32(2)):
        assert np.array_equal(tiny_tokenizer.decode(items[:1], chunk_seconds=seconds, **FAST)[0], default)


def test_mel_of_a_chunk_is_that_of_its_window_with_the_noise_of_its_place(tiny_tokenizer, codes):
    layout = Layout(chunk=20, before=5, after=6, fade=4)
    mel = np.concatenate(list(chunked.chunked_mel(tiny_tokenizer, codes, layout, SAMPLING, 3)))
    assert mel.shape == (4 * len(codes), 128)
    draw = utterance_noise(3, 4 * len(codes), 128)

    def window(start, stop):
        noise = draw[4 * start : 4 * stop][None]
        part = torch.from_numpy(codes[start:stop])[None]
        return tiny_tokenizer.model.decode(part, torch.tensor([stop - start]), noise, SAMPLING)[0].numpy()

    second, third = window(15, 46), window(35, 66)
    np.testing.assert_allclose(mel[4 * 24 : 4 * 40], second[4 * 9 : 4 * 25], atol=1e-5)
    weight = ((np.arange(16) + 0.5) / 16)[:, None]
    expected = second[4 * 25 : 4 * 29] * (1 - weight) + third[4 * 5 : 4 * 9] * weight
    np.testing.assert_allclose(mel[4 * 40 : 4 * 44], expected, atol=1e-5)


def test_with_all_of_the_utterance_in_view_chunks_equal_the_whole(tiny_tokenizer, codes):
    whole = tiny_tokenizer.decode_mel([codes], **FAST)[0]
    layout = Layout(chunk=30, before=100, after=69, fade=4)
    assert len(layout.windows(len(codes))) == 2
    all_seen = np.concatenate(list(chunked.chunked_mel(tiny_tokenizer, codes, layout, SAMPLING, 3)))
    # The first window ends one token early.
    np.testing.assert_allclose(all_seen[4 * 34 :], whole[4 * 34 :], atol=1e-4)


@pytest.mark.parametrize("seconds", [1, 2.5])
@pytest.mark.parametrize("vocoder_seconds", [1.0, 60.0])
def test_lengths_repeatability_and_likeness(tiny_tokenizer, codes, seconds, vocoder_seconds, monkeypatch):
    monkeypatch.setattr(chunked, "VOCODER_SECONDS", vocoder_seconds)
    items, lengths = [codes, codes[:20], codes[:77]], [100 * 1920 - 900, 20 * 1920, 77 * 1920 - 1]
    first = tiny_tokenizer.decode(items, num_samples=lengths, chunk_seconds=seconds, **FAST)
    again = tiny_tokenizer.decode(items[::-1], num_samples=lengths[::-1], chunk_seconds=seconds, **FAST)[::-1]
    assert [len(w) for w in first] == lengths and all(w.dtype == np.float32 for w in first)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    other = tiny_tokenizer.decode(items[:1], num_samples=lengths[:1], chunk_seconds=seconds, steps=2, seed=4)[0]
    assert np.abs(other - first[0]).max() > 1e-3


def test_the_temperature_scales_the_noise_of_every_window(tiny_tokenizer, codes, monkeypatch):
    options = {"chunk_seconds": 1.0, **FAST}
    plain, same, half = (tiny_tokenizer.decode([codes], temperature=tau, **options)[0] for tau in (None, 1.0, 0.5))
    np.testing.assert_array_equal(plain, same)
    blocks = chunked.noise_blocks
    monkeypatch.setattr(chunked, "noise_blocks", lambda *draw: (block / 2 for block in blocks(*draw)))
    np.testing.assert_array_equal(half, tiny_tokenizer.decode([codes], **options)[0])
    assert np.abs(half - plain).max() > 1e-3


def test_vocoding_in_pieces_keeps_places_and_energy(tiny_tokenizer, monkeypatch):
    """The mel of speech, vocoded whole and in pieces: the same envelope, also across the seams."""
    wav = speech(6.0, seed=5)
    mel = tiny_tokenizer.log_mel(wav, 24000)
    whole = tiny_tokenizer.vocode([mel], [len(wav)])[0]
    monkeypatch.setattr(chunked, "VOCODER_SECONDS", 1.0)
    parts = cross_fade(
        chunked._vocoded(tiny_tokenizer, Reader(iter([mel])), len(mel)), 480 * chunked.VOCODER_FADE_FRAMES
    )
    pieces = np.concatenate(list(parts))
    assert len(pieces) == len(wav)

    def envelope(x):
        return np.sqrt((x.reshape(-1, 960) ** 2).mean(1) + 1e-6)

    assert np.corrcoef(envelope(pieces), envelope(whole))[0, 1] > 0.95
    assert np.corrcoef(envelope(pieces), envelope(wav))[0, 1] > 0.9
    first = tiny_tokenizer.vocode([mel[: 50 + 10 + 100]])[0]
    np.testing.assert_array_equal(pieces[: 480 * 40], first[: 480 * 40])


def test_pieces_of_vocos_are_the_whole(tiny_model_dir, tmp_path, monkeypatch):
    """A generator as deep as the paper's size sees 95 frames to each side, all of them within the context."""
    vocoder = make_vocoder_dir(
        tmp_path / "vocoder", generator_conf={"dim": 8, "intermediate_dim": 12, "num_layers": 30, "prior": True}
    )
    tokenizer = SiTok.from_pretrained(tiny_model_dir, vocoder="vocos", vocoder_conf={"path": str(vocoder)})
    torch.manual_seed(0)
    for layer in tokenizer.vocoder.generator.backbone.convnext:
        torch.nn.init.constant_(layer.gamma, 1.0)  # as after some training: far frames count
        for part in (layer.dwconv, layer.pwconv1, layer.pwconv2):
            torch.nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
    mel = tokenizer.log_mel(speech(9.0, seed=5), 24000)
    monkeypatch.setattr(chunked, "VOCODER_SECONDS", 1.0)
    read, vocode = [], tokenizer.vocode
    monkeypatch.setattr(tokenizer, "vocode", lambda mels: read.append(len(mels[0])) or vocode(mels))
    pieces = chunked._vocode_long(tokenizer, Reader(iter([mel])), 480 * len(mel))
    assert len(read) > 3 and max(read) < 270 < len(mel)
    np.testing.assert_allclose(pieces, vocode([mel])[0], atol=1e-6)


def test_what_is_computed_at_once_does_not_grow(tiny_tokenizer, codes, monkeypatch):
    monkeypatch.setattr(chunked, "VOCODER_SECONDS", 2.0)
    decoded, vocoded = [], []
    decode, vocode = SiTok.mel_from_noise, SiTok.vocode
    monkeypatch.setattr(SiTok, "mel_from_noise", lambda self, c, *m: decoded.extend(map(len, c)) or decode(self, c, *m))
    monkeypatch.setattr(SiTok, "vocode", lambda self, m, n=None: vocoded.extend(map(len, m)) or vocode(self, m, n))
    for times in (1, 4):
        tiny_tokenizer.decode([np.tile(codes, (times, 1))], chunk_seconds=1, steps=1)
    assert len(decoded) > 30 and max(decoded) <= 13 + 16 + 2 * 8
    assert len(vocoded) > 12 and max(vocoded) <= 100 + 100 + 2 * 110


def test_a_prompt_goes_before_every_window(tmp_path, codes):
    decoder = experiment_config()["decoder_conf"] | {"prompt": True}
    tokenizer = SiTok.from_pretrained(
        make_model_dir(tmp_path / "exp", decoder_conf=decoder), vocoder_conf={"iterations": 1}
    )
    wav = speech(0.8, seed=9)
    prompt = (tokenizer.encode([wav], 24000)[0], tokenizer.log_mel(wav, 24000))
    items = [codes % 64, codes[:12]]
    with_prompt = tokenizer.decode(items, chunk_seconds=2, prompt=[prompt, None], **FAST)
    without = tokenizer.decode(items, chunk_seconds=2, **FAST)
    np.testing.assert_array_equal(with_prompt[1], without[1])
    late = slice(60 * 1920, 90 * 1920)  # far behind the first window
    assert np.abs(with_prompt[0][late] - without[0][late]).max() > 1e-3
    layout = Layout(chunk=25, before=16, after=8, fade=4)
    (checked,) = check_prompts(tokenizer.model, [prompt], items[:1])
    mel = np.concatenate(list(chunked.chunked_mel(tokenizer, items[0], layout, SAMPLING, 3, checked)))
    noise = utterance_noise(3, 400, 128)[4 * 34 : 4 * 83]
    expected = tokenizer.mel_from_noise([items[0][34:83]], noise, SAMPLING, [checked])[0]
    np.testing.assert_allclose(mel[4 * 54 : 4 * 75], expected[4 * 20 : 4 * 41], atol=1e-5)
    with pytest.raises(SiTokError, match="2 utterances but 1 prompts"):
        tokenizer.decode(items, chunk_seconds=2, prompt=[prompt], **FAST)


def test_latents_of_a_continuous_model_are_decoded_in_chunks_too(tmp_path):
    directory = make_model_dir(tmp_path / "exp", quantizer="identity", quantizer_conf={})
    tokenizer = SiTok.from_pretrained(directory, vocoder_conf={"iterations": 1})
    latents = tokenizer.analyze([speech(5.0)], 24000)
    wav = tokenizer.decode(latents, num_samples=[119999], chunk_seconds=1, **FAST)[0]
    assert wav.shape == (119999,)
    first = tokenizer.decode_mel([latents[0][: 13 + 8]], **FAST)[0]
    layout = chunked.token_layout(tokenizer, 1)
    mel = next(chunked.chunked_mel(tokenizer, latents[0], layout, SAMPLING, 3))
    np.testing.assert_allclose(mel, first[: len(mel)], atol=1e-4)


def test_other_stacking_factors(tmp_path):
    tokenizer = SiTok.from_pretrained(make_model_dir(tmp_path / "exp", model_conf={"stacking_factor": 8}))
    assert chunked.token_layout(tokenizer, 2.0) == Layout(13, 8, 4, 2)
    codes = tokenizer.encode([speech(5.0)], 24000)
    assert len(tokenizer.decode(codes, num_samples=[120000], chunk_seconds=1.0, steps=1)[0]) == 120000


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), np.float32("nan"), "2", True, np.True_])
def test_bad_chunk_seconds(tiny_tokenizer, codes, seconds):
    with pytest.raises(SiTokError, match="chunk_seconds must be a positive number"):
        tiny_tokenizer.decode([codes], chunk_seconds=seconds)


def test_bad_options_are_refused_in_chunks_too(tiny_tokenizer, codes):
    for options, message in [
        ({"steps": 0}, "steps"),
        ({"temperature": 3}, "temperature"),
        ({"seed": -1}, "seed"),
        ({"num_samples": [5]}, "num_samples"),
    ]:
        with pytest.raises(SiTokError, match=message):
            tiny_tokenizer.decode([codes], chunk_seconds=1.0, **options)
