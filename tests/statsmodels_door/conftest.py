"""Marks that statsmodels' own tests carry."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for mark in ("high_memory", "smoke", "slow", "thread_unsafe"):
        config.addinivalue_line("markers", f"{mark}: of statsmodels' own tests")
