"""A fit as the Python package marginaleffects knows models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.absorbed import refuse_absorbed
from mixedmodels.design.fixed_terms import WITHOUT_COLUMNS
from mixedmodels.errors import InferenceError, MixedModelsError, pip_install
from mixedmodels.families.ordinal import NO_MEAN, Ordinal
from mixedmodels.inference.degrees import approximation, wald_tests
from mixedmodels.inference.link_scale import link_view
from mixedmodels.inference.reference_grid import predictors
from mixedmodels.inference.wald import t_quantile, two_sided_p

if TYPE_CHECKING:
    from collections.abc import Callable

    from mixedmodels.design.frame import Column
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.fit.records import FixedFit
    from mixedmodels.inference.approximation import Approximation

COLUMNS = {
    "term": "Term",
    "contrast": "Contrast",
    "estimate": "Estimate",
    "std_error": "Std.Error",
    "df": "Df",
    "statistic": "t",
    "p_value": "P(>|t|)",
}
"""Order and headings of a result with degrees of freedom, in marginaleffects' words."""

PACKAGES = ('"marginaleffects>=0.6"', '"polars>=1.42.1,<2"')
"""Versions that go together, quoted for a shell: the extra ``interop``."""


def adapt(
    state: FixedFit,
    ddf: str | Approximation = "satterthwaite",
    mean: Callable[[Floats], Floats] | None = None,
) -> Any:
    """Return a model for marginaleffects' functions, with predictions of the population: X beta, or a mean there.

    Parameters
    ----------
    state
        The fit.
    ddf
        Covariance and degrees of freedom, as for ``degrees.approximation``.
    mean
        The mean of a response at a linear predictor; None where it is the predictor.

    Returns
    -------
    marginaleffects.classes.model.ModelAbstract
        marginaleffects has one number of degrees of freedom for all rows; it gets the smallest of the fixed effects.
        ``.with_df(result)`` gives each row of a result its own. Its differences for average slopes hold three digits
        with its own step; predictions are linear in beta, so that ``eps_vcov=1.0`` makes them exact.

    Raises
    ------
    MixedModelsError
        If marginaleffects or polars is not installed.
    InferenceError
        If ``ddf`` does not apply, the fit does not hold its predictors, has an offset, or has no fixed effects.
    """
    refuse_absorbed(state.design.absorbed, "to_marginaleffects()")
    try:
        import polars as pl  # noqa: PLC0415 - an optional package
        from marginaleffects.classes.model import ModelAbstract, ModelVault  # noqa: PLC0415
        from marginaleffects.classes.result import MarginaleffectsResult  # noqa: PLC0415
    except ImportError as error:
        raise MixedModelsError(
            "to_marginaleffects needs the packages marginaleffects and polars. Install versions that go together with: "
            f"{pip_install(*PACKAGES)}"
        ) from error
    if state.design.offset is not None:
        raise InferenceError(
            "marginaleffects knows no offsets, and this fit has one. Use margins() and contrast(), or fit without it."
        )
    if state.n_fixed == 0:
        raise InferenceError("marginaleffects works on fixed effects, and this fit has none.")
    method = approximation(state, ddf)
    names = predictors(state.design)

    class MixedModel(ModelAbstract):  # type: ignore[misc]  # marginaleffects has no types
        """The fixed part of a mixed model."""

        df_resid = float(np.min(method.row_df(np.eye(state.n_fixed))))

        def validation(self) -> None:
            """Set the kinds of the variables; the model was checked when it was fitted."""
            self.vault.variables_type = {name: _kind(state.design.columns[name]) for name in names}

        def get_vcov(self, vcov: object = True) -> Floats | None:
            """Return the covariance of the fixed effects, or None for False."""
            if isinstance(vcov, str):
                raise InferenceError(
                    f"vcov={vcov!r} is not read here; choose the covariance with to_marginaleffects(ddf={vcov!r})."
                )
            return method.covariance if vcov else None

        def get_autodiff_args(self) -> dict[str, str | None] | None:
            """Say that predictions are linear in the coefficients, so that their derivatives are exact, if they are."""
            return {"model_type": "linear", "family": None, "link": None} if mean is None else None

        def get_exog(self, newdata: Any) -> Floats:
            """Return the fixed columns of new rows, (n_rows, n_fixed)."""
            return state.design.recipe.fixed_matrix(newdata.select(names).to_pandas())[:, list(state.kept)]

        def get_predict(self, params: Floats, newdata: Floats) -> Any:
            """Return X beta of rows from ``get_exog``, or the mean there."""
            estimate = newdata @ params if mean is None else mean(newdata @ params)
            rows = pl.Series(np.arange(len(estimate)), dtype=pl.Int32)
            return pl.DataFrame({"rowid": rows, "estimate": estimate})

        def with_df(self, result: Any) -> Any:
            """Return a result with each row's own degrees of freedom: statistic, p-value and interval by Student's t.

            Raises
            ------
            InferenceError
                If the result has no standard errors, or was transformed.
            """
            if result.jacobian is None or "std_error" not in result.data.columns:
                raise InferenceError(
                    "with_df needs a result with standard errors: call marginaleffects without vcov=False and without "
                    "transform."
                )
            table = result.data
            df = method.row_df(np.asarray(result.jacobian))
            half = t_quantile(df, 0.5 + result.conf_level / 2) * table["std_error"].to_numpy()
            p_value = two_sided_p(df, table["statistic"].to_numpy())
            estimate = table["estimate"].to_numpy()
            changed = {"df": df, "p_value": p_value, "s_value": -np.log2(p_value)}
            changed |= {"conf_low": estimate - half, "conf_high": estimate + half}
            return MarginaleffectsResult(
                table.with_columns(**{name: pl.Series(values) for name, values in changed.items()}),
                by=result.by,
                conf_level=result.conf_level,
                jacobian=result.jacobian,
                newdata=result,
                mapping=COLUMNS,
            )

    missing = [name for name in names if name not in state.design.columns]
    if missing:
        raise InferenceError(f"marginaleffects needs the data column {missing[0]!r}, which {WITHOUT_COLUMNS}.")
    data = {name: state.design.columns[name] for name in names}
    frame = {
        name: pl.Series(c.to_series().astype(str).to_numpy(), dtype=pl.Enum([str(v) for v in c.levels]))
        if c.levels is not None
        else pl.Series(c.values)
        for name, c in data.items()
    }
    vault = ModelVault(
        coef=state.beta.copy(),
        coefnames=np.array(state.fixed_names),
        modeldata=pl.DataFrame({state.design.response_name: state.design.y, **frame}),
        variable_names=[state.design.response_name, *names],
        package="mixedmodels",
    )
    return MixedModel(state, vault)


def adapt_generalized(state: GlmmState, scale: str = "response") -> Any:
    """Return a model for marginaleffects' functions, with means of a level without random effects; normal tests.

    Parameters
    ----------
    state
        The fit.
    scale
        ``"response"``, or ``"link"`` for the linear predictor.

    Raises
    ------
    MixedModelsError, InferenceError
        As for `adapt`, and if there is no such scale or the responses have no mean of that kind.
    """
    if isinstance(state.family, Ordinal):
        raise InferenceError(NO_MEAN)
    link_view(state, scale, "population", is_comparison=False)  # which says what it cannot be asked
    return adapt(state, wald_tests(state), None if scale == "link" else state.fitted_family.mean)


def _kind(column: Column) -> str:
    """Return what marginaleffects calls the type of a variable."""
    if column.levels is not None:
        return "character"
    if column.values.dtype.kind == "b":
        return "boolean"
    if np.isin(column.values, (0, 1)).all():
        return "binary"
    return "integer" if column.values.dtype.kind in "iu" else "numeric"
