"""Estimated means over the visits of a trial, by arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.errors import InferenceError
from mixedmodels.plot.asked import draws_correlated_residuals
from mixedmodels.plot.canvas import load, panels
from mixedmodels.plot.effects import colors_of, effects
from mixedmodels.plot.labels import level_names
from mixedmodels.plot.labels import name as axis_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mixedmodels.fit.marginal_fit import MarginalFitted

LINE = 0.055
"""Height of a line of counts, in heights of the axes."""

MAX_LINES = 8
"""Arms whose counts have room below the axes."""


@draws_correlated_residuals
def visits(
    fit: MarginalFitted,
    by: str | None = None,
    *,
    counts: bool = True,
    ddf: str | None = None,
    level: float = 0.95,
    ax: Axes | None = None,
) -> Any:
    """Draw estimated means (LS means) at each visit with their intervals, a line for each arm, and numbers of rows.

    Parameters
    ----------
    fit
        A fit of ``mmrm``, or of ``lmer`` with ``residual=``, whose visits are in the fixed part.
    by
        The column of the arms; None: the category of the fixed part, if there is one beside the visits.
    counts
        Write below the axes how many rows each mean has.
    ddf, level
        As for ``fit.margins``; None: the degrees of freedom that the fit takes by itself.
    ax
        Axes to draw on; None for a new figure.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    InferenceError
        If the visits are not in the fixed part, several categories are beside them, or an argument is not allowed.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> teeth = mm.load_dataset("Orthodont")
    >>> teeth["visit"] = teeth["age"].astype("category")
    >>> fit = mm.mmrm("distance ~ visit * Sex + us(visit | Subject)", teeth, ddf="kenward-roger")
    >>> mm.plot.visits(fit).get_xlabel()
    'visit'
    """
    design = fit.state.design
    own = design.residual
    when = None if own is None else own.term.visits[0]
    if when is None or when not in design.columns:
        what = "no visits" if when is None else f"visits {when!r} that are not in the fixed part"
        raise InferenceError(f"plot.visits draws means at visits; this fit has {what}. See mixedmodels.plot.effects.")
    by = _arms(fit, when) if by is None else by
    [on] = panels(ax, ["means"], size=(5.6, 4.2))
    effects(fit, when, by, partial_residuals=False, ddf=ddf, level=level, ax=on)
    on.set_ylabel(axis_name(f"mean of {design.response_name}, {100 * level:g} % intervals"))
    if counts:
        _write_counts(on, fit, when, by)
    return on


def _arms(fit: MarginalFitted, when: str) -> str | None:
    """Return the category beside the visits, None if there is none.

    Raises
    ------
    InferenceError
        There are several.
    """
    columns = fit.state.design.columns
    found = [name for name, column in columns.items() if name != when and column.levels is not None]
    if len(found) > 1:
        raise InferenceError(f"There are several categories beside {when!r}: name one, by={found[0]!r} for example.")
    return found[0] if found else None


def _write_counts(ax: Axes, fit: MarginalFitted, when: str, by: str | None) -> None:
    """Write the rows of each visit below it, a line for each arm in the arm's colour."""
    columns = fit.state.design.columns
    visit, arm = columns[when], None if by is None else columns.get(by)
    if visit.levels is None or (arm is not None and (arm.levels is None or len(arm.levels) > MAX_LINES)):
        return
    n_arms = 1 if arm is None else len(arm.levels)  # type: ignore[arg-type]
    code = np.zeros(len(visit.values), dtype=np.intp) if arm is None else arm.values.astype(np.intp)
    table = np.zeros((n_arms, len(visit.levels)), dtype=np.intp)
    np.add.at(table, (code, visit.values.astype(np.intp)), 1)
    names = [""] if arm is None else level_names(arm.levels, 12)  # type: ignore[arg-type]
    transform = load("transforms").blended_transform_factory(ax.transData, ax.transAxes)
    ax.set_xlabel("")
    tilted = any(label.get_rotation() for label in ax.get_xticklabels())
    top = -0.32 if tilted else -0.13
    colors = colors_of(n_arms) if arm is not None else ["0.2"]
    for g, (label, color) in enumerate(zip(names, colors, strict=True)):
        y = top - g * LINE
        for place, n in enumerate(table[g]):
            ax.text(place, y, f"{n}", transform=transform, ha="center", va="top", fontsize=7.5, color=color)
        head = f"n {label}".strip()
        ax.text(-0.01, y, head, transform=ax.transAxes, ha="right", va="top", fontsize=7.5, color=color)
    ax.set_xlabel(axis_name(when), labelpad=14 + 12 * n_arms)
