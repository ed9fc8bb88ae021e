"""The public face: names that were promised, and one version."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import mixedmodels as mm
from mixedmodels import errors

ROOT = Path(__file__).parents[2]
PROMISED = {
    "Control",
    "CorrelatedResult",
    "GeneralizedLinearMixedModel",
    "GlmmResult",
    "LinearMixedModel",
    "LmmResult",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "MmrmResult",
    "Penalty",
    "VCSpec",
    "__version__",
    "compare",
    "families",
    "fit_each",
    "fit_many",
    "glmer",
    "list_datasets",
    "lmer",
    "lmer_from_statistics",
    "lmer_many",
    "load",
    "load_dataset",
    "mixedlm",
    "mmrm",
    "plot",
    "power",
    "sufficient_statistics_sql",
    "table",
}
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == errors.__name__
}


def test_public_names_are_promised_ones() -> None:
    assert set(mm.__all__) <= PROMISED | ERRORS
    assert set(mm.__all__) >= ERRORS | {
        "LinearMixedModel",
        "LmmResult",
        "list_datasets",
        "lmer",
        "load",
        "load_dataset",
    }


def test_public_names_exist() -> None:
    assert all(hasattr(mm, name) for name in mm.__all__)


def test_names_are_listed_once() -> None:
    assert len(set(mm.__all__)) == len(mm.__all__)


def test_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    crate = tomllib.loads((ROOT / "rust" / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
    changes = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert changes is not None
    assert {mm.__version__, version("mixedmodels"), project, crate, changes[1]} == {project}
