"""What a fit takes in memory, held against what is there before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels._engine import available_memory
from mixedmodels.errors import NotEnoughMemoryError

if TYPE_CHECKING:
    from mixedmodels._engine import Model
    from mixedmodels.design.design import Design

ALWAYS_THERE = 2**26
"""Bytes of a fit that are not worth asking the system for what is available."""


def check_memory(design: Design, model: Model) -> None:
    """A fit must not need more memory than the machine, the process' group and its own limit leave.

    Parameters
    ----------
    design
        The model's names.
    model
        Its cross-products, which know the sizes of the matrices of a fit.

    Raises
    ------
    NotEnoughMemoryError
        It does.
    """
    needed = model.bytes_of_a_fit
    if needed < ALWAYS_THERE:
        return
    available = available_memory()
    if available is None or needed <= available:
        return
    raise NotEnoughMemoryError(
        f"{design.formula.text!r} needs {_gigabytes(needed)} of memory for a fit, and {_gigabytes(available)} are "
        f"available. {_where_it_goes(design, model)}"
    )


def _where_it_goes(design: Design, model: Model) -> str:
    """Return what most of the memory is for, and what would help."""
    first, *rest = sorted(design.factors, key=lambda factor: -factor.n_levels * factor.n_effects)
    n_first, n_rest = first.n_levels * first.n_effects, sum(factor.n_levels * factor.n_effects for factor in rest)
    if not rest or (model.dense and n_rest**2 < n_first * len(design.x_names)):
        return (
            f"Most is for products of {n_first:,} effects of {first.name} with {len(design.x_names):,} fixed columns: "
            "fewer levels or columns need less."
        )
    names = " and ".join(factor.name for factor in rest)
    shape = f"one dense matrix of {n_rest:,} x {n_rest:,}" if model.dense else "a sparse matrix that fills up"
    return (
        f"Most is for the {n_rest:,} effects of {names}, which meet in levels of {first.name} and so share {shape}: "
        f"fewer levels or effects of {names} need less."
    )


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
