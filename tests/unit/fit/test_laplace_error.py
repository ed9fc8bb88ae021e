"""The next term of Laplace's approximation against quadrature, and the finding it leads to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.fit.laplace_error import next_term

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def answers(rows: int, n: int = 40, seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n), rows)
    x = rng.standard_normal(len(g))
    eta = 0.3 + 0.5 * x + (rng.standard_normal(n) * 0.8)[g] + (rng.standard_normal(n) * 0.4)[g] * x
    p = 1 / (1 + np.exp(-eta))
    frame = {"g": g, "x": x, "y": rng.random(len(g)) < p, "k": rng.poisson(np.exp(eta)), "m": rng.gamma(3, p)}
    return pd.DataFrame({**frame, "r": np.digitize(eta + rng.logistic(size=len(g)), [-1, 1])})


@pytest.mark.parametrize("family", ["binomial", "poisson", "gamma", "ordinal"])
@pytest.mark.parametrize("effects", ["(1 | g)", "(x | g)", "(x || g)"])
def test_the_term_is_what_quadrature_adds(family: str, effects: str) -> None:
    """But for terms that fall faster with the rows of a level: with 30 it is most of it, with 120 nearly all."""
    response = {"binomial": "y", "poisson": "k", "gamma": "m", "ordinal": "r"}[family]
    off = []
    for rows in (30, 120):
        fit = mm.glmer(f"{response} ~ x + {effects}", answers(rows), family)
        state = fit.state
        term = next_term(state.design, state.problem.model.log_density, state.phi, state.eta, state.cov_b[0])
        exact = state.problem.with_nodes(15).deviance(state.psi) - state.optimum.deviance
        off.append(abs(term - exact) / abs(exact))
    assert off[0] < 0.3
    assert off[1] < max(0.5 * off[0], 1e-3)


def test_levels_with_few_rows_are_told() -> None:
    few = mm.glmer("y ~ x + (1 | g)", answers(3, 300), "binomial")
    found = next(f for f in few.findings if f.kind == "laplace_inaccurate")
    exact = few.state.problem.with_nodes(15).deviance(few.state.psi) - few.deviance
    assert found.data["next_term"] == pytest.approx(exact, rel=0.5)
    assert "n_agq=11" in found.message
    assert "Laplace" in str(few.summary())
    for fit in (few.update(n_agq=11), mm.glmer("y ~ x + (1 | g)", answers(60), "binomial")):
        assert not any(f.kind == "laplace_inaccurate" for f in fit.findings)
