"""The first sentence of the page and the few numbers beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from sitok_espnet.evaluate.earlier import REFINED
from sitok_espnet.evaluate.page.collect import Evaluation
from sitok_espnet.evaluate.page.rows import Row, table_rows
from sitok_espnet.evaluate.page.text import number

_IN_SENTENCE = 3  # metrics that the sentence itself names


@dataclass(frozen=True)
class KeyNumber:
    """A number in large type.

    Attributes:
        title: what it is.
        value, low, high: with its interval, formatted.
        context: (what it is to be read against, its value).
    """

    title: str
    value: str
    low: str
    high: str
    context: tuple[tuple[str, str], ...]


def main_row(results: Mapping) -> Row | None:
    """The row that the page is about: the reconstruction as configured, else the first system that is not a reference.

    Never the row with the best score: that would be chosen on the test set.
    """
    rows = [row for row in table_rows(results) if not row.reason]
    for row in rows:
        if row.key == REFINED:
            return row
    return next((row for row in rows if row.kind in ("model", "peer")), None)


def headline(evaluation: Evaluation) -> str:
    """What the model is, its rate, on what data, and the first numbers with what they are to be read against."""
    results = evaluation.results
    data, row = results["data"], main_row(results)
    words = f" ({data['reference_words']:,} words)" if data.get("reference_words") else ""
    where = f"the {data['utterances']:,} utterances{words} of the set “{evaluation.name}”"
    model = _model(evaluation)
    if row is None:
        return f"{model} No system was measured on {where}."
    reached = "; ".join(
        f"{item.title} {item.value}"
        + (f" ({', '.join(' '.join(pair) for pair in item.context)})" if item.context else "")
        for item in key_numbers(results)[:_IN_SENTENCE]
    )
    return f"{model} On {where}, {row.title} reaches {reached}." if reached else f"{model} {row.title}: no score."


def _model(evaluation: Evaluation) -> str:
    card = evaluation.results.get("tokenizer") or {}
    bits = evaluation.results.get("bits_per_second") or {}
    if card.get("status") != "measured":
        return f"{evaluation.system}."
    size = f"{evaluation.system} ({card['parameters'] / 1e6:,.1f} M parameters)"
    if bits.get("status") != "measured":
        return f"{size} is continuous: it has no tokens."
    rate, sizes = float(Fraction(card["frame_rate"])), card["codebook_sizes"]
    count = f"{len(sizes)} codebook" + ("s" if len(sizes) > 1 else "")
    entries = f"{sizes[0]:,}" if len(set(sizes)) == 1 else "/".join(f"{size:,}" for size in sizes)
    code = f"{rate:g} frames a second of {count} with {entries} entries"
    return f"{size} codes speech as {code}: {bits['value']:,.0f} bit/s."


def key_numbers(results: Mapping) -> list[KeyNumber]:
    """Every measured metric of the main row, with the original and copy synthesis beside it."""
    row, numbers = main_row(results), []
    if row is None:
        return []
    references = [other for other in table_rows(results) if other.kind == "reference"]
    for name, card in results["metrics"].items():
        cell = row.cells[name]
        if cell.get("status") != "measured":
            continue
        digits = card["decimals"]
        context = tuple(
            (other.title, number(other.cells[name]["value"], digits))
            for other in references
            if other.cells[name].get("status") == "measured"
        )
        low, value, high = (number(cell[part], digits) for part in ("low", "value", "high"))
        numbers.append(KeyNumber(card["title"], value, low, high, context))
    return numbers
