"""`sitok report`: experiments, evaluations and probes -> one self-contained HTML page."""

import argparse
import sys
from pathlib import Path

LARGE = 15e6  # bytes; browsers open more, mail and reviewing systems often do not take it


def run(args: argparse.Namespace) -> None:
    """Collect, render, and move the page into place."""
    from sitok_espnet.evaluate.files import write_text
    from sitok_espnet.evaluate.page.collect import collect
    from sitok_espnet.evaluate.page.headline import headline
    from sitok_espnet.evaluate.page.render import render_page

    collection = collect(args.paths, args.utterances)
    page = render_page(collection, args.title, args.audio_format)
    first = Path(args.paths[0])
    output = Path(args.output) if args.output else (first.parent if first.is_file() else first) / "report.html"
    write_text(output, page)
    for evaluation in collection.evaluations:
        print(headline(evaluation))
    size = len(page.encode())
    print(f"{output}: {size / 1e6:.1f} MB, to read and to listen to")
    if size > LARGE:
        print(
            f"warning: {output} is larger than {LARGE / 1e6:.0f} MB: fewer --utterances or --audio_format mp3 (lossy) "
            "make it smaller",
            file=sys.stderr,
        )
