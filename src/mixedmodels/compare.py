"""The comparison of fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.errors import InferenceError
from mixedmodels.inference.compare import check_names, compare_states
from mixedmodels.result.glmm import GlmmResult
from mixedmodels.result.lmm import LmmResult
from mixedmodels.result.mmrm import MmrmResult
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

import pandas as pd


@refuses_unknown
def compare(
    *fits: LmmResult | MmrmResult | GlmmResult, refit: bool = True, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Return likelihoods, criteria and likelihood-ratio tests of fits to the same rows, fewest parameters first.

    Parameters
    ----------
    fits
        Two or more results of ``lmer`` or ``mmrm``, or two or more of ``glmer``.
    refit
        Where REML criteria do not compare (other fixed parts, or some fits by ML), fit anew by ML and say so; False
        refuses instead.
    names
        Of the fits, in the order given, which their rows are called by; None for their formulas.

    Returns
    -------
    pandas.DataFrame
        ``n_params, aic, bic, llf, deviance, chisq, df, p_value``, indexed by name or formula; the test is that of the
        row above against this one, where the models are nested. Notes are shown below and kept in ``attrs["notes"]``.

    Raises
    ------
    InferenceError
        If the fits use different rows or responses, or their criteria do not compare; if there is not a name of its own
        for each fit.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> sleep = mm.load_dataset("sleepstudy")
    >>> fits = [mm.lmer(f"Reaction ~ Days + ({left} | Subject)", sleep) for left in ("1", "Days")]
    >>> mm.compare(*fits, names=["intercepts", "slopes"])[["n_params", "aic", "chisq", "df"]]
    model       n_params       aic  chisq  df
    intercepts         4  1794.465      -   -
    slopes             6  1755.628  42.84   2
    intercepts: Reaction ~ Days + (1 | Subject)
    slopes: Reaction ~ Days + (Days | Subject)
    Fits by REML; their fixed parts are the same.
    P-values of tests of a variance are too large, because zero is on its boundary;
      see ranova.
    """
    for number, fit in enumerate(fits, start=1):
        if not isinstance(fit, LmmResult | MmrmResult | GlmmResult):
            raise InferenceError(f"compare takes fitted results; argument {number} is a {type(fit).__name__}.")
        if isinstance(fit, LmmResult):
            fit.check_estimated("compare")
    if not isinstance(refit, bool):
        raise InferenceError(
            f"refit is {refit!r}; it must be True, to fit anew by ML where needed, or False to refuse."
        )
    if names is not None:
        names = check_names(names, len(fits))
    return show_notes(compare_states([fit.state for fit in fits], bool(refit), names))
