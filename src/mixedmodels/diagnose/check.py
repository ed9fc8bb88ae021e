"""Everything worth checking after a fit, in one short table with plain advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import special

from mixedmodels.diagnose.deleted_linear import DeletedLinear
from mixedmodels.diagnose.influence import influence, label_text
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.diagnose.vif import estimated_terms, vif
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.fit.sampled_fit import refuse_sampled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mixedmodels.design.records import Floats
    from mixedmodels.diagnose.influence import Deletable
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit

FEW_LEVELS = 5
STRONG_INFLATION = 10.0
FAR_OUT = 4.0
EXPECTED_FAR = 3e-4
"""Share of residuals beyond it that is no reason to look: five times that of a normal distribution."""
SOLID_P = 0.001
MUCH_SKEW = 1.0
LARGE_COOK = 1.0
CHEAP_DELETIONS = 2_000_000
"""Levels times rows up to which levels are left out one by one."""

Row = tuple[str, str, str, str]


def check(state: FitState) -> pd.DataFrame:
    """Return what was checked: ``verdict`` ("good" or "look"), ``found`` and ``advice``, one row a check.

    Convergence, singularity, number of levels, collinearity, residual shape, spread and outliers, shape of the random
    effects, and single rows or levels with much influence on the fixed effects. A "look" is a reason to look at a plot,
    not a verdict on the model.

    Parameters
    ----------
    state
        The fit.
    """
    refuse_sampled(state, "check()")
    is_absorbing = state.design.absorbed is not None
    found = table(
        [
            *of_optimum(state),
            *of_levels(state),
            *(() if is_absorbing else of_collinearity(state)),
            *of_residuals(residuals(state, "standardized"), "standardised"),
            *of_spread(residuals(state, "standardized"), conditional_fitted(state)),
            *of_effects(state),
            *(() if is_absorbing else _influence(state)),
        ]
    )
    if is_absorbing:
        found.attrs["notes"] = ("Collinearity and influence are not looked at where fixed effects are absorbed.",)
    return found


def table(rows: list[Row]) -> pd.DataFrame:
    """Return rows of checks as a table: ``verdict, found, advice`` by check."""
    return pd.DataFrame(rows, columns=["check", "verdict", "found", "advice"]).set_index("check")


def a_row(name: str, good: bool, found: str, advice: str) -> Row:
    """Return one row of the table; advice is for what is worth a look."""
    return name, "good" if good else "look", found, "" if good else advice


def of_optimum(state: FixedFit) -> Iterator[Row]:
    """Yield whether the optimiser ended well, and whether a covariance is singular."""
    optimum = state.optimum
    yield a_row(
        "convergence",
        optimum.converged,
        f"{optimum.status} after {optimum.n_iterations} iterations",
        "Do not use these estimates; try control=Control(n_starts=10) or a simpler model.",
    )
    yield a_row(
        "singularity",
        not state.is_singular,
        "a variance is zero or a correlation one" if state.is_singular else "all variances positive",
        "The data support fewer random effects; fixed effects stand. Consider (x || g) or leaving a term out.",
    )


def of_levels(state: MixedFit) -> Iterator[Row]:
    """Yield whether each grouping factor has enough levels."""
    for factor in state.design.factors:
        yield a_row(
            f"levels of {factor.name}",
            factor.n_levels > FEW_LEVELS,
            f"{factor.n_levels} levels",
            "A variance from so few levels is hardly known; consider a fixed effect, or profile intervals.",
        )


def of_collinearity(state: FixedFit) -> Iterator[Row]:
    """Yield whether terms carry the same information."""
    if len(estimated_terms(state)) < 2 or (worst := vif(state)["gvif_scaled"].round(8)).empty:  # equal ones: the first
        return
    largest = float(worst.max()) ** 2
    yield a_row(
        "collinearity",
        largest < STRONG_INFLATION,
        f"largest variance inflation {largest:.1f} ({worst.idxmax()})",
        "Its standard error is large because other terms carry the same information; leave one out, or join them.",
    )


ADVICE_ON_SHAPE = {
    "standardised": "Look at mm.plot.qq(fit); a log or root of the response may help.",
    "normalized": "Look at mm.plot.qq of fit.residuals('normalized'); a log or root of the response may help.",
    "quantile": "Look at fit.residuals('quantile') against what is in the model, and at another family or link.",
}
"""By kind of residual."""


def of_residuals(r: Floats, kind: str) -> Iterator[Row]:
    """Yield whether residuals of variance one are skewed or far out.

    Parameters
    ----------
    r
        (n_obs,).
    kind
        What they are, in words.
    """
    skew, far = float(skewness(r)), int(np.sum(np.abs(r) > FAR_OUT))
    yield a_row(
        "residual shape",
        abs(skew) < MUCH_SKEW,
        f"skewness {skew:.2f}" if kind == "standardised" else f"skewness of {kind} residuals {skew:.2f}",
        ADVICE_ON_SHAPE[kind],
    )
    yield a_row(
        "outliers",
        far <= round(EXPECTED_FAR * len(r)),
        f"{far} of {len(r)} {kind} residuals beyond {FAR_OUT:.0f}",
        "Look at these rows; fit without them to see whether they matter.",
    )


def of_spread(r: Floats, fitted: Floats) -> Iterator[Row]:
    """Yield whether the spread of residuals goes with the fitted values.

    Parameters
    ----------
    r
        Residuals of variance one, (n_obs,).
    fitted
        Fitted values, (n_obs,).
    """
    rho, p = _rank_correlation(np.abs(r), fitted)
    yield a_row(
        "constant spread",
        not (p < SOLID_P and abs(rho) > 0.1),
        f"rank correlation of spread with fitted values {rho:.2f}",
        "Look at mm.plot.scale_location(fit); a transformation or weights may help.",
    )


def _rank_correlation(a: Floats, b: Floats) -> tuple[float, float]:
    """Return Spearman's rank correlation and its two-sided p-value by Student's t."""
    ranks = np.array([pd.Series(x).rank() for x in (a, b)])
    if not np.ptp(ranks, axis=1).all():
        return 0.0, 1.0
    rho, df = float(np.corrcoef(ranks)[0, 1]), len(a) - 2
    t = abs(rho) * np.sqrt(df / max(1 - rho**2, 1e-300))
    return rho, float(2 * special.stdtr(df, -t))


def skewness(x: Floats) -> Floats:
    """Return the third standardised moment of each column."""
    centred = x - x.mean(axis=0)
    centred = centred / np.abs(centred).max(axis=0)
    return np.asarray(np.mean(centred**3, axis=0) / np.mean(centred**2, axis=0) ** 1.5)


def of_effects(state: MixedFit) -> Iterator[Row]:
    """Yield whether the effects of levels are skewed."""
    for factor, b in zip(state.design.factors, state.b, strict=True):
        if factor.n_levels < 8 or not np.ptp(b, axis=0).all():
            continue
        skew = skewness(b)
        worst = int(np.argmax(np.abs(skew)))
        yield a_row(
            f"effects of {factor.name}",
            bool(abs(skew[worst]) < MUCH_SKEW),
            f"skewness {float(skew[worst]):.2f} ({factor.columns[worst]})",
            "Look at mm.plot.qq(fit); levels far out may be a group of their own.",
        )


def _influence(state: FitState) -> Iterator[Row]:
    """Rows, and levels where solving the rest for each is cheap."""
    design = state.design
    few = [f.name for f in design.factors if f.n_levels * design.n_obs <= CHEAP_DELETIONS]
    if state.n_fixed:
        yield from of_influence(DeletedLinear(state), (None, *few))


def of_influence(fit: Deletable, units: Iterable[str | None]) -> Iterator[Row]:
    """Yield whether single rows or levels move the fixed effects much, in one step.

    Parameters
    ----------
    fit
        The fit.
    units
        What is left out, each in turn: names of factors or subjects, None for rows.
    """
    for by in units:
        distance = influence(fit, by, "one-step").cooks_distance
        if distance.isna().all():
            continue
        top, where = float(distance.max()), label_text(distance.idxmax())
        yield a_row(
            "influence of rows" if by is None else f"influence of {by}",
            top < LARGE_COOK,
            f"largest Cook's D of fixed effects {top:.2f} ({'row' if by is None else 'level'} {where})",
            f"See fit.influence({'' if by is None else f'by={by!r}'}) for what changes without it.",
        )
