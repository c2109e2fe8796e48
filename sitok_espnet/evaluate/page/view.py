"""Score tables and utterances as the template shows them: text and numbers to sort by, nothing left to decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sitok_espnet.evaluate.judged import REMARK
from sitok_espnet.evaluate.markdown import NOT_JUDGED, REFERENCE
from sitok_espnet.evaluate.page.audio import encode_audio
from sitok_espnet.evaluate.page.collect import Evaluation, Take, Utterance
from sitok_espnet.evaluate.page.rows import Row, table_rows
from sitok_espnet.evaluate.page.spectrogram import Pictures, draw_spectrograms
from sitok_espnet.evaluate.page.tables import Cell, Column, Reasons, Table, TableRow, column_of, difference_cell
from sitok_espnet.evaluate.page.text import MINUS, interval, number
from sitok_espnet.evaluate.table import row_title
from sitok_espnet.evaluate.text import normalize_words
from sitok_espnet.evaluate.words import HEARD, SAID, Word, align_words


@dataclass(frozen=True)
class Player:
    """A system's audio of an utterance.

    Attributes:
        title: of the system.
        rate: its bit rate, or why it has none.
        audio, picture: data URIs, empty where there is no audio; then ``missing`` says why.
        words: what was recognised, beside the transcript; None without a recogniser or transcript.
        heard: the recognised text where it cannot be aligned.
        scores: (title, value) of the utterance.
    """

    title: str
    rate: str
    audio: str
    picture: str
    missing: str
    words: tuple[Word, ...] | None
    heard: str
    scores: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Group:
    """An utterance and its players; ``pictures`` has their common axes."""

    name: str
    text: str | None
    players: tuple[Player, ...]
    pictures: Pictures | None


_NO_RATE = {"reference": "not coded", "control": "control", "model": "rate not stated", "peer": "rate not stated"}


def score_table(results: Mapping) -> Table:
    """Systems against metrics; the best of a column is marked among rows of equal standing, the "model" ones."""
    rows, reasons = table_rows(results), Reasons()
    metrics = results["metrics"]
    rated = any(row.rate for row in rows)
    best = {name: _best(rows, name, card) for name, card in metrics.items()}
    lines = []
    for row in rows:
        if row.reason:
            lines.append(TableRow(row.title, row.small, row.kind, (), row.reason))
            continue
        cells = [Cell(f"{row.rate:,.0f}" if row.rate else "–", sort=row.rate)] if rated else []
        for name, card in metrics.items():
            cells.append(_score(row, name, card, best[name], reasons))
        lines.append(TableRow(row.title, row.small, row.kind, tuple(cells)))
    columns = [Column("bit/s")] if rated else []
    columns += [column_of(name, card) for name, card in metrics.items()]
    bootstrap, data = results["bootstrap"], results["data"]
    caption = (
        f"{data['utterances']:,} utterances. Small: {bootstrap['confidence']:.0%} percentile bootstrap intervals over "
        f"utterances ({bootstrap['resamples']:,} resamples, seed {bootstrap['seed']}). "
        "Bold: the best system, controls and other codecs (at their own rates) aside."
    )
    if any(row.cells[name].get("status") == NOT_JUDGED for row in rows for name in metrics):
        caption += f" A dash in a row that has other scores: {REMARK}."
    return Table(caption, "system", tuple(columns), tuple(lines), tuple(reasons.texts))


def _best(rows: Sequence[Row], name: str, card: Mapping) -> float | None:
    values = [
        row.cells[name]["value"] for row in rows if row.kind == "model" and row.cells[name].get("status") == "measured"
    ]
    if len(values) < 2:
        return None
    return max(values) if card["direction"] == "higher is better" else min(values)


def _score(row: Row, name: str, card: Mapping, best: float | None, reasons: Reasons) -> Cell:
    cell = row.cells[name]
    status = cell.get("status")
    if status in (REFERENCE, NOT_JUDGED):
        return Cell("–", style="absent")
    if status != "measured":
        return reasons.cell(cell.get("reason", "not in the results"))
    digits = card["decimals"]
    small = (interval(cell, digits),)
    if excluded := cell.get("excluded"):
        small += (f"{len(excluded)} excluded",)
    style = "best" if row.kind == "model" and cell["value"] == best else ""
    return Cell(number(cell["value"], digits), small, cell["value"], style)


def comparison_table(results: Mapping) -> Table:
    """Paired differences of two systems, a column a metric."""
    metrics = {name: card for name, card in results["metrics"].items() if card.get("status") != "not run"}
    reasons, lines = Reasons(), []
    for pair in results["comparisons"]:
        cells = [difference_cell(pair["metrics"].get(name, {}), card, reasons) for name, card in metrics.items()]
        title = f"{row_title(pair['first'])} {MINUS} {row_title(pair['second'])}"
        lines.append(TableRow(title, "", "pair", tuple(cells)))
    caption = "Differences over the same utterances with intervals and two-sided p values of the paired bootstrap."
    if any(cell.get("p_holm") is not None for pair in results["comparisons"] for cell in pair["metrics"].values()):
        caption += " Holm p: of a paired randomisation test, adjusted for all pairs compared in the metric."
    caption += " The words say what they show of the first system."
    columns = tuple(column_of(name, card) for name, card in metrics.items())
    return Table(caption, "systems", columns, tuple(lines), tuple(reasons.texts))


def listening(evaluation: Evaluation, audio_format: str) -> list[Group]:
    """Players, pictures and scores of every chosen utterance."""
    rows = {row.key: row for row in table_rows(evaluation.results)}
    return [_group(utterance, rows, evaluation.results["metrics"], audio_format) for utterance in evaluation.utterances]


def _group(utterance: Utterance, rows: Mapping[str, Row], metrics: Mapping, audio_format: str) -> Group:
    heard = [take.audio.read() if take.audio else None for take in utterance.takes]
    waves = [wave for wave in heard if wave]
    pictures = draw_spectrograms(waves) if waves else None
    uris = iter(pictures.uris if pictures else ())
    players = []
    for take, wave in zip(utterance.takes, heard, strict=True):
        row = rows[take.row]
        audio, picture = (encode_audio(*wave, audio_format), next(uris)) if wave else ("", "")
        words, text = _recognised(take, utterance.text)
        rate = f"{row.rate:,.0f} bit/s" if row.rate else _NO_RATE[row.kind]
        players.append(Player(row.title, rate, audio, picture, take.missing, words, text, _scores(take, metrics)))
    return Group(utterance.name, utterance.text, tuple(players), pictures)


RECOGNISERS = ("wer", "cer")  # what names of metrics end with whose detail is a recognised text


def _recognised(take: Take, text: str | None) -> tuple[tuple[Word, ...] | None, str]:
    """What the first recogniser heard that measured this utterance."""
    found = [
        cell for name, cell in take.measured.items() if name.endswith(RECOGNISERS) and cell.get("value") is not None
    ]
    if not found:
        return None, ""
    heard = found[0].get("detail", "")
    if not text:
        return None, heard
    if SAID in found[0]:
        return tuple(align_words(found[0][SAID].split(), found[0][HEARD].split())), heard
    # Scores made before both texts were kept as they were compared.
    return tuple(align_words(normalize_words(text), normalize_words(heard))), heard


def _scores(take: Take, metrics: Mapping) -> tuple[tuple[str, str], ...]:
    scores = []
    for name, measured in take.measured.items():
        card = metrics.get(name, {})
        if measured.get("value") is not None and "title" in card:
            scores.append((card["title"], number(measured["value"], card["decimals"])))
        elif measured.get("excluded"):
            scores.append((card.get("title", name), f"excluded: {measured['excluded']}"))
    return tuple(scores)
