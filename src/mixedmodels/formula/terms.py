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
    structure
        Covariance of the effects of a level, one of ``effect_kinds.KINDS``; empty where the bar says it.
    rank
        Of ``rr``: how many factors; else 0.
    relationship
        Of ``propto``: the name of the known covariance among its levels; else empty.
    """

    columns: str
    group: tuple[str, ...]
    correlated: bool
    text: str
    structure: str = ""
    rank: int = 0
    relationship: str = ""

    @property
    def kind(self) -> str:
        """The structure of the covariance, also where the bar says it: ``"us"`` for ``|``, ``"diag"`` for ``||``."""
        return self.structure or ("us" if self.correlated else "diag")

    @property
    def group_name(self) -> str:
        """Name of the grouping factor, as in lme4: ``cask:batch``."""
        return ":".join(self.group)


@dataclass(frozen=True)
class ResidualTerm:
    """How residuals of one subject are correlated: ``kind(visits | group / subject)``.

    Attributes
    ----------
    kind
        Name of the covariance structure, such as ``"us"``.
    visits
        The column of the visits, or columns of coordinates.
    group
        Subjects of each of its levels have a covariance of their own; None for one covariance.
    subject
        Rows of different subjects are independent.
    text
        The term as written.
    """

    kind: str
    visits: tuple[str, ...]
    group: str | None
    subject: str
    text: str

    @property
    def variables(self) -> tuple[str, ...]:
        """All its columns."""
        return (*self.visits, *(() if self.group is None else (self.group,)), self.subject)


@dataclass(frozen=True)
class VarianceTerm:
    """How standard deviations of residuals depend on a column: ``kind(column)``.

    Attributes
    ----------
    kind
        Name of the variance function, such as ``"power"``.
    column
        What it is a function of.
    """

    kind: str
    column: str

    @property
    def text(self) -> str:
        """The term as it is written."""
        return f"{self.kind}({self.column})"


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
    residual
        The correlations of residuals; None where they are independent.
    absorbed
        The factors of fixed effects that are absorbed, ``fe(firm)``: the variables whose combinations are their levels.
    variance
        What their standard deviations are proportional to, as a product.
    """

    text: str
    response: str
    fixed: str
    offsets: tuple[str, ...]
    random: tuple[RandomTerm, ...]
    names: frozenset[str] = frozenset()
    residual: ResidualTerm | None = None
    absorbed: tuple[tuple[str, ...], ...] = ()
    variance: tuple[VarianceTerm, ...] = ()

    @property
    def described(self) -> str:
        """The formula with what is said of the residuals beside it."""
        parts = [self.text]
        if self.residual is not None and self.residual.text not in self.text:
            parts.append(f"residual {self.residual.text}")
        if self.variance:
            parts.append(f"variance {' * '.join(term.text for term in self.variance)}")
        return ", ".join(parts)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The variables of every grouping factor, of random terms and then absorbed."""
        return (*(term.group for term in self.random), *self.absorbed)

    @property
    def grouping_variables(self) -> tuple[str, ...]:
        """Columns and expressions of grouping factors, subjects, visits and variance functions, read as they are."""
        of_residual = () if self.residual is None else self.residual.variables
        of_variance = (term.column for term in self.variance)
        return tuple(dict.fromkeys([*(name for group in self.groups for name in group), *of_residual, *of_variance]))
