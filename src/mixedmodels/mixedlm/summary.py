"""The summary of a fit in the layout that statsmodels documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from mixedmodels.display.two_tables import MixedLMSummary, coefficient_frame, facts_frame
from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.mixedlm.results import MixedLMResults

TITLE = "Mixed Linear Model Regression Results"


def summarize(
    result: MixedLMResults,
    yname: str | None,
    xname_fe: Sequence[str] | None,
    xname_re: Sequence[str] | None,
    title: str | None,
    alpha: float,
) -> MixedLMSummary:
    """Return the summary; the arguments are those of ``MixedLMResults.summary``.

    Raises
    ------
    InferenceError
        If there is another number of names than of parameters, or alpha is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise InferenceError(f"alpha is {alpha!r}; it must lie between 0 and 1, such as 0.05.")
    model, k_fe = result.model, result.k_fe
    names = list(model.data.param_names)
    for what, given, part in (("xname_fe", xname_fe, slice(0, k_fe)), ("xname_re", xname_re, slice(k_fe, None))):
        if given is None:
            continue
        if len(given) != len(names[part]):
            raise InferenceError(f"{what} should be a list of length {len(names[part])}; it has {len(given)} names.")
        names[part] = list(given)
    sizes = model.group_sizes
    facts = [
        ("Model:", "MixedLM"),
        ("No. Observations:", model.nobs),
        ("No. Groups:", model.n_groups),
        ("Min. group size:", int(sizes.min())),
        ("Max. group size:", int(sizes.max())),
        ("Mean group size:", float(sizes.mean())),
        ("Dependent Variable:", model.endog_names if yname is None else yname),
        ("Method:", result.method),
        ("Scale:", result.scale),
        ("Log-Likelihood:", result.llf),
        ("Converged:", "Yes" if result.converged else "No"),
    ]
    values = np.full((len(names), 6), np.nan)
    estimate, se = result.record.params.fe_params, np.asarray(result.bse_fe)
    half = -special.ndtri(alpha / 2) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        z = estimate / se
    values[:k_fe] = np.column_stack([estimate, se, z, 2 * special.ndtr(-np.abs(z)), estimate - half, estimate + half])
    values[k_fe:, 0] = result._natural
    values[k_fe:, 1] = np.asarray(result.bse_re)
    columns = ["Coef.", "Std.Err.", "z", "P>|z|", f"[{alpha / 2}", f"{1 - alpha / 2}]"]
    return MixedLMSummary(
        TITLE if title is None else title, (facts_frame(facts), coefficient_frame(values, names, columns))
    )


__all__ = ["MixedLMSummary", "summarize"]
