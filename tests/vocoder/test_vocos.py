"""Vocos as a vocoder: alignment, lengths, independence of rows, opening and packing, and its place in the commands."""

import json

import numpy as np
import pytest
import soundfile
import torch
import yaml
from speech_generator import speech, write_corpus
from vocos_dir import make_vocoder_dir, tiny_vocos

from sitok_espnet import SiTok
from sitok_espnet.bin import main as sitok
from sitok_espnet.bin import sitok_pack, sitok_synth_systems
from sitok_espnet.checkpoint import pack
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.systems import SYSTEMS, default_systems
from sitok_espnet.inputs import read_scp
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel, mel_filterbank
from sitok_espnet.vocoder.choices import build_vocoder, choose_vocoder
from sitok_espnet.vocoder.griffin_lim import GriffinLim
from sitok_espnet.vocoder.vocos_generator import VocosGenerator, spectral_prior

CONFIG = MelConfig()


def log_mel(wav):
    wav = torch.as_tensor(wav)
    return LogMel()(wav[None], torch.tensor([len(wav)]))[0][0]


@pytest.fixture(scope="module")
def vocoder_dir(tmp_path_factory):
    return make_vocoder_dir(tmp_path_factory.mktemp("vocoder") / "exp")


@pytest.fixture(scope="module")
def vocoder(vocoder_dir):
    return build_vocoder("vocos", {"path": str(vocoder_dir)}, CONFIG)


@pytest.mark.parametrize("loud", [False, True])
def test_the_true_spectrum_gives_the_aligned_waveform(loud):
    """Frames as LogMel cuts them, written out: frame f begins at sample 480 f - 720."""
    wav = 0.95 * np.sin(2 * np.pi * 200 * np.arange(7200) / 24000) if loud else speech(0.4, seed=5)[:7200]
    padded = np.concatenate([np.zeros(720), wav, np.zeros(720)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1920) / 1920)
    spectrum = np.stack([np.fft.rfft(padded[480 * f : 480 * f + 1920] * window) for f in range(15)])
    head = VocosGenerator(CONFIG, dim=1922, intermediate_dim=1, num_layers=1).head
    head.out = torch.nn.Identity()
    hidden = np.concatenate([np.log(np.abs(spectrum) + 1e-12), np.angle(spectrum)], axis=1)
    made = head(torch.from_numpy(hidden).float()[None], torch.zeros(1, 15, 128))[0]
    assert made.shape == (7200,)
    np.testing.assert_allclose(made.numpy(), wav, atol=2e-4)


def test_prior_is_exact_for_a_flat_spectrum():
    matrix, offset, phase = spectral_prior(CONFIG)
    flat = torch.full((961,), 0.37, dtype=torch.float64)
    mel = (flat @ mel_filterbank(CONFIG)).log()
    torch.testing.assert_close((mel @ matrix + offset).exp(), flat)
    pulse = np.zeros(1920)
    pulse[960] = 1.0
    np.testing.assert_allclose(torch.polar(torch.ones_like(phase), phase).numpy(), np.fft.rfft(pulse), atol=1e-9)


def test_prior_of_a_mel_whose_fft_is_longer_than_its_window():
    config = MelConfig(n_fft=2048)
    matrix, offset, _ = spectral_prior(config)
    assert matrix.shape == (128, 961)
    mel = (torch.full((1025,), 2.0, dtype=torch.float64) @ mel_filterbank(config)).log()
    torch.testing.assert_close((mel @ matrix + offset).exp(), torch.full((961,), 2.0, dtype=torch.float64))


def test_the_prior_starts_near_the_mel():
    wav = speech(1.0, seed=2)[:24000]
    mel = log_mel(wav)
    distance = {}
    for prior in (False, True):
        torch.manual_seed(0)
        with torch.no_grad():
            made = VocosGenerator(CONFIG, 16, 24, 1, prior)(mel[None])[0]
        distance[prior] = (log_mel(made) - mel).abs().mean().item()
    assert distance[True] < 0.7 < 1.4 < distance[False]


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_length_is_480_a_frame(vocoder, frames):
    wav = vocoder(torch.randn(2, frames, 128))
    assert wav.shape == (2, 480 * frames) and wav.dtype == torch.float32 and wav.isfinite().all()


def test_rows_do_not_depend_on_the_batch(vocoder):
    mels = torch.stack([log_mel(speech(0.5, seed=s)[:12000]) for s in range(3)])
    batch = vocoder(mels)
    for row, mel in zip(batch, mels, strict=True):
        assert torch.equal(vocoder(mel[None])[0], row)


def test_opens_the_generator_of_the_training(vocoder):
    mel = log_mel(speech(0.5, seed=1))
    with torch.no_grad():
        expected = tiny_vocos().eval().generator(mel[None])
    assert torch.equal(vocoder(mel[None]), expected)


def test_another_mel_names_both(vocoder_dir):
    other = MelConfig(fmax=8000.0)
    with pytest.raises(SiTokError, match=f"{CONFIG.hash()}.*{other.hash()}"):
        build_vocoder("vocos", {"path": str(vocoder_dir)}, other)


def test_a_checkpoint_of_another_mel_than_its_configuration(tmp_path):
    directory = make_vocoder_dir(tmp_path / "exp")
    config = yaml.safe_load((directory / "config.yaml").read_text())
    other = MelConfig(floor=1e-4)
    config["feats_extract_conf"] = {"floor": 1e-4}
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(SiTokError, match=f"valid.selection.best.pth.*{CONFIG.hash()}.*{other.hash()}"):
        build_vocoder("vocos", {"path": str(directory)}, other)


def change_state(change):
    def edit(directory):
        path = directory / "valid.selection.best.pth"
        state = torch.load(path, weights_only=True)
        change(state)
        torch.save(state, path)

    return edit


def change_config(**changes):
    def edit(directory):
        config = yaml.safe_load((directory / "config.yaml").read_text())
        (directory / "config.yaml").write_text(yaml.safe_dump({**config, **changes}))

    return edit


def truncate(directory):
    path = directory / "valid.selection.best.pth"
    path.write_bytes(path.read_bytes()[:-200])


def with_code(directory):
    torch.save({"generator": torch.nn.Linear(1, 1)}, directory / "valid.selection.best.pth")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "not a readable checkpoint"),
        (with_code, "not a readable checkpoint"),
        (change_state(lambda s: s.pop("generator.head.out.bias")), "(?s)does not belong.*head.out.bias"),
        (change_state(lambda s: s.update({"generator.more": torch.zeros(1)})), "(?s)does not belong.*more"),
        (change_state(lambda s: s.update({"encoder.x": torch.zeros(1)})), "unknown: encoder.x"),
        (change_state(lambda s: s.pop("feats_extract.mel_hash")), "no feats_extract.mel_hash"),
        (change_config(generator_conf={"dim": 8}), "another generator_conf"),
        (change_config(generator_conf={"width": 8}), "generator_conf has unknown keys: width; legal keys are dim"),
        (lambda d: (d / "valid.selection.best.pth").unlink(), "does not exist .checkpoints there: none"),
        (lambda d: (d / "config.yaml").write_text("encoder: llama"), "not the configuration of a vocoder"),
        (lambda d: (d / "config.yaml").unlink(), "holds no config.yaml"),
    ],
)
def test_damaged_directories_are_named(tmp_path, damage, message):
    directory = make_vocoder_dir(tmp_path / "exp")
    damage(directory)
    with pytest.raises(SiTokError, match=message):
        build_vocoder("vocos", {"path": str(directory)}, CONFIG)


def test_bad_options(vocoder_dir):
    with pytest.raises(SiTokError, match="vocoder vocos: bad vocoder_conf.*path"):
        build_vocoder("vocos", {}, CONFIG)
    with pytest.raises(SiTokError, match="latest.pth does not exist .checkpoints there: valid.selection.best.pth"):
        build_vocoder("vocos", {"path": str(vocoder_dir), "checkpoint": "latest.pth"}, CONFIG)


@pytest.fixture(scope="module")
def packed(tmp_path_factory, tiny_model_dir, vocoder_dir):
    """The tiny tokenizer packed with the tiny vocoder."""
    output = tmp_path_factory.mktemp("packed") / "both"
    arguments = ["--model", tiny_model_dir, "--vocoder", vocoder_dir, "--output_dir", output]
    assert sitok_pack.main([str(a) for a in arguments]) == 0
    return output


def test_packed_vocoder_is_the_default(packed, tiny_model_dir, vocoder_dir):
    state = torch.load(packed / "vocoder/vocoder.pth", weights_only=True)
    assert all(key.startswith(("generator.", "feats_extract.mel_hash")) for key in state)
    mel = log_mel(speech(0.7, seed=4)).numpy()
    named = SiTok.from_pretrained(tiny_model_dir, vocoder="vocos", vocoder_conf={"path": str(vocoder_dir)})
    default = SiTok.from_pretrained(packed)
    assert default.vocoder.identity == named.vocoder.identity
    np.testing.assert_array_equal(default.vocode([mel], [16000])[0], named.vocode([mel], [16000])[0])
    chosen = SiTok.from_pretrained(packed, vocoder="griffin_lim", vocoder_conf={"iterations": 1})
    assert isinstance(chosen.vocoder, GriffinLim) and chosen.vocoder.iterations == 1
    assert isinstance(SiTok.from_pretrained(tiny_model_dir).vocoder, GriffinLim)
    assert choose_vocoder(packed, "vocos", {"path": "mine"}) == ("vocos", {"path": "mine"})


def test_half_precision_rounds_the_vocoder_too(tiny_model_dir, vocoder_dir, vocoder, tmp_path):
    packed = pack(tiny_model_dir, tmp_path / "packed", vocoder=vocoder_dir, half=True) / "vocoder"
    state = torch.load(packed / "vocoder.pth", weights_only=True)
    assert {value.dtype for key, value in state.items() if key.startswith("generator.")} == {torch.float16}
    opened = build_vocoder("vocos", {"path": str(packed)}, CONFIG)
    for key, value in vocoder.generator.state_dict().items():
        assert torch.equal(opened.generator.state_dict()[key], value.half().float())
    written = yaml.safe_load((packed / "config.yaml").read_text())["vocoder_hash"]
    assert opened.identity == written != vocoder.identity
    again = pack(tiny_model_dir, tmp_path / "again", vocoder=packed)
    assert build_vocoder("vocos", {"path": str(again / "vocoder")}, CONFIG).identity == written


def test_packing_a_vocoder_of_another_mel_leaves_nothing(tmp_path, tiny_model_dir, capsys):
    other = make_vocoder_dir(tmp_path / "other", feats_extract_conf={"fmax": 8000.0})
    arguments = ["--model", tiny_model_dir, "--vocoder", other, "--output_dir", tmp_path / "packed"]
    assert sitok_pack.main([str(a) for a in arguments]) == 2
    assert "trained on another mel" in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_commands_take_the_vocoder(packed, vocoder_dir, tiny_model_dir, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", 1, words=(1, 1))
    common = ["resynth", str(corpus / "wav.scp"), "--steps", "1"]
    named = ["--model", str(tiny_model_dir), "--vocoder", "vocos", "--vocoder_conf", f"path={vocoder_dir}"]
    assert sitok.main([*common, *named, "-o", str(tmp_path / "a")]) == 0
    assert sitok.main([*common, "--model", str(packed), "-o", str(tmp_path / "b")]) == 0
    item = read_scp(corpus / "wav.scp")[0]
    first, second = (soundfile.read(tmp_path / folder / f"{item.utt}.wav")[0] for folder in "ab")
    np.testing.assert_array_equal(first, second)
    assert len(first) == len(item.read()[0]) and np.abs(first).max() > 0


def test_the_table_has_both_ceilings(tmp_path, vocoder_dir, tiny_model_dir):
    assert [s for s in default_systems("vocos") if s not in default_systems("griffin_lim")] == ["copy_griffin_lim"]
    assert default_systems("vocos") == list(SYSTEMS)
    corpus, made = write_corpus(tmp_path / "corpus", 2, words=(1, 1)), tmp_path / "made"
    vocoder = tmp_path / "vocoder"
    make_vocoder_dir(vocoder)
    arguments = ["--model", tiny_model_dir, "--data_dir", corpus, "--output_dir", made, "--steps", 1]
    arguments += ["--vocoder", "vocos", "--vocoder_conf", f"path={vocoder}", "--systems"]
    arguments = [str(a) for a in [*arguments, "copy_synthesis", "copy_griffin_lim"]]
    assert sitok_synth_systems.main(arguments) == 0
    item = read_scp(corpus / "wav.scp")[0]
    mel = log_mel(item.read()[0])[None]
    for system, expected in (
        ("copy_synthesis", build_vocoder("vocos", {"path": str(vocoder)}, CONFIG)(mel)),
        ("copy_griffin_lim", GriffinLim()(mel)),
    ):
        written = read_scp(made / system / "wav.scp")[0].read()[0]
        np.testing.assert_allclose(written, expected[0, : len(written)].clamp(-1, 1), atol=2 / 32768)
    settings = json.loads((made / "copy_griffin_lim/settings.json").read_text())
    assert settings["vocoder"] == "griffin_lim" and settings["vocoder_hash"] is None
    # A vocoder trained again under the same name is another vocoder; Griffin-Lim's row stays.
    stamps = {name: (made / name / "wav.scp").stat().st_mtime_ns for name in ("copy_synthesis", "copy_griffin_lim")}
    torch.save(tiny_vocos(seed=1).state_dict(), vocoder / "valid.selection.best.pth")
    assert sitok_synth_systems.main(arguments) == 0
    changed = {name for name, stamp in stamps.items() if (made / name / "wav.scp").stat().st_mtime_ns != stamp}
    assert changed == {"copy_synthesis"}
