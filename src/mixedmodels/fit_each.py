"""One regression a level of a grouping factor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mixedmodels.design.build import build_design
from mixedmodels.display.level_fits import describe, describe_html
from mixedmodels.fit.call import check_evaluation, snapshot
from mixedmodels.formula.grouped import parse_grouped
from mixedmodels.inference.level_fits import LevelFits, fit_levels
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown


class EachFit(LevelFits):
    """Regressions of the rows of each level, which print and can be drawn.

    Attributes
    ----------
    formula, group
        As given, and the grouping factor in it.
    coef
        Coefficients, level x coefficient; missing where the rows of a level do not determine one.
    levels
        By level: ``n_obs``, ``df_resid``, ``sigma`` (the level's own, missing without degrees of freedom) and ``note``,
        what could not be estimated and why, empty where all could.
    sigma, df_resid
        The pooled residual standard deviation, and its degrees of freedom.
    unscaled
        Standard errors over the residual standard deviation, in the shape of ``coef``.
    """

    def plot(self, **arguments: Any) -> Any:
        """Draw the coefficients of each level with their intervals.

        Parameters
        ----------
        **arguments
            Of ``mixedmodels.plot.level_intervals``: ``which, pool, level, ax``.
        """
        from mixedmodels.plot.level_intervals import level_intervals  # noqa: PLC0415  # few are drawn

        return level_intervals(self, **arguments)

    def __repr__(self) -> str:
        return describe(self)

    def _repr_html_(self) -> str:
        return describe_html(self)


@refuses_unknown
def fit_each(
    formula: str,
    data: object,
    *,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
) -> EachFit:
    """Return one least-squares regression for each level of a grouping factor, as a first look before a mixed model.

    Categories, polynomials and splines have the same columns in all levels, so that coefficients compare. A level whose
    rows do not determine a coefficient keeps its row, with the reason.

    Parameters
    ----------
    formula
        Such as ``"Reaction ~ Days | Subject"``: the regression, a bar, and the grouping factor, which may be ``a:b``.
    data, weights, offset, contrasts, missing, evaluate
        As for ``lmer``.

    Returns
    -------
    EachFit
        ``.coef`` (level x coefficient), ``.levels`` (rows, degrees of freedom, own sigma, note), ``.sigma`` and
        ``.df_resid`` of all levels pooled, ``.coef_table(pool=True)`` and ``.plot()``.

    Raises
    ------
    MixedModelsError
        If the formula or the data cannot be used.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> each = mm.fit_each("Reaction ~ Days | Subject", mm.load_dataset("sleepstudy"))
    >>> each.coef.loc["308"].round(2).to_dict()
    {'Intercept': 244.19, 'Days': 21.76}
    >>> round(each.sigma, 3), each.df_resid
    (25.592, 144)
    """
    parsed = parse_grouped(formula)
    check_evaluation(parsed, evaluate, contrasts)
    data = snapshot(data)
    design = build_design(
        parsed, data, weights=weights, offset=offset, contrasts=contrasts, missing=missing, planned=True
    )
    fits = fit_levels(design, data)
    return EachFit(**vars(replace(fits, formula=formula, levels=show_notes(fits.levels))))
