"""What the package stargazer asks of a result."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd

NOT_OF_MIXED_MODELS = ("r2", "r2_adj", "pseudo_r2", "f_statistic", "f_p_value", "degree_freedom")


def offer(kind: type) -> None:
    """Tell stargazer, where it is loaded, how to read a class of results; it knows classes by a registry alone."""
    loaded = sys.modules.get("stargazer.stargazer")
    if loaded is not None:
        loaded.RESULTS_CLASSES.setdefault(kind, facts)


def facts(result: Any) -> dict[str, Any]:
    """Return what stargazer prints of a ``MixedLMResults``, under its names: all that it prints of statsmodels' own.

    The residual standard error is the root of ``scale``, not that of residuals from which random effects are taken off.
    """
    names = result.model.data.param_names
    columns = {
        "cov_values": result.params,
        "cov_std_err": result.bse,
        "p_values": result.pvalues,
        "conf_int_low_values": np.asarray(result.conf_int())[:, 0],
        "conf_int_high_values": np.asarray(result.conf_int())[:, 1],
    }
    return {
        **{name: pd.Series(np.asarray(values), index=names) for name, values in columns.items()},
        **dict.fromkeys(NOT_OF_MIXED_MODELS),
        "cov_names": np.array(names, dtype=object),
        "dependent_variable": result.model.endog_names,
        "nobs": result.nobs,
        "ngroups": str(result.model.n_groups),
        "degree_freedom_resid": result.df_resid,
        "resid_std_err": float(np.sqrt(result.scale)),
    }
