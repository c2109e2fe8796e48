"""Folders that several tests of the report page read."""

import pytest
from eval_dir import (
    make_scored_experiment,
    probes,
    write_json,
)


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    return make_scored_experiment(tmp_path_factory.mktemp("exp") / "sitok_tiny")


@pytest.fixture(scope="session")
def probe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    write_json(folder / "results.json", probes())
    return folder
