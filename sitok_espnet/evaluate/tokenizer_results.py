"""The part of results.json that is about a tokenizer: its card, CTC branch, codebooks, bits, speed and latency.

All of it comes from what sitok_synth_systems leaves beside the systems' audio.
"""

from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics, synthesis
from sitok_espnet.evaluate.codebook import bits_per_second, codebook_use, entropy_rate
from sitok_espnet.evaluate.files import read_json, read_transcripts
from sitok_espnet.evaluate.latency import PARTS, algorithmic_ms, computing_ms
from sitok_espnet.evaluate.metrics import Measurement
from sitok_espnet.evaluate.metrics.error_rate import edit_errors
from sitok_espnet.evaluate.request import Request, Scores, attempt, not_run
from sitok_espnet.evaluate.text import normalize_characters, normalize_words
from sitok_espnet.tokens import open_tokens

KEYS = ("tokenizer", "ctc", "codebook", "bits_per_second", "speed", "latency", "mel_distance_closed")


def tokenizer_results(request: Request, scores: Scores) -> dict:
    """The values of KEYS; all None where there is no tokenizer (``request.tokenizer``)."""
    if not request.tokenizer:
        return dict.fromkeys(KEYS)
    return {
        "tokenizer": attempt(lambda: _model_card(request)),
        "ctc": _ctc(request, scores.texts),
        "codebook": {
            "train": attempt(lambda: _train_codebook(request)),
            "test": attempt(lambda: _test_codebook(request)),
        },
        "bits_per_second": attempt(lambda: _bits(request)),
        "speed": attempt(lambda: _speed(request)),
        "latency": attempt(lambda: _latency(request)),
        "mel_distance_closed": attempt(lambda: _closed(request, scores)),
    }


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
        rates[name] = attempt(lambda p=pairs: asdict(statistics.bootstrap(p, request.resamples, request.seed)))
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
    return _codebook([codes for _, codes in dump], dump.manifest["codebook_sizes"], _model_card(request)["frame_rate"])


def _test_codebook(request: Request) -> dict:
    sizes = _codebook_sizes(request)
    tokens = read_json(request.eval_dir / synthesis.TOKENS)
    # In order of id: which half an utterance is in must not depend on the file.
    codes = [np.array(tokens[utt], dtype=np.int64) for utt in sorted(tokens)]
    return _codebook(codes, sizes, _model_card(request)["frame_rate"])


def _codebook(codes: list[np.ndarray], sizes: list[int], frame_rate: str) -> dict:
    """Use of the codebooks and, under ``entropy_rate``, the bits that the tokens carry."""
    use = asdict(codebook_use(codes, sizes))
    return use | {"entropy_rate": attempt(lambda: asdict(entropy_rate(codes, sizes, frame_rate)))}


def _bits(request: Request) -> dict:
    rate, sizes = _model_card(request)["frame_rate"], _codebook_sizes(request)
    return {
        "value": bits_per_second(rate, sizes),
        "tokens_per_second": str(Fraction(rate) * len(sizes)),
        "frame_rate": rate,
        "codebook_sizes": sizes,
    }


def _timing(request: Request) -> dict:
    synthesis.check_settings(request.eval_dir, synthesis.TIMED)
    if not (request.eval_dir / synthesis.TIMING).is_file():
        raise SiTokError(f"not timed (sitok_synth_systems --systems {synthesis.TIMED})")
    return read_json(request.eval_dir / synthesis.TIMING)


def _speed(request: Request) -> dict:
    """Real-time factors: seconds of computing a second of audio, with intervals over utterances."""
    timing = _timing(request)
    utterances = [timing["utterances"][utt] for utt in sorted(timing["utterances"])]
    factors = {}
    for part in PARTS:
        pairs = [Measurement(item[part], item["audio"]) for item in utterances]
        factors[part] = asdict(statistics.bootstrap(pairs, request.resamples, request.seed))
    made = {key: timing[key] for key in ("threads", "device", "steps", "cfg_scale", "batch", "machine")}
    return factors | made | {"temperature": timing.get("temperature")}  # timings of before it was an option have none


def _latency(request: Request) -> dict:
    """Milliseconds: ``algorithmic``, what must have been said first, and ``computing``, what the machine took."""
    frame_rate = _model_card(request)["frame_rate"]
    try:
        timing = _timing(request)
    except SiTokError as error:
        return {"algorithmic": algorithmic_ms(frame_rate), "computing": not_run(error)}
    computing = attempt(lambda: computing_ms(timing))
    made = {key: timing[key] for key in ("threads", "device", "steps", "machine")}
    return {"algorithmic": algorithmic_ms(frame_rate, timing), "computing": computing, **made}


def _closed(request: Request, scores: Scores) -> dict:
    if "mel" not in scores.metrics:
        raise SiTokError("the mel distance was not measured")
    three = ("untrained", "reconstruction", "copy_synthesis")
    for system in three:
        if system not in scores.values:
            raise SiTokError(scores.missing_systems.get(system, f"{system} not scored"))
    maps = [scores.values[system]["mel"] for system in three]
    return asdict(statistics.share_of_the_way(*maps, request.resamples, request.seed))
