"""What a family takes for a response, checked: values, trials and weights of the log density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.families.family import Family

WHOLE_TOL = 1e-6
"""What successes, computed from a proportion, may be off a whole number by, relative to the trials."""


@dataclass(frozen=True)
class Observed:
    """Responses as their density takes them.

    Attributes
    ----------
    y
        (n_obs,); successes for the binomial, positions of categories from 0 on.
    trials
        (n_obs,), or None where each is one.
    weights
        What multiplies the log density, (n_obs,), or None.
    """

    y: Floats
    trials: Floats | None
    weights: Floats | None


def read_observed(design: Design, family: Family) -> Observed:
    """Return the responses of a design.

    Parameters
    ----------
    design
        The model's arrays.
    family
        What the responses are.

    Raises
    ------
    DataError
        If a response is not one of the family's, or all are the same where that leaves nothing to estimate.
    """
    if family.responses == "successes":
        return _read_successes(design, family)
    _check(design, family.rule, family.impossible(design.y))
    if family.responses == "categories":
        _check_categories(design)
    elif family.is_counted and not design.y.any():
        raise DataError(
            f"The response {design.response_name!r} is 0 in all {design.n_obs} rows. There is no mean to explain."
        )
    elif not family.is_counted:
        _check_varies(design)
    if family.has_zeros:
        _check_zeros(design, family)
    return Observed(design.y, None, design.weights)


def _check_categories(design: Design) -> None:
    if design.y.any():
        return
    raise DataError(
        f"The response {design.response_name!r} is {design.categories[0]!r} in all {design.n_obs} rows. "
        "There are no categories to tell apart."
    )


def _read_successes(design: Design, family: Family) -> Observed:
    y, trials, weights = design.y, design.trials, design.weights
    if trials is not None:
        bad = (y < 0) | (trials < y) | (y != np.round(y)) | (trials != np.round(trials))
        _check(design, "successes and failures are whole numbers from 0 on", bad)
    elif ((y == 0) | (y == 1)).all():
        pass
    elif (y < 0).any() or (y > 1).any():
        _check(design, family.rule, (y < 0) | (y > 1))
    elif weights is None:
        raise DataError(
            f"The response {design.response_name!r} holds proportions, such as {float(y[(y > 0) & (y < 1)][0])!r}, and "
            "nothing says of how many trials. Pass weights=, the column of trials, or write cbind(successes, failures)."
        )
    else:
        y, trials, weights = _successes(design, y, weights), weights, None
    most = np.ones(len(y)) if trials is None else trials
    if family.is_even and (most <= 1).all():
        raise DataError(
            f"The response {design.response_name!r} has one trial a row, of which the family {family.name!r} is the "
            "binomial: what varies more shows among several. Write cbind(successes, failures), or family='binomial'."
        )
    if not y.any() or (y == most).all():
        which = "failures" if not y.any() else "successes"
        raise DataError(
            f"The response {design.response_name!r} has {which} only, in all {design.n_obs} rows. "
            "There is no chance of success to estimate."
        )
    return Observed(y, trials, weights)


def _successes(design: Design, y: Floats, trials: Floats) -> Floats:
    """Return proportions times trials, which must be whole."""
    odd = trials != np.round(trials)
    if odd.any():
        raise DataError(
            f"The response {design.response_name!r} holds proportions, so its weights are numbers of trials, but "
            f"{np.count_nonzero(odd)} of {len(trials)} are not whole, the first is {float(trials[odd.argmax()])!r}."
        )
    successes = np.round(y * trials)
    odd = np.abs(successes - y * trials) > WHOLE_TOL * trials
    if odd.any():
        k = int(odd.argmax())
        raise DataError(
            f"The response {design.response_name!r} times its weights must be whole numbers of successes, but "
            f"{float(y[k])!r} of {int(trials[k])} trials are {float(y[k] * trials[k]):.6g}, in row {k} of those used "
            "(counted from 0)."
        )
    return np.asarray(successes)


def _check(design: Design, rule: str, bad: npt.NDArray[np.bool_]) -> None:
    if not bad.any():
        return
    k = int(bad.argmax())
    raise DataError(
        f"The response {design.response_name!r} has {np.count_nonzero(bad)} of {design.n_obs} values that cannot be: "
        f"{rule}. The first is {float(design.y[k])!r}, in row {k} of those used (counted from 0)."
    )


def _check_zeros(design: Design, family: Family) -> None:
    if design.y.all():
        raise DataError(
            f"The response {design.response_name!r} is never 0, so that the family {family.name!r} has no chance of a "
            "zero to estimate. Leave zero_inflation= out."
        )
    if family.name.startswith("hurdle") and design.y.max() == 1:
        raise DataError(
            f"The response {design.response_name!r} is 0 and 1 only: there are no counts above the hurdle. Fit "
            "family='binomial'."
        )


def _check_varies(design: Design) -> None:
    if design.y.min() == design.y.max():
        raise DataError(
            f"The response {design.response_name!r} is {float(design.y[0])!r} in all {design.n_obs} rows. "
            "There is no variation to explain."
        )
