"""Rows of the score table that show other codecs: their audio, and what they cost in bits and time (ours)."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json
from sitok_espnet.evaluate.peers import AbsPeer, PeerUnavailable, build_peer, peer_row
from sitok_espnet.evaluate.provenance import describe_machine
from sitok_espnet.evaluate.systems import SystemUnavailable, Workshop

PEER = "peer.json"
NO_QUALITY = "random weights: speed only; the codec's note says how to get the trained ones"
SPEED_ONLY = 5  # utterances that a codec with random weights is timed on


@dataclass
class PeerRow:
    """One peer in an evaluation.

    Attributes:
        name: ``codec:setting``.
        peer: the codec, None if it cannot run here.
        reason: why not.
        coded: filled by ``audio``: utterance -> seconds of audio, bits, seconds of encoding and of decoding.
    """

    name: str
    peer: AbsPeer | None
    reason: str = ""
    coded: dict[str, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def open(cls, name: str, directory: Path | None, device: str) -> "PeerRow":
        """What is needed is looked for at once, models are opened when the row's turn comes.

        Raises:
            SiTokError: unknown name, or weights that are not the codec's.
        """
        try:
            return cls(name, build_peer(name, directory, device))
        except PeerUnavailable as error:
            return cls(name, None, str(error))

    @property
    def key(self) -> str:
        """Key of the row, and its folder in the evaluation directory."""
        return peer_row(self.name)

    def settings(self, data_hash: str) -> dict:
        """Everything that decides the row's audio and how fast it was made."""
        return {
            "system": self.key,
            "data_hash": data_hash,
            "peer": self.peer.identity() if self.peer else None,
            "device": str(self.peer.device) if self.peer else None,
            "threads": torch.get_num_threads(),
        }

    def audio(self, shop: Workshop) -> Iterator[np.ndarray]:
        """Every utterance coded and decoded, one at a time, timed after one warm-up utterance.

        Raises:
            SystemUnavailable: the codec cannot run here, or only with random weights: then it is timed, and no more.
        """
        if self.peer is None:
            raise SystemUnavailable(self.reason)
        self.peer(shop.read(shop.inputs[0]), shop.tokenizer.sample_rate)
        random = self.peer.weights == "random"
        for item in shop.inputs[: SPEED_ONLY if random else None]:
            wav = shop.read(item)
            start = time.perf_counter()
            coded = self.peer.encode(wav)
            encoded = time.perf_counter()
            output = self.peer.decode(coded.payload, len(wav))
            done = time.perf_counter()
            self.coded[item.utt] = {
                "audio": len(wav) / shop.tokenizer.sample_rate,
                "bits": coded.bits,
                "encode": encoded - start,
                "decode": done - encoded,
            }
            if not random:
                yield output
        if random:
            raise SystemUnavailable(NO_QUALITY)

    def write(self, folder: Path) -> None:
        """Write PEER, unless nothing was coded."""
        if self.peer is None:
            return
        content = {
            "about": self.peer.about(),
            "rate": {"nominal": self.peer.nominal, "source": self.peer.rate_source},
            "inner_rate": self.peer.inner_rate,
            "frame_rate": self.peer.frame_rate,
            "codebook_sizes": self.peer.codebook_sizes,
            "threads": torch.get_num_threads(),
            "device": str(self.peer.device),
            "batch": "one utterance, after one warm-up utterance",
            "machine": describe_machine(),
            "utterances": dict(sorted(self.coded.items())),
        }
        write_json(folder / PEER, content)


def speed_measured(folder: Path, settings: Mapping, settings_file: str) -> bool:
    """Whether a codec with random weights has been timed with these settings: its row needs no second time."""
    files = (folder / PEER, folder / settings_file)
    if not all(path.is_file() for path in files):
        return False
    return read_json(files[1]) == settings and read_json(files[0])["about"]["weights"] == "random"


def open_rows(names: list[str], directory: Path | None, device: str) -> list[PeerRow]:
    """One row for every name of ``--peers``.

    Raises:
        SiTokError: an unknown name, one that is named twice, or a directory that is not there.
    """
    if directory is not None and not directory.is_dir():
        logging.warning("--peer_dir %s is not a directory: nothing is looked for there", directory)
        directory = None
    rows = [PeerRow.open(name, directory, device) for name in names]
    keys = [row.key for row in rows]
    if doubled := [row.name for row in rows if keys.count(row.key) > 1]:
        raise SiTokError(f"--peers names {doubled[0]} twice")
    return rows


def read_peer(folder: Path) -> dict | None:
    """PEER of a row's folder, None where there is none."""
    return read_json(folder / PEER) if (folder / PEER).is_file() else None
