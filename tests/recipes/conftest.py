"""Recipes that run nothing, for the tests of the stage scripts."""

from pathlib import Path

import pytest
from stand_in_recipe import finish, make_recipe, make_repository, write


@pytest.fixture
def repository(tmp_path) -> Path:
    """A copy of the template's files with a recipe egs2/toy/sitok1, without an environment."""
    return make_repository(tmp_path)


@pytest.fixture
def recipe(repository) -> Path:
    """A recipe before stage 5 (no transcripts); its file `training` is what trains."""
    return make_recipe(repository)


@pytest.fixture
def trained(recipe) -> Path:
    """The recipe after stages 5 and 7, with two overlays and a vocoder's configuration."""
    finish(recipe, "sitok_x")
    for name in ("conf/refine/one.yaml", "conf/refine/my_shortcut.yaml", "conf/vocoder/small.yaml"):
        write(recipe / name)
    write(recipe / "dump/raw/test/wav.scp")
    write(recipe / "dump/tokens/x/train/manifest.json")
    # A training leaves its configuration where it was told to.
    (recipe / "training").write_text('mkdir -p "$output" && echo 1 | tee "$output"/{checkpoint.pth,config.yaml}\n')
    return recipe
