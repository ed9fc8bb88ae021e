"""Results in statsmodels' conventions, on top of those of LmmResult."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from io import IOBase
from os import PathLike
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, InferenceError
from mixedmodels.fit import storage
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.fit.records import FitState
from mixedmodels.inference.icc import icc
from mixedmodels.inference.observed_information import (
    Estimate,
    ParameterCovariance,
    covariance_of_parameters,
    standard_errors_of_covariances,
)
from mixedmodels.inference.r2 import r2
from mixedmodels.mixedlm import alerts
from mixedmodels.mixedlm.answers import group_effects, stargazer
from mixedmodels.mixedlm.answers.bare import without_rows
from mixedmodels.mixedlm.answers.combinations import covariance_of, read_covariance
from mixedmodels.mixedlm.answers.contrasts import ContrastResults, PairwiseResult, WaldTestResults
from mixedmodels.mixedlm.answers.predictions import predicted, read_new_data
from mixedmodels.mixedlm.answers.profile import (
    Profile,
    check_profiled,
    less_penalty,
    parameter_index,
    profile_table,
)
from mixedmodels.mixedlm.answers.refusals import (
    refuse_if_covariances_held,
    refuse_if_penalized,
    refuse_interval,
    refuse_new_rows,
    refusing,
)
from mixedmodels.mixedlm.answers.summary import Facts, MixedLMSummary, summarize
from mixedmodels.mixedlm.answers.wald import WaldTests
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.description.recipe import NewRows
from mixedmodels.mixedlm.fitting.again import fit_again
from mixedmodels.mixedlm.fitting.holds import held_covariances
from mixedmodels.mixedlm.fitting.penalties import PenaltyOnCoefficients
from mixedmodels.mixedlm.fitting.record import Fit, FitRecord
from mixedmodels.mixedlm.fitting.request import read_methods
from mixedmodels.mixedlm.reading.arguments import (
    read_alpha,
    read_count,
    read_flag,
    read_numbers,
    read_positions,
    read_texts,
    shown,
)
from mixedmodels.mixedlm.reading.params import MixedLMParams
from mixedmodels.predict.choice import used_factors
from mixedmodels.predict.random_effects import coef_by_level
from mixedmodels.result.lmm import LmmResult
from mixedmodels.vocabulary import refuses_unknown


class Model(Protocol):
    """What a result asks of the ``MixedLM`` that made it: its description, and other fits."""

    @classmethod
    def of(cls, description: ModelDescription) -> Model:
        """Return the model of a description."""

    @property
    def description(self) -> ModelDescription:
        """The model as a frozen record."""

    def with_response(self, y: Floats) -> Model:
        """Return the same model of another response."""

    def predict(self, params: Any) -> Floats:
        """Return X b."""


@refusing
class MixedLMResults(LmmResult):
    """A fitted ``MixedLM``: what statsmodels documents, and all that an ``LmmResult`` offers.

    Labels are pandas' where the model was made from pandas objects or a formula, plain arrays otherwise. ``params``,
    ``bse``, ``cov_params`` and what follows from them hold ratios to the residual variance for covariances;
    ``cov_re``, ``vcomp``, ``bse_re`` and the summary are in natural units.

    Parameters
    ----------
    state
        The fit as numbers.
    model
        The model.
    record
        What was asked for and found.
    """

    use_t = False

    def __init__(self, state: FitState, model: Model, record: FitRecord) -> None:
        super().__init__(state)
        self.model = model
        self.record = record
        self._is_bare = False
        self._is_labelled = self.description.is_pandas
        stargazer.offer(type(self))

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        stargazer.offer(type(self))

    @property
    def description(self) -> ModelDescription:
        """The model as a frozen record."""
        return self.model.description

    # Estimates

    def _labelled(self, values: Floats, names: Sequence[Any]) -> Any:
        return pd.Series(values, index=list(names), copy=True) if self._is_labelled else np.array(values)

    def _labelled_square(self, values: Floats, names: Sequence[Any]) -> Any:
        if not self._is_labelled:
            return np.array(values)
        return pd.DataFrame(values, index=list(names), columns=list(names), copy=True)

    @property
    def _names(self) -> list[str]:
        return self.description.data.param_names

    @property
    def _labels(self) -> list[Any]:
        return self.description.data.param_labels

    @property
    def params_object(self) -> MixedLMParams:
        """Fixed effects and ratios to the residual variance."""
        return self.record.params.copy()

    @property
    def params(self) -> Any:
        """Fixed effects, then covariances as ratios to the residual variance, (k,)."""
        return self._labelled(self._packed, self._labels)

    @property
    def _packed(self) -> Floats:
        return self.record.params.get_packed(use_sqrt=False, has_fe=True)

    @property
    def fe_params(self) -> Any:
        """Fixed effects, (k_fe,)."""
        return self._labelled(self.record.params.fe_params, self.description.data.xlabels)

    @property
    def scale(self) -> float:
        """Residual variance."""
        return np.float64(self.record.scale)

    @property
    def cov_re(self) -> Any:
        """Covariance of the random coefficients in natural units, (k_re, k_re)."""
        return self._labelled_square(self.scale * self.record.params.cov_re, self.description.data.exog_re_names)

    @property
    def cov_re_unscaled(self) -> Any:
        """Covariance of the random coefficients as a ratio to the residual variance, (k_re, k_re)."""
        return self._labelled_square(self.record.params.cov_re, self.description.data.exog_re_names)

    @property
    def vcomp(self) -> Floats:
        """Variance components in natural units, (k_vc,)."""
        return self.scale * self.record.params.vcomp

    @property
    def _natural(self) -> Floats:
        """Covariances and components in natural units, packed."""
        return self.scale * self._packed[self.k_fe :]

    @property
    def k_fe(self) -> int:
        """Number of fixed effects."""
        return self.description.k_fe

    @property
    def k_re(self) -> int:
        """Number of random coefficients."""
        return self.description.k_re

    @property
    def k_re2(self) -> int:
        """Number of covariance parameters of the random coefficients."""
        return self.description.k_re2

    @property
    def k_vc(self) -> int:
        """Number of variance components."""
        return self.description.k_vc

    @property
    def k_constant(self) -> int:
        """1 if the fixed part has a constant column."""
        return self.description.k_constant

    @property
    def use_sqrt(self) -> bool:
        """As in the model."""
        return self.description.use_sqrt

    @property
    def method(self) -> str:
        """``"REML"`` or ``"ML"``."""
        return "REML" if self.reml else "ML"

    @property
    def freepat(self) -> MixedLMParams | None:
        """The mask of the fit."""
        return None if self.record.free is None else self.record.free.copy()

    @property
    def fe_pen(self) -> Any:
        """Penalty on the fixed effects."""
        return self.record.fe_pen

    @property
    def cov_pen(self) -> Any:
        """Penalty on the covariances."""
        return self.record.cov_pen

    @property
    def hist(self) -> list[dict[str, Any]] | None:
        """What the optimiser reported, where ``full_output`` was asked for."""
        return self.record.hist

    @property
    def mle_retvals(self) -> dict[str, Any]:
        """How the optimiser ended."""
        return Fit(self.state, self.record).ended

    @property
    def _results(self) -> MixedLMResults:
        """The same result without labels, which functions of statsmodels take off by this name."""
        plain = copy(self)
        plain._is_labelled = False
        return plain

    # Criteria

    @property
    def llf(self) -> float:
        """Log-likelihood of the fit, restricted under REML, penalties not counted. No later fit changes it."""
        return np.float64(self.record.llf)

    @property
    def n_estimated(self) -> int:
        """Parameters estimated, the residual variance among them."""
        return int(self.record.holds.is_free.sum()) + 1

    @property
    def df_modelwc(self) -> int:
        """Number of parameters, without the residual variance."""
        return len(self._packed)

    @property
    def aic(self) -> float:
        """Akaike's criterion of a maximum-likelihood fit, nan under REML; see ``aic_reml``."""
        return np.float64("nan") if self.reml else -2 * (self.llf - self.n_estimated)

    @property
    def bic(self) -> float:
        """Schwarz's criterion of a maximum-likelihood fit, nan under REML; see ``bic_reml``."""
        return np.float64("nan") if self.reml else self.bic_reml

    @property
    def aic_reml(self) -> float:
        """-2 llf + 2 k with the restricted log-likelihood, as lme4 has it; comparable for the same fixed part only."""
        return -2 * (self.llf - self.n_estimated)

    @property
    def bic_reml(self) -> float:
        """-2 llf + k log n with the restricted log-likelihood, as lme4 has it."""
        return -2 * self.llf + float(np.log(self.nobs)) * self.n_estimated

    @property
    def aicc(self) -> float:
        """``aic_reml`` corrected for few rows, infinite where there are no more rows than parameters and one."""
        k, rest = self.n_estimated, self.nobs - self.n_estimated - 1
        return self.aic_reml + 2 * k * (k + 1) / rest if rest > 0 else float("inf")

    @property
    def df_model_total(self) -> int:
        """``n_estimated``."""
        return self.n_estimated

    def r2(self) -> dict[str, float]:
        """Return R-squared as ``LmmResult.r2`` does, of the whole fixed part, held and penalised effects too."""
        self._refuse_if_bare("r2")
        return r2(self.state, self.description.exog @ self.record.params.fe_params)

    def icc(self) -> dict[str, float]:
        """Return intraclass correlations as ``LmmResult.icc`` does, of the whole fixed part."""
        self._refuse_if_bare("icc")
        return icc(self.state, self.description.exog @ self.record.params.fe_params)

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.description.nobs

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects that were estimated."""
        return self.description.nobs - len(self._estimated)

    # Uncertainty

    @property
    def _estimated(self) -> list[int]:
        """Positions of the fixed effects that were not held."""
        return self.record.holds.estimated

    @property
    def held_covariances(self) -> list[str]:
        """Names of the covariances that are held but part of the fit's structure."""
        return held_covariances(self.description, self.record.holds)

    @cached_property
    def _estimate(self) -> Estimate:
        record = self.record
        cov_pen = PenaltyOnCoefficients.of(self.description, record.cov_pen)
        return Estimate(
            likelihood=self.description.likelihood(self.reml, record.holds.beta),
            beta=record.params.fe_params,
            S=record.params.get_packed(use_sqrt=False),
            scale=record.scale,
            holds=record.holds,
            beta_penalty=None if record.fe_pen is None else record.fe_pen.deriv,
            covariance_penalty=None if cov_pen is None else cov_pen.slope,
            selected=record.selected,
            theta=None if record.holds.covariances else self.state.theta,
        )

    @cached_property
    def _known_to(self) -> ParameterCovariance:
        return covariance_of_parameters(self._estimate)

    @cached_property
    def _covariance(self) -> Floats:
        return self._known_to.of(np.eye(len(self._packed)))

    @property
    def normalized_cov_params(self) -> Floats:
        """``cov_params`` over ``scale``."""
        return self._covariance / self.scale

    def cov_params(
        self,
        r_matrix: Any = None,
        column: Any = None,
        scale: float | None = None,
        cov_p: npt.ArrayLike | None = None,
        other: npt.ArrayLike | None = None,
    ) -> Any:
        """Return the covariance of ``params``, or of linear combinations of them.

        Parameters
        ----------
        r_matrix, other
            Combinations R, or R and another one: R C R' or R C other'. A row alone gives a number or a row.
        column
            Positions of some parameters, in place of R; a single one gives a variance.
        scale
            In place of the residual variance.
        cov_p
            In place of the covariance of ``params``.

        Raises
        ------
        InferenceError
            If both R and columns are given, or ``other`` without R, or one has another shape.
        """
        n_params = len(self._packed)
        covariance = read_covariance(self._known_to, self.scale, scale, cov_p, n_params)
        found = covariance_of(covariance, n_params, r_matrix, column, other)
        return self._labelled_square(found, self._labels) if r_matrix is None and column is None else found

    @property
    def bse(self) -> Any:
        """Standard errors of ``params``, (k,)."""
        return self._labelled(self._bse, self._labels)

    @property
    def _bse(self) -> Floats:
        return np.sqrt(np.diag(self._covariance))

    @property
    def bse_fe(self) -> Any:
        """Standard errors of the fixed effects, (k_fe,)."""
        return self._labelled(self._bse[: self.k_fe], self.description.data.xlabels)

    @property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance of the fixed effects that were not held, at known covariances; refused for penalised fits."""
        refuse_if_penalized(self.record, "cov_fe")
        return super().cov_fe

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        self.check_estimated("A table of coefficients")
        return super().__maketables_coef_table__

    @property
    def bse_re(self) -> Any:
        """Standard errors of the covariances and components in natural units, (k_re2 + k_vc,)."""
        return self._labelled(self._natural_se, self._names[self.k_fe :])

    @cached_property
    def _natural_se(self) -> Floats:
        return standard_errors_of_covariances(self._estimate)

    @property
    def tvalues(self) -> Any:
        """``params`` over ``bse``, (k,)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._labelled(self._packed / self._bse, self._labels)

    @property
    def pvalues(self) -> Any:
        """Two-sided p-values of ``tvalues`` from the normal distribution, (k,)."""
        return self._labelled(2 * special.ndtr(-np.abs(np.asarray(self.tvalues))), self._labels)

    def conf_int(  # type: ignore[override]  # statsmodels' first arguments, then those of LmmResult
        self,
        alpha: float = 0.05,
        cols: Any = None,
        *,
        method: str | None = None,
        level: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return confidence intervals.

        Parameters
        ----------
        alpha
            One less the coverage.
        cols
            Positions of some parameters.
        method, level, **kwargs
            As for ``LmmResult.conf_int``, whose table is returned where one of them is given.

        Returns
        -------
        array or DataFrame
            (k, 2), of ``params``, by the normal distribution.
        """
        if method is not None or level is not None or kwargs:
            level = 1 - read_alpha(alpha) if level is None else level
            self.check_estimated("conf_int with method or level")
            return super().conf_int("wald" if method is None else method, level, **kwargs)
        half = -special.ndtri(read_alpha(alpha) / 2) * self._bse
        interval = np.column_stack([self._packed - half, self._packed + half])
        rows = np.arange(len(interval)) if cols is None else np.atleast_1d(read_positions("cols", cols, len(interval)))
        if not self._is_labelled:
            return interval[rows]
        return pd.DataFrame(interval[rows], index=[self._labels[k] for k in rows], columns=[0, 1])

    # Tests

    def t_test(self, r_matrix: Any, use_t: bool | None = None, cov_p: npt.ArrayLike | None = None) -> ContrastResults:
        """Return a test of each row of a linear hypothesis about the fixed effects.

        Parameters
        ----------
        r_matrix
            Text (``"Time = 0, Intercept = 2 * Time"``), a list of texts, a mapping, an array with k_fe columns, or a
            pair (R, q).
        use_t
            Student's t with ``df_resid`` degrees of freedom; else the normal distribution.
        cov_p
            Covariance of the fixed effects, or of all parameters, in place of this fit's.

        Raises
        ------
        InferenceError
            If the hypothesis cannot be read, or has another number of columns.
        """
        return self._wald.each(r_matrix, use_t is not None and read_flag("use_t", use_t), cov_p)

    @property
    def _wald(self) -> WaldTests:
        return WaldTests(self.description, self._packed, self._known_to, self._estimated)

    def wald_test(
        self,
        r_matrix: Any,
        cov_p: npt.ArrayLike | None = None,
        invcov: npt.ArrayLike | None = None,
        use_f: bool | None = None,
        df_constraints: int | None = None,
        scalar: bool = True,
    ) -> ContrastResults:
        """Return a joint test of a linear hypothesis.

        Parameters
        ----------
        r_matrix
            As for ``t_test``; arrays have a column for each fixed effect, or for each parameter.
        cov_p
            Covariance in place of this fit's.
        invcov
            Inverse of the covariance of R b.
        use_f
            F with ``df_resid`` in the denominator; else chi-squared.
        df_constraints
            In place of the rank of R.
        scalar
            The statistic is a number, not an array (1, 1).
        """
        return self._wald.joint(
            r_matrix,
            cov_p=cov_p,
            invcov=invcov,
            use_f=use_f is not None and read_flag("use_f", use_f),
            df_constraints=None if df_constraints is None else read_count("df_constraints", df_constraints, 1),
            scalar=read_flag("scalar", scalar),
        )

    def f_test(
        self, r_matrix: Any, cov_p: npt.ArrayLike | None = None, invcov: npt.ArrayLike | None = None
    ) -> ContrastResults:
        """Return ``wald_test`` with the F distribution.

        Parameters
        ----------
        r_matrix, cov_p, invcov
            As for ``wald_test``.
        """
        return self.wald_test(r_matrix, cov_p=cov_p, invcov=invcov, use_f=True)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, Any]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> WaldTestResults:
        """Return a joint test of each term of the formula, or of each column of an array.

        Parameters
        ----------
        skip_single
            Leave out terms with one column.
        extra_constraints
            More hypotheses, (name, R).
        combine_terms
            For each text, a joint test of the terms whose names contain it.
        scalar
            Statistics are numbers.
        """
        return self._wald.terms(
            read_flag("skip_single", skip_single),
            extra_constraints,
            read_texts("combine_terms", combine_terms),
            read_flag("scalar", scalar),
        )

    def t_test_pairwise(
        self, term_name: str, method: str | Sequence[str] = "hs", alpha: float = 0.05, factor_labels: Any = None
    ) -> PairwiseResult:
        """Return tests of the differences between all pairs of levels of a categorical term.

        Parameters
        ----------
        term_name
            Such as ``"C(Cu)"``.
        method
            Adjustment of the p-values, or several: ``"hs"`` (Holm and Sidak), ``"b"``, ``"fdr_bh"``, ...
        alpha
            Level of ``reject`` and of the intervals.
        factor_labels
            Names of the levels.

        Raises
        ------
        InferenceError
            If there is no such term, or it is not one categorical variable.
        """
        methods = [method] if isinstance(method, str) else read_texts("method", method)
        return self._wald.pairwise(term_name, methods, read_alpha(alpha), factor_labels)

    # Random effects

    @property
    def random_effects(self) -> Any:
        """Conditional means given the data, group -> Series, random coefficients then ``component[column]``."""
        return dict(self._means_by_group)

    @property
    def random_effects_cov(self) -> Any:
        """Conditional covariances given the data and parameters, group -> DataFrame."""
        self._refuse_if_bare("random_effects_cov")
        return dict(self._covariances_by_group)

    # Asked for group after group, as public code does, they are made once. The dict is the caller's own.

    @cached_property
    def _means_by_group(self) -> dict[Any, pd.Series[float]]:
        return group_effects.means(self.description, self.state, self._blocks)

    @cached_property
    def _covariances_by_group(self) -> dict[Any, pd.DataFrame]:
        params, theta = self.record.params, None if self.record.holds.covariances else self.state.theta
        root = group_effects.coefficient_root(params, theta, self._blocks)
        return group_effects.covariances(self.description, root, params.vcomp, self.scale)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.endswith("_by_group")}

    @property
    def _blocks(self) -> Any:
        recipe: Any = self.state.design.recipe
        return recipe.layout.blocks

    @refuses_unknown
    def coef_by_level(self, group: str | None = None) -> pd.DataFrame:
        """Return ``LmmResult.coef_by_level`` with all fixed effects, held and penalised ones too.

        Parameters
        ----------
        group
            Grouping factor; None where there is one only.
        """
        whole = replace(self.state, fixed_names=tuple(self.description.data.xnames), beta=self.record.params.fe_params)
        return coef_by_level(whole, group)

    def ranef(self) -> dict[str, pd.DataFrame]:
        """Return the conditional means as lme4 has them: grouping factor -> level x effect."""
        return super().random_effects

    # Rows

    def _rowwise(self, values: Floats) -> Any:
        labels = self.description.data.row_labels
        return pd.Series(values, index=labels) if self._is_labelled else values

    @property
    def fittedvalues(self) -> Any:
        """X b + Z g, (n_rows,)."""
        self._refuse_if_bare("fittedvalues")
        return self._rowwise(conditional_fitted(self.state))

    @property
    def resid(self) -> Any:
        """Response less ``fittedvalues``, (n_rows,)."""
        self._refuse_if_bare("resid")
        return self._rowwise(self.description.endog - conditional_fitted(self.state))

    def predict(  # type: ignore[override]  # statsmodels' first arguments, then those of LmmResult
        self,
        exog: Any = None,
        transform: bool = True,
        *,
        random_effects: str | Sequence[str] = "population",
        groups: Any = None,
        exog_re: Any = None,
        exog_vc: Mapping[str, Mapping[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return predicted values, by default of the fixed effects alone.

        Parameters
        ----------
        exog
            New data: a frame for a model with a formula, else columns of the fixed effects. None: the rows of the fit.
        transform
            Apply the formula to ``exog``; False takes it as columns of the fixed effects.
        random_effects
            ``"population"``: X b. ``"conditional"``: X b + Z g, zero for groups that the fit did not have. Or names of
            grouping factors, those of ``ranef``, whose effects are added.
        groups
            Group of each new row, where the data do not hold it.
        exog_re
            Columns of the random coefficients of new rows, where there is no formula.
        exog_vc
            Designs of the variance components that were given as matrices, ``exog_vc[name][group]``: the new rows of
            the group, in their order, and the columns that the fit had for it.
        **kwargs
            ``interval``, ``level``, ... as for ``LmmResult.predict``, whose table is returned where one is given; with
            ``new_levels="raise"`` groups that the fit did not have are refused.

        Returns
        -------
        array or Series
            A Series where ``exog`` is a pandas object.

        Raises
        ------
        DataError, InferenceError
            If something that the new rows need is missing or does not fit; if an argument is not allowed.
        """
        transform = read_flag("transform", transform)
        used = used_factors([factor.name for factor in self.state.design.factors], random_effects)
        if exog is None:
            return self._predict_own(random_effects, (groups, exog_re, exog_vc), kwargs)
        new = read_new_data(self.description, exog, transform)
        rows = NewRows(new if transform else np.asarray(new), groups, exog_re, exog_vc)
        labels = new.index if isinstance(new, pd.DataFrame) else None
        if kwargs:
            kwargs = {"new_levels": "population", **kwargs}
            self._refuse_if_bare("An interval of predict")
            refuse_new_rows(self.record, "Intervals")
            refuse_interval(self.record, self.held_covariances, kwargs)
            found = super().predict(rows, random_effects=random_effects, **kwargs)
            return found if labels is None else found.set_axis(labels)
        values = predicted(self.state, self.record.params.fe_params, rows, used)
        is_labelled = labels is not None and isinstance(exog, pd.DataFrame | pd.Series | Mapping)
        return pd.Series(values, index=labels) if is_labelled else values

    def _predict_own(
        self, random_effects: str | Sequence[str], of_new_rows: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Return predictions for the rows of the fit."""
        if any(part is not None for part in of_new_rows):
            raise DataError("groups, exog_re and exog_vc describe new rows. Pass exog too.")
        self._refuse_if_bare("predict without exog")
        if kwargs:
            refuse_interval(self.record, self.held_covariances, kwargs)
            return super().predict(random_effects=random_effects, **kwargs)
        if isinstance(random_effects, str) and random_effects == "population":
            return self.model.predict(self.record.params)
        return np.asarray(super().predict(random_effects=random_effects))

    @refuses_unknown
    def simulate(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        random_effects: str = "new",
        data: object = None,
        weights: object = None,
    ) -> Floats:
        """Return simulated responses, (n_rows, n); of the fit's rows alone where fixed effects were held or penalised.

        Parameters
        ----------
        n, seed, random_effects, data, weights
            As for ``LmmResult.simulate``.

        Raises
        ------
        DataError, InferenceError
            If an argument is not allowed, or the data lack a column.
        """
        if data is not None:
            refuse_new_rows(self.record, "Simulations")
        return super().simulate(n, seed=seed, random_effects=random_effects, data=data, weights=weights)

    # Profiles

    def profile_re(
        self,
        re_ix: Any,
        vtype: str,
        num_low: int = 5,
        dist_low: float | None = None,
        num_high: int = 5,
        dist_high: float | None = None,
        **fit_kwargs: Any,
    ) -> Floats:
        """Return the profile log-likelihood of a variance or covariance in natural units.

        Parameters
        ----------
        re_ix
            For ``vtype="re"`` a random coefficient, by position or name, or a pair of them for their covariance; for
            ``"vc"`` the name of a component.
        vtype
            ``"re"`` or ``"vc"``.
        num_low, num_high
            Values below and above the estimate.
        dist_low, dist_high
            How far they reach; None takes two standard errors, so that it works in any units.
        **fit_kwargs
            Of ``MixedLM.fit``. Whatever ``method`` names, a variance in natural units is held by sequential quadratic
            programming, which ends where that method should.

        Returns
        -------
        ndarray
            (num_low + num_high + 1, 2): value and log-likelihood, less ``fe_pen`` where there is one; the estimate in
            row ``num_low``.
        """
        self._refuse_if_bare("profile_re")
        profile = self._profile(parameter_index(self.description, re_ix, vtype), fit_kwargs)
        return profile_table(profile, num_low, dist_low, num_high, dist_high)

    def _profile(self, index: int, fit_kwargs: dict[str, Any]) -> Profile:
        place = self.k_fe + index
        check_profiled(self.record, index, self._names[place], fit_kwargs)
        read_methods(fit_kwargs.pop("method", None))

        def llf_held(value: float) -> float:
            fit = fit_again(self.description, self.record, self.reml, {place: value}, **fit_kwargs)
            if fit_kwargs.get("disp"):
                alerts.print_progress(fit)
            return less_penalty(fit.record)

        return Profile(
            name=self._names[place],
            estimate=float(self._natural[index]),
            se=float(np.nan_to_num(self._natural_se[index])),
            is_variance=self.description.is_variance(index),
            scale=self.scale,
            best=less_penalty(self.record),
            llf_held=llf_held,
        )

    def profile_re_interval(self, re_ix: Any, vtype: str, level: float = 0.95) -> pd.Series[float]:
        """Return the profile-likelihood interval of a variance or covariance: ``lower, upper``, natural units.

        Parameters
        ----------
        re_ix, vtype
            As for ``profile_re``.
        level
            Coverage.
        """
        self._refuse_if_bare("profile_re_interval")
        return self._profile(parameter_index(self.description, re_ix, vtype), {}).interval(level)

    # Display

    def summary(  # type: ignore[override]  # statsmodels' arguments
        self,
        yname: str | None = None,
        xname_fe: Sequence[str] | None = None,
        xname_re: Sequence[str] | None = None,
        title: str | None = None,
        alpha: float = 0.05,
    ) -> MixedLMSummary:
        """Return the summary in statsmodels' layout.

        Parameters
        ----------
        yname
            Name of the response.
        xname_fe, xname_re
            Names of the fixed effects, and of all covariance parameters.
        title
            First line.
        alpha
            One less the coverage of the intervals.
        """
        facts = Facts(
            names=self._names,
            response=self.description.data.ynames,
            group_sizes=self.description.groups.sizes,
            method=self.method,
            scale=self.scale,
            llf=self.llf,
            converged=self.converged,
            fixed=self.record.params.fe_params,
            fixed_se=self._bse[: self.k_fe],
            natural=self._natural,
            natural_se=self._natural_se,
            notes=tuple(finding.message for finding in self.findings if finding.kind == "unidentified"),
        )
        return summarize(facts, yname, xname_fe, xname_re, title=title, alpha=alpha)

    def check_estimated(self, what: str) -> None:
        """Refuse a question that takes all parameters for estimates by likelihood where some are not.

        Parameters
        ----------
        what
            Its name.

        Raises
        ------
        InferenceError
            If there was a penalty, or a covariance is held at a value.
        """
        refuse_if_penalized(self.record, what)
        refuse_if_covariances_held(self.held_covariances, what)

    def as_lmm_result(self) -> LmmResult:
        """Return the same fit as ``lmer`` would return it: its summary, tables and conventions.

        Raises
        ------
        InferenceError
            If there was a penalty, or a covariance is held at a value: ``lmer`` has no such fits.
        """
        self.check_estimated("as_lmm_result")
        return LmmResult(self.state)

    def __repr__(self) -> str:
        return f"<MixedLMResults: {self.state.design.formula.text}; {self.method}, {self.nobs} observations>"

    def _repr_html_(self) -> str:
        return self.summary().as_html()

    # Other fits

    def refit(self, y: npt.ArrayLike) -> MixedLMResults:
        """Return the fit of the same model to another response; this result stays as it is.

        Parameters
        ----------
        y
            Response of the rows used.
        """
        self._refuse_if_bare("refit")
        model = self.model.with_response(read_numbers("y", y))
        fit = fit_again(model.description, self.record, self.reml)
        return type(self)(fit.state, model, fit.record)

    def update(self, *args: Any, **kwargs: Any) -> LmmResult:
        """Refuse: a ``MixedLM`` has several formulas.

        Parameters
        ----------
        *args, **kwargs
            Whatever ``LmmResult.update`` takes.

        Raises
        ------
        InferenceError
            Always.
        """
        raise InferenceError("update is for formulas with bars. Make the new model with MixedLM.from_formula.")

    def slopes_by_level(self, *args: Any, **kwargs: Any) -> pd.DataFrame:
        """Refuse: random slopes of a ``MixedLM`` are columns, not terms of a formula with bars.

        Parameters
        ----------
        *args, **kwargs
            Whatever ``LmmResult.slopes_by_level`` takes.

        Raises
        ------
        InferenceError
            Always.
        """
        raise InferenceError(
            "slopes_by_level is for formulas with bars. coef_by_level() has the coefficients of each group, and "
            "random_effects_cov their uncertainty."
        )

    # Keeping

    @refuses_unknown
    def save(self, fname: str | PathLike[str] | IO[bytes], remove_data: bool = False) -> None:  # type: ignore[override]  # theirs
        """Write the result to a pickle that ``MixedLMResults.load`` and ``sm.load`` read.

        Parameters
        ----------
        fname
            The file, or one that is open for bytes.
        remove_data
            Leave the rows out; what needs them is refused then.
        """
        _check_file(fname)
        storage.save_pickle(self._bare() if read_flag("remove_data", remove_data) else self, fname)

    @classmethod
    def load(cls, fname: str | PathLike[str] | IO[bytes]) -> MixedLMResults:
        """Return a result from a file; load only files that you trust, for they can run code.

        Parameters
        ----------
        fname
            A pickle that ``save`` wrote.
        """
        _check_file(fname)
        loaded = storage.load_pickle(fname)
        if not isinstance(loaded, cls):
            raise DataError(f"{str(fname)!r} holds a {type(loaded).__name__}, not a MixedLMResults.")
        return loaded

    def remove_data(self) -> None:
        """Let go of the rows: what is known of the parameters stays, what needs rows is refused from now on."""
        bare = self._bare()
        self.__dict__.clear()
        self.__dict__.update(bare.__dict__)

    def _bare(self) -> MixedLMResults:
        """Return the result without rows, everything about parameters computed."""
        for name in ("_covariance", "_natural_se"):
            getattr(self, name)
        bare = copy(self)
        description = self.description.without_rows()
        bare.model = type(self.model).of(description)
        bare.state = without_rows(self.state, description)
        bare._is_bare = True
        bare.__dict__.pop("_estimate", None)
        return bare

    def _refuse_if_bare(self, what: str) -> None:
        if self._is_bare:
            raise InferenceError(f"{what} needs the rows of the fit, which remove_data let go of.")


def _check_file(fname: object) -> None:
    if not isinstance(fname, str | PathLike | IOBase) and not hasattr(fname, "read"):
        raise DataError(f"fname is {shown(fname)}; it must be a path, or a file that is open for bytes.")
