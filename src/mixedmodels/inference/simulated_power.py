"""The power of tests, from tests of simulated responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from mixedmodels.fit.plain_values import Kept
from mixedmodels.inference.simulated_tests import SimulatedTests

POWER = "simulation of power"
"""What files of power hold."""


@dataclass(frozen=True)
class Cell:
    """A design, and the tests made of it so far.

    Attributes
    ----------
    label
        Its numbers of levels and rows.
    n_obs
        Its rows.
    true
        The value of what is tested; nan for a joint test.
    words
        What the design is made of.
    tests
        In the order of their responses.
    """

    label: tuple[int, ...]
    n_obs: int
    true: float
    words: list[str]
    tests: SimulatedTests


@dataclass(frozen=True)
class Simulation:
    """What was simulated.

    Attributes
    ----------
    names
        Of the numbers of levels and rows.
    cells
        A design each.
    n, alpha, level
        As ``power`` was asked.
    """

    names: list[str]
    cells: list[Cell]
    n: int
    alpha: float
    level: float

    @property
    def notes(self) -> list[str]:
        """What whoever uses the numbers is to know."""
        made = [min(len(cell.tests), self.n) for cell in self.cells]
        if min(made) == self.n:
            return []
        found = ", ".join(map(str, made))
        return [f"The simulation was interrupted: of {self.n} responses a design there are {found}."]

    def table(self) -> pd.DataFrame:
        """Return one row a design that was begun, and what the designs are and what is missing in its notes."""
        begun = [cell for cell in self.cells if len(cell.tests)]
        index: pd.Index = pd.MultiIndex.from_tuples([cell.label for cell in begun], names=self.names)
        rows = [{"n_obs": cell.n_obs} | _summary(cell, self.n, self.alpha, self.level) for cell in begun]
        table = pd.DataFrame(rows, index=index.get_level_values(0) if len(self.names) == 1 else index)
        table.attrs["notes"] = (*dict.fromkeys(line for cell in begun for line in cell.words), *self.notes)
        return table


KEPT = tuple(map(Kept, (Simulation, Cell, SimulatedTests)))
"""How files keep simulations."""


def _summary(cell: Cell, n: int, alpha: float, level: float) -> dict[str, float]:
    tests = cell.tests.first(n)
    significant = tests.p_value < alpha
    found, n_fitted = tests.estimate[significant], int(tests.fitted.sum())
    lower, upper = _clopper_pearson(len(found), n_fitted, level)
    defined = cell.true != 0 and len(found) > 0 and not np.isnan(cell.true)
    return {
        "power": len(found) / n_fitted if n_fitted else np.nan,
        "lower": lower,
        "upper": upper,
        "type_s": float(np.mean(np.sign(found) != np.sign(cell.true))) if defined else np.nan,
        "type_m": float(np.mean(np.abs(found)) / abs(cell.true)) if defined else np.nan,
        "n_failed": len(tests) - n_fitted,
        "n_singular": int(tests.singular.sum()),
    }


def _clopper_pearson(found: int, n: int, level: float) -> tuple[float, float]:
    tail = 0.5 - level / 2
    lower = float(betaincinv(found, n - found + 1, tail)) if found else 0.0
    upper = float(betaincinv(found + 1, n - found, 1 - tail)) if found < n else 1.0
    return lower, upper
