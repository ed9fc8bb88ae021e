"""Parameters held at values, and what that makes of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, nearest
from mixedmodels.mixedlm.design import Structure
from mixedmodels.mixedlm.params import MixedLMParams

if TYPE_CHECKING:
    from mixedmodels.mixedlm.model import MixedLM


@dataclass(frozen=True)
class Hold:
    """One covariance parameter held at a value.

    Attributes
    ----------
    index
        Its position among the packed covariance parameters.
    value
        What it is held at.
    is_ratio
        The value is a ratio to the residual variance, not in natural units.
    """

    index: int
    value: float
    is_ratio: bool


@dataclass(frozen=True)
class Holds:
    """What a fit holds fixed.

    Attributes
    ----------
    fixed
        Fixed effects held: position -> value.
    covariances
        Covariance parameters held.
    n_params
        Number of all parameters.
    """

    fixed: Mapping[int, float]
    covariances: tuple[Hold, ...]
    k_fe: int
    n_params: int

    def __bool__(self) -> bool:
        return bool(self.fixed or self.covariances)

    @property
    def is_free(self) -> npt.NDArray[np.bool_]:
        """Which of all parameters, packed, are estimated."""
        free = np.ones(self.n_params, dtype=bool)
        free[list(self.fixed)] = False
        free[[self.k_fe + hold.index for hold in self.covariances]] = False
        return free


def read_holds(
    model: MixedLM, free: MixedLMParams | None, start: MixedLMParams, fixed: Mapping[str | int, float] | None
) -> Holds:
    """Return what is held: by a mask at the starting values, and by name, or position, in natural units.

    Raises
    ------
    DataError
        If the mask has another shape, a name is unknown, or a variance is negative.
    """
    held_fixed: dict[int, float] = {}
    covariances: dict[int, Hold] = {}
    if free is not None:
        if (free.k_fe, free.k_re, free.k_vc) != (model.k_fe, model.k_re, model.k_vc):
            raise DataError(
                f"free is for {free.k_fe} fixed effects, {free.k_re} random coefficients and {free.k_vc} variance "
                f"components; the model has {model.k_fe}, {model.k_re} and {model.k_vc}."
            )
        mask, values = (p.get_packed(use_sqrt=False, has_fe=True) for p in (free, start))
        for j in np.flatnonzero(mask == 0).tolist():
            if j < model.k_fe:
                held_fixed[j] = float(values[j])
            else:
                covariances[j - model.k_fe] = Hold(j - model.k_fe, float(values[j]), is_ratio=True)
    names = model.data.param_names
    for name, value in (fixed or {}).items():
        is_position = isinstance(name, int) and 0 <= name < len(names)
        if not is_position and name not in names:
            listed = ", ".join(names)
            near = nearest(str(name), names)
            raise DataError(f"fixed names {name!r}, which is no parameter.{near} There are: {listed}.")
        if not np.isfinite(value):
            raise DataError(f"{name!r} cannot be held at {value}.")
        j = int(name) if is_position else names.index(str(name))
        if j < model.k_fe:
            held_fixed[j] = float(value)
        else:
            covariances[j - model.k_fe] = Hold(j - model.k_fe, float(value), is_ratio=False)
    for hold in covariances.values():
        if hold.value < 0 and (hold.index >= model.k_re2 or _pair(model, hold.index)[0] == _pair(model, hold.index)[1]):
            raise DataError(f"{names[model.k_fe + hold.index]!r} is a variance and cannot be held at {hold.value}.")
    return Holds(held_fixed, tuple(covariances.values()), model.k_fe, len(names))


def _pair(model: MixedLM, index: int) -> tuple[int, int]:
    row, column = np.tril_indices(model.k_re)
    return int(row[index]), int(column[index])


def structure_of(model: MixedLM, holds: Holds) -> tuple[Structure, tuple[Hold, ...]]:
    """Return the covariance structure that zeros make, and the holds that it leaves.

    A variance held at zero takes its effect out. Zero covariances divide the random coefficients into blocks where
    every covariance within a block is free or held elsewhere than at zero. Where nothing would be left, all stays.
    """
    zero = {hold.index for hold in holds.covariances if hold.value == 0}
    row, column = np.tril_indices(model.k_re)
    place = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(row, column, strict=True))}
    varying = [i for i in range(model.k_re) if place[i, i] not in zero]
    blocks: list[list[int]] = []
    for i in varying:
        joined = [b for b in blocks if any(place[i, j] not in zero for j in b)]
        blocks = [b for b in blocks if b not in joined] + [sorted([i, *(j for b in joined for j in b)])]
    components = tuple(k for k in range(model.k_vc) if model.k_re2 + k not in zero)
    if not blocks and not components:
        return model._full_structure, holds.covariances
    inside = {place[i, j] for block in blocks for i in block for j in block if i >= j}
    inside |= {model.k_re2 + k for k in components}
    rest = tuple(hold for hold in holds.covariances if hold.index in inside)
    return Structure(tuple(tuple(block) for block in sorted(blocks)), components), rest


def packed_values(holds: tuple[Hold, ...], packed: Floats, scale: float) -> Floats:
    """Return packed ratios with the held ones in place."""
    out = packed.copy()
    for hold in holds:
        out[hold.index] = hold.value if hold.is_ratio else hold.value / scale
    return out
