"""Numbers of the report page."""

from dataclasses import replace

from eval_dir import (
    UTTERANCES,
    probes,
    results,
)

from sitok_espnet.evaluate.page.collect import collect
from sitok_espnet.evaluate.page.headline import headline, key_numbers, main_row
from sitok_espnet.evaluate.page.probe_view import probe_differences, probe_table
from sitok_espnet.evaluate.page.rows import table_rows
from sitok_espnet.evaluate.page.view import comparison_table, listening, score_table
from sitok_espnet.evaluate.words import INSERTED, SAME, SUBSTITUTED


def test_score_table():
    table = score_table(results())
    assert [column.title for column in table.columns] == ["bit/s", "WER", "mel distance", "sim"]
    rows = {row.title: row for row in table.rows}
    assert [cell.text for cell in rows["reconstruction"].cells] == ["75", "0.500", "0.600", "not run"]
    assert rows["reconstruction"].cells[1].small == ("[0.450, 0.550]",)
    assert [cell.text for cell in rows["original"].cells] == ["–", "0.100", "–", "not run"]
    best = [
        (title, index) for title, row in rows.items() for index, cell in enumerate(row.cells) if cell.style == "best"
    ]
    assert best == [("reconstruction", 2), ("reconstruction with CFG", 1)]  # not the peer at 80 times the rate
    dac = next(row for row in table.rows if row.reason)
    assert dac.reason == "weights of DAC are not at hand" and dac.cells == ()
    assert table.reasons == ("no encoder here",)
    assert (rows["reconstruction"].small, dac.small) == ("", "5.23.0, random weights")


def test_settings_of_a_codec_are_one_family():
    assert {row.family for row in table_rows(results()) if row.kind == "peer"} == {"Opus", "DAC"}


def test_rates_of_results_before_rows_had_them():
    old = results()
    for content in old["systems"].values():
        content.pop("rate", None)
    assert {row.key: row.rate for row in table_rows(old) if row.rate} == {
        "reconstruction": 75.0,
        "reconstruction_cfg": 75.0,
    }


def test_differences_say_what_they_show():
    (row,) = comparison_table(results()).rows
    assert row.title == "reconstruction − control: mean mel"
    assert [cell.text for cell in row.cells] == ["−0.100", "−0.100"]
    assert row.cells[0].small == ("[−0.150, −0.050]", "p 0.0100", "better")
    assert row.cells[1].small[-1] == "no difference shown"
    adjusted = results()
    adjusted["comparisons"][0]["metrics"]["wer"]["p_holm"] = 0.2
    assert comparison_table(adjusted).rows[0].cells[0].small[-2:] == ("Holm p 0.2000", "no difference shown")


def test_probes_in_per_cent():
    table = probe_table(probes())
    (row,) = table.rows
    assert [cell.text for cell in row.cells] == ["accuracy ↑", "20.0", "75.0", "75.0", "not run"]
    assert row.cells[3].small == ("[70.0, 80.0]", "n = 40", "linear")
    assert table.reasons == ("not trained",)


def test_probes_show_what_else_was_measured():
    content = probes()
    task = content["tasks"]["language"]
    task["inputs"]["mel"] |= {"extra": {"macro_f1": {"value": 0.7, "low": 0.6, "high": 0.8}}}
    assert probe_differences(content) is None
    task["differences"] = {
        "tokens - mel": {
            **{"status": "measured", "value": -0.05, "low": -0.09, "high": -0.01, "p_value": 0.02, "p_holm": 0.03},
            "first_is_better": False,
        },
        "continuous - tokens": {"status": "not computed", "reason": "too few"},
    }
    assert probe_table(content).rows[0].cells[2].small[-1] == "macro F1 70.0 [60.0, 80.0]"
    table = probe_differences(content)
    assert [column.title for column in table.columns] == ["metric", "tokens − mel", "continuous − tokens"]
    metric, difference, absent = table.rows[0].cells
    assert (metric.text, difference.text, absent.text) == ("accuracy ↑", "−5.0", "not run")
    assert difference.small == ("[−9.0, −1.0]", "p 0.0200", "Holm p 0.0300", "worse")
    assert table.reasons == ("too few",)


def test_the_headline_is_about_the_model_as_configured(experiment):
    content = results()
    assert main_row(content).key == "reconstruction"  # though CFG has the better WER
    assert [(item.title, item.value, item.context) for item in key_numbers(content)] == [
        ("WER", "0.500", (("original", "0.100"), ("copy synthesis", "0.200"))),
        ("mel distance", "0.600", (("copy synthesis", "0.100"),)),
    ]
    (evaluation,) = collect([experiment], 0).evaluations
    assert headline(evaluation) == (
        "sitok_tiny (1.2 M parameters) codes speech as 12.5 frames a second of 2 codebooks with 8 entries: 75 bit/s. "
        "On the 3 utterances (8 words) of the set “test”, reconstruction reaches WER 0.500 (original 0.100, "
        "copy synthesis 0.200); mel distance 0.600 (copy synthesis 0.100)."
    )


def _with_measured(evaluation, cell):
    first = evaluation.utterances[0]
    takes = [replace(take, measured={**take.measured, "wer": cell}) for take in first.takes]
    return replace(evaluation, utterances=(replace(first, takes=tuple(takes)),))


def test_players(experiment):
    (evaluation,) = collect([experiment], 3).evaluations
    groups = listening(evaluation, "flac")
    assert [group.name for group in groups] == list(UTTERANCES)
    player = groups[0].players[2]
    assert (player.title, player.rate) == ("reconstruction", "75 bit/s")
    assert [word.kind for word in player.words] == [SAME, SUBSTITUTED, SAME, INSERTED]
    # Where the words were kept as they were compared ("two" as 2), these are marked.
    compared = {**evaluation.utterances[0].takes[2].measured["wer"], "said": "one 2 three", "heard": "one 2 three four"}
    player = listening(_with_measured(evaluation, compared), "flac")[0].players[2]
    assert [word.kind for word in player.words] == [SAME, SAME, SAME, INSERTED]
    assert player.scores == (("WER", "0.500"), ("mel distance", "0.600"))
    assert [player.rate for player in groups[0].players] == [
        "not coded",
        "not coded",
        "75 bit/s",
        "75 bit/s",
        "6,312 bit/s",
        "control",
    ]
