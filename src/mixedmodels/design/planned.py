"""The design of a study that has no response yet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.build import build_design
from mixedmodels.design.frame import Column, Frame, open_frame
from mixedmodels.errors import DataError
from mixedmodels.formula.expressions import mentions

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.formula.terms import Formula

NOISE_SEED = 0x51AB1EDB0D5EED
"""Of a stream that no one draws predictors from, as many do from seed 0: the fixed effects would fit the noise."""


def any_response(n: int) -> Floats:
    """Return noise, (n,), for what does not depend on the response."""
    return np.random.default_rng(NOISE_SEED).standard_normal(n)


def planned_design(formula: Formula, data: object) -> Design:
    """Return the design of a formula and of data that may lack the response, which is not read; y is noise.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    data
        As for `build_design`.

    Raises
    ------
    DataError
        The data do not fit the formula, or have missing values.
    DesignError
        The model cannot be identified from these data.
    """
    frame = open_frame(data)
    is_name = formula.response in formula.names
    response = {formula.response} if is_name else {mention.name for mention in mentions(formula.response)}
    predictors = tuple(name for name in frame.names if name not in response)
    name = formula.response if is_name else "response"
    while name in predictors:
        name += "_"
    noise = Column(any_response(frame.n_rows))
    planned = Frame(
        frame.n_rows, (name, *predictors), lambda wanted: noise if wanted == name else frame.read(wanted), frame.index
    )
    design = build_design(replace(formula, response=name, names=formula.names | {name}), planned, planned=True)
    if design.n_dropped:
        reasons = ", ".join(f"{reason} {count}" for reason, count in design.n_dropped.items())
        raise DataError(
            f"Values are missing in {sum(design.n_dropped.values())} of {frame.n_rows} rows of the design ({reasons}). "
            "Fill them in, or leave these rows out."
        )
    return replace(design, formula=formula, response_name=formula.response)
