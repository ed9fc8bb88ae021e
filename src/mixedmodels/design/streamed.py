"""A formula and data that come in parts become arrays for the engine, part by part, and at the end a design."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.batches import Kinds
from mixedmodels.design.build import (
    Parts,
    block_sizes,
    by_group,
    evaluate_parts,
    factor_recipe,
    make_factor,
    make_recipe,
    name_arguments,
    side_by_side,
    split_findings,
    with_booleans_as_levels,
)
from mixedmodels.design.checks import (
    check_conditions,
    check_factors,
    check_terms,
    check_varies,
    check_weights,
    few_levels,
    few_repeats,
)
from mixedmodels.design.coding import read_contrasts
from mixedmodels.design.design import Design
from mixedmodels.design.evaluation import Evaluation, Memory
from mixedmodels.design.frame import Column, open_frame
from mixedmodels.design.grouping import Grouping
from mixedmodels.design.labels import shown_level
from mixedmodels.design.labels_met import Combinations, Labels
from mixedmodels.design.left_out import LeftOut
from mixedmodels.design.missing import UsedRows, dropped_rows, refuse
from mixedmodels.design.plan import make_plan
from mixedmodels.design.records import Codes, Floats
from mixedmodels.design.stand_in import FixedSums, StandIn, full_rows
from mixedmodels.errors import DataError, DesignError
from mixedmodels.formula.terms import Formula

MAX_CELLS = 100_000
"""Combinations of levels of the fixed part that are counted, for marginal means."""

NOT_KEPT = (
    "which a fit to data read in parts does not keep. Ask it of a part at a time, as new data or by augment_batches, "
    "or fit to a data frame"
)

KEPT_ROWS = 1000
"""Of the first rows, to show how rows are made."""

SEED = 21

READ_ONCE = (
    "Levels are those of the first rows, since this stream can be read once only. Pass a file, a dataset or a query, "
    "which can be read again, or declare the levels: a dictionary of arrow, such as pandas' and polars' categories "
    "become, that has all of them from the start."
)


@dataclass(frozen=True)
class Arrays:
    """Rows of the model, as the engine takes them: the factors in order of appearance, levels as they came."""

    y: Floats
    X: Floats
    weights: Floats | None
    codes: list[Codes]
    n_levels: list[int]
    Z: list[Floats | None]
    counts: Floats | None


@dataclass
class Tally:
    """What is counted in one pass over the rows.

    Attributes
    ----------
    n_rows, n_used
        Rows met, and used.
    n_dropped
        Rows left out, by reason.
    least, most
        Of the response, and of the response less its offset, (2,).
    offset
        Sum of the offsets.
    counts, sums
        Rows of each cell, and sums of numbers there, by name.
    """

    n_rows: int = 0
    n_used: int = 0
    n_dropped: dict[str, int] = field(default_factory=dict)
    least: Floats = field(default_factory=lambda: np.full(2, np.inf))
    most: Floats = field(default_factory=lambda: np.full(2, -np.inf))
    offset: float = 0.0
    counts: Floats = field(default_factory=lambda: np.zeros(0))
    sums: dict[str, Floats] = field(default_factory=dict)

    def drop(self, n_dropped: Mapping[str, int]) -> None:
        """Count rows that are left out."""
        for reason, n in n_dropped.items():
            self.n_dropped[reason] = self.n_dropped.get(reason, 0) + n

    def count(self, counts: Floats, sums: Mapping[str, Floats]) -> None:
        """Count rows of each cell."""
        self.counts = counts + (self.counts if len(self.counts) else 0.0)
        for name, values in sums.items():
            self.sums[name] = values + self.sums.get(name, 0.0)

    def merge(self, other: Tally) -> None:
        """Add what was counted elsewhere."""
        self.n_rows += other.n_rows
        self.n_used += other.n_used
        self.drop(other.n_dropped)
        self.least, self.most = np.minimum(self.least, other.least), np.maximum(self.most, other.most)
        self.offset += other.offset
        if len(other.counts):
            self.count(other.counts, other.sums)


class LevelsMet:
    """Levels of categories in terms, found in a pass of their own.

    Parameters
    ----------
    names
        Of the categories.
    columns
        Names of all columns of the model: rows where one is missing are not used.
    kinds
        What is known of the columns.
    """

    is_settled = True

    def __init__(self, names: Sequence[str], columns: Sequence[str], kinds: Kinds) -> None:
        self.columns, self.can_repeat = tuple(columns), kinds.can_repeat
        self.met = {name: Labels(name in kinds.ordered) for name in names}

    def add(self, place: str, table: Any) -> None:
        """Add the levels of some rows."""
        with telling_where(place):
            source = read_columns(table, self.columns)
            gaps = [column.missing for column in source.values() if column.missing is not None]
            rows = np.flatnonzero(~np.logical_or.reduce(gaps)) if gaps else np.arange(table.num_rows)
            for name, labels in self.met.items():
                if not self.can_repeat and labels.in_their_order:
                    labels.declare(source[name])
                labels.codes(source[name].take(rows))

    def fork(self) -> LevelsMet:
        """Return the same without levels."""
        forked = copy(self)
        forked.met = {name: Labels(labels.in_their_order) for name, labels in self.met.items()}
        return forked

    def merge(self, other: LevelsMet) -> None:
        """Add the levels that another has met."""
        for name, labels in self.met.items():
            labels.merge(other.met[name])

    def levels(self) -> dict[str, pd.Index]:
        """Return the levels in their order."""
        return {name: labels.table()[0] for name, labels in self.met.items()}


class RowReader:
    """Makes a model's rows of data that come in parts.

    The first rows that can be used settle how the others are made.

    Parameters
    ----------
    formula
        As `parse_formula` returns it.
    kinds
        What is known of the columns.
    counts
        The column that says for how many rows each stands; None if each is one.
    weights, offset
        Names of columns.
    contrasts, missing
        As for `build_design`.

    Attributes
    ----------
    plan
        What the formula wants of the data.
    columns
        Names of the columns that are read.
    levels
        Levels of categories in terms, which must be known before there are rows.
    learnt
        What functions of all rows remember, `center(x)` its mean, found before there are rows.
    tally
        What was counted.

    Raises
    ------
    DataError
        The data do not fit the formula.
    """

    def __init__(
        self,
        formula: Formula,
        kinds: Kinds,
        *,
        counts: str | None = None,
        weights: object = None,
        offset: object = None,
        contrasts: Mapping[str, object] | str | None = None,
        missing: str = "drop",
    ) -> None:
        if not isinstance(missing, str) or missing not in ("drop", "raise"):
            raise DataError(f"missing must be 'drop' or 'raise', not {missing!r}.")
        for name, value in (("weights", weights), ("offset", offset)):
            if value is not None and not isinstance(value, str):
                raise DataError(f"{name} of data that are read in parts must be the name of a column, not an array.")
        if formula.residual is not None:
            raise DataError(
                f"{formula.text!r} has residuals that are correlated within subjects, whose rows must be there at "
                "once, and these data are read in parts. Use a data frame."
            )
        self.kinds, self.missing, self._contrasts = kinds, missing, contrasts
        self.plan = make_plan(formula, kinds.names, (), name_arguments(weights, offset))
        self._counts = counts
        self.columns = self.plan.columns if counts is None else (*self.plan.columns, counts)
        self.levels: Mapping[str, pd.Index] = {}
        self.learnt: Mapping[str, Any] = {}
        self._first: tuple[Parts, Evaluation] | None = None
        self._start()

    def _start(self) -> None:
        formula = self.plan.formula
        self.tally = Tally()
        groups = [variable for term in formula.random for variable in term.group]
        self._labels = {name: Labels(name in self.kinds.ordered) for name in groups}
        self._groups = [Combinations(group) for group in dict.fromkeys(term.group for term in formula.random)]

    @property
    def is_settled(self) -> bool:
        """Whether there were rows that can be used."""
        return self._first is not None

    @property
    def _parts(self) -> Parts:
        assert self._first is not None
        return self._first[0]

    @property
    def block_sizes(self) -> list[tuple[int, ...]]:
        """Sizes of the blocks of each factor's covariance, once there were rows."""
        return [block_sizes(terms) for terms in by_group(self._parts.random).values()]

    def levels_to_meet(self) -> LevelsMet | None:
        """Return what finds the levels that must be known before there are rows; None if there are none."""
        names = [name for name in self.plan.term_columns if name in self.kinds.labels]
        return LevelsMet(names, self.plan.columns, self.kinds) if names else None

    def fork(self) -> RowReader:
        """Return a reader of the same rows that has met none."""
        forked = copy(self)
        forked._start()
        return forked

    def merge(self, other: RowReader) -> list[Codes]:
        """Add what was counted elsewhere, and return the code here of each level of another's factors."""
        self.tally.merge(other.tally)
        codes = {name: labels.merge(other._labels[name]) for name, labels in self._labels.items()}
        pairs = zip(self._groups, other._groups, strict=True)
        return [group.merge(of, [codes[v] for v in group.variables]) for group, of in pairs]

    def check_any(self) -> None:
        """There must have been rows.

        Raises
        ------
        DataError
            There were none.
        """
        if not self.tally.n_rows:
            raise DataError("The data have no rows. A stream that was read before has none left: open it again.")
        if not self.tally.n_used:
            raise DataError(f"Values are missing in all {self.tally.n_rows} rows: none can be used.")

    def arrays(self, place: str, table: Any) -> Arrays | None:
        """Return the model's rows of some rows of the data; None if none can be used.

        Raises
        ------
        DataError, DesignError
            Some rows cannot be used; the sentence says where they are from.
        """
        with telling_where(place):
            return self._rows(table)

    def _rows(self, table: Any) -> Arrays | None:
        """Return the rows of a part that can be used; None if there are none."""
        used = self._used(table, {})
        if used is None:
            return None
        evaluation, parts = used
        if self._first is None:
            self._check_row_by_row(evaluation, parts)
            self._first = _few_rows(parts, evaluation)
        return self._coded(evaluation, parts)

    def transforms_of(self, place: str, table: Any, functions: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what functions remember of the rows of a part that can be used, by expression.

        Parameters
        ----------
        place, table
            As for `arrays`.
        functions
            That remember, in place of those of their names.
        """
        with telling_where(place):
            used = self._used(table, functions)
        return {} if used is None else used[0].memory.transforms

    def _used(self, table: Any, functions: Mapping[str, Any]) -> tuple[Evaluation, Parts] | None:
        """Return what is computed of the rows of a part that can be used; None if there are none."""
        n_rows = table.num_rows
        read = read_columns(table, self.columns)
        self.tally.n_rows += n_rows if self._counts is None else round(read[self._counts].values.sum())
        source = {name: self._with_levels(name, column) for name, column in read.items()}
        check_conditions(self.plan.sums, source)
        source = with_booleans_as_levels(self.plan, source)
        gaps = [(name, column.missing) for name, column in source.items() if column.missing is not None]
        rows = UsedRows(n_rows)
        while True:
            if gaps and self.missing == "raise":
                refuse(gaps, n_rows)
            rows = rows.remaining(gaps)
            if not rows.n_used:
                self.tally.drop(rows.n_dropped)
                return None
            evaluation, parts = self._evaluated(rows.take(source), rows.n_used, functions)
            if not parts.gaps:
                break
            gaps = parts.gaps
        self.tally.drop(rows.n_dropped)
        return evaluation, parts

    def _with_levels(self, name: str, column: Column) -> Column:
        """Return a column of a term with the levels that it has in all rows."""
        levels = self.levels.get(name)
        if levels is None or column.levels is None:
            return column
        place = levels.get_indexer(column.levels).astype(np.int32)
        codes = np.append(place, np.int32(-1))[column.values]
        missing = np.zeros(len(codes), dtype=bool) if column.missing is None else column.missing
        new = (codes < 0) & ~missing
        if new.any() and not self.kinds.can_repeat:
            found = shown_level(column.levels[column.values[new][0]])
            raise DataError(f"Column {name!r} has the level {found!r}, which the first rows do not have. {READ_ONCE}")
        return Column(codes, levels, missing | new if (missing | new).any() else None)

    def _evaluated(
        self, columns: dict[str, Column], n_rows: int, functions: Mapping[str, Any]
    ) -> tuple[Evaluation, Parts]:
        if self._first is not None:
            known, first = self._first
            evaluation = Evaluation(columns, n_rows, first.memory, first.contrasts)
            return evaluation, evaluate_parts(self.plan, evaluation, known)
        try:
            check_terms(self.plan.lookups, columns)
        except DesignError as error:
            raise error if self.kinds.can_repeat else DesignError(f"{error} {READ_ONCE}") from error
        codings = read_contrasts(self._contrasts, self.plan.lookups, columns)
        memory = Memory({name: dict(state) for name, state in self.learnt.items()})
        evaluation = Evaluation(columns, n_rows, memory, codings, functions=functions)
        return evaluation, evaluate_parts(self.plan, evaluation)

    def _check_row_by_row(self, evaluation: Evaluation, parts: Parts) -> None:
        """Whatever is computed must need a row alone.

        Raises
        ------
        DataError
            Something needs all rows.
        """
        states = evaluation.memory.transforms.items()
        unknown = [name for name, state in states if state and name not in self.learnt]
        needy = [*unknown, *sorted(make_recipe(self.plan, evaluation, parts, ()).of_all_rows)]
        if needy:
            raise DataError(
                f"{needy[0]!r} needs all rows at once, and these are read in parts. Write it with numbers that you "
                "know, such as I((x - 12.5) / 3.1) for scale(x), or make it a column of the data."
            )

    def _coded(self, evaluation: Evaluation, parts: Parts) -> Arrays:
        y = _for_engine(parts.response.column.values)
        net = y
        counts = None if self._counts is None else evaluation.columns[self._counts].values.astype(np.float64)
        if parts.offsets:
            offset = np.stack([c.values for c in parts.offsets]).sum(axis=0, dtype=np.float64)
            net = y - offset
            self.tally.offset += float(offset.sum() if counts is None else offset @ counts)
        weights = None if parts.weights is None else _for_engine(parts.weights.values)
        if weights is not None:
            check_weights(str(self.plan.weights), weights)
        self.tally.n_used += len(y) if counts is None else round(counts.sum())
        ends = [(of.min(), of.max()) for of in ((y, net) if parts.offsets else (y,))]
        self.tally.least = np.minimum(self.tally.least, [ends[0][0], ends[-1][0]])
        self.tally.most = np.maximum(self.tally.most, [ends[0][1], ends[-1][1]])
        self._count_cells(evaluation, counts)
        by_variable = {name: labels.codes(parts.groups[name]) for name, labels in self._labels.items()}
        codes = [group.codes([by_variable[v] for v in group.variables]) for group in self._groups]
        return Arrays(
            y=np.ascontiguousarray(net),
            X=parts.X,
            weights=weights,
            codes=[np.ascontiguousarray(c) for c in codes],
            n_levels=[self._n_levels(group) for group in self._groups],
            Z=[side_by_side([t.matrix for t in terms], len(y)) for terms in by_group(parts.random).values()],
            counts=counts,
        )

    def _n_levels(self, group: Combinations) -> int:
        return len(self._labels[group.variables[0]].known) if len(group.variables) == 1 else len(group)

    def _cell_sizes(self, evaluation: Evaluation) -> dict[str, int] | None:
        """Return the numbers of levels of the categories of the fixed part; None if their cells cannot be counted."""
        names = self.plan.fixed.columns
        columns = {name: evaluation.columns[name] for name in names}
        fixed = self._parts.fixed
        coded = {name for name in names if fixed.factors_of(name) & fixed.coded_levels.keys()} if names else set()
        sizes = {name: len(column.levels) for name, column in columns.items() if column.levels is not None}
        if any(column.is_date for column in columns.values()) or not coded <= sizes.keys():
            return None
        return sizes if np.prod([*sizes.values(), 1], dtype=float) <= MAX_CELLS else None

    def _count_cells(self, evaluation: Evaluation, counts: Floats | None) -> None:
        """Count the rows of each combination of levels of the fixed part, and add up the numbers there."""
        sizes = self._cell_sizes(evaluation)
        if sizes is None:
            return
        columns = {name: evaluation.columns[name].values for name in self.plan.fixed.columns}
        if not sizes:
            n_rows = float(evaluation.n_rows if counts is None else counts.sum())
            sums = {name: np.array([_total(values, counts)]) for name, values in columns.items()}
            self.tally.count(np.array([n_rows]), sums)
            return
        n = int(np.prod([*sizes.values()]))
        cell = np.zeros(evaluation.n_rows, dtype=np.intp)
        for name, size in sizes.items():
            cell = cell * size + columns[name]
        numbers = {name: values for name, values in columns.items() if name not in sizes}
        scaled = {name: values if counts is None else values * counts for name, values in numbers.items()}
        sums = {name: np.bincount(cell, values, n).astype(np.float64) for name, values in scaled.items()}
        self.tally.count(np.bincount(cell, counts, n).astype(np.float64), sums)

    def places(self) -> tuple[list[Codes], list[int]]:
        """Return where the levels of each factor go, and the rank of each factor: those of most levels come first."""
        placed = self._grouped()
        order = sorted(range(len(placed)), key=lambda k: -len(placed[k][0]))
        return [places for places, _ in placed], [order.index(k) for k in range(len(placed))]

    def _grouped(self) -> list[tuple[Codes, Grouping]]:
        tables = {name: labels.table() for name, labels in self._labels.items()}
        return [group.grouping(tables) for group in self._groups]

    def design(self, fixed: FixedSums, effects: Sequence[Floats], n_pairs: Callable[[int, int], int]) -> Design:
        """Return the design, once all rows were read.

        Parameters
        ----------
        fixed
            Sums of the fixed columns.
        effects
            Rows that stand for those of Z of each factor, in order of appearance.
        n_pairs
            How many pairs of levels of two factors occur.

        Raises
        ------
        DesignError
            The model cannot be identified from these data.
        """
        assert self._first is not None
        parts, evaluation = self._first
        tally, plan = self.tally, self.plan
        for k, what in enumerate(("", " less its offset")):
            check_varies(f"{plan.formula.response!r}{what}", tally.least[k], tally.most[k], tally.n_used)
        rows: Any = LeftOut("the rows of the fit", tally.n_used, NOT_KEPT)
        terms = list(by_group(parts.random).values())
        made = []
        for k, (_, grouping) in enumerate(self._grouped()):
            is_ones = len(terms[k]) == 1 and terms[k][0].matrix is None
            factor = make_factor(terms[k], grouping, rows, None if is_ones else rows)
            made.append((factor, factor_recipe(terms[k], grouping), None if is_ones else effects[k], k))
        made.sort(key=lambda each: -each[0].n_levels)
        factors = tuple(factor for factor, *_ in made)
        place = {id(factor): k for factor, _, _, k in made}
        check_factors(factors, tally.n_used, lambda a, b: n_pairs(place[id(a)], place[id(b)]))
        recipe = make_recipe(plan, evaluation, parts, tuple(of for _, of, *_ in made))
        X = fixed.rows()
        return Design(
            formula=plan.formula,
            response_name=plan.formula.response,
            y=rows,
            X=rows,
            x_names=parts.fixed.names,
            offset=rows if parts.offsets else None,
            weights=None if parts.weights is None else rows,
            factors=factors,
            rows=None,
            n_rows=tally.n_rows,
            n_dropped=dict(tally.n_dropped),
            findings=(
                *parts.doubtful,
                *dropped_rows(tally.n_rows, tally.n_dropped),
                *split_findings(parts.random),
                *few_levels(factors),
                *few_repeats(factors, tally.n_used),
            ),
            recipe=recipe,
            columns=LeftOut("the columns of the data", None, NOT_KEPT),  # type: ignore[arg-type]  # it says that there are none
            stand_in=StandIn(
                X,
                full_rows(X, parts.fixed, evaluation),
                tuple(Z for *_, Z, _ in made),
                *self._cells(evaluation),
                tally.offset / tally.n_used,
            ),
        )

    def _cells(self, evaluation: Evaluation) -> tuple[Mapping[str, Column], Floats]:
        sizes = self._cell_sizes(evaluation)
        names = self.plan.fixed.columns
        if sizes is None:
            none: Any = LeftOut("the combinations of levels of the fixed part", None, NOT_KEPT)
            return none, none
        met = np.flatnonzero(self.tally.counts)
        counts = self.tally.counts[met]
        codes = dict(zip(sizes, np.unravel_index(met, list(sizes.values())), strict=True)) if sizes else {}
        cells = {}
        for name in names:
            known = evaluation.columns[name]
            if name in sizes:
                cells[name] = Column(codes[name].astype(np.int32), known.levels)
            else:
                cells[name] = Column(self.tally.sums[name][met] / counts)
        return cells, counts.astype(np.float64)


def _few_rows(parts: Parts, evaluation: Evaluation) -> tuple[Parts, Evaluation]:
    """Return some of the first rows, which show how all others are made."""
    rows = np.sort(np.random.default_rng(SEED).permutation(evaluation.n_rows)[:KEPT_ROWS])
    columns = {name: column.take(rows) for name, column in evaluation.columns.items()}
    return parts.take(rows), Evaluation(columns, len(rows), evaluation.memory, evaluation.contrasts)


def _for_engine(values: npt.NDArray[Any]) -> Floats:
    """Return numbers as the engine takes them; what came from another process may lie anywhere in its memory."""
    return np.require(values, np.float64, ["C", "ALIGNED"])


def _total(values: npt.NDArray[Any], counts: Floats | None) -> float:
    return float(values.sum(dtype=np.float64) if counts is None else values @ counts)


def read_columns(table: Any, names: Sequence[str]) -> dict[str, Column]:
    """Return columns of a table by name."""
    frame = open_frame(table)
    return {name: frame.read(name) for name in names}


@contextmanager
def telling_where(place: str) -> Iterator[None]:
    """What is wrong with some rows is told with where they are."""
    try:
        yield
    except DataError as error:
        raise DataError(f"In {place!r}: {error}") from error
