"""Parameters held at values, and what that makes of the model."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from mixedmodels.covariance.packed import lower_places
from mixedmodels.errors import DataError, nearest
from mixedmodels.fit.held import Hold, Holds
from mixedmodels.mixedlm.description.design import Structure
from mixedmodels.mixedlm.description.model import ModelDescription
from mixedmodels.mixedlm.reading.arguments import shown
from mixedmodels.mixedlm.reading.params import MixedLMParams, as_params


def read_holds(
    model: ModelDescription, free: MixedLMParams | None, start: MixedLMParams, fixed: Mapping[str | int, float] | None
) -> Holds:
    """Return what is held: by a mask at the starting values, and by name, or position, in natural units.

    Raises
    ------
    DataError
        If the mask has another shape, a name is unknown, or a variance is negative.
    """
    names = model.param_names
    values = _held_by_mask(model, free, start) | _held_by_name(names, fixed)
    held_fixed = {j: value for j, (value, _) in values.items() if j < model.k_fe}
    covariances = {j - model.k_fe: Hold(j - model.k_fe, *value) for j, value in values.items() if j >= model.k_fe}
    for hold in covariances.values():
        if hold.value < 0 and model.is_variance(hold.index):
            raise DataError(f"{names[model.k_fe + hold.index]!r} is a variance and cannot be held at {hold.value}.")
    covariances = _with_those_of_no_variance(model, covariances)
    return Holds(held_fixed, tuple(covariances.values()), model.k_fe, len(names))


def _held_by_mask(model: ModelDescription, free: Any, start: MixedLMParams) -> dict[int, tuple[float, bool]]:
    """Return position -> value, and that it is a ratio, of what a mask holds at the start."""
    if free is None:
        return {}
    pattern = as_params("free", free, model.k_fe, model.k_re, model.k_vc)
    if pattern is None:
        raise DataError(f"free is {shown(free)}; it must be a MixedLMParams of ones and zeros.")
    mask, values = (p.get_packed(use_sqrt=False, has_fe=True) for p in (pattern, start))
    return {j: (float(values[j]), True) for j in np.flatnonzero(mask == 0).tolist()}


def _held_by_name(names: list[str], fixed: Any) -> dict[int, tuple[float, bool]]:
    """Return position -> value, and that it is no ratio, of what is held by name or position."""
    if fixed is not None and not isinstance(fixed, Mapping):
        raise DataError(f"fixed is {shown(fixed)}; it must be a mapping such as {{{names[0]!r}: 0.0}}.")
    held: dict[int, tuple[float, bool]] = {}
    for name, value in (fixed or {}).items():
        is_position = isinstance(name, Integral) and 0 <= int(name) < len(names)
        if not is_position and name not in names:
            raise DataError(
                f"fixed names {name!r}, which is no parameter.{nearest(name, names)} There are: {', '.join(names)}."
            )
        if not (isinstance(value, Real) and np.isfinite(float(value))):
            raise DataError(f"{name!r} cannot be held at {shown(value)}; that must be a finite number.")
        held[int(name) if is_position else names.index(str(name))] = (float(value), False)
    return held


def _with_those_of_no_variance(model: ModelDescription, held: Mapping[int, Hold]) -> dict[int, Hold]:
    """Return the holds and those that follow: an effect without variance has no covariances.

    Raises
    ------
    DataError
        If such a covariance is held elsewhere.
    """
    names, out = model.param_names[model.k_fe :], dict(held)
    for index in range(model.k_re2):
        for i in model.pair(index) or ():
            variance = held.get(i * (i + 3) // 2)
            if variance is None or variance.value != 0:
                continue
            if out.setdefault(index, Hold(index, 0.0, variance.is_ratio)).value != 0:
                raise DataError(
                    f"{names[variance.index]!r} is held at 0, so {names[index]!r} can only be 0; it is held at "
                    f"{out[index].value}. Leave one of them free."
                )
    return out


def structure_of(model: ModelDescription, holds: Holds) -> tuple[Structure, tuple[Hold, ...]]:
    """Return the covariance structure that zeros make, and the holds that it leaves.

    A variance held at zero takes its effect out. Zero covariances divide the random coefficients into blocks where
    every covariance within a block is free or held elsewhere than at zero. Where nothing would be left, all stays.
    """
    zero = {hold.index for hold in holds.covariances if hold.value == 0}
    row, column = lower_places(model.k_re)
    place = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(row, column, strict=True))}
    varying = [i for i in range(model.k_re) if place[i, i] not in zero]
    blocks: list[list[int]] = []
    for i in varying:
        joined = [b for b in blocks if any(place[i, j] not in zero for j in b)]
        blocks = [b for b in blocks if b not in joined] + [sorted([i, *(j for b in joined for j in b)])]
    components = tuple(k for k in range(model.k_vc) if model.k_re2 + k not in zero)
    if not blocks and not components:
        return model.full_structure, holds.covariances
    inside = {place[i, j] for block in blocks for i in block for j in block if i >= j}
    inside |= {model.k_re2 + k for k in components}
    rest = tuple(hold for hold in holds.covariances if hold.index in inside)
    return Structure(tuple(tuple(block) for block in sorted(blocks)), components), rest


def held_covariances(model: ModelDescription, holds: Holds) -> list[str]:
    """Return the names of the covariances that are held but part of the fit's structure."""
    names = model.param_names[model.k_fe :]
    return [names[hold.index] for hold in structure_of(model, holds)[1]]
