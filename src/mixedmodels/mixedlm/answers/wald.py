"""Wald tests of linear hypotheses about the parameters, one by one, joint, and of terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.mixedlm.answers.contrasts import (
    ContrastResults,
    PairwiseResult,
    WaldTestResults,
    adjusted_pvalues,
    pair_labels,
)
from mixedmodels.mixedlm.answers.hypothesis import Hypothesis, read_hypothesis
from mixedmodels.mixedlm.description.model import ModelDescription


@dataclass(frozen=True)
class WaldTests:
    """The parameters of a fit and how well they are known.

    Attributes
    ----------
    model
        The model.
    packed
        Fixed effects, then ratios to the residual variance, (k,).
    covariance
        Their covariance, (k, k).
    estimated
        Positions of the fixed effects that were not held.
    """

    model: ModelDescription
    packed: Floats
    covariance: Floats
    estimated: Sequence[int]

    @property
    def df_resid(self) -> float:
        """Rows less fixed effects that were estimated."""
        return float(self.model.nobs - len(self.estimated))

    def each(self, r_matrix: Any, use_t: bool, cov_p: npt.ArrayLike | None) -> ContrastResults:
        """Return a test of each row of a hypothesis about the fixed effects: ``MixedLMResults.t_test``.

        Raises
        ------
        InferenceError
            If the hypothesis cannot be read, or has another number of columns.
        """
        k_fe = self.model.k_fe
        hypothesis = read_hypothesis(r_matrix, self.model.data.xnames)
        if hypothesis.matrix.shape[1] != k_fe:
            raise InferenceError(f"r_matrix for t-test should have {k_fe:d} columns")
        covariance = self._covariance(cov_p)[:k_fe, :k_fe]
        effect = hypothesis.matrix @ self.packed[:k_fe]
        sd = np.sqrt(np.einsum("ij,jk,ik->i", hypothesis.matrix, covariance, hypothesis.matrix))
        if not sd.all():
            _refuse_nothing_estimated(str(hypothesis.names[int(sd.argmin())]))
        return ContrastResults(
            "t" if use_t else "norm",
            (effect - hypothesis.values) / sd,
            effect=effect,
            sd=sd,
            df_denom=self.df_resid if use_t else None,
            names=hypothesis.names,
        )

    def joint(
        self,
        r_matrix: Any,
        *,
        cov_p: npt.ArrayLike | None = None,
        invcov: npt.ArrayLike | None = None,
        use_f: bool | None = None,
        df_constraints: int | None = None,
        scalar: bool = True,
    ) -> ContrastResults:
        """Return a joint test of a hypothesis: ``MixedLMResults.wald_test``.

        Raises
        ------
        InferenceError
            If the hypothesis cannot be read, or nothing in it was estimated.
        """
        hypothesis = self._padded(read_hypothesis(r_matrix, self.model.param_names))
        R, away = hypothesis.matrix, hypothesis.matrix @ self.packed - hypothesis.values
        used = np.flatnonzero(R.any(axis=0))
        of_rows = R[:, used] @ self._covariance(cov_p)[np.ix_(used, used)] @ R[:, used].T
        if np.isnan(of_rows).any():
            raise InferenceError("The covariance of these parameters is not known: one is zero or on a boundary.")
        if not of_rows.any():
            _refuse_nothing_estimated(", ".join(map(str, hypothesis.names)))
        inverse = np.linalg.pinv(of_rows, hermitian=True) if invcov is None else np.asarray(invcov)
        rank = int(np.linalg.matrix_rank(of_rows, hermitian=True)) if df_constraints is None else df_constraints
        value: Any = away @ inverse @ away
        if use_f:
            value = value / rank
        value = float(value) if scalar else np.array([[value]])
        if use_f:
            return ContrastResults("F", value, df_num=float(rank), df_denom=self.df_resid)
        return ContrastResults("chi2", value, df_denom=float(rank))

    def terms(self, skip_single: bool, extra: Any, combine: Sequence[str] | None, scalar: bool) -> WaldTestResults:
        """Return a joint test of each term with something estimated: ``MixedLMResults.wald_test_terms``.

        Raises
        ------
        InferenceError
            If no term contains a text, or a hypothesis is none.
        """
        identity, estimated = np.eye(len(self.packed)), set(self.estimated)
        terms = [(name, identity[columns]) for name, columns in self.model.terms if estimated.intersection(columns)]
        tests = [(name, R) for name, R in terms if not (skip_single and len(R) == 1)]
        for text in combine or []:
            joined = [R for name, R in terms if text in name]
            if not joined:
                raise InferenceError(f"No term contains {text!r}; there are {', '.join(name for name, _ in terms)}.")
            tests.append((text, np.vstack(joined)))
        tests.extend(_named_constraints(extra))
        found = [(name, self.joint(R, scalar=scalar)) for name, R in tests]
        rows = [(test.statistic, test.pvalue, int(test.df_denom or 0)) for _, test in found]
        columns = ["statistic", "pvalue", "df_constraint"]
        return WaldTestResults(pd.DataFrame(rows, index=[name for name, _ in found], columns=columns))

    def pairwise(self, term_name: str, method: str | Sequence[str], alpha: float, factor_labels: Any) -> PairwiseResult:
        """Return tests of the differences between pairs of levels of a term: ``MixedLMResults.t_test_pairwise``.

        Raises
        ------
        InferenceError
            If there is no such term, or it is not one categorical variable.
        """
        levels, coding, columns = self._coding(term_name)
        if factor_labels is not None:
            if len(factor_labels) != len(levels):
                raise InferenceError(f"factor_labels has {len(factor_labels)} names; there are {len(levels)} levels.")
            levels = list(factor_labels)
        pairs = np.array([coding[j] - coding[i] for i in range(len(levels)) for j in range(i + 1, len(levels))])
        contrasts = np.zeros((len(pairs), self.model.k_fe))
        contrasts[:, columns] = pairs
        labels = pair_labels(levels)
        tests = self.each(contrasts, False, None)
        frame = tests.summary_frame(xname=labels, alpha=alpha)
        for name in [method] if isinstance(method, str) else method:
            frame[f"pvalue-{name}"] = adjusted_pvalues(np.atleast_1d(tests.pvalue), name)
            frame[f"reject-{name}"] = frame[f"pvalue-{name}"] <= alpha
        return PairwiseResult(frame, contrasts, labels, term_name)

    def _coding(self, term_name: str) -> tuple[list[Any], Floats, list[int]]:
        """Return the levels of a categorical term, its coding (n_levels, n_columns), and its columns."""
        recipe, terms = self.model.data.recipe, dict(self.model.terms)
        if term_name not in terms:
            raise InferenceError(
                f"There is no term {term_name!r}.{nearest(term_name, terms)} The terms are: {', '.join(terms)}."
            )
        coding = None if recipe is None else recipe.coding(term_name)
        if recipe is None or coding is None:
            raise InferenceError(f"{term_name!r} is not one categorical variable. Pairs need levels to compare.")
        return list(recipe.levels[term_name]), coding, terms[term_name]

    def _covariance(self, given: npt.ArrayLike | None) -> Floats:
        return self.covariance if given is None else np.asarray(given, dtype=np.float64)

    def _padded(self, hypothesis: Hypothesis) -> Hypothesis:
        n, k, k_fe = hypothesis.matrix.shape[1], len(self.packed), self.model.k_fe
        if n == k_fe < k:
            zeros = np.zeros((len(hypothesis.matrix), k - n))
            return Hypothesis(np.hstack([hypothesis.matrix, zeros]), hypothesis.values, hypothesis.names)
        if n != k:
            raise InferenceError(f"r_matrix has {n} columns; there are {k_fe} fixed effects and {k} parameters.")
        return hypothesis


def _refuse_nothing_estimated(name: str) -> None:
    raise InferenceError(f"Nothing that was estimated is in the hypothesis {name!r}, so there is nothing to test.")


def _named_constraints(extra: Any) -> list[tuple[str, Any]]:
    """Return pairs of a name and a hypothesis.

    Raises
    ------
    InferenceError
        If something is no such pair.
    """
    pairs = list(extra or [])
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise InferenceError(
                f"extra_constraints holds {pair!r}; each must be a pair of a name and a hypothesis, such as "
                "('no slope', 'Time = 0')."
            )
    return pairs
