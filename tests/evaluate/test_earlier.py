"""Rows of what a model was refined from."""

import json
import shutil

import numpy as np
import pytest
import torch
from experiment_dir import refine_model_dir
from speech_generator import write_corpus

from sitok_espnet import SiTok
from sitok_espnet.audio import read_audio
from sitok_espnet.bin import sitok_score, sitok_synth_systems
from sitok_espnet.bin.open_model import split_checkpoint
from sitok_espnet.evaluate.earlier import earlier_name, row_order
from sitok_espnet.inputs import read_scp


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data"), 3, words=(1, 2))


@pytest.fixture(scope="module")
def refined(tmp_path_factory, tiny_model_dir):
    return refine_model_dir(tiny_model_dir, tmp_path_factory.mktemp("exp") / "refined")


def synth(model, data_dir, out, *options):
    words = ["--model", model, "--data_dir", data_dir, "--output_dir", out, "--steps", 2]
    words += ["--vocoder_conf", "iterations=2", "--systems", "original", "copy_synthesis", "reconstruction"]
    return sitok_synth_systems.main([*map(str, words), *map(str, options)])


@pytest.fixture(scope="module")
def scored(tmp_path_factory, data_dir, tiny_model_dir, refined):
    from sitok_espnet.dump import dump_tokens

    out = tmp_path_factory.mktemp("eval")
    base = SiTok.from_pretrained(tiny_model_dir)
    assert dump_tokens(base, read_scp(data_dir / "wav.scp"), out / "train", progress=False)
    rows = ["reconstruction_unrefined", "reconstruction_step-one"]
    earlier = [f"unrefined={tiny_model_dir}/valid.loss.best.pth", f"step-one={tiny_model_dir}"]
    assert synth(refined, data_dir, out, *rows, "--earlier", earlier[0], "--earlier", earlier[1]) == 0
    words = ["--eval_dir", out, "--data_dir", data_dir, "--metrics", "mel", "--nj", 1, "--spectrograms", 0]
    assert sitok_score.main([*map(str, words), "--resamples", "50", "--train_tokens", str(out / "train")]) == 0
    return out


def test_a_row_of_an_earlier_model_is_its_own_reconstruction(scored, data_dir, tiny_model_dir, refined):
    audio = {item.utt: item.read()[0] for item in read_scp(data_dir / "wav.scp")}
    for row, model in (("reconstruction_unrefined", tiny_model_dir), ("reconstruction", refined)):
        tokenizer = SiTok.from_pretrained(model, vocoder_conf={"iterations": 2})
        assert json.loads((scored / row / "settings.json").read_text())["model_hash"] == tokenizer.model_hash
        for item in read_scp(scored / row / "wav.scp"):
            expected = tokenizer.resynthesize([audio[item.utt]], 24000, steps=2)[0]
            np.testing.assert_allclose(read_audio(item.location)[0], expected, atol=2.0**-14)


def test_the_table_has_the_rows_and_compares_them(scored):
    results = json.loads((scored / "results.json").read_text())
    rows = list(results["systems"])
    assert rows[2:5] == ["reconstruction", "reconstruction_unrefined", "reconstruction_step-one"]
    page = (scored / "RESULTS.md").read_text()
    assert "| reconstruction, unrefined |" in page and "| reconstruction, step-one |" in page
    pairs = {(pair["first"], pair["second"]): pair["metrics"]["mel"] for pair in results["comparisons"]}
    values = {name: results["systems"][name]["metrics"]["mel"].get("value") for name in rows}
    cell = pairs["reconstruction", "reconstruction_unrefined"]
    assert cell["value"] == pytest.approx(values["reconstruction"] - values["reconstruction_unrefined"])
    assert cell["first_is_better"] == (cell["value"] < 0) and cell["value"] != 0


def test_tokens_dumped_before_the_refinement_are_its_own(scored):
    results = json.loads((scored / "results.json").read_text())
    assert results["codebook"]["train"]["status"] == "measured"


def test_finished_rows_are_kept_and_those_of_changed_models_made_again(
    scored, data_dir, tiny_model_dir, refined, tmp_path
):
    out = tmp_path / "eval"
    shutil.copytree(scored, out)
    before = {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/wav.scp")}
    assert synth(refined, data_dir, out, "reconstruction_unrefined", "--earlier", f"unrefined={tiny_model_dir}") == 0
    assert {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/wav.scp")} == before
    other = refine_model_dir(tiny_model_dir, tmp_path / "other", scale=0.9)
    assert synth(refined, data_dir, out, "reconstruction_unrefined", "--earlier", f"unrefined={other}") == 0
    changed = {
        path.parent.name for path in out.glob("*/wav.scp") if path.stat().st_mtime_ns != before[path.parent.name]
    }
    assert changed == {"reconstruction_unrefined"}


@pytest.mark.parametrize(
    ("pair", "message"),
    [("unrefined", "expected NAME=MODEL"), ("../x=exp", "expected NAME=MODEL"), ("cfg=exp", "is a row already")],
)
def test_bad_names(refined, data_dir, tmp_path, capsys, pair, message):
    assert synth(refined, data_dir, tmp_path, "--earlier", pair) == 2
    assert message in capsys.readouterr().err


def test_a_model_with_other_tokens_is_no_earlier_one(refined, data_dir, tiny_model_dir, tmp_path, capsys):
    other = refine_model_dir(tiny_model_dir, tmp_path / "other")
    state = torch.load(other / "valid.loss.best.pth", weights_only=True)
    state["quantizer.codebook.entries"] += 1e-3
    torch.save(state, other / "valid.loss.best.pth")
    out = tmp_path / "eval"
    assert synth(refined, data_dir, out, "reconstruction_unrefined", "--earlier", f"unrefined={other}") == 2
    assert "other tokens" in capsys.readouterr().err
    assert not (out / "reconstruction_unrefined/wav.scp").exists()


def test_order_and_names_of_rows():
    rows = row_order("griffin_lim", ["reconstruction_a", "reconstruction_b"])
    at = rows.index("reconstruction")
    assert rows[at : at + 4] == ["reconstruction", "reconstruction_a", "reconstruction_b", "reconstruction_cfg"]
    assert "copy_griffin_lim" not in rows and "copy_griffin_lim" in row_order("vocos")
    assert [earlier_name(row) for row in ("reconstruction", "reconstruction_cfg", "reconstruction_a_b")] == [
        None,
        None,
        "a_b",
    ]


def test_a_model_may_name_its_checkpoint():
    assert split_checkpoint("exp/x/30epoch.pth") == ("exp/x", "30epoch.pth")
    assert split_checkpoint("exp/x.v2") == ("exp/x.v2", None)
