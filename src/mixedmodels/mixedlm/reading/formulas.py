"""Formulas of the model on a frame, with the caller's functions in sight."""

from __future__ import annotations

import ast
import io
import pickle
import re
import tokenize
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from formulaic import Formula
from formulaic.errors import DataMismatchWarning, FormulaicError, FormulaSyntaxError
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.records import Floats
from mixedmodels.errors import DataError, FormulaError
from mixedmodels.mixedlm.reading.patsy_conventions import FUNCTIONS, PARSER, column_names, ordered, with_booleans

_TROUBLE = (FormulaicError, ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
_COMPARISON = re.compile(r"[\w.]+\s*(?:[=!<>]=|[<>])\s*(?:'[^']*'|\"[^\"]*\"|[\w.]+)")
_NUMPY_FUNCTIONS = ("np.log", "np.exp", "np.sqrt", "np.abs", "np.log10", "np.log2", "np.log1p")


class Context(Mapping[str, Any]):
    """Names that formulas see beside the columns: those of the caller, kept only if a formula uses them.

    Parameters
    ----------
    names
        Names and what they stand for.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = dict(names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    def __iter__(self) -> Any:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self) -> dict[str, Any]:
        # Functions defined inside functions and modules cannot be pickled; new data then need them anew.
        return {"names": {name: value for name, value in self.names.items() if _is_picklable(value)}}


def _is_picklable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # whatever a foreign object raises, it cannot be kept
        return False
    return True


def names_used(texts: Iterable[str]) -> set[str]:
    """Return every name, quoted name and backticked name in some formulas."""
    found: set[str] = set()
    for text in texts:
        parts = text.split("`")
        found.update(parts[1::2])
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(" ".join(parts[::2])).readline))
        except (tokenize.TokenError, SyntaxError):
            continue  # formulaic says what is wrong with it
        for token in tokens:
            if token.type == tokenize.NAME:
                found.add(token.string)
            elif token.type == tokenize.STRING:
                found.add(str(ast.literal_eval(token.string)))
    return found


@dataclass(frozen=True)
class Part:
    """One side of a formula on a frame.

    Attributes
    ----------
    values
        (n_rows, n_columns), NaN where something is missing.
    names
        Of the columns, as patsy has them.
    spec
        formulaic's recipe, to repeat it on new data.
    """

    values: Floats
    names: list[str]
    spec: ModelSpec

    @property
    def first_gap(self) -> str:
        """Name of the first column with values that are not finite; that of the first column if there is none."""
        return self.names[int(np.isfinite(self.values).all(axis=0).argmin())] if self.names else ""


class Formulas:
    """Evaluates formulas on one frame.

    Parameters
    ----------
    frame
        The data, rows numbered from 0.
    context
        Functions and values that formulas may name.
    """

    def __init__(self, frame: pd.DataFrame, context: Context) -> None:
        self.frame, self.context = frame, context

    def two_sided(self, text: str) -> tuple[Part, Part]:
        """Return the response and the fixed part.

        Raises
        ------
        FormulaError
            If the formula has no response, or several.
        DataError
            If it cannot be computed.
        """
        left, right = self._matrices(text, self.frame)
        if left is None:
            raise FormulaError(f"{text!r} has no response. Write it left of a tilde: 'y ~ x'.")
        response, fixed = _part(left, text), _part(right, text)
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
        DataError
            If it cannot be computed.
        """
        frame = self.frame if rows is None else self.frame.iloc[list(rows)]
        return _part(self._matrices(text, frame)[1], text)

    def column(self, expression: str) -> Any:
        """Return the values of a column."""
        return self.frame[expression]

    def _matrices(self, text: str, frame: pd.DataFrame) -> tuple[Any, Any]:
        """Return the matrices of both sides; None for a left side that is not there."""
        try:
            formula = Formula(text, _parser=PARSER, _ordering="none")
            left, terms = getattr(formula, "lhs", None), list(getattr(formula, "rhs", formula))
            frame = with_booleans(frame, (factor for term in terms for factor in term.factors))
            right = ordered(terms, lambda expr: _looks_numeric(expr, frame))
            both = self._matrices_of(right if left is None else Formula(lhs=left, rhs=right), frame)
            response, matrix = getattr(both, "lhs", None), getattr(both, "rhs", both)
            kinds = matrix.model_spec.encoder_state
            again = ordered(terms, lambda expr: expr not in kinds or kinds[expr][0] is Factor.Kind.NUMERICAL)
            if list(map(str, again)) != list(map(str, right)):
                matrix = self._matrices_of(again, frame)
            return response, matrix
        except _TROUBLE as error:
            compared = _COMPARISON.search(text) if isinstance(error, FormulaSyntaxError) else None
            if compared is not None:
                raise DataError(
                    f"{text!r} compares outside of a function. Write the comparison in I(): I({compared[0]})."
                ) from error
            if isinstance(error, FormulaSyntaxError) and "|" in text:
                raise FormulaError(
                    f"{text!r} has a bar. Terms such as (1 | g) belong to mixedmodels.lmer; here groups, re_formula "
                    "and vc_formula say what is random."
                ) from error
            # formulaic shows the place below an empty line, in a terminal's colours.
            reason = str(error).partition("\n\n")[0]
            raise _unknown_name(text, frame, error) or DataError(f"{text!r} cannot be computed: {reason}") from error

    def _matrices_of(self, formula: Any, frame: pd.DataFrame) -> Any:
        context = {**FUNCTIONS, **self.context}
        with np.errstate(all="ignore"):
            return formula.get_model_matrix(frame, context=context, na_action="ignore", output="numpy")


def _unknown_name(text: str, frame: pd.DataFrame, error: BaseException) -> DataError | None:
    """Return the complaint about a name that a formula could not find; None if the trouble is another."""
    cause = error.__cause__ or error.__context__
    if not isinstance(cause, NameError):
        return None
    name = cause.name or str(cause).strip("`").partition("`")[0]  # a column's name is in formulaic's sentence only
    if re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", text):
        return DataError(f"{text!r} calls {name!r}, which is not a known function.")
    return unknown_column(name, list(map(str, frame.columns)))


def on_new_data(spec: ModelSpec, frame: pd.DataFrame, context: Mapping[str, Any]) -> Floats:
    """Return the matrix of a recipe for new data, (n_rows, n_columns).

    Raises
    ------
    DataError
        If a column is missing, or holds a level that the fit did not have.
    """
    for expression, (kind, _) in spec.encoder_state.items():
        if kind is Factor.Kind.NUMERICAL and expression in frame and _is_text(frame[expression]):
            held = ", ".join(map(repr, frame[expression].iloc[:1]))
            raise DataError(f"Column {expression!r} was numeric in the fit, but holds {held or 'texts'} now.")
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("error", DataMismatchWarning)
            frame = with_booleans(frame, spec.factors)
            matrix = spec.get_model_matrix(frame, context={**FUNCTIONS, **context}, na_action="ignore", output="numpy")
    except (*_TROUBLE, DataMismatchWarning) as error:
        text = str(spec.formula)
        unknown = _unknown_name(text, frame, error)
        raise unknown or DataError(f"{text!r} cannot be computed for these data: {error}") from error
    return np.ascontiguousarray(matrix, dtype=np.float64)


def _is_text(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_string_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype))


def _part(matrix: Any, text: str) -> Part:
    spec = matrix.model_spec
    return Part(np.ascontiguousarray(matrix, dtype=np.float64), column_names(spec, text), spec)


def _looks_numeric(expression: str, frame: pd.DataFrame) -> bool:
    """Return whether a factor is numeric, as far as that can be told before it is computed."""
    return _is_number(expression, frame) if expression in frame.columns else not expression.startswith("C(")


@dataclass(frozen=True)
class Indicator:
    """A term whose rows have one nonzero entry: that of their level.

    Attributes
    ----------
    category
        The categorical column.
    label
        Names the matrix's column of a level.
    value
        Numeric column that the indicator is multiplied by; None for ones.
    """

    category: str
    prefix: str
    suffix: str
    value: str | None

    def label(self, level: object) -> str:
        """Return the name of the matrix's column of a level."""
        return f"{self.prefix}[{level}]{self.suffix}"


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
    if terms is None or len(terms) != 1:
        return None
    kinds = [(_category(factor, frame), factor.expr) for factor in terms[0].factors]
    categories = [name for name, _ in kinds if name is not None]
    numbers = [text for name, text in kinds if name is None]
    if len(categories) != 1 or len(numbers) > 1 or not all(_is_number(name, frame) for name in numbers):
        return None
    texts = [expression for _, expression in kinds]
    place = next(i for i, (name, _) in enumerate(kinds) if name is not None)
    before, after = "".join(f"{t}:" for t in texts[:place]), "".join(f":{t}" for t in texts[place + 1 :])
    return Indicator(categories[0], before + texts[place], after, numbers[0] if numbers else None)


def is_rowwise(text: str, frame: pd.DataFrame) -> bool:
    """Return True if a formula gives each row numbers that depend on that row alone, the same columns everywhere."""
    terms = _terms(text, allow_intercept=True)
    return terms is not None and all(
        factor.expr == "1" or _is_number(factor.expr, frame) or _is_arithmetic(factor.expr, frame)
        for term in terms
        for factor in term.factors
    )


def _terms(text: str, allow_intercept: bool = False) -> list[Any] | None:
    try:
        formula = Formula(text)
    except _TROUBLE:
        return None
    if hasattr(formula, "lhs"):
        return None
    terms = list(formula)
    has_intercept = any(factor.expr == "1" for term in terms for factor in term.factors)
    return None if has_intercept and not allow_intercept else terms


def _category(factor: Factor, frame: pd.DataFrame) -> str | None:
    expression = str(factor.expr)
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
    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        return False
    return _is_rowwise_node(node, frame)


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
