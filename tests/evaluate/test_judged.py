"""Which recogniser judges which rows, and what the pages say of the others."""

from dataclasses import replace
from pathlib import Path

import pytest
from eval_dir import results as page_results

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import whisper
from sitok_espnet.evaluate.judged import judged_rows
from sitok_espnet.evaluate.metrics import METRICS, default_metrics, default_recognizers
from sitok_espnet.evaluate.metrics.mel_distance import MelDistance
from sitok_espnet.evaluate.metrics.whisper_wer import WhisperWordErrorRate
from sitok_espnet.evaluate.page.view import comparison_table, score_table
from sitok_espnet.evaluate.request import Request
from sitok_espnet.evaluate.table import render

ROWS = (
    "original",
    "copy_synthesis",
    "reconstruction",
    "reconstruction_unrefined",
    "reconstruction_cfg",
    "peer_opus_6k",
    "peer_codec2_700c",
    "untrained",
    "mean_mel",
)
METRIC = {"whisper_wer": WhisperWordErrorRate.__new__(WhisperWordErrorRate), "mel": MelDistance()}


def request(**more):
    return Request(Path("eval"), Path("data"), ROWS, tuple(METRIC), **more)


def test_rows_that_the_table_is_about():
    about = ("original", "copy_synthesis", "reconstruction", "reconstruction_unrefined", "peer_opus_6k")
    assert judged_rows(request(), ROWS, METRIC) == {"whisper_wer": about}
    without = [row for row in ROWS if row != "peer_opus_6k"]
    assert judged_rows(request(), without, METRIC)["whisper_wer"][-1] == "peer_codec2_700c"
    assert judged_rows(request(judge_all=True), ROWS, METRIC) == {}
    assert judged_rows(replace(request(), tokenizer=False), ROWS, METRIC) == {}


def test_whisper_judges_where_it_is_at_hand(monkeypatch, tmp_path):
    monkeypatch.setattr(whisper, "FETCHED", tmp_path / "whisper-base-ct2")
    assert default_recognizers() == ("wer", "cer") and set(default_metrics()) == set(METRICS)
    assert "distillmos" in default_metrics() and "dnsmos" not in default_metrics()
    whisper.FETCHED.mkdir()
    for name in ("config.json", "tokenizer.json", "vocabulary.txt", "model.bin"):
        (whisper.FETCHED / name).touch()
    assert default_metrics()[:2] == default_recognizers() == ("whisper_wer", "whisper_cer")
    assert not {"wer", "cer"} & set(default_metrics())
    monkeypatch.setenv("SITOK_WHISPER", str(tmp_path))
    with pytest.raises(SiTokError, match="is no recognizer's folder"):
        default_metrics()


def test_rows_that_were_not_judged_are_a_dash_with_a_remark():
    results = page_results()
    results["systems"]["mean_mel"]["metrics"]["wer"] = {"status": "not judged"}
    for pair in results["comparisons"]:
        pair["metrics"]["wer"] = {"status": "not judged"}
    page = render(results)
    remark = '"-" in WER: the row was not judged: it costs seconds an utterance (--judge_all judges every row).'
    assert f"- {remark}" in page
    row = next(line for line in page.splitlines() if line.startswith("| control: mean mel"))
    assert row.split("|")[3].strip() == "-"
    table = score_table(results)
    index = [column.title for column in table.columns].index("WER")
    cell = next(line for line in table.rows if line.title == "control: mean mel").cells[index]
    assert cell.text == "–" and "not judged" in table.caption and not any("judged" in text for text in table.reasons)
    assert all(line.cells[0].text == "–" for line in comparison_table(results).rows)
    assert "not judged" not in score_table(page_results()).caption
