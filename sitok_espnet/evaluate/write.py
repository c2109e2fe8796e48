"""Measure an evaluation directory and leave its pages: results.json, RESULTS.md, rate/quality, spectrograms."""

from collections.abc import Mapping, Sequence

from sitok_espnet import __version__
from sitok_espnet.evaluate.files import write_json, write_table, write_text
from sitok_espnet.evaluate.metrics import check_names
from sitok_espnet.evaluate.plots import draw_utterances
from sitok_espnet.evaluate.provenance import command_line, describe_machine, git_commit
from sitok_espnet.evaluate.rate_plot import RATE_FILES, write_rate_quality
from sitok_espnet.evaluate.report import build_results, measure
from sitok_espnet.evaluate.request import Request
from sitok_espnet.evaluate.table import render

RESULTS, PAGE, PICTURES = "results.json", "RESULTS.md", "spectrograms"
TRANSCRIPTS = "text"  # of the scored utterances, for `sitok report`


def write_results(
    request: Request, module: str, arguments: Sequence[str], spectrograms: int, more: Mapping[str, object] | None = None
) -> tuple[dict, str]:
    """Score what ``request`` names and write it into its eval_dir; returns results.json's content and the page.

    Args:
        module, arguments: the command that does this, for the provenance.
        spectrograms: number of utterances to draw.
        more: further keys of results.json, such as ``speech_lm``.

    Raises:
        SiTokError: an unknown metric; then nothing is deleted.
    """
    check_names(request.metrics)  # a typing error costs nobody the results that are there
    for name in (RESULTS, PAGE, *RATE_FILES):  # what is there is of another call: it must not outlive one that fails
        (request.eval_dir / name).unlink(missing_ok=True)
    scores = measure(request)
    results = build_results(request, scores) | dict(more or {})
    results["provenance"] = {
        "command": command_line(module, arguments),
        "commit": git_commit(),
        "package_version": __version__,
        "seed": request.seed,
        "machine": describe_machine(),
    }
    write_table(request.eval_dir / TRANSCRIPTS, scores.texts)
    write_json(request.eval_dir / RESULTS, results)
    page = render(results)
    write_text(request.eval_dir / PAGE, page)
    write_rate_quality(results, request.eval_dir)
    draw_utterances(scores.references, scores.audio, scores.texts, spectrograms, request.eval_dir / PICTURES)
    return results, page
