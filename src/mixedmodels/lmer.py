"""The door of lme4: a formula and data in, a result out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, overload

from mixedmodels.errors import (
    ConvergenceWarning,
    DroppedRowsWarning,
    FitError,
    IdentificationWarning,
    MixedModelsWarning,
    RankDeficiencyWarning,
    SingularFitWarning,
)
from mixedmodels.fit.call import Call, RelatedCall, build_problem, snapshot
from mixedmodels.fit.fit import check_reml, fit_identified, fit_problem
from mixedmodels.fit.sampled_fit import chosen
from mixedmodels.fit.structured_fit import refuse_structures
from mixedmodels.result.lmm import LmmResult
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    from scipy.sparse import sparray, spmatrix

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.fit.control import Control
    from mixedmodels.result.mmrm import MmrmResult

WARNINGS: Mapping[str, type[MixedModelsWarning]] = {
    "not_converged": ConvergenceWarning,
    "singular": SingularFitWarning,
    "unidentified": IdentificationWarning,
    "separated": IdentificationWarning,
    "separated_zeros": IdentificationWarning,
    "dropped_columns": RankDeficiencyWarning,
    "nearly_dependent_columns": RankDeficiencyWarning,
    "dropped_rows": DroppedRowsWarning,
    "numbers_among_labels": MixedModelsWarning,
}
"""Findings that a user hears of at once; the others wait in the summary."""


@overload
def lmer(
    formula: str,
    data: object,
    *,
    reml: bool = True,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    method: str = "auto",
    start: npt.ArrayLike | None = None,
    control: Control | None = None,
    progress: bool = True,
    residual: None = None,
    variance: None = None,
    sigma: None = None,
    relationship: Mapping[str, object] | None = None,
) -> LmmResult: ...


@overload
def lmer(
    formula: str,
    data: object,
    *,
    reml: bool = True,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    start: npt.ArrayLike | None = None,
    control: Control | None = None,
    residual: str | npt.ArrayLike | pd.DataFrame | spmatrix | sparray | None = None,
    variance: str | None = None,
    sigma: float | None = None,
    relationship: None = None,
) -> MmrmResult: ...


@refuses_unknown
def lmer(
    formula: str,
    data: object,
    *,
    reml: bool = True,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    method: str = "auto",
    start: npt.ArrayLike | None = None,
    control: Control | None = None,
    progress: bool = True,
    residual: str | npt.ArrayLike | pd.DataFrame | spmatrix | sparray | None = None,
    variance: str | None = None,
    sigma: float | None = None,
    relationship: Mapping[str, object] | None = None,
) -> LmmResult | MmrmResult:
    """Return a fitted linear mixed model.

    Parameters
    ----------
    formula
        An lme4 formula, such as ``"Reaction ~ Days + (Days | Subject)"``. ``fe(firm)`` in it absorbs fixed effects
        of the levels of ``firm``, however many.
    data
        pandas or polars DataFrame, pyarrow Table, or a mapping of equal-length arrays. Never modified; its index is
        never used. Or what rows can be read from in parts, none of which is kept: the path of a file (parquet, csv,
        tsv, arrow), a glob or a folder, a pyarrow dataset, a polars LazyFrame, a DuckDB relation, anything with
        ``__arrow_c_stream__``; or a Dask or Spark DataFrame, which is added up where it lives. Weights and
        offset are then names of columns.
    reml
        Restricted maximum likelihood; False for maximum likelihood.
    weights
        Column name or array, > 0: Var(e_i) = sigma^2 / w_i. Values belong to rows by position; a pandas Series with the
        labels of the data in another order is refused, since an index aligns nothing here.
    offset
        Column name or array, as for weights: a known part of the linear predictor, added to those in the formula.
    contrasts
        Coding of categories: one text for all of them, such as ``"sum"``, or a mapping from names of columns to
        codings: ``"sum"``, ``"helmert"``, ``"poly"``, ``"diff"``, ``"treatment"``, ``"treatment('B')"`` with another
        reference level, or a matrix, DataFrame or mapping of columns with one row for each level and one column less.
        ``anova``, ``drop1`` and ``margins`` come out the same under any coding.
    missing
        ``"drop"`` leaves out rows with missing values and says how many; ``"raise"`` refuses them.
    evaluate
        ``"python"``: expressions in the formula are run as Python, with all that it can do. ``"restricted"``, for
        formulas that strangers write: names of columns, numbers, operators and listed functions only, for ``update``
        too. It bounds what is run, not how long that takes.
    method
        ``"exact"``: the likelihood by elimination. ``"sampled"``, for crossed factors of 10^5 levels with up to four
        random effects each: log-determinants by probes, until the criterion's Monte Carlo standard error is below
        0.01; the summary says so. ``"auto"`` samples where, and only where, elimination does not fit in memory.
    start
        First theta, in the order of ``LinearMixedModel.theta_names``.
    control
        Limits of the optimiser, a ``Control``.
    progress
        Show how far a fit by sampling is, and the time left, where that is more than a second. Exact fits show none.
    residual
        How residuals of a subject are correlated, ``kind(visit | subject)`` as for ``mmrm``: ``"ar1(visit | id)"``,
        ``"exp(day | id)"``, ``"sph(x, y | plot, nugget=True)"``. Random terms may stand beside it or not, and a
        ``CorrelatedResult`` comes out, or ``mmrm``'s result where there is nothing but the structure. Or V, where
        Var(e) = sigma^2 V is known, with ``sigma=1`` for sampling errors of several effects a study: a matrix with a
        row and a column for each row of the data, in their order, as an array, DataFrame or scipy sparse matrix.
    variance
        What the standard deviations of residuals are proportional to, a product of ``ident(f)``, one for each level,
        ``power(x)``, the size of x to a power, and ``exp(x)``: ``"ident(sex) * power(age)"``.
    sigma
        The residual standard deviation, if it is known: 1 with weights 1 / v for responses of known variances v, as in
        a meta-analysis.
    relationship
        Known covariances among the levels of grouping factors, by name, such as ``{"animal": pedigree}``: a pedigree (a
        DataFrame with the columns ``animal, sire, dam``, empty or 0 where a parent is not known), a covariance matrix
        (a DataFrame whose index and columns are the levels), or a pair of A^-1 as a scipy sparse matrix and its
        labels. Levels without rows are predicted. The name may also be that in a term ``propto(1 | animal, A)``, which
        is ``(1 | animal)`` with ``{"A": ...}`` among the levels.

    Raises
    ------
    MixedModelsError
        If the formula, the data or the model cannot be used: ``FormulaError``, ``DataError``, ``DesignError`` or
        ``FitError``.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, IdentificationWarning, RankDeficiencyWarning, DroppedRowsWarning
        For findings of the fit that change its reading.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> fit.fe_params.round(3).to_dict()
    {'Intercept': 251.405, 'Days': 10.467}
    """
    if residual is not None or variance is not None or sigma is not None:
        if method != "auto":
            raise FitError(
                "method is for models with independent residuals; leave it out beside residual and variance."
            )
        if relationship is not None:
            raise FitError("relationship does not go with residual, variance or sigma yet. Leave one of them out.")
        if start is not None:
            raise FitError(
                "start is for models with independent residuals; those with residual, variance or sigma choose their "
                "own."
            )
        call = Call(formula, snapshot(data), weights, offset, contrasts, missing, evaluate)
        return _with_residuals(call, residual, variance, sigma, reml=reml, control=control)
    call = Call(formula, snapshot(data), weights, offset, contrasts, missing, evaluate, method)
    if relationship is not None:
        call = RelatedCall(**vars(call), relationship=relationship)
    state = fit_identified(chosen(build_problem(call), method, progress), reml=reml, start=start, control=control)
    warn_of_findings(state.findings)
    return LmmResult(state, call)


def _with_residuals(
    call: Call,
    residual: object,
    variance: str | None,
    sigma: float | None,
    *,
    reml: bool,
    control: Control | None,
) -> MmrmResult:
    """Return a fit with something on its residuals, by visits in common where there is nothing else."""
    # few models say something of their residuals, and what it takes is not loaded for the others
    from mixedmodels.fit.correlated_call import CorrelatedCall, build_correlated  # noqa: PLC0415
    from mixedmodels.result.mmrm import fitted_result  # noqa: PLC0415

    whole = CorrelatedCall(**vars(call), residual=residual, variance=variance, sigma=sigma)
    problem = build_correlated(whole, 0 if control is None else control.n_threads)
    fit = fitted_result(problem, whole, reml=reml, control=control)
    _warn(fit.findings, 4)
    return fit


class LinearMixedModel:
    """An unfitted linear mixed model: a deviance to evaluate, for those who bring their own optimiser.

    Parameters
    ----------
    formula, data, weights, offset, contrasts, missing, evaluate
        As for ``lmer``.

    Attributes
    ----------
    design
        The model's arrays and names.
    theta_names
        What each element of theta is.
    """

    @refuses_unknown
    def __init__(
        self,
        formula: str,
        data: object,
        *,
        weights: object = None,
        offset: object = None,
        contrasts: Mapping[str, object] | str | None = None,
        missing: str = "drop",
        evaluate: str = "python",
    ) -> None:
        self.call = Call(formula, snapshot(data), weights, offset, contrasts, missing, evaluate)
        self.problem = build_problem(self.call)

    @property
    def design(self) -> Design:
        """The model's arrays and names."""
        return self.problem.design

    @property
    def theta_names(self) -> tuple[str, ...]:
        """What each element of theta is, such as ``Subject.Intercept``, ``Subject.Days.Intercept``."""
        return self.design.theta_names

    def deviance(self, theta: npt.ArrayLike, reml: bool = True) -> float:
        """Return -2 log-likelihood (the REML criterion under REML) at theta, fixed effects and sigma profiled out.

        Parameters
        ----------
        theta
            (n_theta,), in the order of ``theta_names``.
        reml
            False for maximum likelihood.
        """
        check_reml(reml)
        refuse_structures(self.design, "The deviance as a function of theta")
        return self.problem.deviance(theta, reml)

    def gradient(self, theta: npt.ArrayLike, reml: bool = True) -> Floats:
        """Return the derivative of the deviance in theta, shape (n_theta,).

        Parameters
        ----------
        theta, reml
            As for ``deviance``.
        """
        check_reml(reml)
        refuse_structures(self.design, "The deviance as a function of theta")
        return self.problem.gradient(theta, reml)

    @refuses_unknown
    def fit(
        self, reml: bool = True, *, start: npt.ArrayLike | None = None, control: Control | None = None
    ) -> LmmResult:
        """Return the fitted model, also where REML does not see one of its variances, which `lmer` refuses.

        Parameters
        ----------
        reml, start, control
            As for ``lmer``.

        Warns
        -----
        IdentificationWarning
            Where parameters are not determined; what depends on them has no standard error.
        """
        state = fit_problem(self.problem, reml=reml, start=start, control=control)
        warn_of_findings(state.findings)
        return LmmResult(state, self.call)

    def __repr__(self) -> str:
        return f"<LinearMixedModel: {self.design.formula.text}; {self.design.n_obs} observations>"


def warn_of_findings(findings: tuple[Finding, ...]) -> None:
    """Warn of the findings that change the reading of a fit, at the line that called the caller."""
    _warn(findings, 4)


def _warn(findings: tuple[Finding, ...], stacklevel: int) -> None:
    for finding in findings:
        if finding.kind in WARNINGS:
            warnings.warn(finding.message, WARNINGS[finding.kind], stacklevel=1 + stacklevel)
