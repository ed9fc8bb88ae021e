"""Lambda of the random effects from theta: unstructured or tied blocks along the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def _triangle(size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return column and row of the elements of a lower triangle by column, which NumPy takes long to list."""
    column, row = np.triu_indices(size)
    column.flags.writeable = row.flags.writeable = False
    return column, row


def relative_factor(theta: Floats, block_sizes: Sequence[int]) -> Floats:
    """Return Lambda of one grouping factor, so that Var(b) = sigma^2 Lambda Lambda'.

    Parameters
    ----------
    theta
        The factor's parameters (..., n_theta): the lower triangle of each block by column, one block after the other
        (lme4's order).
    block_sizes
        Sizes of the blocks, their absolute values summing to n_effects; a negative one is a tied block, theta times
        the identity.

    Returns
    -------
    ndarray, shape (..., n_effects, n_effects)
        Lower triangular; zero outside the blocks.
    """
    n_effects = sum(map(abs, block_sizes))
    Lambda = np.zeros((*theta.shape[:-1], n_effects, n_effects))
    first = used = 0
    for size in block_sizes:
        if size > 0:
            column, row = _triangle(size)
            n_theta = len(row)
        else:
            column = row = np.arange(-size)
            n_theta = 1
        Lambda[..., first + row, first + column] = theta[..., used : used + n_theta]
        first, used = first + abs(size), used + n_theta
    return Lambda


def relative_theta(Lambda: Floats, block_sizes: Sequence[int]) -> Floats:
    """Return the parameters of Lambda: the inverse of ``relative_factor``.

    Parameters
    ----------
    Lambda
        (n_effects, n_effects), lower triangular in each block.
    block_sizes
        As for ``relative_factor``.
    """
    theta = []
    first = 0
    for size in block_sizes:
        column, row = np.triu_indices(size) if size > 0 else (np.zeros(1, dtype=int),) * 2
        theta.append(Lambda[first + row, first + column])
        first += abs(size)
    return np.concatenate(theta)


def theta_elements(block_sizes: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return the elements (row, column) of Lambda that each theta of one grouping factor stands for.

    Parameters
    ----------
    block_sizes
        As for ``relative_factor``.
    """
    elements: list[list[tuple[int, int]]] = []
    first = 0
    for size in block_sizes:
        block = range(first, first + abs(size))
        if size < 0:
            elements.append([(k, k) for k in block])
        else:
            elements += [[(row, column)] for column in block for row in block if row >= column]
        first += abs(size)
    return elements


def split_theta(theta: Floats, n_theta: Sequence[int]) -> list[Floats]:
    """Return the parameters (..., n_theta) of each grouping factor, given how many each has."""
    if len(n_theta) == 1:
        return [theta]
    return np.split(theta, np.cumsum(n_theta)[:-1], axis=-1)
