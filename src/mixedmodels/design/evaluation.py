"""Values of expressions and model matrices by formulaic, and the recipes that repeat them on new data."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import chain
from textwrap import shorten
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from formulaic.errors import FormulaicError
from formulaic.formula import SimpleFormula
from formulaic.materializers import PandasMaterializer
from formulaic.materializers.types import FactorValues
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor, Term
from formulaic.transforms.contrasts import Contrasts, ContrastsState
from formulaic.utils.layered_mapping import LayeredMapping
from formulaic.utils.stateful_transforms import stateful_eval
from pandas.api.types import is_numeric_dtype

from mixedmodels.design.expression import (
    INTERCEPT,
    alias,
    arithmetic,
    as_category,
    as_computed,
    columns_in,
    columns_of_factor,
    is_boolean,
    runnable,
)
from mixedmodels.design.frame import Column, read_array
from mixedmodels.design.functions import EVERY, FUNCTIONS, categories, coded_by, unseen
from mixedmodels.design.labels import shown_level
from mixedmodels.design.plain_terms import USUAL, Structure, Words, plain_factors, plain_matrix, words_of
from mixedmodels.design.plan import MAX_KNOWN, Part
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError
from mixedmodels.formula.expressions import column_name

# What formulaic, numpy and pandas say of these, and what is said instead.
_NOT_A_NUMBER = re.compile("numpy op|ufunc|could not convert|unsupported operand")
_REASONS = (
    (
        re.compile("beyond upper and/or lower bounds"),
        "there are values beyond those of the fit, where the spline has no knots. Fit the model with "
        "extrapolation='extend' in its parentheses to continue it there",
    ),
    (
        re.compile(r"Value `(.*)` for `\w+\.base` is not among"),
        "the reference level {0} is none of its levels, which are called by their names",
    ),
    (
        re.compile(r"Shape of passed values is \((\d+), \d+\), indices imply \((\d+), "),
        "its matrix of contrasts has {0} rows, but there are {1} levels",
    ),
    (re.compile("input arrays must have the same shape"), "it does not give one value for each row"),
)


NEAR_ROWS = 2**14
"""Rows whose columns are put side by side at a time, near enough to the processor that none is fetched twice."""
MAX_REASON = 200
"""Characters of what another package says of an expression."""


@dataclass(frozen=True)
class Memory:
    """What transformations (``scale``, ``poly``, ``bs``) and codings of categories remember; formulaic fills it.

    One memory serves all parts of a design, since an expression means the same everywhere.
    """

    transforms: dict[str, Any] = field(default_factory=dict)
    codings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MatrixRecipe:
    """How data columns become a model matrix.

    Attributes
    ----------
    names
        Names of the matrix's columns.
    columns
        Names of the data columns that they are made from.
    spec
        formulaic's specification; None if every column is the intercept or a number column as it is.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    spec: ModelSpec | None

    @property
    def is_computed(self) -> bool:
        """Whether there are terms that something is computed for."""
        return self.spec is not None

    @property
    def column_terms(self) -> list[str]:
        """The term of each column, ``"1"`` for the intercept."""
        if self.spec is None:
            return ["1" if name == INTERCEPT else name for name in self.names]
        return [str(part.term) for part in self.spec.structure for _ in part.columns]

    @property
    def coded_levels(self) -> Mapping[str, Sequence[Any]]:
        """Levels of the categorical expressions."""
        states = {} if self.spec is None else self.spec.factor_contrasts
        return {factor.expr: state.levels for factor, state in states.items()}

    def factors_of(self, column: str) -> set[str]:
        """Return the expressions that a column of the data is used in."""
        factors = {factor for term in self.terms for factor in term.factors}
        return {str(factor.expr) for factor in factors if column in columns_of_factor(factor, self.columns)}

    @property
    def terms(self) -> tuple[Term, ...]:
        """Terms, if there are others than the intercept and number columns as they are."""
        return () if self.spec is None else tuple(self.spec.formula)

    @property
    def has_categories(self) -> bool:
        """True if some columns code a categorical variable."""
        return self.spec is not None and bool(self.spec.factor_contrasts)


class Evaluation:
    """Columns without missing values, and what can be computed from them.

    Parameters
    ----------
    columns
        The columns by name, all of one length.
    n_rows
        That length.
    memory
        Filled by the first evaluation of an expression, used by later ones.
    contrasts
        Coding of some categorical columns, and of ``EVERY`` category that is none.
    standardize
        Numeric variables of computed parts become z-scores, column by column, before they are multiplied to terms.
    functions
        Take the place of those of their names in expressions.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        n_rows: int,
        memory: Memory,
        contrasts: Mapping[str, Contrasts],
        standardize: bool = False,
        *,
        functions: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.columns, self.n_rows, self.memory, self.contrasts = columns, n_rows, memory, contrasts
        self.standardize = standardize
        self.functions = dict(functions)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made of the rest when it is wanted."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def values(self, expression: str) -> Column:
        """Return the values of a column or an expression.

        Raises
        ------
        DataError
            It cannot be computed, is infinite somewhere, or has another length than the columns.
        """
        if expression in self.columns:
            return self.columns[expression]
        try:
            with np.errstate(all="ignore"):
                code = runnable(expression, self.columns)
                plain = arithmetic(code)
                if plain is None:
                    values = stateful_eval(code, self._context, None, self.memory.transforms, None)
                else:
                    values = eval(plain, {}, self._context)
        except MemoryError:
            raise
        except Exception as error:
            raise self._complaint(expression, error) from error
        values = values.__wrapped__ if isinstance(values, FactorValues) else values
        values = as_computed(values, self._sources(expression))
        if np.shape(values) != (self.n_rows,):
            raise DataError(
                f"{expression!r} must give one value for each of the {self.n_rows} rows, "
                f"but its shape is {np.shape(values)}."
            )
        return read_array(expression, values)

    def first_matrix(self, part: Part) -> tuple[Floats, MatrixRecipe]:
        """Return the model matrix of a part, shape (n_rows, n_columns), C order, and the recipe to repeat it.

        Raises
        ------
        DataError
            A term cannot be computed.
        """
        if part.plain is not None and all(self.columns[name].is_number for name in part.columns):
            recipe = MatrixRecipe(part.plain, part.columns, None)
            return self.matrix(recipe), recipe
        spec = ModelSpec(
            formula=part.terms,
            output="numpy",
            na_action="ignore",
            transform_state=self.memory.transforms,
            encoder_state=self.memory.codings,
        )
        matrix, spec = self._computed(spec)
        return matrix, MatrixRecipe(tuple(spec.column_names), part.columns, spec)

    def indicator_matrix(self, spec: ModelSpec) -> tuple[Floats, ModelSpec]:
        """Return the model matrix with one column for every level of a categorical variable, aliased ones among them.

        Matrices of contrasts that the user gave stay as they are.

        Parameters
        ----------
        spec
            Of a matrix that was evaluated on these columns before.

        Raises
        ------
        DataError
            A term cannot be computed.
        """
        return self._computed(spec.update(ensure_full_rank=False, structure=None))

    def matrix(self, recipe: MatrixRecipe) -> Floats:
        """Return the model matrix of a recipe, shape (n_rows, n_columns), C order.

        Raises
        ------
        DataError
            A term cannot be computed, or has a level that the first data did not have.
        """
        if recipe.spec is not None:
            return self._computed(recipe.spec)[0]
        matrix = np.empty((self.n_rows, len(recipe.names)))
        columns = [None if name == INTERCEPT else self.columns[name.strip("`")].values for name in recipe.names]
        for start in range(0, self.n_rows, NEAR_ROWS):
            rows = slice(start, start + NEAR_ROWS)
            for j, values in enumerate(columns):
                matrix[rows, j] = 1.0 if values is None else values[rows]
        return matrix

    def _computed(self, spec: ModelSpec) -> tuple[Floats, ModelSpec]:
        """Return the model matrix of terms, and the specification that repeats it."""
        plain = None if self.standardize else plain_factors(spec, self.columns, self.contrasts)
        if plain is not None:
            categorical = frozenset(word for word, column in plain.items() if column.levels is not None)
            structure = spec.structure or _structure(words_of(spec), categorical, spec.ensure_full_rank)
            made = plain_matrix(spec, structure, plain, self.n_rows)
            if made is not None:
                return made
        return self._by_formulaic(spec)

    def _by_formulaic(self, spec: ModelSpec) -> tuple[Floats, ModelSpec]:
        try:
            with np.errstate(all="ignore"):
                matrix = self._materializer.get_model_matrix(spec)
                return np.ascontiguousarray(matrix, dtype=np.float64), matrix.model_spec
        except (DataError, MemoryError):
            raise
        except Exception as error:
            raise self._complaint(self._failing(spec), error) from error

    def _failing(self, spec: ModelSpec) -> str:
        """Return the first factor that cannot be computed by itself, or all terms."""
        for factor in dict.fromkeys(factor for term in spec.formula for factor in term.factors):
            alone = ModelSpec(
                formula=SimpleFormula([Term([factor])]),
                output="numpy",
                na_action="ignore",
                transform_state=dict(spec.transform_state),
                encoder_state=dict(spec.encoder_state),
            )
            try:
                self._materializer.get_model_matrix(alone)
            except Exception:
                return str(factor.expr)
        return str(spec.formula).removeprefix("1 + ")

    def _complaint(self, expression: str, error: Exception) -> DataError:
        """Return the sentence that says why an expression cannot be computed."""
        cause = (isinstance(error, FormulaicError) and error.__cause__) or error
        said = shorten(str(cause), MAX_REASON, placeholder=" ...").rstrip(".") or type(cause).__name__
        labels = [name for name, column in self.columns.items() if column.levels is not None]
        used = [name for name in labels if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression)]
        if used and _NOT_A_NUMBER.search(said):
            said = f"{used[0]!r} holds labels, where numbers are needed"
        for pattern, sentence in _REASONS:
            if found := pattern.search(said):
                said = sentence.format(*found.groups())
        return DataError(f"{expression!r} cannot be computed: {said}.")

    def _sources(self, expression: str) -> list[Any]:
        return [self._series[name] for name in columns_in(expression, self.columns)]

    @cached_property
    def _series(self) -> Mapping[str, Any]:
        """The columns as formulaic knows them, by name."""
        return _Lazily(self.columns, self._one_series)

    def _one_series(self, name: str) -> Any:
        series = self.columns[name].to_series()
        return categories(series, self.contrasts[name]) if name in self.contrasts else series

    @property
    def _every(self) -> Contrasts | None:
        """The coding of categories that are no columns, None for the usual one."""
        return self.contrasts.get(EVERY)

    @cached_property
    def _context(self) -> Mapping[str, Any]:
        """What names stand for in expressions: functions and columns."""
        coded = {name: coded_by(self._every) for name in ("C", "factor") if self._every is not None}
        names = {alias(name): name for name in self.columns}
        series = _Lazily(names, lambda called: self._series[names[called]])
        known: Mapping[str, Any] = LayeredMapping(series, coded, self.functions, FUNCTIONS)
        return known

    @cached_property
    def _materializer(self) -> _Materializer:
        # The columns are handed over as context: formulaic need not copy them into a frame.
        frame = pd.DataFrame(index=pd.RangeIndex(self.n_rows))
        kind = _Standardizing if self.standardize else _Materializer
        return kind(frame, context=self._context, columns=self._series, every=self._every)


@lru_cache(maxsize=MAX_KNOWN)
def _structure(words: Words, categorical: frozenset[str], full_rank: bool) -> Structure:
    """Return the products that terms of columns become, which depend on nothing else of the data.

    Parameters
    ----------
    words
        The factors of each term.
    categorical
        Those that are categories.
    full_rank
        Whether categories leave out a level that other columns have.
    """
    codes = np.array([0, 1])
    number, category = Column(codes), Column(codes, pd.Index(codes))
    factors = {word: Factor(word, eval_method="literal" if word == "1" else None) for word in chain(*words)}
    columns = {column_name(factor): category if word in categorical else number for word, factor in factors.items()}
    terms = SimpleFormula([Term([factors[word] for word in of_term]) for of_term in words], _ordering="none")
    spec = ModelSpec(terms, ensure_full_rank=full_rank, output="numpy", na_action="ignore")
    _, spec = Evaluation(columns, len(codes), Memory(), {})._by_formulaic(spec)
    return tuple(spec.structure)


class _Lazily(Mapping[str, Any]):
    """Values by name, made when they are first asked for: few columns of the data are used in expressions.

    Parameters
    ----------
    names
        All that there are.
    make
        Makes one.
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], Any]) -> None:
        self._names, self._make = dict.fromkeys(names), make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in self._names:
                raise KeyError(name)
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


class _Materializer(PandasMaterializer):  # type: ignore[misc]  # formulaic has no types
    """formulaic's, with columns apart from functions, and true and false as categories.

    Parameters
    ----------
    columns
        By name.
    every
        Coding of categories that are computed; None for the usual one.
    """

    def __init__(
        self, data: Any, context: Mapping[str, Any], columns: Mapping[str, Any], every: Contrasts | None
    ) -> None:
        super().__init__(data, context=context)
        self.columns, self.every = columns, every

    @PandasMaterializer.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _lookup(self, name: str) -> Any:
        return self.columns[name.strip("`")], set()

    @PandasMaterializer.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _evaluate(self, expr: str, metadata: Any, spec: ModelSpec) -> Any:
        values, variables = super()._evaluate(runnable(expr, self.columns), metadata, spec)
        plain = FactorValues(values).__wrapped__
        if is_boolean(plain):
            values = as_category(plain)
        elif isinstance(values, FactorValues):
            return values, variables
        else:
            values = as_computed(values, [self.columns[name] for name in columns_in(expr, self.columns)])
        is_coded = self.every is not None and isinstance(values, pd.Series) and not is_numeric_dtype(values.dtype)
        return categories(values, self.every) if is_coded else values, variables

    @PandasMaterializer.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _encode_evaled_factor(
        self, factor: Any, spec: ModelSpec, drop_rows: Sequence[int], reduced_rank: bool = False
    ) -> Any:
        # formulaic warns of new levels, and a filter that makes an error of it would hold for all threads
        _, state = spec.encoder_state.get(factor.expr, (None, {}))
        if factor.metadata.kind is Factor.Kind.CATEGORICAL and "categories" in state:
            new = unseen(FactorValues(factor.values).__wrapped__, state["categories"])
            if new:
                listed = ", ".join(repr(shown_level(level)) for level in new)
                raise DataError(f"{factor.expr!r} has levels that the fit did not have: {listed}.")
        return super()._encode_evaled_factor(factor, spec, drop_rows, reduced_rank)

    @PandasMaterializer.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _encode_categorical(  # noqa: PLR0917  # formulaic's signature
        self,
        values: Any,
        metadata: Any,
        encoder_state: dict[str, Any],
        spec: ModelSpec,
        drop_rows: Sequence[int],
        reduced_rank: bool = False,
    ) -> Any:
        # formulaic's indicators take most of the time of a small design; these are the same ones
        series = FactorValues(values).__wrapped__
        if not isinstance(series, pd.Series) or not isinstance(series.dtype, pd.CategoricalDtype):
            return super()._encode_categorical(values, metadata, encoder_state, spec, drop_rows, reduced_rank)
        levels = series.cat.categories.tolist()
        if not levels or encoder_state.get("categories", levels) != levels:
            return super()._encode_categorical(values, metadata, encoder_state, spec, drop_rows, reduced_rank)
        encoder_state["categories"] = levels
        encoder_state["contrasts"] = ContrastsState(USUAL, levels)
        codes = series.cat.codes.to_numpy()
        return FactorValues(
            {level: codes == k for k, level in enumerate(levels)},
            metadata,
            kind=Factor.Kind.CATEGORICAL,
            column_names=tuple(levels),
            spans_intercept=True,
            drop_field=levels[0],
            format=USUAL.get_factor_format(levels, reduced_rank=False),
            format_reduced=USUAL.get_factor_format(levels, reduced_rank=True),
            encoded=True,
        )


class _Standardizing(_Materializer):
    """Makes z-scores of numeric variables, before they are multiplied."""

    @PandasMaterializer.override  # type: ignore[untyped-decorator]  # formulaic has no types
    def _encode_evaled_factor(
        self, factor: Any, spec: ModelSpec, drop_rows: Sequence[int], reduced_rank: bool = False
    ) -> Any:
        columns = super()._encode_evaled_factor(factor, spec, drop_rows, reduced_rank)
        if factor.metadata.kind is not Factor.Kind.NUMERICAL:
            return columns
        return {name: z_scores(np.asarray(values)) for name, values in columns.items()}


def z_scores(values: npt.NDArray[Any]) -> Floats:
    """Return values less their mean over their standard deviation (n - 1), (n,); as they are if they do not vary."""
    numbers = values.astype(np.float64)
    apart = numbers - numbers[0]  # far from zero the mean would lose the spread's digits
    apart -= apart.mean()
    sd = float(np.std(apart, ddof=1)) if len(apart) > 1 else 0.0
    return apart / sd if sd > 0 else numbers


def check_finite(names: Sequence[str], matrix: Floats, rows: str) -> None:
    """Computed columns must not be infinite.

    Parameters
    ----------
    names, matrix
        The columns, (n_rows, n_columns).
    rows
        What the rows are.

    Raises
    ------
    DataError
        One is.
    """
    infinite = np.isinf(matrix)
    if not infinite.any():
        return
    j = int(infinite.any(axis=0).argmax())
    raise DataError(
        f"{names[j]!r} is infinite in {np.count_nonzero(infinite[:, j])} of {len(matrix)} rows, the first row "
        f"{infinite[:, j].argmax()} of {rows} (counted from 0). Change the expression or leave these rows out."
    )
