"""Cross-products of data that come in parts, none of which is kept, or that are added up where they live."""

from __future__ import annotations

from itertools import combinations
from time import perf_counter
from typing import TYPE_CHECKING

from mixedmodels._engine import Accumulator, Model
from mixedmodels.design.batches import Batches
from mixedmodels.design.first_pass import FirstPass, has_functions_of_all_rows
from mixedmodels.design.stand_in import FixedSums, effect_rows
from mixedmodels.design.streamed import RowReader
from mixedmodels.errors import DataError, FitError, FormulaError
from mixedmodels.fit.problem import Problem, telling_why

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from mixedmodels.design.batches import RowSource
    from mixedmodels.design.design import Design
    from mixedmodels.formula.terms import Formula

MAX_PASSES = 5
"""Over the rows; two do for all but columns that are next to dependent."""


class ModelSums:
    """Cross-products of a model's rows, and what was counted of them.

    Parameters
    ----------
    reader
        Makes the rows.
    products
        In bases that an earlier pass has found; None if the first rows are to fix them.
    """

    def __init__(self, reader: RowReader, products: Accumulator | None = None) -> None:
        self.reader, self.products = reader, products

    @property
    def is_settled(self) -> bool:
        """Whether the bases of all sums are fixed."""
        return self.products is not None

    def add(self, place: str, table: Any) -> None:
        """Add some rows."""
        rows = self.reader.arrays(place, table)
        if rows is not None:
            self.products = self.products or Accumulator(self.reader.block_sizes)
            counted = {} if rows.counts is None else {"counts": rows.counts}
            self.products.add(rows.y, rows.X, rows.weights, rows.codes, rows.n_levels, rows.Z, **counted)

    def fork(self) -> ModelSums:
        """Return sums in the same bases, of no rows."""
        return ModelSums(self.reader.fork(), None if self.products is None else self.products.fork())

    def merge(self, other: ModelSums) -> None:
        """Add the sums of another that was forked from the same."""
        codes = self.reader.merge(other.reader)
        if self.products is not None and other.products is not None:
            self.products.merge(other.products, codes)


def streamed_problem(
    formula: Formula,
    rows: RowSource,
    *,
    counts: str | None = None,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    method: str = "auto",
) -> Problem:
    """Return the problem of a formula and of data that are read in parts, the engine's products formed.

    The sums are formed in bases that the first part fixes. Where that part is so unlike the whole that they lose
    digits, the rows are read once more, in bases of the whole.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    rows
        The data, as `open_rows` returns them.
    counts
        The column that says for how many rows each stands; None if each is one.
    weights, offset, contrasts, missing
        As for `build_design`; weights and offset are names of columns.
    method
        As for `lmer`: what is sampled needs no order of elimination.

    Raises
    ------
    DataError
        The data do not fit the formula, or must be read again and cannot.
    DesignError
        The model cannot be identified from these data.
    FitError
        The fixed effects fit the response perfectly.
    """
    if formula.absorbed:
        raise FormulaError(
            "Fixed effects are absorbed, fe(...), from data in memory only, not from what is read in parts. Read the "
            "columns that the formula names into a frame.",
            formula.text,
            formula.text.find("fe("),
        )
    related = next((term for term in formula.random if term.relationship), None)
    if related is not None:
        raise FormulaError(
            f"{related.text} needs all rows at once, and these data are read in parts. Use a data frame.",
            formula.text,
            formula.text.find(related.text),
        )
    began = perf_counter()
    reader = RowReader(
        formula, rows.kinds, counts=counts, weights=weights, offset=offset, contrasts=contrasts, missing=missing
    )
    reader.levels = _levels(reader, rows)
    if rows.kinds.can_repeat and counts is None and has_functions_of_all_rows(reader.plan):
        reader.learnt = rows.fold(FirstPass(reader), reader.columns).learnt()
    sums = ModelSums(reader)
    for _ in range(MAX_PASSES):
        sums = rows.fold(sums, reader.columns)
        sums.reader.check_any()
        assert sums.products is not None
        design = _design(sums.reader, sums.products)
        with telling_why(design):
            found = sums.products.finish(*sums.reader.places(), dense=True if method == "sampled" else None)
        if isinstance(found, Model):
            problem = Problem(design)
            problem.products = found
            problem.seconds["products"] = perf_counter() - began
            return problem
        if not rows.kinds.can_repeat:
            raise DataError(
                f"The first rows of the stream are so unlike the others that {formula.text!r} needs another pass over "
                "the rows, and this stream can be read once only. Pass a file, a dataset or a query, which can be read "
                "again, or bring the rows into another order."
            )
        sums = ModelSums(sums.reader.fork(), found)
    raise FitError(
        f"{formula.text!r} cannot be fitted to these data in {MAX_PASSES} passes: columns of the fixed part or of a "
        "random term are next to dependent. Leave out those that say the same thing twice."
    )


def _levels(reader: RowReader, rows: RowSource) -> Mapping[str, Any]:
    """Return the levels of categories in terms: of all rows, or of the first part of what is read once."""
    met = reader.levels_to_meet()
    if met is None:
        return {}
    if isinstance(rows, Batches) and not rows.kinds.can_repeat:
        first = rows.peek(reader.columns)
        if first is not None:
            met.add(*first)
        return met.levels()
    return rows.fold(met, reader.columns).levels()


def _design(reader: RowReader, sums: Accumulator) -> Design:
    mean, to_basis, _, products = sums.fixed_sums()
    n_factors = len(reader.block_sizes)
    pairs = dict(zip(combinations(range(n_factors), 2), sums.n_pairs(), strict=True))
    return reader.design(
        FixedSums(mean, to_basis, products[:-1, :-1]),
        [effect_rows(*sums.effect_sums(k), sums.n_obs) for k in range(n_factors)],
        lambda j, k: pairs[min(j, k), max(j, k)],
    )
