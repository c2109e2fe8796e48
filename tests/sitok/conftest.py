"""Fixtures of the model tests."""

import socket

import pytest


@pytest.fixture
def free_port() -> int:
    """A TCP port on this machine that nothing listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
