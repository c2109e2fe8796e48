"""The Python that the recipes of these tests run."""

import pytest
from warm_python import warm_python


@pytest.fixture(scope="session")
def python():
    """Words for --python of a recipe."""
    with warm_python() as words:
        yield words
