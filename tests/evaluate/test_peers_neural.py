"""Neural peers at tiny sizes: weights at hand through the same code path, missing, damaged, random."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_generator import speech

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers import PEERS, build_peer
from sitok_espnet.evaluate.peers.abs_neural import weights_hash

TINY = {
    "encodec": {
        "target_bandwidths": [1.5],
        "num_filters": 2,
        "hidden_size": 8,
        "codebook_size": 16,
        "num_lstm_layers": 1,
    },
    "dac": {
        "encoder_hidden_size": 2,
        "decoder_hidden_size": 16,
        "downsampling_ratios": [2, 4, 5, 8],
        "n_codebooks": 3,
        "codebook_size": 16,
        "codebook_dim": 4,
        "sampling_rate": 24000,
    },
    "mimi": {
        "num_filters": 2,
        "hidden_size": 16,
        "vector_quantization_hidden_dimension": 8,
        "codebook_dim": 8,
        "codebook_size": 16,
        "num_quantizers": 4,
        "upsample_groups": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "snac": {
        "sampling_rate": 24000,
        "encoder_dim": 4,
        "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": 32,
        "decoder_rates": [8, 8, 4, 2],
        "attn_window_size": None,
        "codebook_size": 16,
        "codebook_dim": 4,
        "vq_strides": [4, 2, 1],
    },
}
# Name, hop of the fastest codebook, bits of a frame of the slowest one and samples of it.
CASES = {
    "encodec": ("encodec:1.5", 320, 5 * 4, 320),
    "dac": ("dac:2", 320, 2 * 4, 320),
    "mimi": ("mimi:3", 1920, 3 * 4, 1920),
    "snac": ("snac:24khz", 512, 7 * 4, 2048),
}
CODECS = [pytest.param(codec, id=codec) for codec in CASES]


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """A developer's own cache must not change a test, and nothing is fetched."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def nothing(*args, local_files_only=False, **kwargs):
        assert local_files_only
        raise LocalEntryNotFoundError("nothing cached")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", nothing)


@pytest.fixture
def tiny_published(monkeypatch):
    for codec, config in TINY.items():
        monkeypatch.setattr(PEERS[codec], "published", config)


def save_tiny(codec: str, directory: Path):
    """Seeded weights of the tiny size, as the hub would hold them; codebooks that start at zero are filled."""
    if codec == "snac":
        pytest.importorskip("snac", reason="the package snac is not installed: pip install snac")
    peer = build_peer(CASES[codec][0])
    assert peer.weights == "random"
    model = peer.model
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "embed_sum")):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    folder = directory / peer.repository.rpartition("/")[2]
    if codec == "snac":
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(TINY["snac"]))
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder)
    return folder, model


@pytest.mark.parametrize("codec", CODECS)
def test_weights_at_hand_are_used(codec, tiny_published, tmp_path, monkeypatch):
    folder, model = save_tiny(codec, tmp_path)
    monkeypatch.setattr(PEERS[codec], "published", {})  # the configuration beside the weights decides
    name, hop, bits_per_frame, frame = CASES[codec]
    peer = build_peer(name, tmp_path)
    assert peer.weights == "pretrained" and weights_hash(folder) in peer.version
    assert peer.nominal == bits_per_frame * 24000 / frame
    for samples in (1, hop, hop + 1, 24000):
        wav = speech(1.0, seed=5)[:samples]
        output, bits = peer(wav)
        assert output.shape == wav.shape and output.dtype == np.float32 and np.isfinite(output).all()
        assert bits == bits_per_frame * np.ceil(samples / frame)
    np.testing.assert_array_equal(peer(wav)[0], output)
    # The package itself, asked for the same.
    padded = torch.from_numpy(np.pad(wav, (0, -len(wav) % hop)))[None, None]
    with torch.inference_mode():
        if codec == "encodec":
            expected = model(padded, bandwidth=1.5).audio_values
        elif codec == "dac":
            expected = model(padded, n_quantizers=2).audio_values
        elif codec == "mimi":
            expected = model(padded, num_quantizers=3).audio_values
        else:
            torch.manual_seed(0)
            expected = model.decode(model.encode(padded))
    expected = expected.flatten().numpy()[: len(wav)]
    np.testing.assert_allclose(output[: len(expected)], expected, atol=1e-5)
    assert np.abs(expected).max() > 0


def test_snac_takes_safetensors_too(tiny_published, tmp_path):
    from safetensors.torch import save_model

    folder, model = save_tiny("snac", tmp_path)
    wav = speech(0.5, seed=5)
    expected = build_peer(CASES["snac"][0], tmp_path)(wav)
    (folder / "pytorch_model.bin").unlink()
    save_model(model, str(folder / "model.safetensors"))
    output = build_peer(CASES["snac"][0], tmp_path)(wav)
    np.testing.assert_array_equal(output[0], expected[0])


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_weights_are_refused(codec, tiny_published, tmp_path):
    folder, _ = save_tiny(codec, tmp_path)
    file = next(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    if codec == "snac":
        state = torch.load(file, weights_only=True)
        state.pop(next(iter(state)))
        torch.save(state, file)
    else:
        from safetensors.torch import load_file, save_file

        state = load_file(file)
        state.pop(next(name for name in state if "decoder" in name and "weight" in name))
        save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(SiTokError, match=f"{folder.name}: 1 weights are missing"):
        build_peer(CASES[codec][0], tmp_path)(speech(0.2))
    file.write_bytes(b"nothing")
    with pytest.raises(SiTokError, match=f"{folder.name}: not the weights of"):
        build_peer(CASES[codec][0], tmp_path)(speech(0.2))
    file.unlink()
    with pytest.raises(SiTokError, match=f"{folder.name}: expected config.json and"):
        build_peer(CASES[codec][0], tmp_path)


def test_without_weights_they_are_random_and_say_so(tiny_published, tmp_path):
    peer = build_peer("mimi:4", tmp_path)
    about = peer.about()
    assert about["weights"] == "random" and "random weights" in about["version"]
    assert about["note"].startswith("random weights: those of kyutai/mimi are not on this machine")
    assert "DIR/mimi" in about["note"] and "--peer_dir" in about["note"]
    wav = speech(0.3)
    first, bits = peer(wav)
    assert first.shape == wav.shape and bits == 4 * 4 * 4
    np.testing.assert_array_equal(build_peer("mimi:4", tmp_path)(wav)[0], first)


def test_the_hubs_cache_is_looked_at(tiny_published, tmp_path, monkeypatch):
    import huggingface_hub

    folder, _ = save_tiny("mimi", tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, local_files_only: str(folder))
    assert build_peer("mimi:3").weights == "pretrained"
    (folder / "model.safetensors").unlink()  # a download that was cut off
    assert build_peer("mimi:3").weights == "random"


def test_weights_for_another_rate_are_refused(tiny_published, monkeypatch):
    monkeypatch.setattr(PEERS["dac"], "published", TINY["dac"] | {"sampling_rate": 16000})
    with pytest.raises(SiTokError, match="a model for 16000 Hz, expected one for 24000 Hz"):
        build_peer("dac:2")


def test_more_codebooks_than_the_weights_have(tiny_published):
    for name, message in (("dac:4", "has 3 codebooks, not 4"), ("mimi:5", "has 4 codebooks, not 5")):
        with pytest.raises(SiTokError, match=message):
            build_peer(name)
    with pytest.raises(SiTokError, match="no bandwidth of 3 kbit/s"):
        build_peer("encodec:3")


def test_published_rates():
    """Bit rates that the authors state for their 24 kHz models."""
    rates = {"encodec:1.5": 1500, "encodec:24": 24000, "dac:32": 24000, "mimi:8": 1100, "mimi:32": 4400}
    for name, rate in rates.items():
        assert build_peer(name).nominal == pytest.approx(rate)
    pytest.importorskip("snac", reason="the package snac is not installed: pip install snac")
    snac = build_peer("snac:24khz")
    assert snac.nominal == pytest.approx(984.4, abs=0.1)
    assert sum(parameter.numel() for parameter in snac.build().parameters()) == pytest.approx(19.8e6, rel=0.01)
