"""The comparison of fits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.display.noted_frame import show_notes
from mixedmodels.errors import InferenceError
from mixedmodels.inference.compare import compare_states
from mixedmodels.result import LmmResult

if TYPE_CHECKING:
    import pandas as pd


def compare(*fits: LmmResult, refit: bool = True) -> pd.DataFrame:
    """Return likelihoods, criteria and likelihood-ratio tests of fits to the same rows, fewest parameters first.

    Parameters
    ----------
    fits
        Two or more results.
    refit
        Where REML criteria do not compare (other fixed parts, or some fits by ML), fit anew by ML and say so; False
        refuses instead.

    Returns
    -------
    pandas.DataFrame
        ``n_params, aic, bic, llf, deviance, chisq, df, p_value``, indexed by formula; the test is that of the row above
        against this one, where the models are nested. Notes are shown below and kept in ``attrs["notes"]``.

    Raises
    ------
    InferenceError
        If the fits use different rows or responses, or their criteria do not compare.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> sleep = mm.load_dataset("sleepstudy")
    >>> fits = [mm.lmer(f"Reaction ~ Days + ({left} | Subject)", sleep) for left in ("1", "Days")]
    >>> mm.compare(*fits)[["n_params", "chisq", "df"]].round(3).iloc[1].to_list()
    [6.0, 42.837, 2.0]
    """
    for number, fit in enumerate(fits, start=1):
        if not isinstance(fit, LmmResult):
            raise InferenceError(f"compare takes fitted results; argument {number} is a {type(fit).__name__}.")
        fit.check_estimated("compare")
    if not isinstance(refit, bool):
        raise InferenceError(
            f"refit is {refit!r}; it must be True, to fit anew by ML where needed, or False to refuse."
        )
    return show_notes(compare_states([fit.state for fit in fits], refit))
