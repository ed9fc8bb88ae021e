"""The result of a model with correlated residuals."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from mixedmodels.covariance.residual import correlations
from mixedmodels.diagnose.deleted_marginal import DeletedMarginal
from mixedmodels.diagnose.marginal_check import check_marginal
from mixedmodels.display import broom
from mixedmodels.display.added import MarginalAdded
from mixedmodels.display.augment import augment
from mixedmodels.display.broom_marginal import tidy_marginal
from mixedmodels.display.check_frame import show_checks
from mixedmodels.display.correlated_summary import one_line_correlated, summarize_correlated
from mixedmodels.display.marginal_summary import one_line_marginal, summarize_marginal
from mixedmodels.fit import storage
from mixedmodels.fit.call import snapshot, with_columns, without_stale_contrasts
from mixedmodels.fit.correlated_call import CorrelatedCall, build_on_residuals, parse_on_residuals
from mixedmodels.fit.correlated_fit import CorrelatedState, fit_on_residuals
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted
from mixedmodels.fit.plain_values import Kept
from mixedmodels.formula.update import update_formula
from mixedmodels.inference.bootstrap import bootstrap
from mixedmodels.inference.conf_int import Ways
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.profiled_correlated import CorrelatedProfiled
from mixedmodels.inference.profiled_marginal import MarginalProfiled
from mixedmodels.inference.replicated_correlated import CorrelatedReplicated
from mixedmodels.inference.replicated_marginal import MarginalReplicated
from mixedmodels.inference.residual_parameters import residual_parameters
from mixedmodels.inference.robust import robust_covariance
from mixedmodels.inference.sas_criteria import criteria_table
from mixedmodels.predict.marginal import marginal_residuals, predict_marginal, simulate_marginal
from mixedmodels.result.deletions import Deletions
from mixedmodels.result.fixed_estimates import FixedEstimates
from mixedmodels.result.fixed_tests import FixedTests
from mixedmodels.result.intervals import Intervals, VarianceIntervals
from mixedmodels.result.pictures import Pictures
from mixedmodels.result.random_estimates import RandomEstimates
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import OF_A_FIT, refuses_unknown, unknown_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike
    from typing import Any

    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.display.summary import Summary
    from mixedmodels.fit.call import Call
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.marginal import MarginalProblem
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.inference.approximation import Approximation
    from mixedmodels.inference.robust import RobustCovariance


class MmrmResult(FixedEstimates, FixedTests, Intervals, Deletions, Pictures):
    """A fitted model with residuals that are correlated within subjects, as ``mmrm`` returns it. It never changes.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    ddf
        Degrees of freedom that the summary uses if it is asked for no others.
    """

    state: MarginalState
    _what = "A fit of mmrm"

    def __init__(self, state: MarginalState, call: Call | None = None, ddf: str = "satterthwaite") -> None:
        super().__init__(state, call)
        self.ddf = ddf

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or hasattr(type(self), name):
            return object.__getattribute__(self, name)
        raise unknown_attribute(self._what, name, OF_A_FIT, dir(type(self)))

    def _ways(self) -> Ways:
        tests = partial(approximation, self.state)
        replicate = partial(bootstrap, self._replicated())
        return Ways(MarginalProfiled(self.state), tests, frozenset({"ddf"}), replicate)

    def _replicated(self) -> MarginalReplicated:
        return MarginalReplicated(self.state, MmrmResult)

    def _deleted(self) -> DeletedMarginal:
        return DeletedMarginal(self.state)

    @refuses_unknown
    def refit(self, y: npt.ArrayLike) -> MmrmResult:
        """Return the fit of the same model to another response; this result stays as it is.

        Parameters
        ----------
        y
            Response of the rows used, or of all rows of the data, in their order; a table of one column, such as
            ``simulate`` returns, will do.

        Raises
        ------
        DataError
            If y has another length, another order, or values that are not finite numbers.
        """
        problem = self.state.problem.with_response(y)
        return fitted_result(problem, None, reml=self.reml, control=self.state.control, ddf=self.ddf)

    @refuses_unknown
    def update(
        self,
        formula: str | None = None,
        data: object = None,
        *,
        reml: bool | None = None,
        weights: object = ...,
        offset: object = ...,
        contrasts: object = ...,
        missing: object = ...,
        control: Control | None = None,
    ) -> MmrmResult:
        """Return the fit of a changed model; this result stays as it is.

        Parameters
        ----------
        formula
            A new formula, in which ``.`` stands for what was there: ``". ~ . + x"``; the covariance structure stays
            unless another is named: ``". ~ . + ar1h(visit | id)"``.
        data
            New data.
        reml, weights, offset, contrasts, missing, control
            As for ``mmrm``; those not given stay as they were, but for contrasts of columns that leave the formula.

        Raises
        ------
        InferenceError
            If this result does not know its data.
        """
        call = self._call_or_refuse("update")
        given = {"weights": weights, "offset": offset, "contrasts": contrasts, "missing": missing}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not ...}
        if formula is not None:
            old = self.state.design.formula
            old = old if not isinstance(call, CorrelatedCall) else replace(old, residual=None, variance=())
            changes["formula"] = update_formula(old, formula)
        if data is not None:
            changes["data"] = snapshot(data)
        call = replace(call, **changes)
        if formula is not None and contrasts is ...:
            call = without_stale_contrasts(call, partial(parse_on_residuals, call))
        control = self.state.control if control is None else control
        problem = build_on_residuals(call, control.n_threads)
        return fitted_result(problem, call, reml=self.reml if reml is None else reml, control=control, ddf=self.ddf)

    @refuses_unknown
    def summary(
        self, ddf: str | Approximation | None = None, level: float = 0.95, *, width: int | None = None
    ) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        ddf
            As for ``coef_table``; None for what ``mmrm`` was given.
        level
            Coverage of the intervals.
        width
            Columns of a line, 60 or more; None for the environment's COLUMNS or the terminal's, 80 where there is none.
        """
        return summarize_marginal(self.state, self.ddf if ddf is None else ddf, level, width=width)

    @refuses_unknown
    def tidy(
        self,
        effects: str | Iterable[str] = broom.EFFECTS,
        ddf: str | Approximation | None = None,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return one row a parameter, fixed effects and then those of the residuals' covariance, in broom's columns.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (the covariance of the residuals) or both.
        ddf
            As for ``coef_table``; None for what ``mmrm`` was given.
        level
            Coverage of the intervals.
        """
        return show_notes(tidy_marginal(self.state, effects, self.ddf if ddf is None else ddf, level))

    @refuses_unknown
    def augment(
        self,
        data: object = None,
        *,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str | Approximation | None = None,
        modes: bool = False,
    ) -> pd.DataFrame:
        """Return rows with ``.fitted`` and residuals (``.resid``, ``.pearson``, ``.normalized``) added.

        Beside random effects ``.fitted`` holds them, or what the rows of the fit tell of new ones, and ``.fixed`` does
        not.

        Parameters
        ----------
        data
            New data, which get ``.resid`` where they have the response; or the data of the fit, of which the rows used
            are returned; None takes those of the fit.
        interval
            ``"confidence"`` or ``"prediction"`` adds ``.se``, ``.lower`` and ``.upper`` of the fixed part.
        level
            Coverage.
        ddf
            Of confidence intervals, as for ``coef_table``; None for what ``mmrm`` was given.
        modes
            Add the conditional modes of each row's levels, ``.b_Intercept|Subject``, if there are random effects.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``; if this result does not know its data and gets none.
        """
        data = self._call_or_refuse("augment").data if data is None else data
        ddf = self.ddf if ddf is None else ddf
        return show_notes(augment(MarginalAdded(self.state, interval, level, ddf, modes), data))

    def glance(self) -> pd.DataFrame:
        """Return the fit in one row: number of rows, sigma, likelihood, criteria, degrees of freedom, status."""
        return show_notes(broom.glance(self.state))

    @property
    def n_subjects(self) -> int:
        """Subjects with rows that were used."""
        return self.state.problem.n_subjects

    @property
    def is_singular(self) -> bool:
        """True if the covariance of the residuals is singular but for rounding."""
        return self.state.is_singular

    @property
    def residual_covariance(self) -> pd.DataFrame | dict[Any, pd.DataFrame]:
        """Covariance of the residuals of a subject by visits, of weight one; by group where there are groups."""
        return self._by_group(self.state.residual_covariance)

    @property
    def residual_correlation(self) -> pd.DataFrame | dict[Any, pd.DataFrame]:
        """Correlations of the residuals of a subject by visits; by group where there are groups."""
        return self._by_group(correlations(self.state.residual_covariance))

    @refuses_unknown
    def residual_parameters(self, level: float = 0.95) -> pd.DataFrame:
        """Return the parameters of the covariance structure: ``estimate, std_error, ci_lower, ci_upper``.

        Parameters
        ----------
        level
            Coverage of the intervals, normal ones of logarithms of standard deviations and Fisher's z of correlations.
        """
        return show_notes(residual_parameters(self.state, level))

    def check(self) -> pd.DataFrame:
        """Return what is worth looking at after a fit: ``verdict, found, advice`` by check.

        Correlation left in the residuals by lag, the structure against an unstructured one, and subjects far out are
        among the checks.
        """
        return show_checks(check_marginal(self.state))

    def criteria(self) -> pd.DataFrame:
        """Return AIC, AICc and BIC, and as SAS counts them: ``value, deviance, n_params, penalty, counted``."""
        return show_notes(criteria_table(self.state))

    @refuses_unknown
    def cov_fe_robust(self, kind: str = "CR2") -> RobustCovariance:
        """Return the covariance of the fixed effects that is robust to another covariance of residuals, by subject.

        Parameters
        ----------
        kind
            ``"CR0"`` (SAS's EMPIRICAL), ``"CR1"``, ``"CR2"`` (Bell and McCaffrey) or ``"CR3"`` (about the jackknife).
        """
        return robust_covariance(self.state, kind)

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """X beta + offset of the rows used, by pandas index or position in the data; residuals are no part of them."""
        return self._by_row(marginal_fitted(self.state), "fitted")

    @property
    def resid(self) -> pd.Series[float]:
        """Response less ``fittedvalues``."""
        return self.residuals()

    @refuses_unknown
    def residuals(self, kind: str = "response") -> pd.Series[float]:
        """Return residuals of the rows used, by pandas index or position in the data.

        Parameters
        ----------
        kind
            ``"response"``: response less ``fittedvalues``; ``"marginal"``: less X beta + offset; ``"pearson"``: over
            their standard deviations; ``"normalized"``: L^-1 r by subject with R = L L' the covariance of the
            residuals, uncorrelated and of variance one.

        Raises
        ------
        InferenceError
            If there is no such kind.
        """
        return self._by_row(marginal_residuals(self.state, kind), "resid")

    @refuses_unknown
    def predict(
        self,
        data: object = None,
        *,
        conditional: bool = False,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str | Approximation = "satterthwaite",
    ) -> pd.Series[float] | pd.DataFrame:
        """Return predictions: a Series, or ``mean, se, lower, upper`` with an interval.

        Parameters
        ----------
        data
            New data; None for the rows of the fit.
        conditional
            True adds what a subject's own rows in the fit tell of its residual at the visit, E[e | y]; subjects that
            the fit did not have get nothing added.
        interval
            ``"confidence"``: of the mean; ``"prediction"``: of an observation of weight one; None for none.
        level
            Coverage.
        ddf
            Of confidence intervals that are not conditional, as for ``coef_table``; all others are normal.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        """
        return predict_marginal(self.state, data, conditional=conditional, interval=interval, level=level, ddf=ddf)

    @refuses_unknown
    def simulate(self, n: int = 1, *, seed: int | None = None) -> Floats:
        """Return responses drawn from the fitted model for the rows used, (n_obs, n).

        Parameters
        ----------
        n
            Number of draws.
        seed
            A whole number makes the draws repeatable.
        """
        return simulate_marginal(self.state, n, seed)

    @refuses_unknown
    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file that ``mixedmodels.load`` reads: a zip of arrays and JSON, which runs nothing.

        Parameters
        ----------
        path
            Where to.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        design = self.state.design
        call = None if self.call is None else with_columns(self.call, design.used_columns)
        storage.save_records(path, MMRM, type(self)(self.state, call, self.ddf), KEPT_MARGINAL, storage.about(design))

    def _by_group(self, matrices: Floats) -> pd.DataFrame | dict[Any, pd.DataFrame]:
        rows = self.state.problem.rows
        labels = list(rows.visits.labels)
        frames = [show_notes(pd.DataFrame(matrix, index=labels, columns=labels)) for matrix in matrices]
        return frames[0] if rows.term.group is None else dict(zip(rows.groups, frames, strict=True))

    def __repr__(self) -> str:
        return one_line_marginal(self.state)

    def _repr_html_(self) -> str:
        return self.summary().to_html()


class CorrelatedResult(MmrmResult, VarianceIntervals, RandomEstimates):
    """A fitted model with something on its residuals, as ``lmer`` returns it for residual, variance or sigma.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it; None if that is not known.
    ddf
        Degrees of freedom that the summary uses if it is asked for no others.
    """

    state: CorrelatedState
    _what = "A fit of lmer with correlated residuals"

    @refuses_unknown
    def summary(
        self, ddf: str | Approximation | None = None, level: float = 0.95, *, width: int | None = None
    ) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        ddf
            As for ``coef_table``.
        level
            Coverage of the intervals.
        width
            Columns of a line, 60 or more; None for the environment's COLUMNS or the terminal's, 80 where there is none.
        """
        return summarize_correlated(self.state, self.ddf if ddf is None else ddf, level, width=width)

    def _ways(self) -> Ways:
        tests = partial(approximation, self.state)
        replicate = partial(bootstrap, self._replicated())
        return Ways(CorrelatedProfiled(self.state), tests, frozenset({"ddf"}), replicate)

    def _replicated(self) -> CorrelatedReplicated:
        return CorrelatedReplicated(self.state, CorrelatedResult)

    @property
    def n_subjects(self) -> int:
        """Subjects, or blocks of independent rows where random effects join subjects or none are named."""
        return self.state.problem.n_subjects

    @property
    def is_singular(self) -> bool:
        """True if a variance is estimated as zero or a correlation as plus or minus one."""
        return self.state.is_singular

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """X beta + Z b + offset of the rows used, by pandas index or position; residuals are no part of them."""
        return self._by_row(conditional_fitted(self.state), "fitted")

    @refuses_unknown
    def predict(
        self,
        data: object = None,
        *,
        conditional: bool = False,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str | Approximation = "satterthwaite",
    ) -> pd.Series[float] | pd.DataFrame:
        """Return predictions: a Series, or ``mean, se, lower, upper`` with an interval.

        Parameters
        ----------
        data
            New data; None for the rows of the fit.
        conditional
            True adds what the rows of the fit tell: the random effects of known levels, and of the residual of a known
            subject E[e | y] at the visit; levels and subjects that the fit did not have get nothing added.
        interval
            ``"confidence"``: of the mean; ``"prediction"``: of an observation of weight one; None for none.
        level
            Coverage.
        ddf
            Of confidence intervals that are not conditional, as for ``coef_table``; all others are normal.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        """
        return predict_marginal(self.state, data, conditional=conditional, interval=interval, level=level, ddf=ddf)

    def __repr__(self) -> str:
        return one_line_correlated(self.state)


def fitted_result(
    problem: MarginalProblem, call: Call | None, *, reml: bool, control: Control | None, ddf: str = "satterthwaite"
) -> MmrmResult:
    """Return the result of a problem with something on its residuals.

    Parameters
    ----------
    problem, reml, control
        As for ``fit_marginal``.
    call, ddf
        As for ``MmrmResult``.
    """
    state = fit_on_residuals(problem, reml=reml, control=control)
    of_result = CorrelatedResult if isinstance(state, CorrelatedState) else MmrmResult
    return of_result(state, call, ddf)


MMRM = "mmrm"
KEPT_MARGINAL = tuple(Kept(of, ("state", "call", "ddf")) for of in (MmrmResult, CorrelatedResult))
