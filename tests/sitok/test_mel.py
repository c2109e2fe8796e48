"""The mel spectrogram against independent formulas."""

import json
from dataclasses import asdict
from hashlib import sha256

import numpy as np
import pytest
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel, mel_filterbank


def slaney_filterbank() -> np.ndarray:
    """(M, bins) by plain loops, from Slaney's Auditory Toolbox description."""

    def to_mel(hz):
        return hz / (200 / 3) if hz < 1000 else 15 + np.log(hz / 1000) / (np.log(6.4) / 27)

    def to_hz(mel):
        return mel * 200 / 3 if mel < 15 else 1000 * np.exp((np.log(6.4) / 27) * (mel - 15))

    edges = [to_hz(m) for m in np.linspace(to_mel(0.0), to_mel(12000.0), 130)]
    bank = np.zeros((128, 961))
    for m in range(128):
        low, mid, high = edges[m : m + 3]
        for b in range(961):
            hz = b * 12.5
            if low < hz <= mid:
                bank[m, b] = (hz - low) / (mid - low) * 2 / (high - low)
            elif mid < hz < high:
                bank[m, b] = (high - hz) / (high - mid) * 2 / (high - low)
    return bank


def reference_log_mel(wav: np.ndarray) -> np.ndarray:
    """Frame by frame in float64."""
    frames = -(-len(wav) // 480)
    padded = np.zeros(frames * 480 + 1440)
    padded[720 : 720 + len(wav)] = wav
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1920) / 1920)
    bank = slaney_filterbank()
    rows = []
    for f in range(frames):
        spectrum = np.abs(np.fft.rfft(padded[480 * f : 480 * f + 1920] * hann))
        rows.append(np.log(np.maximum(bank @ spectrum, 1e-5)))
    return np.array(rows)


def noise(samples: int, seed: int = 0, gain: float = 0.1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * gain)


@pytest.fixture(scope="module")
def mel() -> LogMel:
    return LogMel()


def single(mel: LogMel, wav: torch.Tensor) -> torch.Tensor:
    out, lengths = mel(wav[None], torch.tensor([len(wav)]))
    assert lengths.tolist() == [out.shape[1]]
    return out[0]


def test_filterbank_against_loops():
    np.testing.assert_allclose(mel_filterbank(MelConfig()).numpy().T, slaney_filterbank(), atol=1e-12)


def test_filterbank_against_librosa():
    librosa = pytest.importorskip("librosa")
    expected = librosa.filters.mel(sr=24000, n_fft=1920, n_mels=128, fmin=0.0, fmax=12000.0, dtype=np.float64)
    np.testing.assert_allclose(mel_filterbank(MelConfig()).numpy().T, expected, atol=1e-9)


@pytest.mark.parametrize("samples", [1, 479, 480, 481, 1919, 1920, 5000, 24000])
def test_log_mel_against_numpy(mel, samples):
    wav = noise(samples, seed=samples)
    expected = reference_log_mel(wav.double().numpy())
    got = single(mel, wav)
    assert got.shape == (-(-samples // 480), 128) and got.dtype == torch.float32
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-4)


def test_frame_is_centred_at_hop_times_f_plus_half(mel):
    """An impulse under the middle of frame 10's window meets the window's maximum, 1; its energy peaks there."""
    wav = torch.zeros(480 * 30)
    wav[480 * 10 + 240] = 1.0
    magnitude = single(mel, wav).exp().mean(1)
    assert magnitude.argmax().item() == 10
    # The flat spectrum of the impulse has magnitude 1, and each filter sums to its response.
    np.testing.assert_allclose(
        single(mel, wav)[10].exp().numpy(), mel_filterbank(MelConfig()).sum(0).numpy(), rtol=1e-4
    )
    # Symmetric about the centre: equal in the neighbours.
    torch.testing.assert_close(magnitude[9], magnitude[11], rtol=1e-4, atol=0.0)


def test_rows_are_bit_identical_alone_and_in_any_batch(mel):
    lengths = [1, 480, 4800, 12345, 24000 * 3, 33333]
    wavs = [noise(n, seed=i) for i, n in enumerate(lengths)]
    for order in ([0, 1, 2, 3, 4, 5], [5, 2, 0], [4, 3]):
        longest = max(lengths[i] for i in order) + 777
        batch = torch.full((len(order), longest), float("nan"))  # padding may hold anything
        for row, i in enumerate(order):
            batch[row, : lengths[i]] = wavs[i]
        out, frames = mel(batch, torch.tensor([lengths[i] for i in order]))
        assert out.shape[1] == -(-longest // 480)
        for row, i in enumerate(order):
            assert frames[row] == -(-lengths[i] // 480)
            assert torch.equal(out[row, : frames[row]], single(mel, wavs[i]))


def test_frames_behind_the_end_analyse_zeros(mel):
    """The last windows still see the end of the speech; then everything is the floor."""
    out, frames = mel(torch.cat([noise(960), torch.full((4800,), 5.0)])[None], torch.tensor([960]))
    assert frames.tolist() == [2]
    expected = reference_log_mel(np.concatenate([noise(960).double().numpy(), np.zeros(4800)]))
    np.testing.assert_allclose(out[0].numpy(), expected, atol=2e-4)
    assert (out[0, 2] > MelConfig().log_floor + 1).any()
    torch.testing.assert_close(out[0, 5:], torch.full_like(out[0, 5:], MelConfig().log_floor))


def test_full_scale_noise_and_silence_are_finite(mel):
    loud = single(mel, noise(24000, gain=1.0).clamp(-1, 1))
    assert torch.isfinite(loud).all() and loud.max() < 5.0 and loud.min() > -5.0
    silent = single(mel, torch.zeros(4800))
    assert silent.unique().tolist() == pytest.approx([-11.512925], abs=1e-5)


def test_autocast_changes_nothing(mel):
    wav = noise(10000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = single(mel, wav)
    assert inside.dtype == torch.float32 and torch.equal(inside, single(mel, wav))


def test_gradient_reaches_the_waveform(mel):
    wav = noise(2400).requires_grad_()
    single(mel, wav).sum().backward()
    assert torch.isfinite(wav.grad).all() and (wav.grad != 0).any()


def test_hash_is_of_the_canonical_json():
    canonical = json.dumps(asdict(MelConfig()), sort_keys=True, separators=(",", ":"))
    assert MelConfig().hash() == sha256(canonical.encode()).hexdigest()[:16]
    assert MelConfig(fmin=0, fmax=12000).hash() == MelConfig().hash()
    assert MelConfig(n_mels=80).hash() != MelConfig().hash()
    assert MelConfig().pad == 720 and MelConfig().log_floor == pytest.approx(-11.512925)


def test_checkpoint_of_the_same_mel_loads_and_survives_averaging(mel):
    state = mel.state_dict()
    assert list(state) == ["mel_hash"]
    averaged = {"mel_hash": (state["mel_hash"] + state["mel_hash"] + state["mel_hash"]) / 3}
    LogMel().load_state_dict(averaged)
    LogMel().load_state_dict({"mel_hash": state["mel_hash"].to(torch.bfloat16)})


def test_checkpoint_of_another_mel_is_refused_inside_a_model(mel):
    other = LogMel(n_mels=80)
    model = torch.nn.ModuleDict({"feats_extract": LogMel()})
    with pytest.raises(SiTokError, match=f"(?s){other.config.hash()}.*{mel.config.hash()}"):
        model.load_state_dict({"feats_extract.mel_hash": other.state_dict()["mel_hash"]})


def test_builds_on_the_meta_device():
    with torch.device("meta"):
        meta = LogMel()
        out, frames = meta(torch.zeros(2, 1000), torch.zeros(2, dtype=torch.long))
    assert {b.device.type for b in meta.buffers()} == {"meta"}
    assert out.shape == (2, 3, 128) and frames.shape == (2,)


@pytest.mark.parametrize(
    "bad",
    [
        {"win_length": 2048},
        {"hop_length": 481},
        {"hop_length": 4000},
        {"fmax": 13000},
        {"fmin": 12000.0},
        {"floor": 0.0},
        {"n_mels": 0},
        {"sample_rate": 24000.0},
    ],
)
def test_contradictory_constants_are_refused(bad):
    with pytest.raises(SiTokError, match="mel configuration"):
        LogMel(**bad)
