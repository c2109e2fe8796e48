"""Rows of the score table that show what a model was refined from: ``reconstruction_unrefined`` (ours)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.systems import SYSTEMS, Workshop, default_systems
from sitok_espnet.inference import SiTok

REFINED = "reconstruction"


@dataclass(frozen=True)
class EarlierModel:
    """One more row, the reconstruction by a model before refinement.

    Attributes:
        name: what the row is called after: its key is ``reconstruction_<name>``.
        open: opens that model with the vocoder of the others.
    """

    name: str
    open: Callable[[], SiTok]

    @property
    def row(self) -> str:
        """Key of the row, and its folder in the evaluation directory."""
        return f"{REFINED}_{self.name}"

    def workshop(self, shop: Workshop) -> Workshop:
        """The same inputs and options with this model.

        Raises:
            SiTokError: its tokens are not those of the shop's tokenizer.
        """
        tokenizer = self.open()
        if tokenizer.codes_hash != shop.tokenizer.codes_hash:
            raise SiTokError(
                f"{tokenizer.directory} ({self.name}) has other tokens (codes_hash {tokenizer.codes_hash}) than "
                f"{shop.tokenizer.directory} ({shop.tokenizer.codes_hash}): it was trained on after the refinement, or "
                "is another model; refine it again (stage 6)"
            )
        return replace(shop, tokenizer=tokenizer, timings={}, _codes={})


def parse_earlier(pair: str, open_model: Callable[[str], SiTok]) -> EarlierModel:
    """``NAME=MODEL``, as ``unrefined=exp/sitok_mini``; ``open_model`` opens MODEL.

    Raises:
        SiTokError: not such a pair, or a name that cannot be a row's.
    """
    name, equals, model = pair.partition("=")
    if not equals or not model or not name.replace("-", "_").replace(".", "_").isidentifier():
        raise SiTokError(f"--earlier {pair}: expected NAME=MODEL with a name of letters, digits and _")
    earlier = EarlierModel(name, lambda: open_model(model))
    if earlier.row in SYSTEMS:
        raise SiTokError(f"--earlier {pair}: {earlier.row} is a row already: choose another name")
    return earlier


def row_order(vocoder: str, earlier: Iterable[str] = (), peers: Iterable[str] = ()) -> list[str]:
    """The rows of a whole table: the default systems, and among them those of ``earlier`` and ``peers`` (row keys).

    Earlier models stand after the reconstruction, peers after all reconstructions.
    """
    rows = default_systems(vocoder)
    for added, last in ((earlier, REFINED), (peers, "reconstruction_cfg")):
        after = rows.index(last) + 1
        rows[after:after] = added
    return rows


def earlier_name(row: str) -> str | None:
    """``reconstruction_unrefined`` -> unrefined; None for a row that is not of an earlier model."""
    return None if row in SYSTEMS or not row.startswith(f"{REFINED}_") else row.removeprefix(f"{REFINED}_")
