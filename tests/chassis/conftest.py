from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

CST_NAMES = (
    "CST_HEALTH_CHECK_ENDPOINT",
    "CST_PROJECT_NAME",
    "CST_PROJECT_VERSION",
    "CST_STREAM_LOG_LEVEL",
    "APP_STREAM_LOG_LEVEL",
    "CST_API_DEFAULT_PAGE_SIZE",
)


@pytest.fixture
def logging_restored() -> Iterator[None]:
    """The log is set up for a whole process, not yet in the test; other tests share this one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def app(logging_restored: None, monkeypatch: pytest.MonkeyPatch) -> Flask:
    for name in CST_NAMES:
        monkeypatch.delenv(name, raising=False)
    return Flask("test-chassis")


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    yield engine
    engine.dispose()
