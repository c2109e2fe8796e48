"""Stage 4: what a tokenizer's encoder reads and gives, in shards, resumed, read back."""

import json

import numpy as np
import pytest
import torch
from experiment_dir import make_model_dir
from probe_data import write_codes, write_frames
from speech_generator import speech

from sitok_espnet.audio import write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import read_scp
from sitok_espnet.probes import features
from sitok_espnet.probes.card import InputCard
from sitok_espnet.probes.features import FeatureOptions, dump_frames
from sitok_espnet.probes.store import FeatureStore


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for number, seconds in enumerate((0.31, 1.0, 0.52, 0.08, 0.7)):
        write_audio(folder / f"u{number}.wav", speech(seconds, seed=number), 24000)
    (folder / "wav.scp").write_text("".join(f"u{n} {folder}/u{n}.wav\n" for n in range(5)))
    return read_scp(folder / "wav.scp")


OPTIONS = FeatureOptions(shard_size=2)


@pytest.fixture(scope="module")
def dumped(tiny_tokenizer, inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("feats")
    assert dump_frames(tiny_tokenizer, inputs, folder, OPTIONS)
    return folder


def test_frames_are_the_encoders_input_and_output_of_each_utterance_alone(dumped, tiny_tokenizer, inputs):
    model = tiny_tokenizer.model
    mel, continuous = FeatureStore(dumped / "mel"), FeatureStore(dumped / "continuous")
    assert list(mel) == list(continuous) == [item.utt for item in inputs]
    assert (mel.card.width, continuous.card.width) == (512, 32)
    for item in inputs:
        wav = torch.from_numpy(item.read()[0])[None]
        with torch.no_grad():
            stacked, _, tokens = model.mel(wav, torch.tensor([wav.shape[1]]))
            latents, _ = model.latents(wav, torch.tensor([wav.shape[1]]))
        assert mel.num_frames(item.utt) == tokens.item() == tiny_tokenizer.num_tokens(wav.shape[1])
        np.testing.assert_allclose(mel[item.utt], stacked[0].numpy(), rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(continuous[item.utt], latents[0].numpy(), rtol=2e-3, atol=2e-3)
        assert mel[item.utt].dtype == np.float32


def test_quantized_vectors_are_those_of_the_tokens(dumped, tiny_tokenizer, inputs):
    store = FeatureStore(dumped / "quantized")
    assert list(store) == [item.utt for item in inputs] and store.card.width == 32
    for item in inputs:
        (codes,) = tiny_tokenizer.encode([item.read()[0]], 24000)
        expected = tiny_tokenizer.model.quantizer.decode_codes(torch.from_numpy(codes).long()[None])[0]
        np.testing.assert_allclose(store[item.utt], expected.detach().numpy(), rtol=2e-3, atol=2e-3)


def test_a_model_without_codes_has_no_quantized_vectors(inputs, tmp_path):
    model = make_model_dir(tmp_path / "exp", quantizer="identity", quantizer_conf={})
    assert dump_frames(SiTok.from_pretrained(model), inputs, tmp_path / "feats", OPTIONS)
    assert {folder.name for folder in (tmp_path / "feats").iterdir()} == {"mel", "continuous"}


def test_all_inputs_have_the_frames_of_the_tokens(dumped, tiny_tokenizer, inputs):
    codes = tiny_tokenizer.encode([item.read()[0] for item in inputs], 24000)
    store = FeatureStore(dumped / "mel")
    assert [store.num_frames(item.utt) for item in inputs] == [len(item) for item in codes]
    assert store.card.frame_rate == str(tiny_tokenizer.frame_rate)


def test_an_interrupted_dump_is_resumed_to_the_same_bytes(dumped, tiny_tokenizer, inputs, tmp_path, monkeypatch):
    whole = features._write_shard

    def killed(tokenizer, items, output_dir, number, seconds):
        if number == 1:
            raise KeyboardInterrupt
        whole(tokenizer, items, output_dir, number, seconds)

    monkeypatch.setattr(features, "_write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        dump_frames(tiny_tokenizer, inputs, tmp_path, OPTIONS)
    with pytest.raises(SiTokError, match="cannot be read"):
        FeatureStore(tmp_path / "mel")
    monkeypatch.setattr(features, "_write_shard", whole)
    # The rest by two jobs; the second finds everything and finishes.
    first = FeatureOptions(shard_size=2, num_jobs=2, job=1)
    assert not dump_frames(tiny_tokenizer, inputs, tmp_path, first)
    assert dump_frames(tiny_tokenizer, inputs, tmp_path, FeatureOptions(shard_size=2, num_jobs=2, job=2))
    for path in dumped.rglob("*"):
        if path.is_file():
            assert (tmp_path / path.relative_to(dumped)).read_bytes() == path.read_bytes(), path.name


def test_features_of_another_list_are_not_mixed(dumped, tiny_tokenizer, inputs):
    with pytest.raises(SiTokError, match="another model, list or cut"):
        dump_frames(tiny_tokenizer, inputs[:3], dumped, OPTIONS)


def test_stores_read_what_was_written_and_refuse_what_is_damaged(tmp_path):
    rng = np.random.default_rng(0)
    codes = {f"u{n}": np.stack([rng.integers(0, 8, n + 2), rng.integers(0, 4, n + 2)], axis=1) for n in range(3)}
    store = FeatureStore(write_codes(tmp_path / "tokens", codes))
    for utterance, values in codes.items():
        np.testing.assert_array_equal(store[utterance], values)
        assert store.num_frames(utterance) == len(values)
    frames = {f"u{n}": rng.standard_normal((n + 2, 3)) for n in range(3)}
    folder = write_frames(tmp_path / "mel", frames)
    store = FeatureStore(folder / "input.json")  # ESPnet is given a file
    np.testing.assert_allclose(store["u1"], frames["u1"], atol=2e-3)
    np.save(folder / "000000.npy", np.zeros((4, 3), dtype=np.float16))
    with pytest.raises(SiTokError, match="u1: 2 frames instead of 3"):
        FeatureStore(folder)["u1"]
    (folder / "000000.npy").write_bytes(b"rubbish")
    with pytest.raises(SiTokError, match="cannot be read"):
        FeatureStore(folder)["u1"]
    with open(folder / "frames.scp", "a") as file:
        file.write("u9 000000.npy 1 1\n")
    with pytest.raises(SiTokError, match="lists 4 utterances, its card says 3"):
        FeatureStore(folder)


@pytest.mark.parametrize("change", [{"input": "wav"}, {"codebook_sizes": [4]}, {"width": 0}, {"more": 1}])
def test_a_card_that_is_none(change, tmp_path):
    InputCard("mel", 3, "25", "m", "c", 1).write(tmp_path)
    content = json.loads((tmp_path / "input.json").read_text())
    (tmp_path / "input.json").write_text(json.dumps(content | change))
    with pytest.raises(SiTokError, match="does not describe the input of a probe"):
        InputCard.read(tmp_path)


def test_values_beyond_float16_are_an_error(tiny_tokenizer, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "frames_of", lambda _, wavs: [
        {name: np.full((2, 3), 1e5, dtype=np.float32) for name in ("mel", "quantized", "continuous")} for _ in wavs
    ])  # fmt: skip
    with pytest.raises(SiTokError, match="u0: mel has values beyond float16"):
        dump_frames(tiny_tokenizer, inputs, tmp_path)
