"""Put the numbers of an evaluation directory together: results.json as a dictionary."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics, synthesis
from sitok_espnet.evaluate.codebook import bits_per_second, codebook_use
from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.files import read_json, read_transcripts
from sitok_espnet.evaluate.measure import measure_all
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, MetricContext, build_metric
from sitok_espnet.evaluate.metrics.error_rate import edit_errors
from sitok_espnet.evaluate.peers import PREFIX
from sitok_espnet.evaluate.rates import row_costs
from sitok_espnet.evaluate.text import normalize_characters, normalize_words
from sitok_espnet.inputs import AudioInput, read_scp
from sitok_espnet.tokens import open_tokens

# (compared system, what it is compared with): the controls, and whether training helped at all.
COMPARISONS = (
    ("reconstruction", "mean_mel"),
    ("reconstruction", "other_tokens"),
    ("reconstruction", "untrained"),
)
VOCODERS = ("copy_synthesis", "copy_griffin_lim")  # compared where both were asked for


@dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        eval_dir: what sitok_synth_systems filled.
        data_dir: the originals: wav.scp and, if there are transcripts, text.
        systems, metrics: names, in the order of rows and columns.
        train_text: transcripts for the recogniser's language model, or None.
        train_tokens: token dump of the training set, or None.
        resamples, seed: of the bootstrap.
        processes: worker processes.
    """

    eval_dir: Path
    data_dir: Path
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    train_text: Path | None = None
    train_tokens: Path | None = None
    resamples: int = statistics.RESAMPLES
    seed: int = 0
    processes: int = 1


@dataclass(frozen=True)
class Scores:
    """All measurements: system -> metric -> utterance -> Measurement, and why pieces are missing."""

    references: list[AudioInput]
    texts: dict[str, str]
    audio: dict[str, dict[str, AudioInput]]
    metrics: dict[str, AbsMetric]
    values: dict[str, dict[str, dict[str, Measurement]]]
    missing_systems: dict[str, str] = field(default_factory=dict)
    missing_metrics: dict[str, str] = field(default_factory=dict)


def not_run(reason: object) -> dict:
    """The cell of a number that is not there."""
    return {"status": "not run", "reason": " ".join(str(reason).split())}


def measure(request: Request) -> Scores:
    """Measure what can be measured; note what cannot."""
    references = sorted(read_scp(request.data_dir / "wav.scp"), key=lambda item: item.utt)
    text_file = request.data_dir / "text"
    texts = read_transcripts(text_file) if text_file.is_file() else {}
    texts = {item.utt: texts[item.utt] for item in references if texts.get(item.utt)}
    context = MetricContext.read(request.train_text, texts, request.data_dir)
    audio, missing_systems = {}, {}
    for system in request.systems:
        try:
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
    values = measure_all(references, texts, audio, metrics, context, request.eval_dir, request.processes)
    return Scores(references, texts, audio, metrics, values, missing_systems, missing_metrics)


def build_results(request: Request, scores: Scores) -> dict:
    """Everything of results.json but its provenance."""
    return {
        "data": {
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
        "tokenizer": _attempt(lambda: _model_card(request)),
        "ctc": _ctc(request, scores.texts),
        "codebook": {
            "train": _attempt(lambda: _train_codebook(request)),
            "test": _attempt(lambda: _test_codebook(request)),
        },
        "bits_per_second": _attempt(lambda: _bits(request)),
        "speed": _attempt(lambda: _speed(request)),
        "comparisons": [_compare(request, scores, *pair) for pair in _pairs(request)],
        "mel_distance_closed": _attempt(lambda: _closed(request, scores)),
    }


def _attempt(make: Callable[[], dict]) -> dict:
    try:
        return {"status": "measured", **make()}
    except SiTokError as error:
        return not_run(error)


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
        return {"status": "reference", "reason": "the original compared with itself is perfect by construction"}
    measurements = scores.values[system][name]
    excluded = {utt: item.notice for utt, item in measurements.items() if item.excluded}
    cell = _attempt(lambda: asdict(statistics.bootstrap(_in_order(measurements), request.resamples, request.seed)))
    notices = {utt: item.notice for utt, item in measurements.items() if item.notice and not item.excluded}
    return cell | {"excluded": excluded, "notices": notices}


def _in_order(measurements: Mapping[str, Measurement]) -> list[Measurement]:
    """By utterance, so that every system is resampled on the same draws."""
    return [measurements[utt] for utt in sorted(measurements)]


def _ctc(request: Request, texts: Mapping[str, str]) -> dict:
    """The CTC branch as a recogniser of the test set: what its tokens carry.

    Beside the rates ``utterances``: the character errors of each and the length of its transcript.
    """
    path = request.eval_dir / synthesis.CTC_TEXT
    if not path.is_file():
        try:
            reason = _model_card(request).get("ctc_not_run") or f"no {synthesis.CTC_TEXT} (sitok_synth_systems)"
        except SiTokError as error:
            reason = error
        return {"cer": not_run(reason), "wer": not_run(reason)}
    if not texts:
        reason = f"no transcripts in {request.data_dir / 'text'}"
        return {"cer": not_run(reason), "wer": not_run(reason)}
    heard = read_transcripts(path)
    rates: dict = {"utterances": {}}
    for name, units in (("cer", normalize_characters), ("wer", normalize_words)):
        measured = {}
        for utterance in sorted(texts):
            if expected := units(texts[utterance]):
                errors = edit_errors(expected, units(heard.get(utterance, "")))
                measured[utterance] = Measurement(errors, len(expected))
        pairs = list(measured.values())
        rates[name] = _attempt(lambda p=pairs: asdict(statistics.bootstrap(p, request.resamples, request.seed)))
        if name == "cer":
            rates["utterances"] = {
                utt: {"errors": item.numerator, "length": item.denominator} for utt, item in measured.items()
            }
    return rates


def _model_card(request: Request) -> dict:
    if not (request.eval_dir / synthesis.TOKENIZER).is_file():
        raise SiTokError("not synthesized (sitok_synth_systems)")
    return read_json(request.eval_dir / synthesis.TOKENIZER)


def _codebook_sizes(request: Request) -> list[int]:
    sizes = _model_card(request)["codebook_sizes"]
    if not sizes:
        raise SiTokError("the model is continuous (quantizer: identity): it has no codes")
    return sizes


def _train_codebook(request: Request) -> dict:
    _codebook_sizes(request)
    if request.train_tokens is None:
        raise SiTokError("no token dump of the training set was given (option --train_tokens)")
    dump = open_tokens(request.train_tokens)
    # Not the model_hash: a refined decoder reads the tokens of the model before it.
    wanted, found = _model_card(request).get("codes_hash"), dump.manifest["codes_hash"]
    if found != wanted:
        raise SiTokError(
            f"the dump {request.train_tokens} has tokens of another model (codes_hash {found}) than the scored one "
            f"({wanted})"
        )
    return asdict(codebook_use((codes for _, codes in dump), dump.manifest["codebook_sizes"]))


def _test_codebook(request: Request) -> dict:
    sizes = _codebook_sizes(request)
    tokens = read_json(request.eval_dir / synthesis.TOKENS)
    return asdict(codebook_use((np.array(codes, dtype=np.int64) for codes in tokens.values()), sizes))


def _bits(request: Request) -> dict:
    rate, sizes = _model_card(request)["frame_rate"], _codebook_sizes(request)
    return {
        "value": bits_per_second(rate, sizes),
        "tokens_per_second": str(Fraction(rate) * len(sizes)),
        "frame_rate": rate,
        "codebook_sizes": sizes,
    }


def _speed(request: Request) -> dict:
    """Real-time factors: seconds of computing a second of audio, with intervals over utterances."""
    synthesis.check_settings(request.eval_dir, synthesis.TIMED)
    if not (request.eval_dir / synthesis.TIMING).is_file():
        raise SiTokError(f"not timed (sitok_synth_systems --systems {synthesis.TIMED})")
    timing = read_json(request.eval_dir / synthesis.TIMING)
    utterances = [timing["utterances"][utt] for utt in sorted(timing["utterances"])]
    factors = {}
    for part in ("encode", "decode", "vocoder"):
        pairs = [Measurement(item[part], item["audio"]) for item in utterances]
        factors[part] = asdict(statistics.bootstrap(pairs, request.resamples, request.seed))
    return factors | {key: timing[key] for key in ("threads", "device", "steps", "cfg_scale", "batch", "machine")}


def _pairs(request: Request) -> list[tuple[str, str]]:
    pairs = [*COMPARISONS, *([VOCODERS] if set(VOCODERS) <= set(request.systems) else [])]
    pairs += [(REFINED, row) for row in request.systems if earlier_name(row)]
    # A peer with random weights has a speed but nothing to compare.
    heard = [row for row in request.systems if row.startswith(PREFIX) and not _random_weights(request, row)]
    return pairs + [(REFINED, row) for row in heard]


def _random_weights(request: Request, row: str) -> bool:
    return (_costs(request, row)["about"] or {}).get("weights") == "random"


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
        pair = (scores.values[first][name], scores.values[second][name])
        better = metric.higher_is_better
        cell = _attempt(lambda pair=pair, better=better: statistics.compare(*pair, better, *options))
        if cell["status"] == "measured":
            one, two = (statistics.bootstrap(_in_order(values), *options) for values in pair)
            cell |= {"intervals_overlap": one.low <= two.high and two.low <= one.high}
        cells[name] = cell
    return {"first": first, "second": second, "metrics": cells}


def _closed(request: Request, scores: Scores) -> dict:
    if "mel" not in scores.metrics:
        raise SiTokError("the mel distance was not measured")
    three = ("untrained", "reconstruction", "copy_synthesis")
    for system in three:
        if system not in scores.values:
            raise SiTokError(scores.missing_systems.get(system, f"{system} not scored"))
    maps = [scores.values[system]["mel"] for system in three]
    return asdict(statistics.share_of_the_way(*maps, request.resamples, request.seed))
