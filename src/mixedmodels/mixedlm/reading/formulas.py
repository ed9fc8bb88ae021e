"""Formulas of the model, which patsy reads and evaluates as it does for statsmodels."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FormulaError
from mixedmodels.mixedlm.reading.formula_recipe import (
    INTERCEPT,
    Context,
    FormulaRecipe,
    RowKeeper,
    is_number,
    mentioned,
    patsy_data,
)
from mixedmodels.mixedlm.reading.frames import check_told_apart

_PLACE = re.compile(r" \(<\w+>, line \d+\)")
_NUMPY_FUNCTIONS = ("np.log", "np.exp", "np.sqrt", "np.abs", "np.log10", "np.log2", "np.log1p")


def expressions_of(texts: Iterable[str]) -> list[str]:
    """Return the expressions that the terms of some formulas are products of.

    Raises
    ------
    FormulaError
        If a formula cannot be read.
    """
    return sorted({factor for text in texts for factor in _factors(read_formula(text))})


def names_used(texts: Iterable[str]) -> set[str]:
    """Return every name in some formulas, columns and what the caller knows.

    Raises
    ------
    FormulaError
        If a formula cannot be read.
    """
    return {name for expression in expressions_of(texts) for name in mentioned(expression)}


def _factors(description: Any) -> set[str]:
    """Return the expressions that the terms of both sides are products of."""
    terms = [*description.lhs_termlist, *description.rhs_termlist]
    return {factor.name() for term in terms for factor in term.factors}


@dataclass(frozen=True)
class Part:
    """One side of a formula on a frame.

    Attributes
    ----------
    values
        (n_rows, n_columns), NaN in rows where something is missing.
    names
        Of the columns.
    recipe
        To repeat it on new data.
    gap
        The first expression with missing values; empty if there are none.
    """

    values: Floats
    names: list[str]
    recipe: FormulaRecipe
    gap: str

    @property
    def first_gap(self) -> str:
        """The first expression with missing values, or the first column with values that are not finite."""
        if self.gap or not self.names:
            return self.gap
        return self.names[int(np.isfinite(self.values).all(axis=0).argmin())]


class Formulas:
    """Evaluates formulas on one frame.

    Parameters
    ----------
    frame
        The data.
    context
        Functions and values of the caller that formulas may name.
    """

    def __init__(self, frame: pd.DataFrame, context: Context) -> None:
        self.frame, self.context = frame, context

    @cached_property
    def _plain(self) -> pd.DataFrame:
        return with_plain_columns(self.frame)

    def two_sided(self, text: str) -> tuple[Part, Part]:
        """Return the response and the fixed part.

        Raises
        ------
        FormulaError
            If the formula has no response, or several, or cannot be read.
        DataError
            If it cannot be computed.
        """
        description = read_formula(text)
        if not description.lhs_termlist:
            raise FormulaError(f"{text!r} has no response. Write it left of a tilde: 'y ~ x'.")
        response, fixed = self._of_numbers(text) or self._parts(description, text, self._plain)
        if response.values.shape[1] != 1:
            raise DataError(
                f"The response of {text!r} must be one numeric column, but it gives {', '.join(response.names)}. "
                "Convert it to numbers first."
            )
        return response, fixed

    def one_sided(self, text: str, rows: Sequence[int] | None = None) -> Part:
        """Return a right-hand side, on some rows or on all.

        Raises
        ------
        FormulaError
            If it cannot be read, or has a left side.
        DataError
            If it cannot be computed.
        """
        if rows is None:
            *responses, part = self._of_numbers(text) or self._parts(read_formula(text), text, self._plain)
        else:
            *responses, part = self._parts(read_formula(text), text, self._plain.iloc[list(rows)])
        if responses:
            raise FormulaError(
                f"{text!r} has something left of its tilde. Only the model's own formula has a response."
            )
        return part

    def _of_numbers(self, text: str) -> list[Part] | None:
        """Return the sides of a formula whose terms are number columns as they are, which nothing is computed for.

        None if something else is in it, values are missing or infinite, or the caller knows a name that is in it, which
        new data may lack.
        """
        infos = None if self.context.names else infos_of_numbers(text)
        if infos is None:
            return None
        columns = {name: self.frame[name] for info in infos for name in info.column_names if name in self.frame}
        if not all(is_number(column) for column in columns.values()):
            return None
        parts = []
        for info in infos:
            values = np.ones((len(self.frame), len(info.column_names)))
            for j, name in enumerate(info.column_names):
                if name in columns:
                    values[:, j] = columns[name]
                elif name != INTERCEPT:
                    return None
            if not np.isfinite(values).all():
                return None
            parts.append(Part(values, list(info.column_names), FormulaRecipe(info), ""))
        return parts

    def _parts(self, description: Any, text: str, frame: pd.DataFrame) -> list[Part]:
        """Return the sides of a formula, evaluated together."""
        from patsy import EvalEnvironment, dmatrices, dmatrix

        keeper = RowKeeper()
        evaluate = dmatrices if description.lhs_termlist else dmatrix
        data = patsy_data(frame, _factors(description), is_first=True)
        try:
            with np.errstate(all="ignore"):
                found = evaluate(description, data, EvalEnvironment([self.context.names]), NA_action=keeper)
        except SyntaxError as error:
            raise _unreadable(text, error) from error
        except Exception as error:  # whatever a function of the caller raises
            raise _complaint(text, frame, error, "cannot be computed") from error
        sides = found if isinstance(found, tuple) else (found,)
        infos = [side.design_info for side in sides]
        return [
            Part(keeper.spread(side), list(info.column_names), FormulaRecipe(info), keeper.where)
            for side, info in zip(sides, infos, strict=True)
        ]


def on_new_data(recipe: FormulaRecipe, frame: pd.DataFrame) -> Floats:
    """Return the matrix of a recipe for new data, (n_rows, n_columns), NaN in rows with missing values.

    Raises
    ------
    DataError
        If a column is missing, or holds a level that the fit did not have.
    """
    check_told_apart(frame, frozenset[str]().union(*map(mentioned, recipe.factors)))
    plain = with_plain_columns(frame)
    for name in recipe.numeric:
        if name in plain and _is_text(plain[name]):
            held = ", ".join(map(repr, plain[name].iloc[:1]))
            raise DataError(f"Column {name!r} was numeric in the fit, but holds {held or 'texts'} now.")
    try:
        return recipe.matrix(plain)
    except Exception as error:  # whatever a function of the caller raises
        text = " + ".join(name for name in recipe.terms if name != "Intercept")
        raise _complaint(text, plain, error, "cannot be computed for these data") from error


def _is_text(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_string_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype))


def with_plain_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the data with columns of pandas' nullable types, which patsy does not know, as NumPy has them."""
    foreign = [name for name, kind in frame.dtypes.items() if not isinstance(kind, np.dtype | pd.CategoricalDtype)]
    columns = {name: frame[name] for name in foreign if isinstance(name, str)}
    plain = {name: _plain(column) for name, column in columns.items() if isinstance(column, pd.Series)}
    return frame.assign(**plain) if plain else frame


def _plain(column: pd.Series[Any]) -> pd.Series[Any]:
    dtype, has_gaps = column.dtype, bool(column.isna().any())
    if pd.api.types.is_bool_dtype(dtype):
        return column.astype(object if has_gaps else bool).where(column.notna(), None)
    if pd.api.types.is_numeric_dtype(dtype):
        is_whole = pd.api.types.is_integer_dtype(dtype) and not has_gaps
        return column.astype(np.int64 if is_whole else np.float64)
    if pd.api.types.is_string_dtype(dtype):
        return column.astype(object).where(column.notna(), None)
    return column


# What patsy cannot do, in a sentence


@lru_cache(maxsize=256)  # fits in a loop have the same formulas
def read_formula(text: str) -> Any:
    """Return patsy's ``ModelDesc`` of a formula.

    Raises
    ------
    FormulaError
        If it cannot be read, or has terms such as ``(1 | g)``.
    """
    from patsy import ModelDesc

    _refuse_bars(text)
    try:
        return ModelDesc.from_formula(text)
    except Exception as error:  # patsy's parser raises Python's errors too
        raise _unreadable(text, error) from error


@lru_cache(maxsize=256)
def infos_of_numbers(text: str) -> tuple[Any, ...] | None:
    """Return patsy's ``DesignInfo`` of each side of a formula, if all its columns are numbers.

    None where a term is more than a column as it is, so that what patsy finds out may depend on the data.

    Raises
    ------
    FormulaError
        If it cannot be read.
    """
    from patsy import EvalEnvironment, dmatrices, dmatrix

    description = read_formula(text)
    terms = [*description.lhs_termlist, *description.rhs_termlist]
    names = _factors(description)
    is_plain = all(len(term.factors) <= 1 for term in terms) and all(name.isidentifier() for name in names)
    if not is_plain or not names or not description.rhs_termlist or INTERCEPT in names:
        return None
    evaluate = dmatrices if description.lhs_termlist else dmatrix
    found = evaluate(description, {name: np.ones(2) for name in names}, EvalEnvironment([{}]))
    return tuple(side.design_info for side in (found if isinstance(found, tuple) else (found,)))


def _unreadable(text: str, error: Exception) -> FormulaError:
    """Return the complaint about a formula that is none."""
    needs_quotes = isinstance(error, SyntaxError) or "`" in text
    hint = " A name that Python would not read is written Q('the name')." if needs_quotes else ""
    return FormulaError(f"{text!r} cannot be read: {_reason(error)}.{hint}")


def _refuse_bars(text: str) -> None:
    """A formula must not have terms such as ``(1 | g)``, which Python would compute.

    Raises
    ------
    FormulaError
        It has.
    """
    calls = [False]
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return
    before = None
    for token in tokens:
        if token.string in ("(", "["):
            is_call = before is not None and (before.type == tokenize.NAME or before.string in (")", "]"))
            calls.append(calls[-1] or is_call)
        elif token.string in (")", "]") and len(calls) > 1:
            calls.pop()
        elif token.type == tokenize.OP and token.string in ("|", "||") and not calls[-1]:
            raise FormulaError(
                f"{text!r} has a bar. Terms such as (1 | g) belong to mixedmodels.lmer; here groups, re_formula "
                "and vc_formula say what is random."
            )
        before = token


def _complaint(text: str, frame: pd.DataFrame, error: Exception, what: str) -> DataError:
    """Return the sentence for what patsy raised."""
    unknown = _unknown_name(text, frame, error)
    if unknown is not None:
        return unknown
    reason = _reason(error)
    hidden = [name for name in _called(text) if name in frame] if "object is not callable" in reason else []
    if hidden:
        reason = f"the column {hidden[0]!r} hides the function of that name. Rename the column"
    if "has no attribute 'dtype'" in reason:  # so patsy fails where it would say so
        reason = "an expression that gave numbers in the fit gives something else now"
    return DataError(f"{text!r} {what}: {reason}.")


def _called(text: str) -> list[str]:
    """Return the names that a formula calls, and those that it only seems to."""
    return re.findall(r"(?<![\w.])([^\W\d]\w*)\s*\(", text)


def _reason(error: Exception) -> str:
    """Return the first sentence of an error, without the place that patsy shows below it."""
    said = str(getattr(error, "message", None) or error).strip().splitlines() or ["patsy finds no sense in it"]
    return _PLACE.sub("", said[0].removeprefix("Error evaluating factor: ")).rstrip(". ")


def _unknown_name(text: str, frame: pd.DataFrame, error: BaseException) -> DataError | None:
    """Return the complaint about a name that a formula could not find; None if the trouble is another."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, NameError):
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, NameError):
        return None
    quoted = re.search(r"'([^']*)'", str(cause))
    name = cause.name or (quoted[1] if quoted else str(cause))
    if re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", text):
        return DataError(
            f"{text!r} calls {name!r}, which is not a known function. Define or import it where the model is made; "
            "those of NumPy are written np.log(x)."
        )
    return unknown_column(name, list(map(str, frame.columns)))


# Shapes of variance components that need no evaluation group by group


@dataclass(frozen=True)
class Indicator:
    """A term whose rows have one nonzero entry: that of their level.

    Attributes
    ----------
    category
        The categorical column.
    prefix, suffix
        What stands before and behind the level in the names of columns.
    value
        Numeric column that the indicator is multiplied by; None for ones.
    """

    category: str
    prefix: str
    suffix: str
    value: str | None

    def labels(self, levels: Sequence[Any]) -> list[str]:
        """Return the names of the matrix's columns of some levels."""
        from patsy import Treatment

        return [f"{self.prefix}{name}{self.suffix}" for name in Treatment().code_with_intercept(levels).column_suffixes]


def as_indicator(text: str, frame: pd.DataFrame) -> Indicator | None:
    """Return the one categorical term that a formula consists of, or None if it is anything else.

    Parameters
    ----------
    text
        Such as ``"0 + C(classroom)"`` or ``"0 + classroom:pretest"``.
    frame
        The data.
    """
    terms = _terms(text)
    if len(terms) != 1 or not terms[0]:
        return None
    texts = terms[0]
    categories = [_category(expression, frame) for expression in texts]
    places = [k for k, name in enumerate(categories) if name is not None]
    numbers = [expression for expression, name in zip(texts, categories, strict=True) if name is None]
    if len(places) != 1 or len(numbers) > 1 or not all(_is_number(name, frame) for name in numbers):
        return None
    (place,) = places
    before, after = "".join(f"{t}:" for t in texts[:place]), "".join(f":{t}" for t in texts[place + 1 :])
    return Indicator(str(categories[place]), before + texts[place], after, numbers[0] if numbers else None)


def is_rowwise(text: str, frame: pd.DataFrame) -> bool:
    """Return True if a formula gives each row numbers that depend on that row alone, the same columns everywhere."""
    terms = _terms(text)
    return bool(terms) and all(_is_arithmetic(expression, frame) for term in terms for expression in term)


def _terms(text: str) -> list[list[str]]:
    """Return the expressions of each term, none for the intercept; no terms if there is a left side."""
    description = read_formula(text)
    if description.lhs_termlist:
        return []
    return [[factor.name() for factor in term.factors] for term in description.rhs_termlist]


def _category(expression: str, frame: pd.DataFrame) -> str | None:
    if expression.startswith("C(") and expression.endswith(")") and expression[2:-1].strip() in frame.columns:
        return expression[2:-1].strip()
    if expression in frame.columns:
        dtype = frame[expression].dtype
        if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype):
            return expression
    return None


def _is_number(name: str, frame: pd.DataFrame) -> bool:
    return name in frame.columns and bool(
        pd.api.types.is_numeric_dtype(frame[name].dtype) and not pd.api.types.is_bool_dtype(frame[name].dtype)
    )


def _is_arithmetic(expression: str, frame: pd.DataFrame) -> bool:
    """Return True for arithmetic of number columns, alone or in ``I()`` or a function of numpy's that works by row."""
    return _is_rowwise_node(ast.parse(expression, mode="eval").body, frame)


def _is_rowwise_node(node: ast.AST, frame: pd.DataFrame) -> bool:
    if isinstance(node, ast.Call):
        named = ast.unparse(node.func) in ("I", *_NUMPY_FUNCTIONS)
        return named and not node.keywords and all(_is_rowwise_node(a, frame) for a in node.args)
    if isinstance(node, ast.BinOp):
        return _is_rowwise_node(node.left, frame) and _is_rowwise_node(node.right, frame)
    if isinstance(node, ast.UnaryOp):
        return _is_rowwise_node(node.operand, frame)
    if isinstance(node, ast.Name):
        return _is_number(node.id, frame)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
