"""The package itself: light to import, its functions never hidden by modules of the same name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mixedmodels as mm


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_loads_nothing_large() -> None:
    large = ["numpy", "pandas", "scipy", "formulaic", "narwhals", "matplotlib", "statsmodels", "mixedmodels._engine"]
    assert run(f"import sys, mixedmodels; print([m for m in {large} if m in sys.modules])") == "[]"


@pytest.mark.parametrize(
    "first", ["import mixedmodels.lmer", "from mixedmodels.lmer import lmer", "import mixedmodels.cli", "mm.lmer"]
)
def test_modules_do_not_hide_functions(first: str) -> None:
    code = f"import mixedmodels as mm; {first}; print(callable(mm.lmer), callable(mm.lmer), mm.lmer.__module__)"
    assert run(code) == "True True mixedmodels.lmer"


def test_every_name_is_there() -> None:
    assert all(getattr(mm, name) is not None for name in mm.__all__)
    assert dir(mm) == sorted(mm.__all__)


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match=r"mixedmodels has no 'lmmer'\. Did you mean 'lmer'"):
        _ = mm.lmmer
