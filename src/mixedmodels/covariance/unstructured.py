"""Lambda of the random effects from theta: unstructured blocks along the diagonal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def relative_factor(theta: Floats, block_sizes: Sequence[int]) -> Floats:
    """Return Lambda of one grouping factor, so that Var(b) = sigma^2 Lambda Lambda'.

    Parameters
    ----------
    theta
        The factor's parameters: the lower triangle of each block by column, one block after the other (lme4's order).
    block_sizes
        Sizes of the blocks, summing to n_effects.

    Returns
    -------
    ndarray, shape (n_effects, n_effects)
        Lower triangular; zero outside the blocks.
    """
    n_effects = sum(block_sizes)
    Lambda = np.zeros((n_effects, n_effects))
    first = used = 0
    for size in block_sizes:
        column, row = np.triu_indices(size)
        Lambda[first + row, first + column] = theta[used : used + len(row)]
        first, used = first + size, used + len(row)
    return Lambda


def split_theta(theta: Floats, n_theta: Sequence[int]) -> list[Floats]:
    """Return the parameters of each grouping factor, given how many each has."""
    return np.split(theta, np.cumsum(n_theta)[:-1])
