"""Which rows a costly metric judges: those that a table is about (ours)."""

from collections.abc import Collection, Mapping

from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.metrics import AbsMetric
from sitok_espnet.evaluate.peers import PREFIX
from sitok_espnet.evaluate.request import Request

REFERENCES = ("original", "copy_synthesis")
REMARK = "the row was not judged: it costs seconds an utterance (--judge_all judges every row)"


def judged_rows(
    request: Request, systems: Collection[str], metrics: Mapping[str, AbsMetric]
) -> dict[str, tuple[str, ...]]:
    """Costly metric -> the rows that it measures; all rows for metrics that are not in it.

    Of a tokenizer's table: the original, copy synthesis, the reconstruction and those of earlier models, and the first
    other codec. Of anybody's audio, and with ``request.judge_all``, every row.

    Args:
        request: what was asked for, its systems in the order of the table.
        systems: rows that have audio.
        metrics: name -> metric.
    """
    if request.judge_all or not request.tokenizer:
        return {}
    there = [row for row in request.systems if row in systems]
    rows = [row for row in there if row in (*REFERENCES, REFINED) or earlier_name(row)]
    rows += [row for row in there if row.startswith(PREFIX)][:1]
    return {name: tuple(rows) for name, metric in metrics.items() if metric.costly}
