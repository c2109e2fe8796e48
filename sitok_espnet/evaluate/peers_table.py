"""Bit rates and other codecs in RESULTS.md."""

from collections.abc import Mapping

from sitok_espnet.evaluate.markdown import cell_text, markdown_table
from sitok_espnet.evaluate.peers import peer_title


def rate_text(rate: Mapping | None) -> str:
    """Bits a second, in brackets what the setting promises where that is another number."""
    if rate is None:
        return "-"
    text, nominal = f"{rate['bits_per_second']:,.0f}", rate["nominal"]
    return text if nominal is None or f"{nominal:,.0f}" == text else f"{text} (nominal {nominal:,.0f})"


def peers_section(results: Mapping) -> str:
    """Versions, weights and speed of other codecs; empty where there are none."""
    peers = {row: content for row, content in results["systems"].items() if content.get("about")}
    rows = []
    for row, content in peers.items():
        about, speed, title = content["about"], content.get("speed"), peer_title(row) or content["about"]["name"]
        factors = ["-", "-"]
        if speed:
            factors = [cell_text({"status": "measured", **speed[part]}, 4) for part in ("encode", "decode")]
        rows.append([title, about["version"], about["weights"], rate_text(content["rate"]), *factors, about["note"]])
    if not rows:
        return ""
    header = ["codec", "version", "weights", "bit/s", "real-time factor, encode", "real-time factor, decode", "note"]
    timed = {(s["device"], s["threads"], s["batch"]) for c in peers.values() if (s := c.get("speed"))}
    ways = " or ".join(f"{batch}, on {device} with {threads} threads" for device, threads, batch in sorted(timed))
    table = markdown_table(header, rows)
    return f"## Other codecs\n\n{table}" + (f"\n\nReal-time factor: {ways}, resampling included." if ways else "")
