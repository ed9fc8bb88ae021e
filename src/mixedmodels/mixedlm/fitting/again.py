"""Fits as another one was asked for: to another response, or with more held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.fitting.fit import fit_model
from mixedmodels.mixedlm.fitting.record import Fit, FitRecord
from mixedmodels.mixedlm.fitting.regularized import refit_regularized
from mixedmodels.mixedlm.fitting.request import read_request


def fit_again(
    model: ModelDescription, record: FitRecord, reml: bool, held: Mapping[int, float] | None = None, **options: Any
) -> Fit:
    """Return the fit of a model as a record says that another was asked for.

    Parameters
    ----------
    model
        The model, of the same structure.
    record, reml
        Of the other fit.
    held
        More parameters to hold: position -> value in natural units.
    **options
        Of the optimiser.
    """
    if record.regularized is not None:
        return refit_regularized(model, record.regularized)
    fixed: dict[Any, float] = {**record.holds.beta, **(held or {})}
    fixed |= {model.k_fe + hold.index: hold.value for hold in record.holds.covariances if not hold.is_ratio}
    asked = read_request(
        model,
        reml=reml,
        free=record.free,
        start_params=record.params if record.free is not None else None,
        fixed=fixed or None,
        fe_pen=record.fe_pen,
        cov_pen=record.cov_pen,
        **options,
    )
    return fit_model(model, asked)
