"""What tells a fit from all others."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState


def fingerprint(state: FitState) -> str:
    """Return a checksum of a fit's data, model and estimates: other numbers, to the last bit, have another one."""
    digest = sha256(repr((state.reml, state.fixed_names, [f.name for f in state.design.factors])).encode())
    for numbers in _numbers(state):
        array = np.ascontiguousarray(numbers, dtype=np.float64)
        digest.update(repr(array.shape).encode())
        digest.update(array.data)
    return digest.hexdigest()


def _numbers(state: FitState) -> Iterator[Any]:
    design = state.design
    yield from (state.beta, state.theta, state.sigma, design.y, design.X)
    yield from (() if given is None else given for given in (design.offset, design.weights))
    for factor in design.factors:
        yield from (factor.codes, factor.block_sizes, () if factor.Z is None else factor.Z)
