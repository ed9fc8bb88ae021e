"""Cluster-robust covariances of the door's models."""

from __future__ import annotations

import numpy as np
import pytest

import mixedmodels as mm
from mixedmodels import MixedLM, VCSpec

HALVES = np.array([0, 0, 0, 1, 1])


@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR2", "CR3"])
def test_a_column_without_rows_changes_nothing(kind: str) -> None:
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(12), 5)
    X = np.column_stack([np.ones(60), rng.normal(size=60)])
    halves = rng.normal(size=24)[g * 2 + np.tile(HALVES, 12)]
    y = X @ [1.0, 2.0] + rng.normal(size=12)[g] + halves + rng.normal(size=60)

    def fit(n_columns: int) -> mm.MixedLMResults:
        names, columns = [f"c{i}" for i in range(n_columns)], np.eye(n_columns)[HALVES]
        return MixedLM(y, X, g, exog_re=np.ones((60, 1)), exog_vc=VCSpec(["a"], [[names] * 12], [[columns] * 12])).fit()

    found, expected = (fit(n).cov_fe_robust(kind).covariance for n in (3, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-8)
