"""Other codecs for the score table: one file each behind AbsPeer, built by name from PEERS.

``codec:setting`` names one on the command line, ``peer_<codec>_<setting>`` its row and folder. A new codec is one file
and one line here.
"""

from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_peer import AbsPeer, Coded, PeerUnavailable
from sitok_espnet.evaluate.peers.codec2 import Codec2
from sitok_espnet.evaluate.peers.dac import DAC
from sitok_espnet.evaluate.peers.encodec import EnCodec
from sitok_espnet.evaluate.peers.mimi import Mimi
from sitok_espnet.evaluate.peers.opus import Opus
from sitok_espnet.evaluate.peers.snac import SNAC

PREFIX = "peer_"
PEERS: dict[str, type[AbsPeer]] = {codec.codec: codec for codec in (Opus, Codec2, EnCodec, DAC, Mimi, SNAC)}


def parse_peer(name: str) -> tuple[type[AbsPeer], str]:
    """``codec:setting`` -> its class and the setting.

    Raises:
        SiTokError: an unknown codec, no setting, or one that the codec does not have.
    """
    codec, colon, setting = name.partition(":")
    if codec not in PEERS or not colon:
        examples = " ".join(f"{each.codec}:{each.examples[0]}" for each in PEERS.values())
        raise SiTokError(f"unknown peer {name!r}: expected CODEC:SETTING, such as {examples} (option --peers)")
    PEERS[codec].key_of(setting)
    return PEERS[codec], setting


def build_peer(name: str, directory: Path | None = None, device: str = "cpu") -> AbsPeer:
    """Build a peer by name.

    Args:
        name: ``codec:setting``.
        directory: where weights and programs may lie (option --peer_dir), or None.
        device: torch device of neural codecs.

    Raises:
        SiTokError: unknown name. PeerUnavailable: it cannot run here, and what to do.
    """
    codec, setting = parse_peer(name)
    return codec(setting, directory, device)


def peer_row(name: str) -> str:
    """``opus:6`` -> peer_opus_6k, the key of its row.

    Raises:
        SiTokError: unknown name.
    """
    codec, setting = parse_peer(name)
    return f"{PREFIX}{codec.codec}_{codec.key_of(setting)}"


def peer_title(row: str) -> str | None:
    """``peer_opus_6k`` -> "Opus, 6 kbit/s"; None for a row that is no peer's."""
    codec, _, key = row.removeprefix(PREFIX).partition("_")
    if not row.startswith(PREFIX) or codec not in PEERS:
        return None
    return f"{PEERS[codec].title}, {PEERS[codec].label_of(key)}"


__all__ = [
    "PEERS",
    "PREFIX",
    "AbsPeer",
    "Coded",
    "PeerUnavailable",
    "build_peer",
    "parse_peer",
    "peer_row",
    "peer_title",
]
