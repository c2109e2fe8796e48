"""Put the numbers of an evaluation directory together: results.json as a dictionary."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics, synthesis
from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.files import read_json, read_languages, read_transcripts
from sitok_espnet.evaluate.judged import judged_rows
from sitok_espnet.evaluate.markdown import NOT_JUDGED, REFERENCE
from sitok_espnet.evaluate.measure import measure_all
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, MetricContext, build_metric
from sitok_espnet.evaluate.peers import PREFIX
from sitok_espnet.evaluate.rates import row_costs
from sitok_espnet.evaluate.request import Request, Scores, attempt, not_run
from sitok_espnet.evaluate.score_cache import CACHE, ScoreCache
from sitok_espnet.evaluate.significance import holm
from sitok_espnet.evaluate.text import normalize_words
from sitok_espnet.evaluate.tokenizer_results import tokenizer_results
from sitok_espnet.evaluate.voice_results import voice_results
from sitok_espnet.inputs import read_scp

# (compared system, what it is compared with): the controls, and whether training helped at all.
COMPARISONS = (
    ("reconstruction", "mean_mel"),
    ("reconstruction", "other_tokens"),
    ("reconstruction", "untrained"),
)
VOCODERS = ("copy_synthesis", "copy_griffin_lim")  # compared where both were asked for


def measure(request: Request) -> Scores:
    """Measure what can be measured; note what cannot."""
    references = sorted(read_scp(request.data_dir / "wav.scp"), key=lambda item: item.utt)
    text_file = request.data_dir / "text"
    texts = read_transcripts(text_file) if text_file.is_file() else {}
    texts = {item.utt: texts[item.utt] for item in references if texts.get(item.utt)}
    context = MetricContext.read(request.train_text, texts, request.data_dir, request.prompts)
    audio, missing_systems = {}, {}
    for system in request.systems:
        try:
            if request.tokenizer:
                synthesis.check_settings(request.eval_dir, system)
        except SiTokError as error:
            missing_systems[system] = str(error)
            continue
        audio[system] = {item.utt: item for item in read_scp(request.eval_dir / system / "wav.scp")}
    metrics, missing_metrics = {}, {}
    for name in request.metrics:
        try:
            metrics[name] = build_metric(name, context)
        except MetricUnavailable as error:
            missing_metrics[name] = str(error)
            logging.warning("%s: not run: %s", name, error)
    judged = judged_rows(request, audio, metrics)
    cache = ScoreCache(request.cache or request.eval_dir / CACHE)
    values = measure_all(
        references, texts, audio, metrics, context, cache, request.processes, strict=request.tokenizer, judged=judged
    )
    _mark_converted(request, metrics, values)
    return Scores(references, texts, audio, metrics, values, missing_systems, missing_metrics, judged)


def _mark_converted(
    request: Request, metrics: Mapping[str, AbsMetric], values: Mapping[str, Mapping[str, dict[str, Measurement]]]
) -> None:
    """Say of audio that was converted up where a metric listens to bands that it cannot have (no cache knows)."""
    originals = _source_rates(request, "original")
    for system, of_metrics in values.items():
        own = _source_rates(request, system)
        for name, measurements in of_metrics.items():
            for utt, measurement in measurements.items():
                rates = [table[utt] for table in (originals, own) if utt in table]
                if rates and min(rates) < metrics[name].sample_rate:
                    notices = [measurement.notice, f"upsampled from {min(rates):,} Hz"]
                    measurements[utt] = replace(measurement, notice="; ".join(filter(None, notices)))


def _source_rates(request: Request, system: str) -> dict[str, int]:
    path = request.eval_dir / system / synthesis.SOURCE_RATE
    return {utt: int(rate) for utt, rate in read_transcripts(path).items()} if path.is_file() else {}


def build_results(request: Request, scores: Scores) -> dict:
    """Everything of results.json but its provenance."""
    return {
        "data": {
            "set": request.data_dir.name,
            "languages": _languages(request, scores),
            "utterances": len(scores.references),
            "with_transcript": len(scores.texts),
            "reference_words": sum(len(normalize_words(text)) for text in scores.texts.values()),
        },
        "bootstrap": {"resamples": request.resamples, "seed": request.seed, "confidence": statistics.CONFIDENCE},
        "metrics": {
            name: scores.metrics[name].card() if name in scores.metrics else not_run(scores.missing_metrics[name])
            for name in request.metrics
        },
        "systems": {system: _system(request, scores, system) for system in request.systems},
        "verification": voice_results(request, scores),
        **tokenizer_results(request, scores),
        "comparisons": _comparisons(request, scores),
    }


def _languages(request: Request, scores: Scores) -> list[str]:
    """Of the scored utterances, by utt2lang; none where there is no such list."""
    table = read_languages(request.data_dir / "text")
    return sorted({table[item.utt] for item in scores.references if item.utt in table})


def _system(request: Request, scores: Scores, system: str) -> dict:
    return _scores(request, scores, system) | _costs(request, system)


def _costs(request: Request, system: str) -> dict:
    card = request.eval_dir / synthesis.TOKENIZER
    card = read_json(card) if card.is_file() else {}
    return row_costs(request.eval_dir / system, card, request.resamples, request.seed)


def _scores(request: Request, scores: Scores, system: str) -> dict:
    if system in scores.missing_systems:
        reason = not_run(scores.missing_systems[system])
        return {**reason, "metrics": dict.fromkeys(request.metrics, reason), "utterances": {}}
    cells = {name: _cell(request, scores, system, name) for name in request.metrics}
    utterances = {}
    for item in scores.references:
        measured = {name: values[item.utt] for name, values in scores.values[system].items() if item.utt in values}
        utterances[item.utt] = {name: _plain(measurement) for name, measurement in measured.items()}
        for name, measurement in measured.items():
            if not measurement.excluded:
                remarks = scores.metrics[name].remarks(scores.texts.get(item.utt), item.utt, measurement)
                utterances[item.utt][name] |= remarks
    clipped = request.eval_dir / system / synthesis.CLIPPED
    clipped = read_transcripts(clipped) if clipped.is_file() else {}
    return {"status": "measured", "metrics": cells, "samples_clipped": clipped, "utterances": utterances}


def _plain(measurement: Measurement) -> dict:
    if measurement.excluded:
        return {"value": None, "excluded": measurement.notice}
    content = {"value": measurement.value, "numerator": measurement.numerator, "denominator": measurement.denominator}
    remarks = {"detail": measurement.detail, "notice": measurement.notice}
    return content | {name: remark for name, remark in remarks.items() if remark}


def _cell(request: Request, scores: Scores, system: str, name: str) -> dict:
    if name in scores.missing_metrics:
        return not_run(scores.missing_metrics[name])
    if scores.metrics[name].intrusive and system == "original":
        return {"status": REFERENCE, "reason": "the original compared with itself is perfect by construction"}
    if not scores.is_judged(system, name):
        return {"status": NOT_JUDGED}
    measurements = scores.values[system][name]
    excluded = {utt: item.notice for utt, item in measurements.items() if item.excluded}
    if measurements and len(excluded) == len(measurements):
        utterance, why = next(iter(excluded.items()))
        return not_run(f"none of {len(excluded)} utterances could be measured, such as {utterance}: {why}")
    cell = attempt(lambda: asdict(statistics.bootstrap(_in_order(measurements), request.resamples, request.seed)))
    notices = {utt: item.notice for utt, item in measurements.items() if item.notice and not item.excluded}
    return cell | scores.metrics[name].extras(scores.texts, measurements) | {"excluded": excluded, "notices": notices}


def _in_order(measurements: Mapping[str, Measurement]) -> list[Measurement]:
    """By utterance, so that every system is resampled on the same draws."""
    return [measurements[utt] for utt in sorted(measurements)]


def _pairs(request: Request) -> list[tuple[str, str]]:
    """Of a tokenizer the rows that explain each other, of anybody's audio every two systems."""
    if not request.tokenizer:
        return list(combinations([row for row in request.systems if row != "original"], 2))
    pairs = [*COMPARISONS, *([VOCODERS] if set(VOCODERS) <= set(request.systems) else [])]
    pairs += [(REFINED, row) for row in request.systems if earlier_name(row)]
    # A peer with random weights has a speed but nothing to compare.
    heard = [row for row in request.systems if row.startswith(PREFIX) and not _random_weights(request, row)]
    return pairs + [(REFINED, row) for row in heard]


def _random_weights(request: Request, row: str) -> bool:
    return (_costs(request, row)["about"] or {}).get("weights") == "random"


def _comparisons(request: Request, scores: Scores) -> list[dict]:
    """All pairs; ``p_holm`` of a cell is its randomisation p, adjusted for the pairs compared in the same metric."""
    pairs = [_compare(request, scores, *pair) for pair in _pairs(request)]
    for name in scores.metrics:
        _adjust([pair["metrics"][name] for pair in pairs if pair["metrics"][name]["status"] == "measured"])
    return pairs


def _adjust(cells: Sequence[dict]) -> None:
    for cell, adjusted in zip(cells, holm([cell["p_randomisation"] for cell in cells]), strict=True):
        cell["p_holm"] = adjusted


def _compare(request: Request, scores: Scores, first: str, second: str) -> dict:
    """Paired differences of two systems in every metric, and whether their separate intervals overlap."""
    cells, options = {}, (request.resamples, request.seed)
    for name, metric in scores.metrics.items():
        if first not in scores.values or second not in scores.values:
            cells[name] = not_run(
                next(
                    scores.missing_systems.get(s, f"{s} not scored") for s in (first, second) if s not in scores.values
                )
            )
            continue
        if not (scores.is_judged(first, name) and scores.is_judged(second, name)):
            cells[name] = {"status": NOT_JUDGED}
            continue
        pair = (scores.values[first][name], scores.values[second][name])
        better = metric.higher_is_better
        cell = attempt(lambda pair=pair, better=better: statistics.compare(*pair, better, *options))
        if cell["status"] == "measured":
            one, two = (statistics.bootstrap(_in_order(values), *options) for values in pair)
            cell |= {"intervals_overlap": one.low <= two.high and two.low <= one.high}
        cells[name] = cell
    return {"first": first, "second": second, "metrics": cells}
