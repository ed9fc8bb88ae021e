"""Results from files."""

from __future__ import annotations

from os import PathLike
from typing import Any

from mixedmodels.fit import storage
from mixedmodels.inference.bootstrap import BOOTSTRAP, kept
from mixedmodels.result import KEPT, KIND, LmmResult
from mixedmodels.vocabulary import refuses_unknown


@refuses_unknown
def load(path: str | PathLike[str], *, trust: bool = False) -> Any:
    """Return what ``save`` of a result or of a bootstrap wrote; it answers everything that the original did.

    Nothing in the file is run by loading it. Predictions for new data compute the formula's expressions, as for a
    formula that one types: do not ask them of a file of someone whose formula you would not run.

    Parameters
    ----------
    path
        The file.
    trust
        Read a pickle too, as version 0.1 wrote them, and the statsmodels door does: this can run any program that the
        writer of the file put there.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or no saved result, was written in another format by a later version, or
        is a pickle and not trusted.
    """
    if trust and storage.is_pickle(path):
        return storage.load_pickle(path)
    return storage.load_records(path, (KIND, BOOTSTRAP), (KEPT, *kept(LmmResult)))
