"""Cross-products of data that come in parts, none of which is kept."""

from __future__ import annotations

from itertools import combinations
from time import perf_counter
from typing import TYPE_CHECKING

from mixedmodels._engine import Accumulator, Model
from mixedmodels.design.batches import open_batches
from mixedmodels.design.stand_in import FixedSums, effect_rows
from mixedmodels.design.streamed import RowReader
from mixedmodels.errors import DataError, FitError
from mixedmodels.fit.memory import check_memory
from mixedmodels.fit.problem import Problem, telling_why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mixedmodels.design.design import Design
    from mixedmodels.formula.terms import Formula

MAX_PASSES = 5
"""Over the rows; two do for all but columns that are next to dependent."""


def streamed_problem(
    formula: Formula,
    data: object,
    *,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
) -> Problem:
    """Return the problem of a formula and of data that are read in parts, the engine's products formed.

    The sums are formed in bases that the first part fixes. Where that part is so unlike the whole that they lose
    digits, the rows are read once more, in bases of the whole.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    data
        As for `open_batches`.
    weights, offset, contrasts, missing
        As for `build_design`; weights and offset are names of columns.

    Raises
    ------
    DataError
        The data do not fit the formula, or must be read again and cannot.
    DesignError
        The model cannot be identified from these data.
    FitError
        The fixed effects fit the response perfectly.
    """
    began = perf_counter()
    batches = open_batches(data)
    reader = RowReader(formula, batches, weights=weights, offset=offset, contrasts=contrasts, missing=missing)
    sums: Accumulator | None = None
    for _ in range(MAX_PASSES):
        for part in reader.arrays():
            sums = Accumulator(reader.block_sizes) if sums is None else sums
            sums.add(part.y, part.X, part.weights, part.codes, part.n_levels, part.Z)
        assert sums is not None
        design = _design(reader, sums)
        with telling_why(design):
            found = sums.finish(*reader.places())
        if isinstance(found, Model):
            check_memory(design, found)
            problem = Problem(design, model=found)
            problem.seconds["products"] = perf_counter() - began
            return problem
        if not batches.can_repeat:
            raise DataError(
                f"The first rows of the stream are so unlike the others that {formula.text!r} needs another pass over "
                "the rows, and this stream can be read once only. Pass a file, a dataset or a query, which can be read "
                "again, or bring the rows into another order."
            )
        sums = found
    raise FitError(
        f"{formula.text!r} cannot be fitted to these data in {MAX_PASSES} passes: columns of the fixed part or of a "
        "random term are next to dependent. Leave out those that say the same thing twice."
    )


def _design(reader: RowReader, sums: Accumulator) -> Design:
    mean, to_basis, _, products = sums.fixed_sums()
    n_factors = len(reader.block_sizes)
    pairs = dict(zip(combinations(range(n_factors), 2), sums.n_pairs(), strict=True))
    return reader.design(
        FixedSums(mean, to_basis, products[:-1, :-1]),
        [effect_rows(*sums.effect_sums(k), sums.n_obs) for k in range(n_factors)],
        lambda j, k: pairs[min(j, k), max(j, k)],
    )
