"""What tells a fit, or the model that it is of, from all others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.fit.records import FixedFit


LINEAR = ("linear",)
"""The kind of fits that were told from others before there were others."""


def fingerprint(state: FixedFit) -> str:
    """Return a checksum of a fit's data, model and estimates: other numbers, to the last bit, have another one."""
    design = state.design
    own = () if state.kind == LINEAR else (state.kind,)
    names = (state.reml, state.fixed_names, [f.name for f in design.factors], *own)
    return _checksum(names, [*state.identity, *_arrays(design)])


def fingerprint_of_model(design: Design) -> str:
    """Return a checksum of a model and its data, with the names of its columns and levels, before any fit."""
    factors = [(f.name, f.columns, list(map(str, f.levels))) for f in design.factors]
    return _checksum((design.formula.text, design.x_names, factors), _arrays(design))


def _checksum(names: object, arrays: Iterable[Any]) -> str:
    digest = sha256(repr(names).encode())
    for numbers in arrays:
        array = np.ascontiguousarray(numbers, dtype=np.float64)
        digest.update(repr(array.shape).encode())
        digest.update(array.data)
    return digest.hexdigest()


def _arrays(design: Design) -> Iterator[Any]:
    yield from (design.y, design.X)
    yield from (() if given is None else given for given in (design.offset, design.weights))
    if design.trials is not None:
        yield design.trials
    for factor in design.factors:
        yield from (factor.codes, factor.block_sizes, () if factor.Z is None else factor.Z)
    if design.absorbed is not None:
        yield from (factor.codes for factor in design.absorbed.factors)
