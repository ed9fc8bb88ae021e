"""The result of a fit: what users touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.diagnose.residuals import residuals
from mixedmodels.display import broom, plain
from mixedmodels.display.summary import Summary, one_line, summarize
from mixedmodels.display.varcorr import VarCorr
from mixedmodels.errors import InferenceError
from mixedmodels.fit import storage
from mixedmodels.fit.call import Call, build_problem, snapshot
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.formula.update import update_formula
from mixedmodels.inference import criteria, wald
from mixedmodels.predict import random_effects

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.records import FitState, Optimum


class LmmResult:
    """A fitted linear mixed model. It never changes; frames and arrays are made when asked for.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it, for ``update`` and ``augment``; None if that is not known.
    """

    def __init__(self, state: FitState, call: Call | None = None) -> None:
        self.state = state
        self.call = call

    # Estimates

    @property
    def fe_params(self) -> pd.Series[float]:
        """Fixed effects."""
        return pd.Series(self.state.beta, index=list(self.state.fixed_names), name="estimate", copy=True)

    @property
    def bse_fe(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        return pd.Series(np.sqrt(np.diag(self.state.cov_beta)), index=list(self.state.fixed_names), name="std_error")

    @property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance of the fixed effects."""
        names = list(self.state.fixed_names)
        return pd.DataFrame(self.state.cov_beta, index=names, columns=names, copy=True)

    @property
    def sigma(self) -> float:
        """Residual standard deviation, of an observation with weight one."""
        return self.state.sigma

    @property
    def scale(self) -> float:
        """Residual variance, of an observation with weight one."""
        return self.state.sigma**2

    @property
    def theta(self) -> pd.Series[float]:
        """Relative covariance factors: lower triangles of Lambda by column, in lme4's order; diagonals >= 0."""
        return pd.Series(self.state.theta, index=list(self.state.design.theta_names), name="theta", copy=True)

    @property
    def varcorr(self) -> VarCorr:
        """Covariances of the random effects: prints; ``varcorr["Subject"]`` is a DataFrame; ``.to_frame()`` is long."""
        return VarCorr.from_state(self.state)

    @property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Conditional modes (BLUPs): grouping factor -> level x effect."""
        return random_effects.random_effects(self.state)

    @property
    def random_effects_cov(self) -> dict[str, Floats]:
        """Conditional covariances of the random effects: grouping factor -> (level, effect, effect)."""
        return random_effects.random_effects_cov(self.state)

    # How well it fits

    @property
    def llf(self) -> float:
        """Log-likelihood, restricted under REML."""
        return criteria.log_likelihood(self.state)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood: the REML criterion under REML."""
        return self.state.optimum.deviance

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return criteria.aic(self.state)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows."""
        return criteria.bic(self.state)

    @property
    def aicc(self) -> float:
        """Akaike's criterion corrected for few rows."""
        return criteria.aicc(self.state)

    @property
    def df_model_total(self) -> int:
        """Parameters counted: fixed effects, theta and sigma."""
        return self.state.n_params

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects."""
        return criteria.residual_df(self.state)

    # What was fitted, and how it went

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self.state.design.formula.text

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.state.design.n_obs

    @property
    def n_groups(self) -> dict[str, int]:
        """Levels of each grouping factor."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    @property
    def n_dropped(self) -> int:
        """Rows left out because of missing values; the reasons are in ``findings``."""
        return sum(self.state.design.n_dropped.values())

    @property
    def reml(self) -> bool:
        """True if fitted by restricted maximum likelihood."""
        return self.state.reml

    @property
    def converged(self) -> bool:
        """True if the gradient shows an optimum."""
        return self.state.optimum.converged

    @property
    def is_singular(self) -> bool:
        """True if a variance is estimated as zero or a correlation as plus or minus one."""
        return self.state.is_singular

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What building the design and fitting noticed, as data."""
        return self.state.findings

    @property
    def optimizer(self) -> Optimum:
        """Iterations, evaluations, gradient norm, status, trace (a row an iteration) and seconds."""
        return self.state.optimum

    # Rows

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """Conditional fitted values X beta + Z b + offset of the rows used, by position in the data."""
        return self._by_row(conditional_fitted(self.state), "fitted")

    @property
    def resid(self) -> pd.Series[float]:
        """Conditional residuals of the rows used, by position in the data."""
        return self.residuals()

    def residuals(self, kind: str = "conditional") -> pd.Series[float]:
        """Return residuals of the rows used, by position in the data.

        Parameters
        ----------
        kind
            ``"conditional"``: response less ``fittedvalues``; ``"marginal"``: response less X beta + offset;
            ``"pearson"``: conditional times sqrt(weight), so that all have standard deviation sigma;
            ``"standardized"``: pearson over sigma.

        Raises
        ------
        InferenceError
            If there is no such kind.
        """
        return self._by_row(residuals(self.state, kind), "resid")

    def _by_row(self, values: Floats, name: str) -> pd.Series[float]:
        return pd.Series(values, index=self.state.design.rows, name=name)

    # Tables

    def summary(self, ddf: str = "normal", level: float = 0.95, correlation: bool = False) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        correlation
            Show the correlations of the fixed effects.
        """
        return summarize(self.state, ddf, level, correlation)

    def coef_table(self, ddf: str = "normal", level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects: ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``.

        Parameters
        ----------
        ddf
            ``"normal"`` or ``"residual"`` (Student's t with rows less fixed effects).
        level
            Coverage of the intervals.

        Raises
        ------
        InferenceError
            If ``ddf`` or ``level`` is not allowed.
        """
        return wald.coef_table(self.state, ddf, level)

    def tidy(
        self, effects: str | Iterable[str] = broom.EFFECTS, ddf: str = "normal", level: float = 0.95
    ) -> pd.DataFrame:
        """Return one row a parameter, fixed effects and then variance parameters, in broom's columns.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (standard deviations and correlations) or both.
        ddf, level
            As for ``coef_table``.
        """
        return broom.tidy(self.state, effects, ddf, level)

    def glance(self) -> pd.DataFrame:
        """Return the fit in one row: number of rows, sigma, likelihood, criteria, degrees of freedom, status."""
        return broom.glance(self.state)

    def augment(self, data: object = None) -> pd.DataFrame:
        """Return the rows used with ``.fitted``, ``.resid`` and ``.fixed`` added.

        Parameters
        ----------
        data
            The data of the fit; None takes those given to ``lmer``.
        """
        return broom.augment(self.state, self._call_or_refuse("augment").data if data is None else data)

    # Other fits

    def refit(self, y: npt.ArrayLike) -> LmmResult:
        """Return the fit of the same model to another response; this result stays as it is.

        Parameters
        ----------
        y
            Response of the rows used, or of all rows of the data.

        Raises
        ------
        DataError
            If y has another length, or values that are not finite numbers.
        """
        problem = self.state.problem.with_response(y)
        return type(self)(fit_problem(problem, reml=self.reml, control=self.state.control))

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
        start: npt.ArrayLike | None = None,
        control: Control | None = None,
    ) -> LmmResult:
        """Return the fit of a changed model; this result stays as it is.

        Parameters
        ----------
        formula
            A new formula, in which ``.`` stands for what was there: ``". ~ . + x"``, ``". ~ . - (1 | item)"``,
            ``"log(.) ~ ."``.
        data
            New data.
        reml, weights, offset, contrasts, missing, control
            As for ``lmer``; those not given stay as they were.
        start
            First theta of the new fit.

        Raises
        ------
        InferenceError
            If this result does not know its data.
        """
        call = self._call_or_refuse("update")
        given = {"weights": weights, "offset": offset, "contrasts": contrasts, "missing": missing}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not ...}
        if formula is not None:
            changes["formula"] = update_formula(self.state.design.formula, formula)
        if data is not None:
            changes["data"] = snapshot(data)
        call = replace(call, **changes)
        reml = self.reml if reml is None else reml
        state = fit_problem(build_problem(call), reml=reml, start=start, control=control or self.state.control)
        return type(self)(state, call)

    def _call_or_refuse(self, what: str) -> Call:
        if self.call is None:
            raise InferenceError(
                f"{what} needs the data of the fit, which this result does not hold (refit leaves them behind). "
                "Fit the model with lmer to the data you mean."
            )
        return self.call

    # Keeping

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result, its data included, to a file that ``mixedmodels.load`` reads."""
        storage.save(self, path)

    def to_dict(self, ddf: str = "normal", level: float = 0.95) -> dict[str, Any]:
        """Return everything as plain Python data, fit for JSON.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        """
        return plain.to_dict(self.state, ddf, level)

    def __repr__(self) -> str:
        return one_line(self.state)

    def _repr_html_(self) -> str:
        return self.summary().to_html()
