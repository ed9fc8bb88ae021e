"""Fits of many responses to one model, as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.plain_values import Kept
from mixedmodels.inference.approximation import RowEstimates
from mixedmodels.inference.multiplicity import NAMES, OF_P, adjusted_p
from mixedmodels.inference.variance_parameter import VarianceParameter
from mixedmodels.inference.variance_parameters import variance_name
from mixedmodels.inference.wald import COLUMNS, check_level, row_values
from mixedmodels.interrupted import warns_if_interrupted
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats

RESPONSES = "fit of many responses"
"""What files of them hold."""

DDF = ("satterthwaite", "residual", "normal")
ADJUSTMENTS = tuple(name for name in NAMES if name in OF_P)
SCALES = ("sd", "variance")


@dataclass(frozen=True, repr=False)
class ManyResponses:
    """Fits of many responses to one model. It prints its ``table``.

    Numbers are nan where there is no fit, or where rows without missing values leave a coefficient nothing to be
    estimated from.

    Attributes
    ----------
    formula
        The formula, which has no response.
    reml
        Whether they are fits by REML.
    responses
        Names of all responses that were asked for; those that are done are the first.
    terms
        Names of the fixed effects.
    parameters
        The variance parameters.
    estimate, std_error, df
        Of the fixed effects, (n_done, n_terms), by Satterthwaite's method.
    varcorr
        Standard deviations and correlations, sigma last, (n_done, n_parameters).
    deviance
        -2 log-likelihood (REML criterion under REML), (n_done,).
    nobs, n_fixed, n_params
        Rows used, fixed effects and parameters estimated, (n_done,).
    converged, singular
        (n_done,).
    note
        Why there is no fit, or what was found; one text a response.
    remarks
        What is to be known of all of them.
    """

    formula: str
    reml: bool
    responses: pd.Index
    terms: tuple[str, ...]
    parameters: tuple[VarianceParameter, ...]
    estimate: Floats
    std_error: Floats
    df: Floats
    varcorr: Floats
    deviance: Floats
    nobs: npt.NDArray[np.int64]
    n_fixed: npt.NDArray[np.int64]
    n_params: npt.NDArray[np.int64]
    converged: npt.NDArray[np.bool_]
    singular: npt.NDArray[np.bool_]
    note: tuple[str, ...]
    remarks: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.deviance)

    @property
    def notes(self) -> list[str]:
        """What whoever uses the numbers is to know."""
        if len(self) == len(self.responses):
            return []
        return [f"lmer_many was interrupted: {len(self)} of {len(self.responses)} responses are done."]

    @property
    def is_fitted(self) -> npt.NDArray[np.bool_]:
        """Which responses have a fit, (n_done,)."""
        return np.asarray(~np.isnan(self.deviance))

    @property
    def failures(self) -> pd.Series[str]:
        """Why responses have no fit, by their names."""
        failed = ~self.is_fitted
        return pd.Series(
            np.array(self.note, dtype=object)[failed], index=self._labels[failed], name="note", dtype=object
        )

    @property
    def table(self) -> pd.DataFrame:
        """A row a response, with the columns of ``glance`` and ``note``, why there is no fit or what was found."""
        deviance, k, n = self.deviance, self.n_params.astype(float), self.nobs.astype(float)
        rest = n - k - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            aicc = np.where(rest > 0, deviance + 2 * k + 2 * k * (k + 1) / rest, np.inf)
        columns = {
            "nobs": self._where_fitted(self.nobs),
            "sigma": self.varcorr[:, -1],
            "llf": -0.5 * deviance,
            "deviance": deviance,
            "aic": deviance + 2 * k,
            "bic": deviance + k * np.log(np.maximum(n, 1)),
            "aicc": np.where(self.is_fitted, aicc, np.nan),
            "df_model_total": self._where_fitted(self.n_params),
            "df_resid": self._where_fitted(self.nobs - self.n_fixed),
            "reml": self.reml,
            "converged": pd.arrays.BooleanArray(self.converged.copy(), ~self.is_fitted),
            "is_singular": pd.arrays.BooleanArray(self.singular.copy(), ~self.is_fitted),
            "note": list(self.note),
        }
        return self._noted(pd.DataFrame(columns, index=self._labels))

    @refuses_unknown
    @warns_if_interrupted
    def coef_table(self, ddf: str = "satterthwaite", level: float = 0.95, adjust: str = "none") -> pd.DataFrame:
        """Return the fixed effects of all responses below one another, a row a response and coefficient.

        Parameters
        ----------
        ddf
            ``"satterthwaite"``, ``"residual"`` or ``"normal"``, as for a fit's ``coef_table``.
        level
            Coverage of the intervals, each by itself.
        adjust
            ``"fdr"`` (Benjamini and Hochberg 1995), ``"holm"``, ``"bonferroni"`` or ``"sidak"``: p-values are adjusted
            too, in a column ``p_value_adjusted``, each coefficient by itself over the responses that have a fit.

        Returns
        -------
        pandas.DataFrame
            The columns of a fit's ``coef_table`` and ``note``, indexed by ``response`` and ``term``.

        Raises
        ------
        InferenceError
            If an argument is not allowed.

        Warns
        -----
        PartialResultWarning
            If the work was interrupted.
        """
        check_level(level)
        _check("ddf", ddf, DDF, " Others need the fit of one response: ask mm.lmer, or mm.fit_many for several.")
        _check("adjust", adjust, ADJUSTMENTS)
        rows = RowEstimates(self.estimate.ravel(), self.std_error.ravel(), self._df(ddf).ravel())
        index = pd.MultiIndex.from_product([self._labels, pd.Index(self.terms, dtype=object, name="term")])
        table = pd.DataFrame(row_values(rows, level), index=index, columns=COLUMNS)
        if adjust != "none":
            place = list(COLUMNS).index("p_value") + 1
            table.insert(place, "p_value_adjusted", self._adjusted(adjust, table))
        table["note"] = np.repeat(np.array(self.note, dtype=object), len(self.terms))
        how = () if adjust == "none" else (_adjusted_by(adjust),)
        return self._noted(table, *how)

    @refuses_unknown
    @warns_if_interrupted
    def variance_parameters(self, scale: str = "sd") -> pd.DataFrame:
        """Return the variance parameters, a row a response and a column a parameter, sigma last, and ``note``.

        Parameters
        ----------
        scale
            ``"sd"``: standard deviations and correlations; ``"variance"``: variances and covariances.

        Raises
        ------
        InferenceError
            If the scale is none of these.

        Warns
        -----
        PartialResultWarning
            If the work was interrupted.
        """
        _check("scale", scale, SCALES)
        names = [parameter.name for parameter in self.parameters]
        values = self.varcorr
        if scale == "variance":
            values = np.stack([self._squared(parameter) for parameter in self.parameters], axis=1)
            names = [variance_name(name) for name in names]
        return self._noted(pd.DataFrame(values, index=self._labels, columns=names).assign(note=list(self.note)))

    @property
    def _labels(self) -> pd.Index:
        return self.responses[: len(self)].rename("response")

    def _df(self, ddf: str) -> Floats:
        if ddf == "satterthwaite":
            return self.df
        known = np.where(np.isnan(self.estimate), np.nan, 1.0)
        return known * (np.inf if ddf == "normal" else (self.nobs - self.n_fixed)[:, None])

    def _adjusted(self, adjust: str, table: pd.DataFrame) -> Floats:
        statistic = table["statistic"].to_numpy().reshape(self.estimate.shape)
        df = table["df"].to_numpy().reshape(self.estimate.shape)
        out = np.full(self.estimate.shape, np.nan)
        for j in range(len(self.terms)):
            known = ~np.isnan(statistic[:, j] + np.where(np.isinf(df[:, j]), 0.0, df[:, j]))
            if known.any():
                out[known, j] = adjusted_p(adjust, statistic[known, j], df[known, j], None)
        return out.ravel()

    def _squared(self, parameter: VarianceParameter) -> Floats:
        """Return a variance or covariance of each response; a covariance with an effect that is zero is zero."""
        at = {(p.factor, p.row, p.column): self.varcorr[:, j] for j, p in enumerate(self.parameters)}
        k, row, column = parameter.factor, parameter.row, parameter.column
        value = at[k, row, column]
        if parameter.kind != "cor":
            return value**2
        scale = at[k, row, row] * at[k, column, column]
        return np.asarray(np.where(scale == 0, 0.0, value * scale))

    def _where_fitted(self, counts: npt.NDArray[np.int64]) -> pd.api.extensions.ExtensionArray:
        return pd.arrays.IntegerArray(counts.copy(), ~self.is_fitted)

    def _noted(self, table: pd.DataFrame, *more: str) -> pd.DataFrame:
        n_failed = int(np.count_nonzero(~self.is_fitted))
        failed = (f"Responses without a fit: {n_failed} of {len(self)}; why is in their note.",) if n_failed else ()
        table.attrs["notes"] = (*self.remarks, *failed, *more, *self.notes)
        return show_notes(table)

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        html: str = self.table._repr_html_()  # type: ignore[operator]  # a NotedFrame has it
        return html


KEPT = (Kept(ManyResponses), Kept(VarianceParameter))
"""How files keep them."""


def _check(name: str, value: str, allowed: tuple[str, ...], more: str = "") -> None:
    if value not in allowed:
        listed = ", ".join(f'"{each}"' for each in allowed)
        raise InferenceError(
            f"{name}={value!r} is not available here; it must be one of {listed}.{nearest(str(value), allowed)}{more}"
        )


def _adjusted_by(adjust: str) -> str:
    return (
        f"p_value_adjusted is by {NAMES[adjust]}, over the responses that have a fit, each term by itself; intervals "
        "are not adjusted."
    )
