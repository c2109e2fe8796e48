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
HEADER = ["model", "token/s", "codebooks", "kbit/s", "WER (%)", "SIM", "UTMOS"]
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
COLUMNS = {"whisper_wer": (100, 2), "wavlm_sim_prompt": (1, 3), "utmos": (1, 2)}  # factor, decimals


def table(results: Mapping[str, Mapping]) -> str:
    """Markdown of the paper's rows and, for every named results.json, ours; without any, empty rows of ours."""
    rows = [*PAPER]
    for name, content in results.items() or {"": {}}.items():
        for row, title in OURS.items():
            label = f"here{', ' + name if name else ''}: {title}"
            rows.append([label, *_rate(content, row), *_numbers(content, row)])
    return markdown_table(HEADER, rows)


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
    if not content:
        return [""] * len(COLUMNS)
    cells = content.get("systems", {}).get(row, {}).get("metrics", {})
    texts = []
    for metric, (factor, decimals) in COLUMNS.items():
        cell = cells.get(metric, {"status": "not run"})
        measured = cell["status"] == "measured"
        texts.append(f"{factor * cell['value']:.{decimals}f}" if measured else "not run")
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
            contents[name if equals else ""] = read_json(Path(path if equals else word))
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
