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
from mixedmodels.inference.observed_information import ParameterCovariance
from mixedmodels.mixedlm.answers.contrasts import (
    ContrastResults,
    PairwiseResult,
    WaldTestResults,
    adjusted_pvalues,
    pair_labels,
)
from mixedmodels.mixedlm.answers.hypothesis import Hypothesis, read_hypothesis
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.reading.arguments import read_names, read_numbers, shown

DEPENDENT_ROWS = 1e-13
"""Singular value of whitened rows of length one, relative to the largest, that counts as zero."""
SUCH_A_PAIR = "such as ('no slope', 'Time = 0')"


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
        How well they are known.
    estimated
        Positions of the fixed effects that were not held.
    """

    model: ModelDescription
    packed: Floats
    covariance: ParameterCovariance
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
        R = self._padded(hypothesis).matrix
        effect = R @ self.packed
        if cov_p is None:
            sd = np.linalg.norm(self.covariance.whiten(R), axis=1)
        else:
            sd = np.sqrt(np.diag(_of_rows(R, self._given(cov_p))))
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
        use_f: bool = False,
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
        rows = self.covariance.whiten(R) if cov_p is None else _root_of_rows(_of_rows(R, self._given(cov_p)))
        if np.isnan(rows).any():
            raise InferenceError("The covariance of these parameters is not known: one is zero or on a boundary.")
        if not rows.any():
            _refuse_nothing_estimated(", ".join(map(str, hypothesis.names)))
        length, rank = _length(rows, away)
        if invcov is not None:
            length = float(away @ np.atleast_2d(_inverse_given(invcov, len(R))) @ away)
        rank = rank if df_constraints is None else df_constraints
        value: Any = length / rank if use_f else length
        value = value if scalar else np.array([[value]])
        if use_f:
            return ContrastResults("F", value, df_num=float(rank), df_denom=self.df_resid)
        return ContrastResults("chi2", value, df_denom=float(rank))

    def terms(self, skip_single: bool, extra: Any, combine: Sequence[str], scalar: bool) -> WaldTestResults:
        """Return a joint test of each term with something estimated: ``MixedLMResults.wald_test_terms``.

        Raises
        ------
        InferenceError
            If no term contains a text, or a hypothesis is none.
        """
        identity, estimated = np.eye(len(self.packed)), set(self.estimated)
        terms = [(name, identity[columns]) for name, columns in self.model.terms if estimated.intersection(columns)]
        tests = [(name, R) for name, R in terms if not (skip_single and len(R) == 1)]
        for text in combine:
            joined = [R for name, R in terms if text in name]
            if not joined:
                raise InferenceError(f"No term contains {text!r}; there are {', '.join(name for name, _ in terms)}.")
            tests.append((text, np.vstack(joined)))
        tests.extend(_named_constraints(extra))
        found = [(name, self.joint(R, scalar=scalar)) for name, R in tests]
        rows = [(test.statistic, test.pvalue, int(test.df_denom or 0)) for _, test in found]
        columns = ["statistic", "pvalue", "df_constraint"]
        return WaldTestResults(pd.DataFrame(rows, index=[name for name, _ in found], columns=columns))

    def pairwise(self, term_name: str, methods: Sequence[str], alpha: float, factor_labels: Any) -> PairwiseResult:
        """Return tests of the differences between pairs of levels of a term: ``MixedLMResults.t_test_pairwise``.

        Raises
        ------
        InferenceError
            If there is no such term, or it is not one categorical variable.
        """
        levels, coding, columns = self._coding(term_name)
        levels = read_names("factor_labels", factor_labels, [str(level) for level in levels], "levels")
        pairs = np.array([coding[j] - coding[i] for i in range(len(levels)) for j in range(i + 1, len(levels))])
        contrasts = np.zeros((len(pairs), self.model.k_fe))
        contrasts[:, columns] = pairs
        labels = pair_labels(levels)
        tests = self.each(contrasts, False, None)
        frame = tests.summary_frame(xname=labels, alpha=alpha)
        for name in methods:
            frame[f"pvalue-{name}"] = adjusted_pvalues(np.atleast_1d(tests.pvalue), name)
            frame[f"reject-{name}"] = frame[f"pvalue-{name}"] <= alpha
        return PairwiseResult(frame, contrasts, labels, term_name)

    def _coding(self, term_name: str) -> tuple[list[Any], Floats, list[int]]:
        """Return the levels of a categorical term, its coding (n_levels, n_columns), and its columns."""
        recipe, terms = self.model.data.recipe, dict(self.model.terms)
        if not isinstance(term_name, str) or term_name not in terms:
            raise InferenceError(
                f"There is no term {shown(term_name)}.{nearest(term_name, terms)} The terms are: {', '.join(terms)}."
            )
        coding = None if recipe is None else recipe.coding(term_name)
        if recipe is None or coding is None:
            raise InferenceError(f"{term_name!r} is not one categorical variable. Pairs need levels to compare.")
        return list(recipe.levels[term_name]), coding, terms[term_name]

    def _given(self, cov_p: Any) -> Floats:
        """Return the covariance of all parameters in place of the fit's, zero where only fixed effects have one."""
        given, k, k_fe = read_numbers("cov_p", cov_p), len(self.packed), self.model.k_fe
        if given.shape not in {(k, k), (k_fe, k_fe)}:
            raise InferenceError(
                f"cov_p has the shape {given.shape}; it must be the covariance of the {k_fe} fixed effects or of all "
                f"{k} parameters."
            )
        covariance = np.zeros((k, k))
        covariance[: len(given), : len(given)] = given
        return covariance

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
    if extra is None:
        return []
    if not isinstance(extra, list | tuple):
        raise InferenceError(f"extra_constraints is {shown(extra)}; it must be a list of pairs, {SUCH_A_PAIR}.")
    for pair in extra:
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise InferenceError(
                f"extra_constraints holds {shown(pair)}; each must be a pair of a name and a hypothesis, {SUCH_A_PAIR}."
            )
    return list(extra)


def _of_rows(R: Floats, covariance: Floats) -> Floats:
    """Return R C R' of the parameters that R is about."""
    used = np.flatnonzero(R.any(axis=0))
    return np.asarray(R[:, used] @ covariance[np.ix_(used, used)] @ R[:, used].T)


def _root_of_rows(covariance: Floats) -> Floats:
    """Return W with W W' a covariance, what is negative of it left out; nan where it is not known."""
    if not np.isfinite(covariance).all():
        return np.full_like(covariance, np.nan)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)))


def _length(rows: Floats, away: Floats) -> tuple[float, int]:
    """Return d' (W W')^- d for whitened rows W, and their rank, whatever their units and however alike they are."""
    size = np.linalg.norm(rows, axis=1)
    size[size == 0] = 1.0
    U, values, _ = np.linalg.svd(rows / size[:, None], full_matrices=False)
    rank = int(np.count_nonzero(values > DEPENDENT_ROWS * values[0]))
    z = U[:, :rank].T @ (away / size) / values[:rank]
    return float(z @ z), rank


def _inverse_given(invcov: Any, n_rows: int) -> Floats:
    given = read_numbers("invcov", invcov)
    if given.shape not in {(n_rows, n_rows), ()} or (given.ndim == 0 and n_rows > 1):
        raise InferenceError(f"invcov has the shape {given.shape}; the hypothesis needs {(n_rows, n_rows)}.")
    return given
