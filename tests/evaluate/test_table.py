"""Cells and tables."""

from sitok_espnet.evaluate.markdown import cell_text, markdown_table, steps_text


def test_cells():
    number = {"status": "measured", "value": 0.12345, "low": 0.1, "high": 0.2}
    assert cell_text(number, 3) == "0.123 [0.100, 0.200]"
    assert cell_text(number | {"excluded": {"a": "short", "b": "short"}}, 2) == "0.12 [0.10, 0.20] (2 excluded)"
    assert cell_text({"status": "not run", "reason": "no model"}, 3) == "not run: no model"
    assert cell_text({"status": "reference"}, 3) == "-"


def test_steps_in_words():
    assert steps_text(16) == "16 steps" and steps_text(1) == "1 step" and steps_text(None) == "one pass"
    assert steps_text(16, 1.0) == "16 steps" and steps_text(None, None) == "one pass"
    assert steps_text(4, 0.0) == "4 steps, temperature 0" and steps_text(4, 0.5) == "4 steps, temperature 0.5"


def test_no_text_breaks_a_table():
    table = markdown_table(["a", "b"], [["x|y", "two\nlines"], ["", "z"]])
    assert table.splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | two lines |", "|   | z |"]
