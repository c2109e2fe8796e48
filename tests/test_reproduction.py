"""docs/reproduction.md, docs/results.md and the page of the ablations: every file and link they name exists."""

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


def test_every_group_of_rows_is_on_the_page():
    text = (ROOT / "docs/reproduction.md").read_text(encoding="utf-8")
    groups = {path.parent.name for path in ROOT.glob("conf/ablation/*/*.yaml")} - {"scale"}
    assert groups and all(f"`{group}/`" in text or f"conf/ablation/{group}/" in text for group in groups)
