"""Models by name: folders win, names of the installation are found, anything else lists what there is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from speech_generator import speech, write_corpus
from vocos_dir import make_vocoder_dir

import sitok_espnet.pretrained as pretrained
from sitok_espnet.bin import main, sitok_step_curve, sitok_synth_systems
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.pretrained import locate, pretrained_models, trained_vocoder
from sitok_espnet.vocoder.vocos import Vocos

ROOT = Path(__file__).parents[1]


def test_names_folders_and_neither(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "MODELS", tmp_path / "models")
    assert pretrained_models() == []
    with pytest.raises(SiTokError, match=r"no model small: .*\(none\)"):
        locate("small")
    (tmp_path / "models/small").mkdir(parents=True)
    (tmp_path / "models/small/config.yaml").write_text("encoder: llama")
    (tmp_path / "models/README.md").write_text("cards")
    assert pretrained_models() == ["small"] and locate("small") == tmp_path / "models/small"
    with pytest.raises(SiTokError, match=r"no model large: .*\(small\)"):
        locate("large")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert locate("small").resolve() == tmp_path / "small"


def test_language_models_have_names_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    for name, config in (("small", "encoder: llama\n"), ("speaker", "vocabulary: {}\npattern: flatten\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(config)
    assert pretrained_models() == ["small"] and pretrained.pretrained_language_models() == ["speaker"]
    assert locate("speaker", language_model=True) == tmp_path / "speaker"
    with pytest.raises(SiTokError, match="speaker is no tokenizer.*small"):
        locate("speaker")
    with pytest.raises(SiTokError, match="small is no language model.*--lm.*speaker"):
        locate("small", language_model=True)
    with pytest.raises(SiTokError, match=r"no model large.*language models of this installation \(speaker\)"):
        locate("large", language_model=True)
    with pytest.raises(SystemExit):
        main.main(["tts", "--help"])
    assert "own: speaker" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("models", "default", "named"),
    [
        ([], None, "(default: the environment variable SITOK_MODEL)"),
        (["small"], None, "package's own: small (default: the environment variable SITOK_MODEL)"),
        (
            ["asterisk_25hz", "small"],
            "asterisk_25hz",
            "asterisk_25hz, small (default: the environment variable SITOK_MODEL, else asterisk_25hz)",
        ),
    ],
)
def test_the_command_line_names_models_that_are_there(tmp_path, monkeypatch, capsys, models, default, named):
    monkeypatch.delenv("SITOK_MODEL", raising=False)
    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    for name in models:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "vocoder").mkdir()  # shared by the models, none itself
    (tmp_path / "vocoder/config.yaml").touch()
    assert pretrained.default_model() == default
    assert main.get_parser().parse_args(["encode", "x.wav", "-o", "y"]).model == default
    with pytest.raises(SystemExit):
        main.get_parser().parse_args(["encode", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert named in shown and (models or "asterisk_25hz" not in shown)


def test_weights_in_the_folder_of_models_are_packaged(tmp_path):
    """What setup.py would install, for files as stage 9 makes them."""
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    files = ["README.md", "small/config.yaml", "small/model.pth", "small/README.md", "small/vocoder/model.pth"]
    files += ["vocoder/config.yaml", "vocoder/model.pth"]
    for name in files:
        path = tmp_path / "sitok_espnet/models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    shutil.copy(ROOT / "sitok_espnet/__init__.py", tmp_path / "sitok_espnet")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "-d", "out"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    packaged = tmp_path / "out/sitok_espnet/models"
    assert sorted(str(path.relative_to(packaged)) for path in packaged.rglob("*") if path.is_file()) == sorted(files)


def test_a_model_opens_by_its_name(tiny_model_dir, tmp_path, monkeypatch):
    from sitok_espnet.inference import SiTok

    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    shutil.copytree(tiny_model_dir, tmp_path / "tiny_one")
    by_name = SiTok.from_pretrained("tiny_one", vocoder_conf={"iterations": 1})
    assert by_name.model_hash == SiTok.from_pretrained(tiny_model_dir).model_hash


@pytest.fixture(scope="module")
def package(tiny_model_dir, tmp_path_factory):
    """A models folder: two tokenizers that share a vocoder, one of which has its own besides."""
    models = tmp_path_factory.mktemp("package") / "models"
    for name in ("plain", "own"):
        shutil.copytree(tiny_model_dir, models / name)
    make_vocoder_dir(models / "vocoder")
    make_vocoder_dir(models / "own/vocoder", seed=1)
    return models


def test_models_of_the_package_share_a_vocoder(package, tiny_model_dir, tmp_path, monkeypatch):
    assert trained_vocoder(package / "plain") is None  # a vocoder beside any other folder is nobody's
    monkeypatch.setattr(pretrained, "MODELS", package)
    assert pretrained_models() == ["own", "plain"]
    assert trained_vocoder(package / "plain") == package / "vocoder"
    assert trained_vocoder(package / "own") == package / "own/vocoder"
    assert trained_vocoder(tiny_model_dir) is None
    monkeypatch.chdir(package)
    assert trained_vocoder("plain").resolve() == package / "vocoder"
    with pytest.raises(SiTokError, match="no model vocoder"):
        monkeypatch.chdir(tmp_path)
        locate("vocoder")


def test_evaluation_takes_the_vocoder_of_a_model_by_name(package, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "MODELS", package)
    monkeypatch.chdir(tmp_path)
    data = write_corpus(tmp_path / "data", 1, words=(2, 2))
    common = ["--model", "plain", "--data_dir", str(data), "--steps", "1"]
    assert sitok_synth_systems.main([*common, "--output_dir", "eval", "--systems", "copy_synthesis"]) == 0
    assert sitok_step_curve.main([*common, "--output_dir", "steps", "--metrics", "mel", "--resamples", "9"]) == 0
    card = json.loads((tmp_path / "eval/tokenizer.json").read_text())
    drawn = json.loads((tmp_path / "steps/steps.json").read_text())
    assert card["vocoder_hash"] == Vocos(package / "vocoder").identity
    assert card["vocoder"] == drawn["data"]["vocoder"] == "vocos"
    assert drawn["data"]["vocoder_conf"] == {"path": str(package / "vocoder")}
    assert sitok_synth_systems.main([*common, "--model", "other", "--output_dir", "eval"]) == 2


def test_the_models_of_this_repository_are_what_their_configurations_say():
    names = pretrained.pretrained_models()
    assert pretrained.default_model() == "asterisk_25hz" in names
    assert sum(path.stat().st_size for path in pretrained.MODELS.rglob("*") if path.is_file()) < 40e6
    card = (pretrained.MODELS / "README.md").read_text()
    for name in names:
        tokenizer = SiTok.from_pretrained(name, vocoder_conf={"iterations": 1})
        assert tokenizer.model_hash == tokenizer.config["model_hash"] and f"## {name}" in card
        packed = {"steps": 16, "temperature": 1.0} | tokenizer.config.get("inference_conf", {})
        assert vars(tokenizer.sampling()) == {"cfg_scale": 0.0, **packed}
        wav = speech(2.0, seed=1)
        (codes,) = tokenizer.encode([wav], 24000)
        assert codes.shape == (tokenizer.num_tokens(48000), tokenizer.num_codebooks)
        others = tokenizer.encode([speech(2.0, seed=8)], 24000)[0]
        mel = tokenizer.log_mel(wav, 24000)
        own, other = (found[: len(mel)] for found in tokenizer.decode_mel([codes, others]))
        # It follows the sound: its own tokens bring the mel nearer than those of other speech.
        assert abs(own - mel).mean() < 0.9 * abs(other - mel).mean()
