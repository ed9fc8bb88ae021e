"""The user's choice of contrasts for categorical columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from formulaic.formula import SimpleFormula
from formulaic.transforms import ContrastsRegistry
from formulaic.transforms.contrasts import Contrasts

from mixedmodels.design.expression import lookups
from mixedmodels.design.frame import Column
from mixedmodels.errors import DataError, nearest

_NAMES = ("treatment", "sum", "helmert", "poly", "diff", "SAS")


def read_contrasts(
    contrasts: Mapping[str, object] | None, parts: Sequence[SimpleFormula], columns: Mapping[str, Column]
) -> dict[str, Contrasts]:
    """Return formulaic's coding for each column that the user named.

    Parameters
    ----------
    contrasts
        Column name -> name of a coding or one of formulaic's ``Contrasts``.
    parts
        The fixed part and the left sides of the bars.
    columns
        Data columns used by the formula.

    Raises
    ------
    DataError
        A column is not a categorical one that the formula codes, or a coding is unknown.
    """
    coded = {name for terms in parts for name in lookups(terms) if columns[name].levels is not None}
    codings = {}
    for name, coding in (contrasts or {}).items():
        if name not in coded:
            if name not in columns:
                hint = nearest(str(name), columns)
            else:
                hint = f" For a number use C({name}, contr.sum) in the formula." if columns[name].is_number else ""
            raise DataError(
                f"contrasts names {name!r}, which is not a categorical column of the formula's terms; "
                f"there are: {', '.join(sorted(coded)) or 'none'}.{hint}"
            )
        codings[name] = _coding(name, coding)
    return codings


def _coding(name: str, coding: object) -> Contrasts:
    if isinstance(coding, str):
        if coding not in _NAMES:
            raise DataError(
                f"The contrast {coding!r} of {name!r} is unknown.{nearest(coding.removeprefix('contr.'), _NAMES)} "
                f"Known are {', '.join(_NAMES)}."
            )
        coding = getattr(ContrastsRegistry, coding)
    if isinstance(coding, type) and issubclass(coding, Contrasts):
        coding = coding()
    if not isinstance(coding, Contrasts):
        raise DataError(
            f"The contrast of {name!r} must be one of {', '.join(_NAMES)} or a formulaic Contrasts object, "
            f"not {type(coding).__name__!r}."
        )
    return coding
