#!/usr/bin/env python3
"""The paper's reconstruction table on SeedTTS test-en, with rows of what was scored here, from results.json.

Without results the rows are empty. ``--readme README.md`` replaces the table between the two markers of that page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_text
from sitok_espnet.evaluate.markdown import markdown_table

BEGIN, END = "<!-- table: local/paper_table.py -->", "<!-- end of table -->"
SET, LANGUAGES, UTTERANCES = "test_en", ["en"], 1088
# The last two are ours alone: another normalisation and average, another encoder (README).
HEADER = ["model", "token/s", "codebooks", "kbit/s", "WER (%)", "SIM", "UTMOS", "our WER (%)", "our SIM"]
# docs/paper.md, section 4: WER by Whisper-large-v3, SIM by WavLM to the prompt, UTMOS.
PAPER = [
    ["ground truth", "-", "-", "-", "2.14", "0.730", "3.53"],
    ["SpeechTokenizer", "100", "2", "1.00", "7.98", "0.468", "2.47"],
    ["BigCodec", "80", "1", "1.04", "3.25", "0.615", "3.59"],
    ["WavTokenizer", "75", "1", "0.90", "6.65", "0.483", "3.36"],
    ["DualCodec", "75", "6", "0.925", "2.63", "0.624", "3.78"],
    ["X-codec 2", "50", "1", "0.80", "2.63", "0.620", "3.68"],
    ["Mimi", "75", "6", "0.825", "4.51", "0.527", "3.09"],
    ["FireRedTTS", "25", "1", "0.35", "3.35", "0.597", "3.40"],
    ["CosyVoice", "25", "1", "0.30", "5.63", "0.465", "3.65"],
    ["StableCodec", "25", "1", "0.40", "11.1", "0.410", "3.87"],
    ["SiTok, 1 codebook", "12.5", "1", "0.20", "4.06", "0.641", "3.44"],
    ["+ decoder fine-tuning", "12.5", "1", "0.20", "3.79", "0.682", "3.48"],
    ["+ token CFG", "12.5", "1", "0.20", "3.34", "0.635", "3.60"],
    ["SiTok, 4 codebooks (16,384 each)", "50", "4", "0.70", "2.80", "0.660", "3.46"],
]
# Row of results.json -> title; the first two go through no tokens.
OURS = {
    "original": "ground truth",
    "copy_synthesis": "copy synthesis (mel and vocoder)",
    "reconstruction": "reconstruction",
    "reconstruction_cfg": "reconstruction with token CFG",
}
# Columns of a row from the fifth on: metric of results.json (None: only the paper has it), factor, decimals.
COLUMNS = ((None, 1, 0), (None, 1, 0), ("utmos", 1, 2), ("whisper_wer", 100, 2), ("wavlm_sim_prompt", 1, 3))


def check(content: Mapping, path: Path) -> None:
    """Refuse results of other utterances than those of the paper's table.

    Raises:
        SiTokError: another set, another language, or more utterances than the set has.
    """
    data = content.get("data", {})
    name, languages, count = data.get("set"), data.get("languages"), data.get("utterances", 0)
    if name != SET or languages not in ([], LANGUAGES) or not 0 < count <= UTTERANCES:
        raise SiTokError(
            f"{path} is of {count} utterances of the set {name or '(not said)'}, languages {languages}: the table is "
            f"of {SET} in English; score exp/<model>/eval/{SET} again"
        )


def table(results: Mapping[str, Mapping]) -> str:
    """Markdown of the paper's rows and, for every named results.json, ours, with the models that measured them.

    Without any, there are empty rows of ours.
    """
    rows = [[*row, "-", "-"] for row in PAPER]
    for name, content in results.items() or {"": {}}.items():
        count = content["data"]["utterances"] if content else UTTERANCES
        part = "" if count == UTTERANCES else f" ({count:,} of {UTTERANCES:,})"
        for row, title in OURS.items():
            label = f"here{', ' + name if name else ''}: {title}{part}"
            rows.append([label, *_rate(content, row), *_numbers(content, row)])
    return "\n\n".join(part for part in (markdown_table(HEADER, rows), _cards(results)) if part)


def _cards(results: Mapping[str, Mapping]) -> str:
    """Model and version of every metric; what differs between results stands twice."""
    lines = []
    for content in results.values():
        for metric, _, _ in COLUMNS:
            card = content.get("metrics", {}).get(metric or "", {})
            if card.get("model"):
                lines.append(f"- {card['title']} here: {card['model']}, version {card['version']}")
    if lines:
        lines.append("- In brackets: 95 % bootstrap intervals over utterances.")
    return "\n".join(dict.fromkeys(lines))


def _rate(content: Mapping, row: str) -> list[str]:
    if not row.startswith("reconstruction"):
        return ["-"] * 3
    bits = content.get("bits_per_second") or {}
    if bits.get("status") != "measured":
        return [""] * 3
    tokens = float(Fraction(bits["tokens_per_second"]))
    return [f"{tokens:g}", str(len(bits["codebook_sizes"])), f"{bits['value'] / 1000:.2f}"]


def _numbers(content: Mapping, row: str) -> list[str]:
    """Empty where there are no results at all; else a number, or that it was not run (results.json has the reason)."""
    cells = content.get("systems", {}).get(row, {}).get("metrics", {})
    texts = []
    for metric, factor, decimals in COLUMNS:
        cell = cells.get(metric or "", {"status": "not run"})
        if metric is None:
            texts.append("-")
        elif not content:
            texts.append("")
        elif cell["status"] == "measured":
            value, low, high = (f"{factor * cell[key]:.{decimals}f}" for key in ("value", "low", "high"))
            excluded = f" ({len(cell['excluded'])} excluded)" if cell.get("excluded") else ""
            texts.append(f"{value} [{low}, {high}]{excluded}")
        else:
            texts.append("not run")
    return texts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="*", metavar="[NAME=]results.json", help="of exp/<model>/eval/test_en")
    parser.add_argument("--readme", type=Path, help="page whose table is replaced; default: print it")
    args = parser.parse_args(argv)
    try:
        contents = {}
        for word in args.results:
            name, equals, path = word.partition("=")
            path = Path(path if equals else word)
            content = read_json(path)
            check(content, path)
            contents[name if equals else ""] = content
        if len(contents) < len(args.results):
            raise SiTokError("give every results.json a name of its own: NAME=results.json")
        text = table(contents)
        if args.readme is None:
            print(text)
            return
        before, begin, rest = args.readme.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            raise SiTokError(f"{args.readme} has no table between {BEGIN!r} and {END!r}")
        write_text(args.readme, f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    except (SiTokError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
