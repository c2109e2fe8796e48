"""Fill in the template: one HTML document that needs nothing else."""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sitok_espnet import __version__
from sitok_espnet.evaluate.markdown import machine_text
from sitok_espnet.evaluate.page import figures, probe_view, view
from sitok_espnet.evaluate.page.audio import FORMATS
from sitok_espnet.evaluate.page.collect import Collection, Evaluation, Experiment
from sitok_espnet.evaluate.page.headline import headline, key_numbers
from sitok_espnet.evaluate.page.rows import table_rows
from sitok_espnet.evaluate.speech_lm_table import speech_lm_remarks, speech_lm_rows
from sitok_espnet.evaluate.table import legend_lines, row_title, verification_remark, verification_rows
from sitok_espnet.evaluate.tokenizer_table import closed_sentence, model_text, tokenizer_remarks, tokenizer_rows
from sitok_espnet.evaluate.words import HEADER, error_rows
from sitok_espnet.probes.table import tokenizer_line

_PACKAGE = "sitok_espnet.evaluate.page"


def render_page(collection: Collection, title: str = "", audio_format: str = "flac") -> str:
    """The whole page. The same files give the same page, byte by byte (except with Ogg, whose streams are numbered
    at random).

    Args:
        collection: what to show.
        title: heading; empty: the names of the experiments.
        audio_format: one of ``audio.FORMATS``.

    Raises:
        SiTokError: unknown format, or audio that cannot be read.
    """
    # Everything is escaped unless it is marked as markup, and only our own two files are.
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, style = (_own_file(name) for name in ("page.js", "page.css"))
    names = dict.fromkeys([item.system for item in collection.evaluations])
    return environment.get_template("page.html.j2").render(
        title=title or ", ".join(names) or "Understanding probes",
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
        evaluations=[_evaluation(item, audio_format) for item in collection.evaluations],
        experiments=[_experiment(item) for item in collection.experiments],
        probes=[
            {
                "name": item.name,
                "tokenizer": tokenizer_line(item.results),
                "table": probe_view.probe_table(item.results),
                "differences": probe_view.probe_differences(item.results),
                "remarks": probe_view.probe_remarks(item.results),
                "made": _made(item.results),
            }
            for item in collection.probes
        ],
        error_header=HEADER,
        audio_format=audio_format,
        lossless=FORMATS[audio_format].lossless,
        version=__version__,
    )


def _own_file(name: str) -> str:
    return resources.files(_PACKAGE).joinpath("template", name).read_text(encoding="utf-8")


def _evaluation(item: Evaluation, audio_format: str) -> dict:
    results = item.results
    tokenizer = results.get("tokenizer") is not None
    return {
        "name": item.name,
        "system": item.system,
        "headline": headline(item),
        "numbers": key_numbers(results),
        "scores": view.score_table(results),
        "legend": legend_lines(results) + [f"{row.title}: {row.note}" for row in table_rows(results) if row.note],
        "intervals": figures.interval_figures(results),
        "groups": view.listening(item, audio_format),
        "silence": item.silence,
        "rates": figures.rate_figures(results),
        "steps": figures.step_figures(item.steps) if item.steps else [],
        "comparisons": view.comparison_table(results) if results.get("comparisons") else None,
        "closed": closed_sentence(results),
        "quantities": tokenizer_rows(results) if tokenizer else speech_lm_rows(results),
        "remarks": tokenizer_remarks(results) if tokenizer else speech_lm_remarks(results),
        "errors": error_rows(results, row_title),
        "voices": verification_rows(results),
        "voices_remark": verification_remark(results),
        "codebook": figures.codebook_figures(item),
        "made": _made(results) + ([("model", model_text(results))] if tokenizer else []),
        "steps_made": _made(item.steps) if item.steps else [],
    }


def _made(results) -> list[tuple[str, str]]:
    """Provenance: what, and its value."""
    made = results.get("provenance") or {}
    lines = [(key.replace("_", " "), str(value)) for key, value in made.items() if key != "machine"]
    return lines + ([("machine", machine_text(made["machine"]))] if "machine" in made else [])


def _experiment(item: Experiment) -> dict:
    return {
        "name": item.name,
        "figures": figures.training_figures(item.curves) if item.curves else [],
        "no_curves": item.no_curves,
        "config": item.config,
        "command": item.command,
    }
