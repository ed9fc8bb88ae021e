"""What stands in a result where its file, or a fit to a stream, holds nothing."""

from __future__ import annotations

from typing import Any

from mixedmodels.errors import InferenceError


class LeftOut:
    """Stands where something is not in a file; whoever needs it hears what it is.

    Parameters
    ----------
    what
        For a sentence: ``"the function 'study.rate'"``.
    length
        How long it was, for what only counts.
    why
        How it is that it is not there, a clause.
    """

    def __init__(
        self, what: str, length: int | None = None, why: str = "which the file of the result does not hold"
    ) -> None:
        self.what, self.length, self.why = what, length, why

    def refuse(self, *_: object, **__: object) -> Any:
        """Raise what a user is to know."""
        raise InferenceError(f"This needs {self.what}, {self.why}.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.refuse()

    def __len__(self) -> int:
        return self.refuse() if self.length is None else self.length

    def __repr__(self) -> str:
        return f"<left out: {self.what}>"

    __array__ = __call__ = __getitem__ = __iter__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __matmul__ = __rmatmul__ = refuse
