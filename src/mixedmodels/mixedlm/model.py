"""MixedLM: the model as statsmodels spells it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.design import Design
from mixedmodels.design.frame import Column, open_frame
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, nearest
from mixedmodels.fit.problem import Problem
from mixedmodels.mixedlm.description.data import ModelData, covariance_names
from mixedmodels.mixedlm.description.design import RandomPart, Structure, build_design, build_random
from mixedmodels.mixedlm.description.distribution import Distribution
from mixedmodels.mixedlm.description.layout import Layout
from mixedmodels.mixedlm.description.recipe import FormulaRecipe, ModelRecipe
from mixedmodels.mixedlm.fitting.fit import fit_model
from mixedmodels.mixedlm.fitting.likelihood import Likelihood, em_steps, steepest_ascent
from mixedmodels.mixedlm.fitting.regularized import fit_regularized
from mixedmodels.mixedlm.reading.arguments import check_flag, check_text, read_count, read_numbers
from mixedmodels.mixedlm.reading.components import Component, FormulaVCSpec, from_formulas, from_specification
from mixedmodels.mixedlm.reading.formulas import Context, Formulas, Part, names_used
from mixedmodels.mixedlm.reading.groups import Groups, label_array, read_groups
from mixedmodels.mixedlm.reading.params import MixedLMParams
from mixedmodels.mixedlm.reading.patsy_conventions import with_booleans
from mixedmodels.mixedlm.reading.specification import VCSpec, check_sizes, from_mapping
from mixedmodels.mixedlm.reading.tables import Table, check_rows, fixed_names, missing_rows, read_table

if TYPE_CHECKING:
    from mixedmodels.mixedlm.fitting.regularized import RegularizationPath
    from mixedmodels.mixedlm.results import MixedLMResults

MISSING = ("none", "drop", "raise")
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
        for name in kwargs:
            if name not in _INIT_ONLY:
                raise DataError(f"argument {name} not permitted for MixedLM initialization")
        _check_missing(missing)
        check_flag("use_sqrt", use_sqrt)
        y, X = read_table("endog", endog), read_table("exog", exog)
        if y.values.shape[1] != 1:
            raise DataError(f"endog must be one column; it has {y.values.shape[1]}.")
        check_rows([("endog", y), ("exog", X)])
        if y.index is not None and X.index is not None and not y.index.equals(X.index):
            raise DataError(
                "The indices for endog and exog are not aligned. Sort both in the same way, or pass arrays."
            )
        parsed = read_groups(groups, len(y.values))
        Z = None if exog_re is None else read_table("exog_re", exog_re)
        if Z is not None:
            check_rows([("endog", y), ("exog_re", Z)])
        if isinstance(exog_vc, Mapping):
            warnings.warn("Using deprecated variance components format", FutureWarning, stacklevel=2)
            exog_vc = from_mapping(exog_vc, parsed.labels)
        spec = VCSpec([], [], []) if exog_vc is None else exog_vc
        _check_specification(spec)
        rows = _complete_rows(y, X, Z, parsed, missing)
        if rows is not None:
            spec = _take_rows(spec, parsed, rows)
            y, X, Z, parsed = y.take(rows), X.take(rows), None if Z is None else Z.take(rows), parsed.take(rows)
        self._n_rows = len(label_array(groups))
        self._rows = rows
        names = _effect_names(Z, exog_re, spec)
        self._set_up(
            y, X, parsed, Z, spec, from_specification(spec, parsed), names, "Group", use_sqrt,
            formula=None, frame=None, model_spec=None, context=Context({}),
        )  # fmt: skip
        self.groups = _rows_of(label_array(groups), rows)
        formula = kwargs.get("formula")
        if formula is not None:
            self.formula = formula
        self.data = self._data(y, X, names, None, kwargs.get("model_spec"), formula)

    def _set_up(
        self,
        y: Table,
        X: Table,
        groups: Groups,
        Z: Table | None,
        spec: VCSpec,
        components: tuple[Component, ...],
        names: list[str],
        group_name: str,
        use_sqrt: bool,
        *,
        formula: str | None,
        frame: pd.DataFrame | None,
        model_spec: Any,
        context: Context,
    ) -> None:
        self.use_sqrt = use_sqrt
        self.endog: Floats = np.ascontiguousarray(y.values[:, 0])
        self.exog: Floats = X.values
        self.exog_vc = spec
        has_default = Z is None and not components
        self.exog_re: Floats | None = np.ones((len(self.endog), 1)) if has_default else None if Z is None else Z.values
        self._has_default_re = has_default
        Z_values = self.exog_re
        self._is_random_intercept = Z_values is not None and Z_values.shape[1] == 1 and bool((Z_values == 1).all())
        self._groups, self._components, self._group_name = groups, components, group_name
        self._context = context
        self.is_pandas = y.is_pandas or X.is_pandas
        self.k_fe = self.exog.shape[1]
        self.k_re = 0 if self.exog_re is None else self.exog_re.shape[1]
        self.k_re2 = self.k_re * (self.k_re + 1) // 2
        self.k_vc = len(components)
        self.k_params = self.k_fe + self.k_re2 + self.k_vc
        self.nobs = self.n_totobs = len(self.endog)
        self.n_groups = len(groups)
        self.group_labels = groups.labels
        self.k_constant = int(bool((np.ptp(self.exog, axis=0) == 0).any())) if self.k_fe else 0

    def _data(
        self, y: Table, X: Table, re_names: list[str], frame: pd.DataFrame | None, model_spec: Any, formula: str | None
    ) -> ModelData:
        labels = X.index if X.index is not None else y.index
        xnames = X.names if X.names is not None else fixed_names(X.values)
        yname = y.names[0] if y.names is not None else "y"
        orig_exog = pd.DataFrame(X.values, index=X.index, columns=xnames, copy=False) if X.is_pandas else X.values
        orig_endog = pd.Series(self.endog, index=y.index, name=yname, copy=False) if y.is_pandas else self.endog
        # An array's default intercept is called 'Group Var' as an effect too.
        full = list(re_names) if re_names == ["Group Var"] else covariance_names(re_names)
        return ModelData(
            endog=self.endog,
            exog=self.exog,
            exog_re=self.exog_re,
            orig_endog=orig_endog,
            orig_exog=orig_exog,
            frame=frame,
            model_spec=model_spec,
            formula=formula,
            row_labels=labels,
            ynames=yname,
            xnames=xnames,
            exog_re_names=list(re_names),
            exog_re_names_full=full,
            vcomp_names=list(self.exog_vc.names),
        )

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
        for name in kwargs:
            if name not in _INIT_ONLY:
                raise DataError(f"argument {name} not permitted for MixedLM initialization")
        _check_missing(missing)
        check_flag("use_sqrt", use_sqrt)
        texts = _formulas(formula, re_formula, vc_formula)
        eval_env = 0 if eval_env is None else read_count("eval_env", eval_env, -1)
        context = Context({} if eval_env == -1 else _caller_names(texts, eval_env))
        frame, labels = _read_frame(data)
        group_name, values = _group_values(groups, frame)
        exog_re, exog_vc = None if re_formula else exog_re, None if vc_formula else exog_vc
        all_values = values
        rows = _chosen_rows(frame, labels, values, subset, missing, texts, exog_re)
        n_rows = len(frame)
        if rows is not None:
            frame, values = frame.iloc[rows].reset_index(drop=True), values[rows]
            labels = labels[rows]
        while True:
            parts = _evaluate(formula, re_formula, frame, context)
            gaps, where = missing_rows([(part.first_gap, part.values) for part in parts if part is not None])
            if not gaps.any():
                break
            if missing != "drop":
                raise DataError(_missing_message(where, gaps, missing))
            kept = np.flatnonzero(~gaps)
            rows = kept if rows is None else rows[kept]
            frame, values, labels = frame.iloc[kept].reset_index(drop=True), values[kept], labels[kept]
        response, fixed, random = parts
        parsed = read_groups(values, len(frame))
        model = cls.__new__(cls)
        model._n_rows, model._rows = n_rows, rows
        fixed_part, columns = _without(fixed, drop_cols)
        y = Table(response.values, [response.names[0]], labels)
        X = Table(fixed_part.values, list(fixed_part.names), labels)
        Z, names = _random_part(random, re_formula, exog_re, rows, group_name, len(frame), vc_formula or exog_vc)
        spec: VCSpec = VCSpec([], [], [])
        components: tuple[Component, ...] = ()
        if vc_formula:
            formula_spec = from_formulas(dict(vc_formula), Formulas(frame, context), parsed, use_sparse)
            spec, components = formula_spec, formula_spec.components
        elif exog_vc is not None:
            spec = _given_components(exog_vc, read_groups(all_values, n_rows), rows)
            components = from_specification(spec, parsed)
        model._set_up(
            y, X, parsed, Z, spec, components, names, group_name, use_sqrt,
            formula=formula, frame=frame, model_spec=fixed.spec, context=context,
        )  # fmt: skip
        model.groups = values
        model.formula = formula
        model.data = model._data(y, X, names, frame, fixed_part.spec, formula)
        model._formula_recipe = FormulaRecipe(
            fixed=fixed_part.spec,
            columns=columns,
            random=None if random is None else random.spec,
            group=groups if isinstance(groups, str) else None,
            components=dict(zip(spec.names, spec.recipes, strict=True)) if isinstance(spec, FormulaVCSpec) else {},
            context=context,
        )
        return model

    _formula_recipe: FormulaRecipe | None = None
    groups: Any
    formula: str
    data: ModelData

    # Data by group

    @cached_property
    def row_indices(self) -> dict[Any, list[int]]:
        """Row numbers of each group."""
        rows = self._groups.split()
        return {label: its.tolist() for label, its in zip(self.group_labels, rows, strict=True)}

    def group_list(self, array: npt.ArrayLike | None) -> list[npt.NDArray[Any]] | None:
        """Return the rows of an array by group, in the order of the labels; None for None."""
        if array is None:
            return None
        values = np.asarray(array)
        if len(values) != self.nobs:
            raise DataError(f"The array has {len(values)} rows; the model has {self.nobs}.")
        return [values[rows] for rows in self._groups.split()]

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
        if self._has_default_re:
            arguments["exog_re"] = None
        if hasattr(self, "formula"):
            arguments["formula"] = self.formula
        return arguments

    # The engine's view

    @property
    def _random(self) -> RandomPart:
        return RandomPart(self._groups, self._group_name, self.exog_re, self.data.exog_re_names, self._components)

    def _build(self, structure: Structure) -> tuple[Problem, Layout]:
        """Return the problem of a covariance structure, and where its parameters stand."""
        factors, layout = build_random(self._random, structure)
        text = self.data.formula or f"{self.endog_names} ~ {' + '.join(self.exog_names) or '0'}"
        design: Design = build_design(
            text,
            self.endog_names,
            self.endog,
            self.exog,
            self.exog_names,
            factors,
            ModelRecipe(self, factors, layout),
            self._rows,
            self._n_rows,
        )
        return Problem(replace(design, columns=self._columns)), layout

    @cached_property
    def _columns(self) -> dict[str, Column]:
        """Data columns of a formula's fixed part, for what is asked by terms; none if it has names that lmer lacks."""
        formula, frame = self._formula_recipe, self.data.frame
        if formula is None or frame is None or len(formula.columns) < len(formula.fixed.column_names):
            return {}
        if names_used([self.formula]) & ({"Q", *self._context} - {"np", *frame.columns}):
            return {}
        read = open_frame(with_booleans(frame, formula.fixed.factors)).read
        return {name: read(name) for name in map(str, formula.fixed.required_variables) if name in frame}

    @property
    def _full_structure(self) -> Structure:
        """One block for all random coefficients, and every component."""
        return Structure((tuple(range(self.k_re)),) if self.k_re else (), tuple(range(self.k_vc)))

    @cached_property
    def _unstructured(self) -> tuple[Problem, Layout]:
        """The problem of the full structure, and where its parameters stand."""
        return self._build(self._full_structure)

    def _likelihood(self, reml: bool | None, params: object = None) -> Likelihood:
        """Return the likelihood: of the fit that the parameters come from, unless the caller says which."""
        if reml is None:
            reml = getattr(params, "reml", None)
        problem, layout = self._unstructured
        return Likelihood(problem, layout, self.reml if reml is None else reml)

    def _read_params(self, params: Any, has_fe: bool) -> MixedLMParams:
        if isinstance(params, MixedLMParams):
            return params
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
        fixed = None if profile_fe else chosen.fe_params
        return likelihood.value(chosen.cov_re, chosen.vcomp, fixed)

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
        chosen = self._read_params(params, has_fe=False)
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
        fixed, packed = self._likelihood(reml, params).score(chosen.cov_re, chosen.vcomp, chosen.fe_params)
        return fixed if calc_fe else np.zeros(self.k_fe), packed[: self.k_re2], packed[self.k_re2 :]

    def score_sqrt(
        self, params: Any, calc_fe: bool = True, *, reml: bool | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Return ``score_full`` in the Cholesky factor of the covariances and the roots of the components."""
        chosen = self._read_params(params, has_fe=False)
        fixed, covariances, components = self.score_full(chosen, calc_fe, reml=reml)
        roots = chosen.get_packed(use_sqrt=True)
        L = np.zeros((self.k_re, self.k_re))
        L[chosen._ix] = roots[: self.k_re2]
        S = np.zeros_like(L)
        S[chosen._ix] = covariances
        by_root = np.tril((S + S.T) @ L)
        return fixed, by_root[chosen._ix], 2 * components * roots[self.k_re2 :]

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
        return likelihood.hessian(chosen.cov_re, chosen.vcomp, chosen.fe_params)

    def information(self, params: Any, *, reml: bool | None = None) -> Floats:
        """Return minus the ``hessian``."""
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
        return self._likelihood(None).solve(covariance, components).beta, bool(smallest < tol)

    def get_scale(
        self, fe_params: npt.ArrayLike, cov_re: npt.ArrayLike, vcomp: npt.ArrayLike, *, reml: bool | None = None
    ) -> float:
        """Return the residual variance that maximises the likelihood at some fixed effects and ratios."""
        covariance, components = self._as_covariances(cov_re, vcomp)
        return self._likelihood(reml).scale(covariance, components, np.asarray(fe_params, dtype=np.float64))

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
        return em_steps(self._likelihood(reml, params), self._read_params(params, has_fe=False), n_iter)

    def steepest_ascent(self, params: Any, n_iter: int = 1, *, reml: bool | None = None) -> MixedLMParams:
        """Return the parameters after some steps of steepest ascent in the roots of the covariances.

        Parameters
        ----------
        params, n_iter, reml
            As for ``EM``.
        """
        return steepest_ascent(self._likelihood(reml, params), self._read_params(params, has_fe=False), n_iter)

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
        fixed = params.fe_params if isinstance(params, MixedLMParams) else read_numbers("params", params)
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
        return Distribution(self, params, scale, exog)

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
            ``maxiter, gtol, ftol, tol, eps, maxcor, maxls, disp`` of the optimiser.

        Warns
        -----
        ConvergenceWarning, SingularFitWarning
            If the fit did not converge, or a covariance is singular.
        """
        return fit_model(
            self,
            start_params=start_params,
            reml=reml,
            niter_sa=niter_sa,
            niter_em=niter_em,
            do_cg=do_cg,
            fe_pen=fe_pen,
            cov_pen=cov_pen,
            free=free,
            full_output=full_output,
            method=method,
            fixed=fixed,
            options=fit_kwargs,
        )

    def _quiet_fit(self, **arguments: Any) -> MixedLMResults:
        """Return a fit whose warnings nobody asked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.fit(**arguments)

    def _with_response(self, y: Floats) -> MixedLM:
        """Return the same model of another response."""
        if y.shape != self.endog.shape:
            raise DataError(f"The new response has shape {y.shape}; the model has {self.nobs} rows.")
        other = copy(self)
        other.endog = np.ascontiguousarray(y, dtype=np.float64)
        other.__dict__.pop("_unstructured", None)
        return other

    def fit_regularized(
        self,
        start_params: Any = None,
        method: Any = "l1",
        alpha: Any = 0,
        ceps: float = 1e-4,
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
        return fit_regularized(
            self,
            start_params=start_params,
            method=method,
            alpha=alpha,
            ceps=ceps,
            ptol=ptol,
            maxit=maxit,
            L1_wt=L1_wt,
            options=fit_kwargs,
        )

    def regularization_path(self, alphas: npt.ArrayLike, method: str = "l1", **kwargs: Any) -> RegularizationPath:
        """Return penalised fixed effects over weights of the penalty; one fit of the covariances serves all.

        Parameters
        ----------
        alphas
            Weights, largest first or in any order.
        method, **kwargs
            As for ``fit_regularized``.
        """
        from mixedmodels.mixedlm.fitting.regularized import regularization_path

        return regularization_path(self, read_numbers("alphas", alphas), method, kwargs)

    def __repr__(self) -> str:
        return f"<MixedLM: {self.endog_names}; {self.nobs} observations in {self.n_groups} groups>"


def _check_missing(missing: str) -> None:
    if missing not in MISSING:
        raise DataError(f"missing={missing!r} is not one of {', '.join(MISSING)}.{nearest(str(missing), MISSING)}")


def _formulas(formula: Any, re_formula: Any, vc_formula: Any) -> list[str]:
    """Return all formulas of a model.

    Raises
    ------
    DataError
        If one is no text, or those of the components are no mapping.
    """
    if not isinstance(vc_formula or {}, Mapping):
        raise DataError(
            f"vc_formula is {vc_formula!r}; it must be a mapping from names to formulas, such as "
            "{'cask': '0 + C(cask)'}."
        )
    texts = {"formula": formula, "re_formula": re_formula}
    texts |= {f"vc_formula[{name!r}]": text for name, text in (vc_formula or {}).items()}
    if re_formula is None:
        del texts["re_formula"]
    for name, text in texts.items():
        check_text(name, text)
    return [text for text in texts.values() if text]


def _check_specification(spec: Any) -> None:
    if not isinstance(spec, VCSpec):
        raise DataError(f"exog_vc is {spec!r}; it must be a VCSpec, or a mapping exog_vc[name][group] of designs.")


def _rows_of(values: npt.NDArray[Any], rows: npt.NDArray[np.intp] | None) -> npt.NDArray[Any]:
    return values if rows is None else values[rows]


def _missing_message(where: str, gaps: npt.NDArray[np.bool_], missing: str) -> str:
    return (
        f"{where!r} has missing values: {np.count_nonzero(gaps)} of {len(gaps)} rows are incomplete, the first is row "
        f"{gaps.argmax()} (counted from 0), and missing={missing!r}. Pass missing='drop' to leave them out."
    )


def _complete_rows(y: Table, X: Table, Z: Table | None, groups: Groups, missing: str) -> npt.NDArray[np.intp] | None:
    parts = [("endog", y.values), ("exog", X.values), *([] if Z is None else [("exog_re", Z.values)])]
    gaps, where = missing_rows(parts)
    without_group = groups.codes < 0
    if not gaps.any() and not without_group.any():
        return None
    gaps |= without_group
    if missing != "drop":
        raise DataError(_missing_message(where or "groups", gaps, missing))
    return np.flatnonzero(~gaps)


def _take_rows(spec: VCSpec, groups: Groups, rows: npt.NDArray[np.intp]) -> VCSpec:
    """Return the specification for some rows, none of them without a group; groups without rows are left out.

    Raises
    ------
    DataError
        If a design does not have the rows of its group.
    """
    if not spec.names:
        return spec
    check_sizes(spec, groups.labels, groups.sizes_of_known())
    known = np.flatnonzero(groups.codes >= 0)
    place = np.zeros(len(groups.codes), dtype=np.intp)  # of a row in its group
    for its_rows in np.split(known[np.argsort(groups.codes[known], kind="stable")], _ends(groups.sizes_of_known())):
        place[its_rows] = np.arange(len(its_rows))
    chosen = [(int(groups.codes[its[0]]), place[its]) for its in (rows[k] for k in groups.take(rows).split())]
    mats = [[_as_rows_of(its[group])[places] for group, places in chosen] for its in spec.mats]
    return VCSpec(spec.names, [[its[group] for group, _ in chosen] for its in spec.colnames], mats)


def _ends(sizes: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.cumsum(sizes)[:-1]


def _as_rows_of(mat: Any) -> Any:
    return mat.tocsr() if hasattr(mat, "tocsr") else np.asarray(mat)


def _effect_names(Z: Table | None, given: Any, spec: VCSpec) -> list[str]:
    if Z is None:
        return [] if spec.names else ["Group Var"]
    if Z.names is not None:
        return Z.names
    if isinstance(given, pd.Series):
        return ["Unnamed"]
    return [f"x_re{j + 1}" for j in range(Z.values.shape[1])]


def _caller_names(texts: list[str], eval_env: int) -> dict[str, Any]:
    """Return what the names in formulas stand for in the frame that called ``from_formula``."""
    frame = sys._getframe(2 + eval_env)
    used = names_used(texts)
    return {
        name: scope[name] for scope in (frame.f_builtins, frame.f_globals, frame.f_locals) for name in used & set(scope)
    }


def _read_frame(data: Any) -> tuple[pd.DataFrame, pd.Index]:
    """Return the data with rows numbered from 0, and their labels."""
    if isinstance(data, Mapping):
        data = pd.DataFrame(dict(data))
    elif not isinstance(data, pd.DataFrame):
        frame = nw.from_native(data, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            raise DataError(f"data must be a DataFrame, an arrow table or a mapping, not {type(data).__name__!r}.")
        data = frame.to_pandas()
    if not len(data):
        raise DataError("The data have no rows.")
    return data.reset_index(drop=True), data.index


def _group_values(groups: Any, frame: pd.DataFrame) -> tuple[str, npt.NDArray[Any]]:
    if not isinstance(groups, str):
        values = label_array(groups)
        if isinstance(groups, list | tuple) and set(map(str, groups)) <= set(map(str, frame.columns)):
            raise DataError(
                f"groups names {len(groups)} columns. Name one; combine several into one column, or pass the finer "
                "ones as variance components (vc_formula)."
            )
        if not values.ndim:
            raise DataError(f"groups is {groups!r}; name a column, or pass one label for each row.")
        if len(values) != len(frame):
            raise DataError(f"groups has {len(values)} labels, but the data have {len(frame)} rows.")
        return "Group", values
    if groups not in frame.columns:
        listed = ", ".join(map(str, frame.columns[:20]))
        raise DataError(
            f"There is no column {groups!r} for groups.{nearest(groups, frame.columns)} The columns are: {listed}."
        )
    return groups, np.asarray(frame[groups])


def _chosen_rows(
    frame: pd.DataFrame,
    labels: pd.Index,
    groups: npt.NDArray[Any],
    subset: Any,
    missing: str,
    texts: list[str],
    exog_re: Any,
) -> npt.NDArray[np.intp] | None:
    """Return the rows of the subset without missing values, or None for all.

    Raises
    ------
    DataError
        If the subset does not fit the data, or values are missing and may not be.
    """
    rows = None if subset is None else _subset_rows(subset, labels)
    used = [name for name in frame.columns if name in names_used(texts)]
    gaps = frame[used].isna().any(axis=1).to_numpy()
    if groups.ndim == 1:
        gaps = gaps | pd.isna(groups)
    if exog_re is not None:
        gaps = gaps | np.isnan(read_table("exog_re", exog_re).values).any(axis=1)
    if rows is not None:
        gaps = gaps[rows]
    if not gaps.any():
        return rows
    if missing != "drop":
        first = next((name for name in used if frame[name].isna().any()), "groups")
        raise DataError(_missing_message(str(first), gaps, missing))
    kept = np.flatnonzero(~gaps)
    if not len(kept):
        raise DataError("Every row has a missing value.")
    return kept if rows is None else rows[kept]


def _subset_rows(subset: Any, labels: pd.Index) -> npt.NDArray[np.intp]:
    chosen = np.asarray(subset)
    if not chosen.ndim:
        raise DataError(
            f"subset is {subset!r}; pass one boolean for each row, such as data['x'] > 0, or labels of the index."
        )
    if chosen.dtype == bool:
        if chosen.shape != (len(labels),):
            raise DataError(f"subset has {len(chosen)} booleans, but the data have {len(labels)} rows.")
        rows = np.flatnonzero(chosen)
    else:
        found = labels.get_indexer_for(pd.Index(chosen))
        if (found < 0).any():
            raise DataError(f"subset names {chosen[int(np.argmin(found))]!r}, which is not in the index of the data.")
        rows = found.astype(np.intp)
    if not len(rows):
        raise DataError("subset leaves no rows.")
    return rows


def _evaluate(
    formula: str, re_formula: str | None, frame: pd.DataFrame, context: Context
) -> tuple[Part, Part, Part | None]:
    formulas = Formulas(frame, context)
    response, fixed = formulas.two_sided(formula)
    return response, fixed, None if re_formula is None else formulas.one_sided(re_formula)


def _without(part: Part, drop_cols: Any) -> tuple[Part, tuple[int, ...]]:
    """Return the part without some columns, and the positions of the others."""
    dropped = [] if drop_cols is None else list(drop_cols) if np.ndim(drop_cols) else [drop_cols]
    for name in dropped:
        if name not in part.names:
            raise DataError(
                f"drop_cols names {name!r}, which is no column of the fixed part.{nearest(name, part.names)} There "
                f"are: {', '.join(part.names)}."
            )
    kept = tuple(j for j, name in enumerate(part.names) if name not in dropped)
    if len(kept) == len(part.names):
        return part, kept
    return Part(np.ascontiguousarray(part.values[:, kept]), [part.names[j] for j in kept], part.spec), kept


def _given_components(exog_vc: Any, groups: Groups, rows: npt.NDArray[np.intp] | None) -> VCSpec:
    """Return the specification given for all rows of the data at the rows that are used."""
    spec = from_mapping(exog_vc, groups.labels) if isinstance(exog_vc, Mapping) else exog_vc
    _check_specification(spec)
    return spec if rows is None else _take_rows(spec, groups, rows)


def _random_part(
    random: Part | None,
    re_formula: str | None,
    exog_re: Any,
    rows: npt.NDArray[np.intp] | None,
    group_name: str,
    n_rows: int,
    vc: object,
) -> tuple[Table | None, list[str]]:
    """Return the random coefficients' columns and names."""
    if random is not None:
        names = [name.replace("Intercept", group_name) for name in random.names]
        return Table(random.values, names, None), names
    if exog_re is not None:
        table = read_table("exog_re", exog_re)
        if rows is not None and len(table.values) != n_rows:
            table = table.take(rows)
        return table, table.names or [f"x_re{j + 1}" for j in range(table.values.shape[1])]
    if vc:
        return None, []
    return Table(np.ones((n_rows, 1)), [group_name], None), [group_name]
