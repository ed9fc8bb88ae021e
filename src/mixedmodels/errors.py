"""Every error and warning of the package: one tree of each."""

from __future__ import annotations

import copyreg
import difflib
import sys
from collections.abc import Callable, Iterable

from numpy.linalg import LinAlgError


class MixedModelsError(ValueError):
    """Anything this package refuses, said in one sentence: what was found, what is allowed, what to do."""


class FormulaError(MixedModelsError):
    """The formula text cannot be read. Shows the place with a caret.

    Parameters
    ----------
    message
        What is wrong and what is allowed.
    text, position
        The formula and the 0-based character where the trouble is, if known.
    """

    def __init__(self, message: str, text: str | None = None, position: int | None = None) -> None:
        self.text, self.position = text, position
        message = printable(message)
        if text is not None and position is not None:
            message = f"{message}\n  {printable(text)}\n  {' ' * position}^"
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]  # whose message is whole


class DataError(MixedModelsError):
    """The data do not fit the formula: a missing column, a wrong type, no rows, infinite values."""


class DesignError(MixedModelsError):
    """The model cannot be identified from these data: one level, one observation per level, constant response."""


class FitError(MixedModelsError):
    """The likelihood cannot be maximised, for example because it is unbounded."""


class InferenceError(MixedModelsError):
    """A question that this fit cannot answer."""


class CollinearColumnsError(FitError, LinAlgError):
    """Fixed-effect columns are combinations of others; a LinAlgError too, which statsmodels raises for them."""


class UnknownColumnError(DataError, KeyError):
    """The data have no such column; a KeyError too, as for a data frame's columns."""

    __str__ = DataError.__str__  # a KeyError shows the repr of its message


class UnknownGroupError(InferenceError, KeyError):
    """There is no such grouping factor; a KeyError too, as mappings by grouping factor need one."""

    __str__ = InferenceError.__str__  # a KeyError shows the repr of its message


class UnknownAttributeError(MixedModelsError, AttributeError):
    """Something has no such name; an AttributeError too, as ``hasattr`` needs one."""


class UnknownArgumentError(MixedModelsError, TypeError):
    """A function has no such argument, or takes another kind of value; a TypeError too, as Python's own."""


class NotEnoughMemoryError(MixedModelsError, MemoryError):
    """Something needs more memory than there is; a MemoryError too, as Python's and NumPy's. One can go on after it."""


class MixedModelsWarning(UserWarning):
    """Root of the package's warnings."""


class ConvergenceWarning(MixedModelsWarning):
    """The optimiser stopped before the gradient showed an optimum."""


class SingularFitWarning(MixedModelsWarning):
    """A variance is estimated as zero or a correlation as plus or minus one."""


class IdentificationWarning(MixedModelsWarning):
    """The data cannot tell covariance parameters apart; they are one of many sets with the same likelihood."""


class RankDeficiencyWarning(MixedModelsWarning):
    """Fixed-effect columns are linear combinations of others and were dropped."""


class DroppedRowsWarning(MixedModelsWarning):
    """Rows with missing values were left out."""


class PartialResultWarning(MixedModelsWarning):
    """Work was interrupted, and what is asked has a part of it only."""


def printable(text: str) -> str:
    """Return the text with a sign of replacement for each character that a terminal would act upon."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def pip_install(*packages: str) -> str:
    """Return the command that installs packages for the Python that runs now, in whatever environment it lives."""
    python = sys.executable or "python"
    return " ".join([f'"{python}"' if " " in python else python, "-m pip install", *packages])


class memory_told:  # noqa: N801  # read like a function, in a with statement
    """While something runs, want of memory, which Python, NumPy and the engine raise, is an error of ours.

    A class of its own, since a generator costs a fit of 180 rows a hundredth of its time at each of four places.

    Parameters
    ----------
    what
        What runs, as in ``"lmer()"``.
    refused
        The error of ours that any other ValueError is, such as the engine raises where it cannot compute.

    Raises
    ------
    NotEnoughMemoryError
        At its end.
    """

    __slots__ = ("refused", "what")

    def __init__(self, what: str, refused: Callable[[ValueError], MixedModelsError] | None = None) -> None:
        self.what, self.refused = what, refused

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, MixedModelsError):
            return
        if isinstance(error, MemoryError):
            raise NotEnoughMemoryError(
                f"{self.what} needs more memory than there is: {str(error) or 'there is none left'}. Free some, or use "
                "fewer rows, columns or levels; Control(n_threads=1) needs less too."
            ) from error
        if self.refused is not None and isinstance(error, ValueError):
            raise self.refused(error) from error


def hand_over(error: BaseException, partial: object) -> None:
    """Keep on an error, as ``error.partial``, what long work had made when it ended early; None if that is nothing."""
    vars(error)["partial"] = partial


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name in upper or lower case, or an empty string."""
    by_folded = {str(k).casefold(): str(k) for k in known}
    match = difflib.get_close_matches(str(name).casefold(), by_folded, n=1)
    return f" Did you mean {by_folded[match[0]]!r}?" if match else ""


def unknown_group(name: object, known: Iterable[str]) -> UnknownGroupError:
    """Return the complaint that a name is no grouping factor of the fit."""
    names = tuple(known)
    return UnknownGroupError(
        f"There is no grouping factor {name!r}; there are {', '.join(names)}.{nearest(str(name), names)}"
    )
