"""Formulas of the door from strangers: which expressions can do no more than compute with columns."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mixedmodels.design.expression import unknown_column
from mixedmodels.formula.restricted import OF_NUMPY, Listed, check_expressions
from mixedmodels.mixedlm.reading.formula_recipe import mentioned
from mixedmodels.mixedlm.reading.formulas import expressions_of

CODINGS = frozenset({"Treatment", "Sum", "Helmert", "Poly", "Diff"})
FUNCTIONS = frozenset({"C", "I", "Q", "center", "standardize", "scale", "bs", "cr", "cc", "te"}) | CODINGS
"""Those of patsy."""

OF_PATSY = Listed(FUNCTIONS, {"np": OF_NUMPY}, frozenset(), "center(x), np.log(x), Q('a name') or C(x, Treatment('a'))")


def check_restricted(texts: Iterable[str], columns: Collection[str]) -> None:
    """Every expression of some formulas consists of columns, numbers, operators and listed functions.

    patsy looks for names among Python's own too, and calls what it finds as a coding: all others are refused.

    Parameters
    ----------
    texts
        The formulas.
    columns
        Names of the columns of the data.

    Raises
    ------
    FormulaError
        If one has something else.
    DataError
        If one names what is no column.
    """
    expressions = expressions_of(texts)
    check_expressions(expressions, OF_PATSY)
    for expression in expressions:
        for name in sorted(mentioned(expression)):
            if name not in columns and name not in OF_PATSY.names:
                raise unknown_column(name, list(columns))
