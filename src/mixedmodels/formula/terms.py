"""The parsed formula: what the text says, before any data are seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RandomTerm:
    """One random term after ``/`` is expanded: ``(columns | group)``.

    Attributes
    ----------
    columns
        Left of the bar, in the language of the fixed part: ``"1 + Days"``, ``"0 + Machine"``.
    group
        The variables (or expressions) whose combinations are the levels: ``("Subject",)``, ``("cask", "batch")``
        for ``cask:batch``.
    correlated
        False for ``||``: every column has its own variance and no covariances.
    text
        The term as written, for messages.
    """

    columns: str
    group: tuple[str, ...]
    correlated: bool
    text: str

    @property
    def group_name(self) -> str:
        """Name of the grouping factor, as in lme4: ``cask:batch``."""
        return ":".join(self.group)


@dataclass(frozen=True)
class Formula:
    """A mixed-model formula taken apart.

    Attributes
    ----------
    text
        The formula as typed.
    response
        Left-hand side, an expression.
    fixed
        Right-hand side without random terms and offsets, in formulaic's language; ``"1"`` if empty.
    offsets
        Expressions inside ``offset(...)``.
    random
        Random terms in the order written, nested ones expanded as lme4 does: ``(1 | a/b)`` is ``b:a`` then ``a``.
    names
        Those of response, offsets and grouping variables that are names of columns, not expressions.
    """

    text: str
    response: str
    fixed: str
    offsets: tuple[str, ...]
    random: tuple[RandomTerm, ...]
    names: frozenset[str] = frozenset()
