"""Pages that name files, links, or sections of other pages: what they name exists."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["docs/reproduction.md", "docs/results.md", "conf/ablation/README.md"]
FILES = re.compile(r"`((?:sitok_espnet|conf|local|egs2|tests)/[^` ]*)`")
LINKS = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", PAGES)
def test_named_files_and_links_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = [name for name in FILES.findall(text) if "<" not in name]
    for name in named:  # the shell knows what {a,b} means
        done = subprocess.run(["bash", "-c", f"ls -d {name}"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{page}: {name}: {done.stderr}"
    links = [link for link in LINKS.findall(text) if not link.startswith("http")]
    for link in links:
        assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"
    assert named or links


def test_cited_sections_exist():
    """PAPER and DESIGN in docstrings and comments are docs/paper.md and docs/design.md, with these sections."""
    places = ("*.md", *(f"{name}/**/*" for name in ("benchmarks", "conf", "docs", "local", "sitok_espnet", "tests")))
    places += ("egs2/*/sitok1/*", "egs2/*/sitok1/conf/**/*", "egs2/*/sitok1/local/*")
    files = {path for place in places for path in ROOT.glob(place) if path.suffix in (".py", ".yaml", ".sh", ".md")}
    cited: dict[str, set[str]] = {"PAPER": set(), "DESIGN": set()}
    for path in files:
        text = re.sub(r"\s*\n[# ]*", " ", path.read_text(encoding="utf-8"))  # a citation may be wrapped
        assert path == Path(__file__) or "ENVIRONMENT" not in text, path
        for page, numbers in re.findall(r"\b(PAPER|DESIGN) sections? ((?:\d+(?:, | and | to )?)+)", text):
            cited[page] |= set(re.findall(r"\d+", numbers))
    for page, numbers in cited.items():
        headings = re.findall(
            r"^## (\d+)\.", (ROOT / f"docs/{page.lower()}.md").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert numbers and numbers <= set(headings), page


def test_pages_that_wait_for_results_say_so():
    """No row of the ablations is called run while the page of results has no table of them."""
    results = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert "<!--" not in results
    pages = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    rows = [line for line in pages[pages.index("### Ablations") :].splitlines() if re.search(r"`\w+/`", line)]
    done = "bootstrap intervals" in results  # what local/ablate.py writes above every table
    assert rows and all(("[results]" in row) <= done for row in rows)


def test_every_group_of_rows_is_on_the_page():
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    groups = {path.parent.name for path in ROOT.glob("conf/ablation/*/*.yaml")} - {"scale"}
    assert groups and all(f"`{group}/`" in text or f"conf/ablation/{group}/" in text for group in groups)
