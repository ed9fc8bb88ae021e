"""MixedLM: the model as statsmodels spells it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.errors import ConvergenceWarning, DataError, UnknownAttributeError
from mixedmodels.fit.ascent import em_steps, steepest_ascent
from mixedmodels.fit.call import EVALUATIONS
from mixedmodels.fit.likelihood import Likelihood
from mixedmodels.mixedlm import alerts
from mixedmodels.mixedlm.description.arrays import describe_arrays
from mixedmodels.mixedlm.description.data import ModelData
from mixedmodels.mixedlm.description.distribution import Distribution
from mixedmodels.mixedlm.description.formula import check_formulas, describe_formulas
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.fit import fit_model
from mixedmodels.mixedlm.fitting.regularized import SMALLEST_REPORTED, fit_regularized, regularization_path
from mixedmodels.mixedlm.fitting.request import read_request, unused_options
from mixedmodels.mixedlm.path import RegularizationPath
from mixedmodels.mixedlm.reading.arguments import (
    check_choice,
    read_count,
    read_flag,
    read_number,
    read_numbers,
    shown,
)
from mixedmodels.mixedlm.reading.formula_recipe import Context
from mixedmodels.mixedlm.reading.formulas import names_used
from mixedmodels.mixedlm.reading.params import MixedLMParams, as_params, slopes_in_roots
from mixedmodels.mixedlm.reading.rows import check_missing
from mixedmodels.mixedlm.reading.specification import VCSpec
from mixedmodels.mixedlm.results import MixedLMResults

_INIT_ONLY = ("missing_idx", "model_spec", "formula")


class MixedLM:
    """A linear mixed model: y_i = X_i b + Z_i g_i + sum_j Q_ij eta_ij + e_i in each group i.

    Var(g_i) = ``cov_re``, Var(eta_ij) = ``vcomp[j]`` I, Var(e) = ``scale`` I. A model is never changed by a fit.

    Parameters
    ----------
    endog
        Response, (n_rows,): array, list or Series.
    exog
        Columns of the fixed effects, (n_rows, k_fe): array, list, Series or DataFrame.
    groups
        Label of each row's group, matched by position.
    exog_re
        Columns of the random coefficients, which have an unstructured covariance. None is a random intercept, or
        nothing where there are variance components.
    exog_vc
        Variance components: a ``VCSpec``, or ``exog_vc[name][group]`` with the design of each group.
    use_sqrt
        Packed parameters given to the likelihood are Cholesky factors and square roots, not variances.
    missing
        ``"none"`` and ``"raise"`` refuse missing values, ``"drop"`` leaves their rows out.
    **kwargs
        ``formula`` and ``model_spec``, which statsmodels' own classes pass along; anything else is refused.

    Raises
    ------
    DataError
        If the arrays do not fit together, are not numeric or have missing values.
    """

    reml = True
    fe_pen = None
    re_pen = None
    cov_pen = None

    def __init__(
        self,
        endog: Any,
        exog: Any,
        groups: Any,
        exog_re: Any = None,
        exog_vc: VCSpec | Mapping[str, Mapping[Any, Any]] | None = None,
        use_sqrt: bool = True,
        missing: str = "none",
        **kwargs: Any,
    ) -> None:
        _check_init(kwargs)
        check_missing(missing)
        use_sqrt = read_flag("use_sqrt", use_sqrt)
        if isinstance(exog_vc, Mapping):
            warnings.warn("Using deprecated variance components format", FutureWarning, stacklevel=2)
        self.description = describe_arrays(
            endog,
            exog,
            groups,
            exog_re,
            exog_vc,
            use_sqrt=use_sqrt,
            missing=missing,
            formula=kwargs.get("formula"),
            model_spec=kwargs.get("model_spec"),
        )

    @classmethod
    def of(cls, description: ModelDescription) -> MixedLM:
        """Return the model of a description.

        Parameters
        ----------
        description
            The model as a record, as that of another ``MixedLM``.

        Raises
        ------
        DataError
            If it is none.
        """
        if not isinstance(description, ModelDescription):
            raise DataError(f"description is {shown(description)}; it must be a ModelDescription.")
        model = cls.__new__(cls)
        model.description = description
        return model

    # From a formula

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        re_formula: str | None = None,
        vc_formula: Mapping[str, str] | None = None,
        subset: Any = None,
        use_sparse: bool = False,
        missing: str = "none",
        *,
        groups: Any = None,
        eval_env: int | None = None,
        drop_cols: Any = None,
        exog_re: Any = None,
        exog_vc: Any = None,
        use_sqrt: bool = True,
        evaluate: str = "python",
        **kwargs: Any,
    ) -> MixedLM:
        """Return the model of a formula.

        Parameters
        ----------
        formula
            Response and fixed part, such as ``"Weight ~ Time"``; functions of the caller can be named.
        data
            DataFrame (pandas, polars), arrow table, or mapping of columns. Its index is not used to match rows.
        re_formula
            Random coefficients, such as ``"~Time"``. None is a random intercept, or nothing with ``vc_formula``.
        vc_formula
            Variance components, name -> formula, such as ``{"cask": "0 + C(cask)"}``, evaluated group by group.
        subset
            Rows to use: booleans, or labels of the index.
        use_sparse
            ``exog_vc.mats`` holds sparse matrices; the fit is the same, and sparse, either way.
        missing
            ``"none"`` and ``"raise"`` refuse missing values, ``"drop"`` leaves their rows out.
        groups
            Name of the column with the groups, or one label for each row.
        eval_env
            How many frames above the caller formulas look for names; -1: nowhere.
        drop_cols
            Names of columns of the fixed part to leave out.
        exog_re, exog_vc
            Arrays, in place of ``re_formula`` and ``vc_formula``, with the rows of the data.
        use_sqrt
            As for the class.
        evaluate
            ``"python"``: expressions in formulas are run as Python, with all that it can do and all that the caller
            knows. ``"restricted"``, for formulas that strangers write: they consist of names of columns, numbers,
            operators and listed functions of patsy and NumPy, and nothing else is run.
        **kwargs
            As for the class.

        Raises
        ------
        MixedModelsError
            If ``groups`` is not given, or a formula or the data cannot be used.
        """
        if groups is None:
            raise DataError(
                "groups is missing: name the column whose levels share random effects, such as groups='subject', or "
                "give one label for each row."
            )
        _check_init(kwargs)
        check_missing(missing)
        use_sqrt = read_flag("use_sqrt", use_sqrt)
        texts = check_formulas(formula, re_formula, vc_formula)
        check_choice("evaluate", evaluate, EVALUATIONS)
        if evaluate == "restricted" and eval_env is not None:
            raise DataError("eval_env goes with evaluate='python'; restricted formulas see no names of the caller.")
        eval_env = 0 if eval_env is None else read_count("eval_env", eval_env, -1)
        description = describe_formulas(
            formula,
            data,
            re_formula,
            vc_formula,
            context=None if evaluate == "restricted" else Context(_caller_names(texts, eval_env)),
            subset=subset,
            use_sparse=use_sparse,
            missing=missing,
            groups=groups,
            drop_cols=drop_cols,
            exog_re=exog_re,
            exog_vc=exog_vc,
            use_sqrt=use_sqrt,
        )
        return cls.of(description)

    # The parts

    description: ModelDescription
    """The model as a frozen record."""

    @property
    def endog(self) -> Floats:
        """Response, (nobs,)."""
        return self.description.endog

    @property
    def exog(self) -> Floats:
        """Columns of the fixed effects, (nobs, k_fe)."""
        return self.description.exog

    @property
    def exog_re(self) -> Floats | None:
        """Columns of the random coefficients, (nobs, k_re); None if there are only variance components."""
        return self.description.exog_re

    @property
    def exog_vc(self) -> VCSpec:
        """Variance components."""
        return self.description.spec

    @property
    def data(self) -> ModelData:
        """The data, and what everything is called."""
        return self.description.data

    @property
    def groups(self) -> Any:
        """Label of each row's group, (nobs,)."""
        return self.description.labels

    @property
    def formula(self) -> str:
        """The formula.

        Raises
        ------
        UnknownAttributeError
            If the model was made of arrays.
        """
        if self.data.formula is None:
            raise UnknownAttributeError("This model was made of arrays and has no formula.")
        return self.data.formula

    @property
    def use_sqrt(self) -> bool:
        """Whether packed parameters given to the likelihood are roots of covariances."""
        return self.description.use_sqrt

    @property
    def is_pandas(self) -> bool:
        """Whether the data were pandas objects."""
        return self.description.is_pandas

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
        """Number of their variances and covariances."""
        return self.description.k_re2

    @property
    def k_vc(self) -> int:
        """Number of variance components."""
        return self.description.k_vc

    @property
    def k_params(self) -> int:
        """Number of all parameters but the residual variance."""
        return self.k_fe + self.k_re2 + self.k_vc

    @property
    def k_constant(self) -> int:
        """1 if the fixed part has a constant column."""
        return self.description.k_constant

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.description.nobs

    @property
    def n_totobs(self) -> int:
        """Rows used."""
        return self.description.nobs

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.description.groups)

    @property
    def group_labels(self) -> list[Any]:
        """Labels of the groups, sorted."""
        return self.description.groups.labels

    # Data by group

    @cached_property
    def row_indices(self) -> dict[Any, list[int]]:
        """Row numbers of each group."""
        rows = self.description.groups.split()
        return {label: its.tolist() for label, its in zip(self.group_labels, rows, strict=True)}

    def group_list(self, array: npt.ArrayLike | None) -> list[npt.NDArray[Any]] | None:
        """Return the rows of an array by group, in the order of the labels; None for None.

        Parameters
        ----------
        array
            (nobs,) or (nobs, any).
        """
        if array is None:
            return None
        values = np.asarray(array)
        if values.shape[:1] != (self.nobs,):
            raise DataError(f"array has the shape {values.shape}; the model has {self.nobs} rows.")
        return [values[rows] for rows in self.description.groups.split()]

    @cached_property
    def endog_li(self) -> list[Floats] | None:
        """Response by group."""
        return self.group_list(self.endog)

    @cached_property
    def exog_li(self) -> list[Floats] | None:
        """Fixed-effect columns by group."""
        return self.group_list(self.exog)

    @cached_property
    def exog_re_li(self) -> list[Floats] | None:
        """Random-coefficient columns by group; None if there are none."""
        return self.group_list(self.exog_re)

    @cached_property
    def exog_re2_li(self) -> list[Floats] | None:
        """Their cross-products by group; None if there are none."""
        return None if self.exog_re_li is None else [z.T @ z for z in self.exog_re_li]

    @property
    def endog_names(self) -> str:
        """Name of the response."""
        return self.data.ynames

    @property
    def exog_names(self) -> list[str]:
        """Names of the fixed effects."""
        return self.data.xnames

    def initialize(self) -> None:
        """Do nothing: a model is ready when it is made."""

    def _get_init_kwds(self) -> dict[str, Any]:
        keys = ("groups", "exog_re", "exog_vc", "use_sqrt")
        arguments = {key: getattr(self, key) for key in keys}
        if self.description.has_default_re:
            arguments["exog_re"] = None
        if self.data.formula is not None:
            arguments["formula"] = self.formula
        return arguments

    def _likelihood(self, reml: bool | None, params: object = None) -> Likelihood:
        """Return the likelihood: of the fit that the parameters come from, unless the caller says which."""
        if reml is None:
            reml = getattr(params, "reml", None)
        return self.description.likelihood(self.reml if reml is None else read_flag("reml", reml))

    def _read_params(self, params: Any, has_fe: bool) -> MixedLMParams:
        given = as_params("params", params, self.k_fe, self.k_re, self.k_vc)
        if given is not None:
            return given
        length = self.k_re2 + self.k_vc + (self.k_fe if has_fe else 0)
        packed = read_numbers("params", params).ravel()
        if len(packed) != length:
            raise DataError(f"The packed parameters have {len(packed)} values; this model needs {length}.")
        return MixedLMParams.from_packed(packed, self.k_fe, self.k_re, self.use_sqrt, has_fe)

    # Likelihood

    def loglike(self, params: Any, profile_fe: bool = True, *, reml: bool | None = None) -> float:
        """Return the log-likelihood, the residual variance profiled out.

        Parameters
        ----------
        params
            ``MixedLMParams`` (ratios to the residual variance), or the packed covariance parameters, as square roots
            where ``use_sqrt``.
        profile_fe
            Profile the fixed effects out too; False takes those in ``params``.
        reml
            Restricted likelihood or not; None takes that of the fit the parameters come from, else restricted.
        """
        chosen = self._read_params(params, has_fe=False)
        likelihood = self._likelihood(reml, params)
        return likelihood.value(_packed(chosen), None if read_flag("profile_fe", profile_fe) else chosen.fe_params)

    def score(self, params: Any, profile_fe: bool = True, *, reml: bool | None = None) -> Floats:
        """Return the derivative of ``loglike``, in square-root parameters where ``use_sqrt``.

        Parameters
        ----------
        params, profile_fe, reml
            As for ``loglike``.

        Returns
        -------
        ndarray
            (k_re2 + k_vc,), with the k_fe fixed effects before them if they are not profiled out.
        """
        chosen, profile_fe = self._read_params(params, has_fe=False), read_flag("profile_fe", profile_fe)
        if profile_fe:
            chosen = chosen.copy()
            chosen.fe_params = self.get_fe_params(chosen.cov_re, chosen.vcomp)[0]
        by_part = self.score_sqrt if self.use_sqrt else self.score_full
        fixed, *covariances = by_part(chosen, calc_fe=not profile_fe, reml=self._likelihood(reml, params).reml)
        return np.concatenate(covariances if profile_fe else [fixed, *covariances])

    def score_full(
        self, params: Any, calc_fe: bool = True, *, reml: bool | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return the derivatives in fixed effects, covariances and variance components, at the given fixed effects.

        Parameters
        ----------
        params
            As for ``loglike``.
        calc_fe
            False gives zeros for the fixed effects.
        reml
            As for ``loglike``.
        """
        chosen = self._read_params(params, has_fe=False)
        fixed, packed = self._likelihood(reml, params).score(_packed(chosen), chosen.fe_params)
        return (
            fixed if read_flag("calc_fe", calc_fe) else np.zeros(self.k_fe),
            packed[: self.k_re2],
            packed[self.k_re2 :],
        )

    def score_sqrt(
        self, params: Any, calc_fe: bool = True, *, reml: bool | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return ``score_full`` in the Cholesky factor of the covariances and the roots of the components.

        Parameters
        ----------
        params, calc_fe, reml
            As for ``score_full``.
        """
        chosen = self._read_params(params, has_fe=False)
        fixed, covariances, components = self.score_full(chosen, calc_fe, reml=reml)
        return fixed, *slopes_in_roots(chosen, covariances, components)

    def hessian(self, params: Any, *, reml: bool | None = None) -> tuple[Floats, bool]:
        """Return the second derivative of ``loglike`` in fixed effects, covariances and components, and if singular.

        Parameters
        ----------
        params
            ``MixedLMParams``, or all parameters packed, as square roots where ``use_sqrt``.
        reml
            As for ``loglike``.

        Returns
        -------
        hess
            (k_fe + k_re2 + k_vc, the same), in covariances themselves, never in their roots.
        singular
            True where the covariance of the random effects is.
        """
        chosen = self._read_params(params, has_fe=True)
        likelihood = self._likelihood(reml, params)
        return likelihood.hessian(_packed(chosen), chosen.fe_params)

    def information(self, params: Any, *, reml: bool | None = None) -> Floats:
        """Return minus the ``hessian``.

        Parameters
        ----------
        params, reml
            As for ``hessian``.
        """
        return -self.hessian(params, reml=reml)[0]

    def get_fe_params(self, cov_re: npt.ArrayLike, vcomp: npt.ArrayLike, tol: float = 1e-10) -> tuple[Floats, bool]:
        """Return the generalised least squares estimate at some ratios, and whether these are singular.

        Parameters
        ----------
        cov_re, vcomp
            Ratios to the residual variance.
        tol
            Smallest eigenvalue that is not called singular.
        """
        covariance, components = self._as_covariances(cov_re, vcomp)
        smallest = min([*np.linalg.eigvalsh(covariance), *components], default=np.inf)
        return self._likelihood(None).solve(_packed_of(covariance, components)).beta, bool(
            smallest < read_number("tol", tol)
        )

    def get_scale(
        self, fe_params: npt.ArrayLike, cov_re: npt.ArrayLike, vcomp: npt.ArrayLike, *, reml: bool | None = None
    ) -> float:
        """Return the residual variance that maximises the likelihood at some fixed effects and ratios.

        Parameters
        ----------
        fe_params
            (k_fe,).
        cov_re, vcomp
            Ratios to the residual variance, (k_re, k_re) and (k_vc,).
        reml
            False for maximum likelihood; None and True: restricted.
        """
        covariance, components = self._as_covariances(cov_re, vcomp)
        S = _packed_of(covariance, components)
        fixed = read_numbers("fe_params", fe_params)
        if fixed.shape != (self.k_fe,):
            raise DataError(f"fe_params has the shape {fixed.shape}; the model has {self.k_fe} fixed effects.")
        return self._likelihood(reml).scale(S, fixed)

    def _as_covariances(self, cov_re: npt.ArrayLike, vcomp: npt.ArrayLike) -> tuple[Floats, Floats]:
        covariance, components = read_numbers("cov_re", cov_re), read_numbers("vcomp", vcomp)
        if covariance.size != self.k_re**2 or components.size != self.k_vc:
            raise DataError(
                f"cov_re has the shape {covariance.shape} and vcomp {components.shape}; this model takes "
                f"{(self.k_re, self.k_re)} and {(self.k_vc,)}."
            )
        return covariance.reshape(self.k_re, self.k_re), components.reshape(self.k_vc)

    def EM(self, params: Any, n_iter: int = 1, *, reml: bool | None = None) -> MixedLMParams:  # noqa: N802  # their name
        """Return the parameters after some steps of the EM algorithm (Laird and Ware 1982; Lindstrom and Bates 1988).

        Parameters
        ----------
        params
            As for ``loglike``.
        n_iter
            Number of steps.
        reml
            As for ``loglike``.
        """
        return self._improved(em_steps, params, n_iter, reml)

    def steepest_ascent(self, params: Any, n_iter: int = 1, *, reml: bool | None = None) -> MixedLMParams:
        """Return the parameters after some steps of steepest ascent in the roots of the covariances.

        Parameters
        ----------
        params, n_iter, reml
            As for ``EM``.
        """
        return self._improved(steepest_ascent, params, n_iter, reml)

    def _improved(
        self, steps: Callable[[Likelihood, Floats, int], Floats], params: Any, n_iter: int, reml: bool | None
    ) -> MixedLMParams:
        chosen, likelihood = self._read_params(params, has_fe=False), self._likelihood(reml, params)
        S = steps(likelihood, _packed(chosen), read_count("n_iter", n_iter, 0))
        packed = np.concatenate([likelihood.solve(S).beta, S])
        out = MixedLMParams.from_packed(packed, self.k_fe, self.k_re, use_sqrt=False, has_fe=True)
        out.reml = likelihood.reml
        return out

    def predict(self, params: Any, exog: npt.ArrayLike | None = None) -> Floats:
        """Return X b.

        Parameters
        ----------
        params
            ``MixedLMParams``, all parameters packed, or the fixed effects.
        exog
            X; None takes the model's.
        """
        X = self.exog if exog is None else read_numbers("exog", exog)
        fixed = read_numbers("params", getattr(params, "fe_params", params))
        if fixed.shape not in {(self.k_fe,), (self.k_params,)}:
            raise DataError(
                f"params has the shape {fixed.shape}; pass {self.k_fe} fixed effects, or all {self.k_params} "
                "parameters."
            )
        if X.ndim == 0 or X.shape[-1] != self.k_fe:
            raise DataError(f"exog has the shape {X.shape}; the model has {self.k_fe} columns of fixed effects.")
        return np.asarray(X @ fixed[: self.k_fe])

    def get_distribution(self, params: npt.ArrayLike, scale: float, exog: npt.ArrayLike | None = None) -> Distribution:
        """Return the distribution of the response; its ``rvs`` draws from it.

        Parameters
        ----------
        params
            All parameters packed, covariances as ratios to ``scale``.
        scale
            Residual variance.
        exog
            Fixed-effect columns; None takes the model's.
        """
        return Distribution(self.description, params, scale, exog)

    # Fits

    def fit(
        self,
        start_params: Any = None,
        reml: bool = True,
        niter_sa: int = 0,
        do_cg: bool = True,
        fe_pen: Any = None,
        cov_pen: Any = None,
        free: MixedLMParams | None = None,
        full_output: bool = False,
        method: str | list[str] | None = None,
        *,
        niter_em: int = 0,
        fixed: Mapping[str | int, float] | None = None,
        **fit_kwargs: Any,
    ) -> MixedLMResults:
        """Return the fitted model; the model itself stays as it is.

        Parameters
        ----------
        start_params
            ``MixedLMParams`` of ratios to the residual variance, or packed, with or without fixed effects, as square
            roots where ``use_sqrt``.
        reml
            Restricted maximum likelihood; False for maximum likelihood.
        niter_sa, niter_em
            Steps of steepest ascent, and before them of the EM algorithm, that improve the start.
        do_cg
            False stops there and returns the start, so improved.
        fe_pen
            Penalty on the fixed effects, with ``func`` and ``deriv``.
        cov_pen
            Penalty on ``cov_re`` as a ratio to the residual variance, with ``func`` and ``deriv``.
        free
            1 for parameters to estimate, 0 for those held at their starting values: ratios, and fixed effects.
        full_output
            Keep what the optimiser reports as ``hist``.
        method
            None: our Newton. Else one of scipy's, ``"bfgs", "lbfgs", "cg", "powell", "nm", "basinhopping",
            "minimize"``, or several to try one after the other until one converges.
        fixed
            Parameters held in natural units, by name or position: ``{"Pig Var": 40.0, "Time": 7.0}``.
        **fit_kwargs
            ``maxiter, gtol, ftol, tol, eps, maxcor, maxls`` of the optimiser, as scipy has them, ``min_method`` for
            ``"minimize"``, and ``disp``, which prints how it went. Our Newton goes on until a step gains nothing that
            can be seen, which meets any ``gtol``, ``ftol`` and ``tol``. What nothing that runs takes is warned of.

        Warns
        -----
        ConvergenceWarning, SingularFitWarning
            If the fit did not converge, or a covariance is singular.
        """
        self._warn_of_unused(fit_kwargs, method, fe_pen is not None or cov_pen is not None)
        asked = read_request(
            self.description,
            start_params,
            reml,
            niter_sa,
            do_cg,
            fe_pen,
            cov_pen,
            free,
            full_output,
            method,
            niter_em=niter_em,
            fixed=fixed,
            **fit_kwargs,
        )
        fit = fit_model(self.description, asked)
        alerts.tell(fit.state, stacklevel=2)
        if asked.options.get("disp"):
            alerts.print_progress(fit)
        return MixedLMResults(fit.state, self, fit.record)

    @staticmethod
    def _warn_of_unused(options: Mapping[str, Any], method: Any = None, is_penalized: bool = False) -> None:
        message = unused_options(options, method, is_penalized)
        if message is not None:
            warnings.warn(message, FutureWarning, stacklevel=3)

    def with_response(self, y: Floats) -> MixedLM:
        """Return the same model of another response.

        Parameters
        ----------
        y
            (nobs,).
        """
        return type(self).of(self.description.with_response(read_numbers("y", y)))

    def fit_regularized(
        self,
        start_params: Any = None,
        method: Any = "l1",
        alpha: Any = 0,
        ceps: float = SMALLEST_REPORTED,
        ptol: float = 1e-6,
        maxit: int = 200,
        *,
        L1_wt: float | None = None,
        **fit_kwargs: Any,
    ) -> MixedLMResults:
        """Return the fit with penalised fixed effects, ratios of covariances to ``scale`` as in the fit without.

        It minimises (y - X b)' V^-1 (y - X b) + the penalty, V being that of the unpenalised fit. ``scale`` is what the
        likelihood has at these fixed effects, unless a covariance is held in natural units: then it stays.

        Parameters
        ----------
        start_params
            First fixed effects; None takes the unpenalised ones.
        method
            ``"l1"``: sum alpha abs(b); ``"l2"``: sum alpha b^2;
            ``"elastic_net"``: sum alpha (w abs(b) + (1 - w) b^2 / 2); ``"scad"``: that of Fan and Li (2001); or a
            Penalty object, which is subtracted from the log-likelihood, covariances estimated too.
        alpha
            Weight, or one for each fixed effect.
        ceps
            Fixed effects smaller than this in size are reported as zero by ``method="scad"``.
        ptol
            Largest change of a fixed effect at which the iterations stop, in its standard errors.
        maxit
            Most iterations.
        L1_wt
            w of the elastic net.
        **fit_kwargs
            Of ``fit``.
        """
        self._warn_of_unused(fit_kwargs)
        found = fit_regularized(
            self.description,
            start_params=start_params,
            method=method,
            alpha=alpha,
            ceps=ceps,
            ptol=ptol,
            maxit=maxit,
            L1_wt=L1_wt,
            options=fit_kwargs,
        )
        alerts.tell((found.plain or found.fit).state, stacklevel=2)
        if found.complaint is not None:
            alerts.warn(found.complaint, ConvergenceWarning, stacklevel=2)
        return MixedLMResults(found.fit.state, self, found.fit.record)

    def regularization_path(self, alphas: npt.ArrayLike, method: str = "l1", **kwargs: Any) -> RegularizationPath:
        """Return penalised fixed effects over weights of the penalty; one fit of the covariances serves all.

        Parameters
        ----------
        alphas
            Weights, largest first or in any order.
        method, **kwargs
            As for ``fit_regularized``.
        """
        self._warn_of_unused({name: value for name, value in kwargs.items() if name not in ("ptol", "maxit", "L1_wt")})
        weights = read_numbers("alphas", alphas)
        found = regularization_path(self.description, weights, method, kwargs)
        alerts.tell(found.plain.state, stacklevel=2)
        plain = MixedLMResults(found.plain.state, self, found.plain.record)
        frame = pd.DataFrame(found.fixed, index=pd.Index(weights, name="alpha"), columns=self.exog_names)
        return RegularizationPath(frame, plain, found.converged, found.asked)

    def __repr__(self) -> str:
        return f"<MixedLM: {self.endog_names}; {self.nobs} observations in {self.n_groups} groups>"


def _check_init(kwargs: Mapping[str, Any]) -> None:
    for name in kwargs:
        if name not in _INIT_ONLY:
            raise DataError(f"argument {name} not permitted for MixedLM initialization")


def _packed(params: MixedLMParams) -> Floats:
    """Return covariances and components packed."""
    return params.get_packed(use_sqrt=False)


def _packed_of(cov_re: Floats, vcomp: Floats) -> Floats:
    return _packed(MixedLMParams.from_components(cov_re=cov_re, vcomp=vcomp))


def _caller_names(texts: list[str], eval_env: int) -> dict[str, Any]:
    """Return what the names in formulas stand for in the frame that called ``from_formula``; nothing for -1."""
    if eval_env == -1:
        return {}
    try:
        frame = sys._getframe(2 + eval_env)
    except ValueError as error:
        raise DataError(f"eval_env is {eval_env}, and fewer frames are above the caller.") from error
    used = names_used(texts)
    return {name: scope[name] for scope in (frame.f_globals, frame.f_locals) for name in used & set(scope)}
