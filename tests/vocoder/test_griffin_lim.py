"""Griffin-Lim: exact framing, independence of rows, quality of copy synthesis."""

import numpy as np
import pytest
import torch
from speech_generator import speech

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.vocoder.choices import build_vocoder
from sitok_espnet.vocoder.griffin_lim import GriffinLim


@pytest.fixture(scope="module")
def vocoder() -> GriffinLim:
    return GriffinLim()


@pytest.fixture(scope="module")
def wav() -> torch.Tensor:
    return torch.from_numpy(speech(2.4, seed=3))


def log_mel(wav: torch.Tensor) -> torch.Tensor:
    return LogMel()(wav[None], torch.tensor([len(wav)]))[0][0]


def test_transform_is_inverted_exactly(vocoder, wav):
    torch.testing.assert_close(vocoder.synthesise(vocoder.analyse(wav)), wav, atol=1e-5, rtol=0)


def test_transform_has_the_frames_of_the_mel(vocoder, wav):
    mel = (vocoder.analyse(wav).abs() @ vocoder.filterbank).clamp_min(1e-5).log()
    torch.testing.assert_close(mel, log_mel(wav), atol=1e-3, rtol=0)


def test_linear_magnitude_explains_the_mel(vocoder, wav):
    linear = vocoder.linear_magnitude(log_mel(wav).exp())
    assert (linear >= 0).all()
    fitted = (linear @ vocoder.filterbank).clamp_min(1e-5).log()
    assert (fitted - log_mel(wav)).abs().mean() < 0.005
    # The pseudo-inverse alone, clamped, is far worse: the updates matter.
    start = GriffinLim(mel_steps=0).linear_magnitude(log_mel(wav).exp())
    assert ((start @ vocoder.filterbank).clamp_min(1e-5).log() - log_mel(wav)).abs().mean() > 0.02


def test_copy_synthesis_is_close_and_aligned(vocoder, wav):
    copy = vocoder(log_mel(wav)[None])[0]
    assert copy.shape == wav.shape and copy.dtype == torch.float32
    assert (log_mel(copy) - log_mel(wav)).abs().mean() < 0.2
    # Envelopes of 2 ms correlate best at lag 0 (Griffin-Lim keeps no waveform phase).
    block = 48
    a, b = (x[: len(x) // block * block].reshape(-1, block).square().mean(1).sqrt().numpy() for x in (wav, copy))
    a, b = np.diff(np.log(a + 1e-4)), np.diff(np.log(b + 1e-4))
    lags = np.arange(-20, 21)
    scores = [np.dot(a[20:-20], np.roll(b, -lag)[20:-20]) for lag in lags]
    assert abs(int(lags[np.argmax(scores)])) <= 1  # 240 samples off would be 5 blocks
    # Level: nothing rescales.
    assert 0.8 < (copy.square().mean() / wav.square().mean()).sqrt() < 1.1


def test_copy_synthesis_is_intelligible(vocoder, wav):
    pystoi = pytest.importorskip("pystoi")
    copy = vocoder(log_mel(wav)[None])[0].numpy()
    score = pystoi.stoi(wav.numpy(), copy, 24000)
    assert score > 0.92
    shifted = pystoi.stoi(wav.numpy()[:-240], copy[240:], 24000)
    assert score > shifted


def test_momentum_helps(wav):
    fast, classic = (GriffinLim(iterations=32, momentum=m)(log_mel(wav)[None])[0] for m in (0.99, 0.0))
    target = log_mel(wav)
    assert (log_mel(fast) - target).abs().mean() < (log_mel(classic) - target).abs().mean()


def test_rows_are_independent_and_repeatable(vocoder):
    mels = torch.stack([log_mel(torch.from_numpy(speech(0.6, seed=s))) for s in range(3)])
    together = vocoder(mels)
    for row in range(3):
        assert torch.equal(together[row], vocoder(mels[row : row + 1])[0])
    assert not torch.equal(together, GriffinLim(seed=1)(mels))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_very_short(vocoder, frames):
    out = vocoder(torch.full((1, frames, 128), -2.0))
    assert out.shape == (1, 480 * frames) and torch.isfinite(out).all()


def test_the_floor_is_silence(vocoder):
    assert vocoder(torch.full((1, 20, 128), MelConfig().log_floor)).abs().max() < 1e-4


def test_choices():
    config = MelConfig(n_mels=80)
    assert build_vocoder("griffin_lim", {"iterations": 3}, config).config == config
    with pytest.raises(SiTokError, match="unknown vocoder 'wavenet'.*griffin_lim"):
        build_vocoder("wavenet", None, config)
    with pytest.raises(SiTokError, match="vocoder griffin_lim: bad vocoder_conf.*steps"):
        build_vocoder("griffin_lim", {"steps": 3}, config)
    for bad in ({"momentum": 1.0}, {"iterations": -1}, {"mel_steps": -1}):
        with pytest.raises(SiTokError, match=next(iter(bad))):
            GriffinLim(**bad)
