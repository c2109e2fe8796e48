"""What a row of the score table costs: bits a second, and computing time of other codecs (ours)."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.codebook import bits_per_second
from sitok_espnet.evaluate.earlier import REFINED, earlier_name
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.peer_rows import read_peer
from sitok_espnet.evaluate.peers.abs_peer import FORMULA, MEASURED

RECONSTRUCTIONS = (REFINED, "reconstruction_cfg")


def row_costs(folder: Path, card: Mapping, resamples: int, seed: int) -> dict:
    """``rate``, ``about`` and, of a peer, ``speed``: the keys of a row in results.json; None where it has none.

    Args:
        folder: of the row, in the evaluation directory.
        card: what tokenizer.json says, empty if there is none.
        resamples, seed: of the bootstrap.
    """
    if peer := read_peer(folder):
        return {"rate": _peer_rate(peer), "about": peer["about"], "speed": _speed(peer, resamples, seed)}
    return {"rate": _own_rate(folder.name, card), "about": None}


def _own_rate(row: str, card: Mapping) -> dict | None:
    """Of a row that the tokenizer's codes decide; the controls among them show no rate of their own."""
    sizes = card.get("codebook_sizes")
    if not sizes or not (row in RECONSTRUCTIONS or earlier_name(row)):
        return None
    return {"bits_per_second": bits_per_second(card["frame_rate"], sizes), "nominal": None, "source": FORMULA}


def _peer_rate(peer: Mapping) -> dict:
    coded, promised = peer["utterances"].values(), peer["rate"]
    measured = sum(item["bits"] for item in coded) / sum(item["audio"] for item in coded)
    value = measured if promised["source"] == MEASURED else promised["nominal"]
    return {"bits_per_second": value, **promised, "measured": measured}


def _speed(peer: Mapping, resamples: int, seed: int) -> dict:
    """Real-time factors of encoding and decoding, with intervals over utterances."""
    factors = {}
    for part in ("encode", "decode"):
        pairs = [Measurement(item[part], item["audio"]) for item in peer["utterances"].values()]
        factors[part] = asdict(statistics.bootstrap(pairs, resamples, seed))
    return factors | {key: peer[key] for key in ("threads", "device", "batch", "machine")}
