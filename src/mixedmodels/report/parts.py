"""What a page asks of a fit of each kind: its name, equations, tables and checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mixedmodels.diagnose.check import check
from mixedmodels.diagnose.generalized_check import check_generalized
from mixedmodels.diagnose.marginal_check import check_marginal
from mixedmodels.display.correlated_summary import correlated_heading, summarize_correlated
from mixedmodels.display.generalized_summary import summarize_generalized
from mixedmodels.display.marginal_summary import summarize_marginal
from mixedmodels.display.report_tables import anova_table, chi_squared_tests, share_table
from mixedmodels.display.summary import summarize
from mixedmodels.errors import InferenceError
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.inference.anova import anova
from mixedmodels.inference.generalized import chi_squared_table
from mixedmodels.inference.generalized_sizes import generalized_icc, generalized_r2
from mixedmodels.inference.icc import icc
from mixedmodels.inference.r2 import r2
from mixedmodels.report.mathematics import (
    category_equations,
    correlated_equations,
    equations,
    generalized_equations,
    marginal_equations,
)

if TYPE_CHECKING:
    import pandas as pd

    from mixedmodels.display.summary import Summary
    from mixedmodels.display.table import Table
    from mixedmodels.fit.records import FitState, FixedFit
    from mixedmodels.inference.approximation import Approximation


class Parts(Protocol):
    """What a page asks of a fit."""

    @property
    def heading(self) -> str:
        """Kind of the model."""
        ...

    @property
    def door(self) -> str:
        """The function that fits it, and what it is given beside formula and data, ``lmer(..., reml=False)``."""
        ...

    @property
    def method(self) -> str:
        """How it was fitted, in words."""
        ...

    @property
    def n_subjects(self) -> dict[str, int]:
        """Subjects that are no levels of a grouping factor."""
        ...

    def equations(self) -> list[str]:
        """Return the model as HTML with MathML."""
        ...

    def summary(self, tests: Approximation, level: float, width: int) -> Summary:
        """Return the tables of estimates."""
        ...

    def terms(self, tests: Approximation) -> Table | None:
        """Return tests of the terms; None where there are none."""
        ...

    def shares(self) -> Table | None:
        """Return shares of the variance; None where they are not known."""
        ...

    def checks(self) -> pd.DataFrame:
        """Return what was checked."""
        ...


def parts_of(state: FixedFit) -> Parts:
    """Return what a page asks of a fit.

    Parameters
    ----------
    state
        The fit.
    """
    parts: Parts = next(parts for kind, parts in _KINDS if isinstance(state, kind))(state)
    return parts


@dataclass(frozen=True)
class _Normal:
    """What fits with normal residuals have in common."""

    state: FixedFit

    @property
    def door(self) -> str:
        return f"lmer({self.state.design.formula.text!r}, data{self._options()})"

    def _options(self) -> str:
        return "" if self.state.reml else ", reml=False"

    @property
    def method(self) -> str:
        return "restricted maximum likelihood (REML)" if self.state.reml else "maximum likelihood (ML)"

    @property
    def n_subjects(self) -> dict[str, int]:
        return {}

    def terms(self, tests: Approximation) -> Table | None:
        table = anova(self.state, 3, tests)
        return anova_table(table) if len(table) else None


@dataclass(frozen=True)
class _Linear(_Normal):
    state: FitState
    heading = "Linear mixed model"

    def equations(self) -> list[str]:
        return equations(self.state)

    def summary(self, tests: Approximation, level: float, width: int) -> Summary:
        return summarize(self.state, tests, level, width=width)

    def shares(self) -> Table | None:
        return share_table(r2(self.state), icc(self.state))

    def checks(self) -> pd.DataFrame:
        return check(self.state)


@dataclass(frozen=True)
class _Marginal(_Normal):
    state: MarginalState
    heading = "Mixed model for repeated measures"

    @property
    def door(self) -> str:
        return f"mmrm({self.state.design.formula.text!r}, data{self._options()})"

    @property
    def n_subjects(self) -> dict[str, int]:
        own = self.state.problem.rows
        return {own.term.subject: own.n_subjects}

    def equations(self) -> list[str]:
        return marginal_equations(self.state)

    def summary(self, tests: Approximation, level: float, width: int) -> Summary:
        return summarize_marginal(self.state, tests, level, width=width)

    def shares(self) -> Table | None:
        return None

    def checks(self) -> pd.DataFrame:
        return check_marginal(self.state)


@dataclass(frozen=True)
class _Correlated(_Normal):
    state: CorrelatedState

    @property
    def heading(self) -> str:
        return correlated_heading(self.state)

    def _options(self) -> str:
        formula, known = self.state.design.formula, self.state.problem.known_sigma
        own = "" if formula.residual is None else f", residual={formula.residual.text!r}"
        own += "" if self.state.design.known_residual is None else ", residual=V"
        variance = " * ".join(term.text for term in formula.variance)
        own += f", variance={variance!r}" if variance else ""
        return own + ("" if known is None else f", sigma={known:g}") + super()._options()

    @property
    def n_subjects(self) -> dict[str, int]:
        own = self.state.design.residual
        names = {factor.name for factor in self.state.design.factors}
        return {} if own is None or own.term.subject in names else {own.term.subject: own.n_subjects}

    def equations(self) -> list[str]:
        return correlated_equations(self.state)

    def summary(self, tests: Approximation, level: float, width: int) -> Summary:
        return summarize_correlated(self.state, tests, level, width=width)

    def shares(self) -> Table | None:
        return None

    def checks(self) -> pd.DataFrame:
        return check_marginal(self.state)


@dataclass(frozen=True)
class _Generalized:
    state: GlmmState
    heading = "Generalised linear mixed model"

    @property
    def door(self) -> str:
        family, nodes = self.state.family, self.state.n_agq
        link = "" if family.link == family.links[0] else f", link={family.link!r}"
        nodes_text = "" if nodes == 1 else f", n_agq={nodes}"
        return f"glmer({self.state.design.formula.text!r}, data, family={family.name!r}{link}{nodes_text})"

    @property
    def method(self) -> str:
        nodes = self.state.n_agq
        how = "Laplace's approximation" if nodes == 1 else f"adaptive quadrature with {nodes} nodes"
        return f"maximum likelihood by {how}"

    @property
    def n_subjects(self) -> dict[str, int]:
        return {}

    def equations(self) -> list[str]:
        of_kind = category_equations if isinstance(self.state.family, Ordinal) else generalized_equations
        return of_kind(self.state)

    def summary(self, tests: Approximation, level: float, width: int) -> Summary:
        return summarize_generalized(self.state, level, width=width)

    def terms(self, tests: Approximation) -> Table | None:
        table = chi_squared_table(self.state)
        return chi_squared_tests(table) if len(table) else None

    def shares(self) -> Table | None:
        try:
            return share_table(generalized_r2(self.state), generalized_icc(self.state), " on the link scale")
        except InferenceError:  # the family has no variance there
            return None

    def checks(self) -> pd.DataFrame:
        return check_generalized(self.state)


_KINDS: tuple[tuple[type, type[Any]], ...] = (
    (GlmmState, _Generalized),
    (CorrelatedState, _Correlated),
    (MarginalState, _Marginal),
    (object, _Linear),
)
"""What is asked for each kind of fit, the first that it is one of."""
