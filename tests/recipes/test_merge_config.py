"""Overlays: what merges, what is dropped, what is refused, and the file that results."""

import copy

import pytest
import yaml
from merge_config import COMMON, check_keys, main, merge, merge_files, parse_settings
from tiny import tiny_config

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok import slots

TRAINING = {"optim": "adamw", "optim_conf": {"lr": 0.1, "betas": [0.9, 0.999]}, "max_epoch": 3}


@pytest.fixture
def base_file(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(yaml.safe_dump({**tiny_config(), **TRAINING}), encoding="utf-8")
    return path


def overlay_file(tmp_path, content: dict, name: str = "overlay.yaml"):
    (tmp_path / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path / name


def test_mappings_merge_deeply_and_lists_are_replaced():
    base = {"a": {"b": {"c": 1, "d": 2}, "e": [1, 2, 3]}, "f": 4}
    overlay = {"a": {"b": {"c": 10}, "e": [9]}, "g": 5}
    before = copy.deepcopy((base, overlay))
    merged = merge(base, overlay)
    assert merged == {"a": {"b": {"c": 10, "d": 2}, "e": [9]}, "f": 4, "g": 5}
    merged["a"]["e"].append(0)
    merged["a"]["b"]["d"] = 0
    assert (base, overlay) == before


def test_later_overlays_win():
    assert merge({"seed": 0}, {"seed": 1}, {"seed": 2})["seed"] == 2


@pytest.mark.parametrize(
    "overlay, expected",
    [
        ({"quantizer": "other"}, None),
        ({"quantizer": "other", "quantizer_conf": {"levels": [4]}}, {"levels": [4]}),
        ({"quantizer": "ema_vq", "quantizer_conf": {"codebook_size": 8}}, {"codebook_size": 8, "codebook_dim": 4}),
        ({"quantizer_conf": {"codebook_size": 8}}, {"codebook_size": 8, "codebook_dim": 4}),
        ({"quantizer": None}, None),
    ],
)
def test_options_of_a_replaced_class_are_dropped(overlay, expected):
    base = {"quantizer": "ema_vq", "quantizer_conf": {"codebook_size": 16, "codebook_dim": 4}}
    assert merge(base, overlay).get("quantizer_conf") == expected


def test_a_class_that_the_base_leaves_to_its_default():
    base = {"quantizer_conf": {"codebook_size": 16}, "normalize_conf": {"eps": 1.0}}
    assert "quantizer_conf" not in merge(base, {"quantizer": "other"})
    assert merge(base, {"quantizer": "ema_vq"})["quantizer_conf"] == {"codebook_size": 16}
    assert merge(base, {"normalize": "global_mvn"})["normalize_conf"] == {"eps": 1.0}  # no class before it


def test_optimizer_and_scheduler_follow_the_same_rule():
    base = {"optim": "adamw", "optim_conf": {"betas": [0.9, 0.99]}, "scheduler": "warmuplr", "scheduler_conf": {"a": 1}}
    merged = merge(base, {"optim": "sgd", "optim_conf": {"lr": 1.0}, "scheduler": None})
    assert merged == {"optim": "sgd", "optim_conf": {"lr": 1.0}, "scheduler": None}


def test_ablation_notes_do_not_reach_the_training():
    assert merge({"seed": 0}, {"ablation": {"title": "x"}, "seed": 1}) == {"seed": 1}
    with pytest.raises(SiTokError, match="ablation: 'x' is not a mapping"):
        merge({}, {"ablation": "x"})


def test_a_scale_chooses_the_values_of_the_overlays_after_it():
    scale = {"ablation": {"scale": "mini"}, "quantizer_conf": {"codebook_size": 16}}
    row = {
        "ablation": {"at": {"mini": {"quantizer_conf": {"codebook_size": 4}}, "other": {"seed": 9}}},
        "quantizer_conf": {"codebook_size": 1024},
    }
    assert merge({"seed": 0}, row) == {"seed": 0, "quantizer_conf": {"codebook_size": 1024}}
    assert merge({"seed": 0}, scale, row) == {"seed": 0, "quantizer_conf": {"codebook_size": 4}}
    assert merge({"seed": 0}, row, scale) == {"seed": 0, "quantizer_conf": {"codebook_size": 16}}


def test_a_replaced_class_hands_on_what_the_overlay_keeps():
    base = {"quantizer": "ema_vq", "quantizer_conf": {"codebook_size": 16, "codebook_dim": 4, "decay": 0.9}}
    overlay = {
        "ablation": {"keep": {"quantizer_conf": ["codebook_dim", "decay", "absent"]}},
        "quantizer": "other",
        "quantizer_conf": {"decay": 0.5},
    }
    assert merge(base, overlay)["quantizer_conf"] == {"codebook_dim": 4, "decay": 0.5}
    assert merge({"quantizer": "other", "quantizer_conf": {"old": 1}}, overlay)["quantizer_conf"] == {
        "old": 1,
        "decay": 0.5,
    }


def test_a_mapping_over_a_number_is_refused():
    with pytest.raises(SiTokError, match=r"a\.b: 3 cannot be laid over"):
        merge({"a": {"b": {"c": 1}}}, {"a": {"b": 3}})


def test_settings():
    settings = ["max_epoch=6", "optim_conf.lr=1e-3", "quantizer_conf.levels=[8, 5]", "ctc=null", "a.b=x", "a.c=yes=no"]
    assert parse_settings(settings) == {
        "max_epoch": 6,
        "optim_conf": {"lr": 0.001},
        "quantizer_conf": {"levels": [8, 5]},
        "ctc": None,
        "a": {"b": "x", "c": "yes=no"},
    }
    for wrong in ("max_epoch", "=3", "a..b=3", "a=[1"):
        with pytest.raises(SiTokError, match="--set"):
            parse_settings([wrong])


def test_unknown_options_are_refused():
    check_keys({"own": 1}, {"own": 2, "decoder_conf": {}, "freeze_param": ["encoder"]}, "x.yaml")
    check_keys({}, {"unused_parameters": True}, "x.yaml")  # ESPnet's, looked up in its parser
    with pytest.raises(SiTokError, match="x.yaml: unknown options quantiser, quantiser_conf"):
        check_keys({}, {"quantiser": "fsq", "quantiser_conf": {}}, "x.yaml")
    with pytest.raises(SiTokError, match="unknown options quantiser"):
        check_keys({}, {"ablation": {"at": {"mini": {"quantiser": "fsq"}}}}, "x.yaml")


def test_common_options_are_espnets():
    from sitok_espnet.tasks.sitok import SiTokTask

    assert COMMON <= {action.dest for action in SiTokTask.get_parser()._actions}


def test_models_that_cannot_be_built_are_refused(tmp_path, base_file):
    wrong = overlay_file(tmp_path, {"decoder_conf": {"layers": 3}})
    with pytest.raises(SiTokError, match="base.yaml .*overlay.yaml do not make a model: decoder_conf .*layers"):
        merge_files(base_file, [wrong])
    with pytest.raises(SiTokError, match="unknown choice 'no_such'"):
        merge_files(base_file, settings=["quantizer=no_such"])


def test_a_new_class_of_the_registry_is_an_overlay_away(tmp_path, base_file, monkeypatch):
    class Other(slots.SLOTS["quantizer"].choices["ema_vq"]):
        def __init__(self, input_size: int, entries: int):
            super().__init__(input_size, codebook_size=entries, codebook_dim=2)

    monkeypatch.setitem(slots.SLOTS["quantizer"].choices, "other", Other)
    overlay = overlay_file(tmp_path, {"quantizer": "other", "quantizer_conf": {"entries": 4}})
    assert merge_files(base_file, [overlay])["quantizer_conf"] == {"entries": 4}


def test_the_written_file(tmp_path, base_file):
    overlay = overlay_file(tmp_path, {"ablation": {"title": "x"}, "model_conf": {"stacking_factor": 2}})
    out = tmp_path / "deep" / "out.yaml"
    assert main(["--out", str(out), str(base_file), str(overlay), "--set", "optim_conf.lr=1e-5", "max_epoch=1"]) == 0
    expected = {**tiny_config(), **TRAINING, "model_conf": {"stacking_factor": 2, "lambda_ctc": 0.1}, "max_epoch": 1}
    expected["optim_conf"] = {"lr": 1e-5, "betas": [0.9, 0.999]}
    written = out.read_text(encoding="utf-8")
    assert yaml.safe_load(written) == expected
    head = [line for line in written.splitlines() if line.startswith("#")]
    for name in (str(base_file), str(overlay), "optim_conf.lr=1e-5", "max_epoch=1"):
        assert any(name in line for line in head), name
    assert list(out.parent.iterdir()) == [out]


def test_errors_leave_no_file(tmp_path, base_file, capsys):
    out = tmp_path / "out.yaml"
    not_yaml, number = tmp_path / "not.yaml", tmp_path / "number.yaml"
    not_yaml.write_text("a: [1", encoding="utf-8")
    number.write_text("3\n", encoding="utf-8")
    for wrong, message in (
        (tmp_path / "absent.yaml", "does not exist"),
        (not_yaml, "not valid"),
        (number, "holds int"),
    ):
        assert main(["--out", str(out), str(base_file), str(wrong)]) == 2
        assert message in capsys.readouterr().err
    assert not out.exists()
