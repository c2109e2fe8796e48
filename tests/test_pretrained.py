"""Models by name: folders win, names of the installation are found, anything else lists what there is."""

import shutil

import pytest

import sitok_espnet.pretrained as pretrained
from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import locate, pretrained_models


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


def test_a_model_opens_by_its_name(tiny_model_dir, tmp_path, monkeypatch):
    from sitok_espnet.inference import SiTok

    monkeypatch.setattr(pretrained, "MODELS", tmp_path)
    shutil.copytree(tiny_model_dir, tmp_path / "tiny_one")
    by_name = SiTok.from_pretrained("tiny_one", vocoder_conf={"iterations": 1})
    assert by_name.model_hash == SiTok.from_pretrained(tiny_model_dir).model_hash
