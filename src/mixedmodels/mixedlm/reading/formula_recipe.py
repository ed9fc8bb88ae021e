"""patsy's recipe of a model matrix, which can be kept in a file and asked what its columns are made of."""

from __future__ import annotations

import ast
import io
import pickle
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mixedmodels.design.records import Floats

INTERCEPT = "Intercept"


class RowKeeper:
    """patsy's way to handle missing values that leaves rows out, but knows which.

    Attributes
    ----------
    missing
        Which rows have a missing value, (n_rows,); None if nothing was evaluated.
    where
        The first expression that has one, as written; empty if none has.
    """

    def __init__(self) -> None:
        from patsy import NAAction

        self.is_categorical_NA = NAAction().is_categorical_NA
        self.missing: npt.NDArray[np.bool_] | None = None
        self.where = ""

    def is_numerical_NA(self, values: Any) -> npt.NDArray[np.bool_]:  # noqa: N802  # patsy's
        """Return which rows of numbers have a missing one, (n_rows,)."""
        gaps = np.isnan(np.asarray(values))
        return np.asarray(gaps if gaps.ndim == 1 else gaps.any(axis=1))

    def handle_NA(self, values: list[Any], is_NAs: list[Any], origins: list[Any]) -> list[Any]:  # noqa: N802  # patsy's
        """Return the values of the complete rows."""
        if not values:
            return values
        self.missing = np.logical_or.reduce(is_NAs)
        self.where = next(
            (origin.relevant_code() for gap, origin in zip(is_NAs, origins, strict=True) if gap.any()), ""
        )
        return [value[~self.missing] for value in values]

    def spread(self, matrix: Any) -> Floats:
        """Return a matrix of the complete rows with NaN in the others, (n_rows, n_columns), C order."""
        values = np.asarray(matrix, dtype=np.float64)
        if self.missing is None or not self.missing.any():
            return np.ascontiguousarray(values)
        out = np.full((len(self.missing), values.shape[1]), np.nan)
        out[~self.missing] = values
        return out


@dataclass(frozen=True)
class FormulaRecipe:
    """How data become the columns of one side of a formula.

    Attributes
    ----------
    info
        patsy's ``DesignInfo``.
    """

    info: Any

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return list(self.info.column_names)

    @property
    def terms(self) -> dict[str, list[int]]:
        """Positions of the columns of each term, the intercept among them."""
        n_columns = len(self.info.column_names)
        return {name: list(range(n_columns))[places] for name, places in self.info.term_name_slices.items()}

    @property
    def factors(self) -> list[str]:
        """The expressions that terms are products of."""
        return [factor.name() for factor in self.info.factor_infos or {}]

    @property
    def numeric(self) -> list[str]:
        """The numeric ones."""
        return [name for name in self.factors if name not in self.levels]

    @property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """Levels of the categorical ones."""
        infos = (self.info.factor_infos or {}).items()
        return {factor.name(): info.categories for factor, info in infos if info.type == "categorical"}

    def coding(self, name: str) -> Floats | None:
        """Return the coding of a term that is one categorical expression, (n_levels, n_columns); None for others."""
        for term, subterms in (self.info.term_codings or {}).items():
            if term.name() == name and len(term.factors) == 1 and term.factors[0].name() in self.levels:
                return np.hstack([_ones_or_coding(subterm, self.levels[name]) for subterm in subterms])
        return None

    def variables(self, known: Collection[str]) -> tuple[str, ...]:
        """Return the columns of the data that are used, among some that are known, in their order."""
        used = {name for factor in self.factors for name in mentioned(factor)}
        return tuple(name for name in known if name in used)

    def matrix(self, frame: pd.DataFrame, info: Any = None) -> Floats:
        """Return the columns for other data, (n_rows, n_columns), NaN in rows with missing values.

        Parameters
        ----------
        frame
            The data.
        info
            Another ``DesignInfo`` of the same expressions.
        """
        from patsy import build_design_matrices

        keeper = RowKeeper()
        data = patsy_data(frame, self.factors)
        with np.errstate(all="ignore"):
            (matrix,) = build_design_matrices([self.info if info is None else info], data, NA_action=keeper)
        return keeper.spread(matrix)

    def indicators(self) -> tuple[Any, list[tuple[str, frozenset[str], int]]]:
        """Return the ``DesignInfo`` with a column for every level, and name, expressions and columns of each term.

        Codings that cannot tell all levels apart, matrices of the user's, stay as they are.
        """
        from patsy import ContrastMatrix, DesignInfo, SubtermInfo

        infos = self.info.factor_infos
        codings, terms = OrderedDict(), []
        for term, subterms in self.info.term_codings.items():
            given = {factor: matrix for subterm in subterms for factor, matrix in subterm.contrast_matrices.items()}
            contrasts, width = {}, 1
            for factor in term.factors:
                if infos[factor].type == "numerical":
                    width *= infos[factor].num_columns
                    continue
                levels, coding = infos[factor].categories, given[factor].matrix
                if np.linalg.matrix_rank(np.column_stack([np.ones(len(levels)), coding])) < len(levels):
                    contrasts[factor] = given[factor]
                else:
                    contrasts[factor] = ContrastMatrix(np.eye(len(levels)), [f"[{level}]" for level in levels])
                width *= contrasts[factor].matrix.shape[1]
            codings[term] = [SubtermInfo(term.factors, contrasts, width)]
            terms.append((term.name(), frozenset(factor.name() for factor in term.factors), width))
        n_columns = sum(width for _, _, width in terms)
        return DesignInfo([f"{j} of the indicators" for j in range(n_columns)], infos, codings), terms

    def __getstate__(self) -> dict[str, bytes]:
        return {"info": _stored(self.info)}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        object.__setattr__(self, "info", pickle.loads(state["info"]))


def _ones_or_coding(subterm: Any, levels: tuple[Any, ...]) -> Floats:
    """Return what a part of a term adds for each level: its coding, or ones where it is the intercept."""
    matrices = list(subterm.contrast_matrices.values())
    return np.asarray(matrices[0].matrix, dtype=np.float64) if matrices else np.ones((len(levels), 1))


@lru_cache(maxsize=1024)
def mentioned(expression: str) -> frozenset[str]:
    """Return the names in an expression, those in ``Q('a name')`` too; none if it cannot be read."""
    try:
        nodes = list(ast.walk(ast.parse(expression, mode="eval")))
    except SyntaxError:
        return frozenset()
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="Q"), args=[ast.Constant(value=str(name))]):
                names.add(name)
    return frozenset(names)


def patsy_data(frame: pd.DataFrame, factors: Collection[str], is_first: bool = False) -> Any:
    """Return what patsy is to find columns in: arrays of those that it only copies, which takes a fifth of the time.

    Labels whose levels are not known yet are handed over with their levels, which patsy would look at one by one.

    Parameters
    ----------
    frame
        The data.
    factors
        The expressions of a formula. Columns that stand in none but by themselves are arrays.
    is_first
        Levels are not known yet.
    """
    alone = {factor for factor in factors if factor.isidentifier()}
    computed = {name for factor in factors if factor not in alone for name in mentioned(factor)}
    columns = {name: frame[name] for name in alone - computed if name in frame.columns}
    arrays: dict[str, Any] = {name: column.to_numpy() for name, column in columns.items() if _is_numeric(column)}
    if is_first:
        arrays |= {name: pd.Categorical(column) for name, column in columns.items() if _is_text(column)}
    # Without any expression patsy takes the number of rows from a frame.
    return _Columns(frame, arrays) if arrays else frame


def is_number(column: Any) -> bool:
    """Return whether a column is one of NumPy's numbers, which patsy takes as they are; true and false it does not."""
    return _is_numeric(column) and column.dtype.kind != "b"


def _is_numeric(column: Any) -> bool:
    return isinstance(column, pd.Series) and isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf"


def _is_text(column: Any) -> bool:
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    return not is_categorical and pd.api.types.infer_dtype(column, skipna=True) == "string"


class _Columns:
    """A frame, some columns of which are arrays."""

    def __init__(self, frame: pd.DataFrame, arrays: Mapping[str, Any]) -> None:
        self.frame, self.arrays = frame, arrays

    def __getitem__(self, name: str) -> Any:
        return self.arrays[name] if name in self.arrays else self.frame[name]


class Context:
    """What formulas see beside the columns: names of the caller, kept in a file if they can be.

    Parameters
    ----------
    names
        Names that formulas use, and what they stand for.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)

    def __getstate__(self) -> dict[str, bytes]:
        # Functions defined inside functions cannot be kept; new data then need them anew.
        return {"names": _stored(dict(_kept(self.names)))}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        self.names = pickle.loads(state["names"])


# patsy refuses to be pickled, for what it keeps of the caller's names: here these are only those that formulas use.


class _Pickler(pickle.Pickler):
    """Takes patsy's records apart, modules by name; what else the caller named and cannot be kept is left out."""

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if isinstance(obj, ModuleType):
            return import_module, (obj.__name__,)
        if kind.__module__.startswith("patsy.") and hasattr(obj, "__dict__"):
            state = dict(vars(obj))
            if kind.__name__ == "EvalEnvironment":
                state["_namespaces"] = [dict(_kept(names)) for names in state["_namespaces"]]
            return object.__new__, (kind,), state
        return NotImplemented


def _kept(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in names.items():
        try:
            _stored(value)
        except Exception:  # whatever a foreign object raises, it cannot be kept
            continue
        yield name, value


def _stored(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()
