"""What was estimated of the fixed part, and how well the whole fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.inference import criteria
from mixedmodels.result.chapter import FixedChapter
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from mixedmodels.design.records import Finding
    from mixedmodels.fit.records import Optimum


class FixedEstimates(FixedChapter):
    """What was estimated of the fixed part, and how well the whole fits."""

    @property
    def fe_params(self) -> pd.Series[float]:
        """Fixed effects."""
        own = self.state.own_fixed
        return pd.Series(self.state.beta[own], index=list(self.state.fixed_names[own]), name="estimate", copy=True)

    @property
    def bse_fe(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        se = np.sqrt(np.diag(self.state.cov_beta))
        se[self.state.undetermined_rows(np.eye(len(se)))] = np.nan
        own = self.state.own_fixed
        return pd.Series(se[own], index=list(self.state.fixed_names[own]), name="std_error")

    @property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance of the fixed effects."""
        own = self.state.own_fixed
        names = list(self.state.fixed_names[own])
        return show_notes(pd.DataFrame(self.state.cov_beta[own, own], index=names, columns=names, copy=True))

    @property
    def sigma(self) -> float:
        """Residual standard deviation, of an observation with weight one."""
        return self.state.sigma

    @property
    def scale(self) -> float:
        """Residual variance, of an observation with weight one."""
        return self.state.sigma**2

    @property
    def llf(self) -> float:
        """Log-likelihood, restricted under REML."""
        return criteria.log_likelihood(self.state)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood, the REML criterion under REML."""
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
        """Number of parameters (fixed effects, theta and sigma)."""
        return self.state.n_params

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects."""
        return criteria.residual_df(self.state)

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self.state.design.formula.text

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.state.design.n_obs

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
    def findings(self) -> tuple[Finding, ...]:
        """What building the design and fitting noticed, as data."""
        return self.state.findings

    @property
    def optimizer(self) -> Optimum:
        """Iterations, evaluations, gradient norm, status, trace (a row an iteration) and seconds."""
        return self.state.optimum
