"""Save fits and their answers in one environment, read and compare them in another.

``python tests/saved_elsewhere.py write FOLDER`` with one set of versions, ``read FOLDER`` with another: what a
loaded fit answers must not depend on the versions of NumPy and pandas that it was saved with.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mixedmodels as mm
from unit.test_saved import CALLS, DATA

TOLERANCE = 1e-7
"""Of numbers, relative: other versions of NumPy and SciPy round otherwise."""
VERSIONS = {"numpy": np.__version__, "pandas": pd.__version__}


def answers(fit: mm.LmmResult) -> dict[str, Any]:
    """Return what a fit says of itself, of its rows and of new ones, as JSON holds it."""
    new = DATA.dropna().iloc[:20]
    said = {
        "record": fit.to_dict(),
        "residuals": list(fit.resid),
        "predictions": list(fit.predict(new)),
        "intervals": fit.predict(new, interval="confidence").to_numpy().tolist(),
        "random effects": {factor: modes.to_numpy().tolist() for factor, modes in fit.random_effects.items()},
        "labels": {factor: [str(level) for level in modes.index] for factor, modes in fit.random_effects.items()},
        "refitted": fit.update(reml=False).deviance,
    }
    return dict(json.loads(json.dumps(said)))


def differences(mine: Any, theirs: Any, place: str) -> Iterator[str]:
    """Yield the places where two answers differ by more than rounding."""
    match mine, theirs:
        case dict(), dict() if mine.keys() == theirs.keys():
            for key in theirs:
                yield from differences(mine[key], theirs[key], f"{place}/{key}")
        case list(), list() if len(mine) == len(theirs):
            for k, pair in enumerate(zip(mine, theirs, strict=True)):
                yield from differences(*pair, f"{place}/{k}")
        case float(), float() if np.isclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            return
        case _ if mine != theirs:
            yield f"{place}: {mine!r} for {theirs!r}"


def write(folder: Path) -> None:
    """Save a fit of each call, and what it answers."""
    folder.mkdir(parents=True)
    for k, (formula, options) in enumerate(CALLS):
        fit = mm.lmer(formula, DATA, **options)
        fit.save(folder / f"{k}.mm")
        (folder / f"{k}.json").write_text(json.dumps({"versions": VERSIONS, "answers": answers(fit)}))


def read(folder: Path) -> list[str]:
    """Return how loaded fits differ from those that were saved."""
    found: list[str] = []
    for k, (formula, _) in enumerate(CALLS):
        saved = json.loads((folder / f"{k}.json").read_text())
        found += differences(answers(mm.load(folder / f"{k}.mm")), saved["answers"], formula)
    print(f"{len(CALLS)} fits saved with {saved['versions']}, read with {VERSIONS}: {len(found)} differences")
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    action, place = sys.argv[1], Path(sys.argv[2])
    if action == "write":
        write(place)
    elif complaints := read(place):
        sys.exit("\n".join(complaints[:20]))
