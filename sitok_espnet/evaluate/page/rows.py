"""The rows of the score table as the page groups them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sitok_espnet.evaluate.earlier import REFINED
from sitok_espnet.evaluate.table import row_title

REFERENCES = ("original", "copy_synthesis", "copy_griffin_lim")
CONTROLS = ("untrained", "mean_mel", "other_tokens")
PEER = "peer_"
# Only where a language model spoke: other audio may be called anything.
OF_SPEECH_LM = {"resynthesis": "reference", "prompt_copy": "control"}


@dataclass(frozen=True)
class Row:
    """A system of the table.

    Attributes:
        key, title: its folder and its name for people.
        kind: "reference" (no code, or what the row can at best be), "model", "peer" (another codec) or "control".
        rate: bits per second, or None.
        family: peers of one codec at several rates share it.
        cells: metric -> cell of results.json.
        reason: why the whole row was not run, or empty.
        small: version and weights of a codec, or empty.
        note: what else is to be known of it, or empty.
    """

    key: str
    title: str
    kind: str
    rate: float | None
    family: str
    cells: Mapping[str, Mapping]
    reason: str
    small: str
    note: str


def table_rows(results: Mapping) -> list[Row]:
    """All rows in the order of results.json."""
    return [_row(results, key, content) for key, content in results["systems"].items()]


def _row(results: Mapping, key: str, content: Mapping) -> Row:
    about = content.get("about") or {}
    title = row_title(key)
    small, weights = [about.get("version") or ""], f"{about.get('weights')} weights"
    if weights in ("random weights", "pretrained weights") and weights not in small[0]:
        small.append(weights)
    kind = OF_SPEECH_LM.get(key) if results.get("speech_lm") else None
    kind = kind or _kind(key)
    return Row(
        key=key,
        title=title,
        kind=kind,
        rate=_rate(results, key, content),
        # "Opus, 6 kbit/s" is Opus.
        family=(about.get("name") or key.removeprefix(PEER)).partition(",")[0] if kind == "peer" else title,
        cells={name: content["metrics"].get(name, {}) for name in results["metrics"]},
        reason=content.get("reason", "") if content.get("status") == "not run" else "",
        small=", ".join(part for part in small if part),
        note=about.get("note") or "",
    )


def _kind(key: str) -> str:
    if key in REFERENCES:
        return "reference"
    if key in CONTROLS:
        return "control"
    return "peer" if key.startswith(PEER) else "model"


def _rate(results: Mapping, key: str, content: Mapping) -> float | None:
    if "rate" in content:
        return content["rate"]["bits_per_second"] if content["rate"] else None
    # Scores made before rows had rates: the model's own is that of its reconstructions.
    bits = results.get("bits_per_second") or {}
    return bits.get("value") if key == REFINED or key.startswith(f"{REFINED}_") else None
