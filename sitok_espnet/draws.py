"""Where the preparation of training data takes its random numbers from (ours)."""

import hashlib

import numpy as np


def utterance_generator(uid: str, rank: int) -> np.random.Generator:
    """A generator for one utterance of this epoch, different on every rank.

    ESPnet seeds NumPy's global generator with (seed + epoch + data worker), alike on all ranks. One number of that
    stream, the rank and the utterance's name seed this one: a resumed training draws what the uninterrupted one would
    have drawn, and no two utterances are treated alike.

    Args:
        uid: name of the utterance.
        rank: of the process that trains (`sitok_espnet.nn.distributed.rank`, asked there and not in a data worker).
    """
    draw = int(np.random.randint(2**31))
    digest = hashlib.sha256(f"{draw} {rank} {uid}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
