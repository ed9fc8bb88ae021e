"""What a fit has to tell, in warnings that code written for statsmodels can catch by its own names."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

from mixedmodels.errors import ConvergenceWarning, MixedModelsWarning, SingularFitWarning

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState, Optimum

_THEIRS = {ConvergenceWarning: "ConvergenceWarning", SingularFitWarning: "SingularMatrixWarning"}


_REMEDIES = {
    ("iteration limit", True): "Raise maxiter",
    ("iteration limit", False): "Raise maxiter, or leave out method",
    ("no further decrease", True): "The likelihood is nearly flat there; simplify the random effects",
    ("no further decrease", False): "Leave out method",
}
"""What to do about a status, where the caller named no method and where one was named."""


def _both(ours: type[MixedModelsWarning], theirs: type[Warning]) -> type[Warning]:
    return type(ours.__name__, (ours, theirs), {"__module__": ours.__module__, "__doc__": ours.__doc__})


def warn(message: str, category: type[MixedModelsWarning], stacklevel: int) -> None:
    """Warn; where statsmodels is loaded, the warning is also one of its own kind, so that old filters still work.

    Parameters
    ----------
    message
        What happened.
    category
        Our kind of warning.
    stacklevel
        Frames between the caller of this function and the line to blame.
    """
    loaded = sys.modules.get("statsmodels.tools.sm_exceptions")
    theirs = getattr(loaded, _THEIRS.get(category, ""), None)
    warnings.warn(message, category if theirs is None else _both(category, theirs), stacklevel=stacklevel + 1)


def tell(state: FitState, stacklevel: int) -> None:
    """Warn of no convergence and of singular covariances.

    Parameters
    ----------
    state
        The fit.
    stacklevel
        As for ``warn``.
    """
    for finding in state.findings:
        if finding.kind == "not_converged":
            warn(finding.message, ConvergenceWarning, stacklevel + 1)
        elif finding.kind == "singular":
            warn(f"Random effects covariance: {finding.message}", SingularFitWarning, stacklevel + 1)


def advised(state: FitState, message: str) -> FitState:
    """Return the state with another message where it did not converge: one that names the caller's arguments."""
    findings = [replace(one, message=message) if one.kind == "not_converged" else one for one in state.findings]
    return replace(state, findings=tuple(findings))


def why_not_converged(optimum: Optimum, is_start: bool, is_ours: bool) -> str:
    """Return why an optimiser stopped, and which argument of ``fit`` to change.

    Parameters
    ----------
    optimum
        Where it stopped.
    is_start
        It was told not to move.
    is_ours
        The caller named no method.
    """
    if is_start:
        return "Not converged: do_cg=False returns the start. Leave it out to fit the model."
    return (
        f"Not converged: {optimum.status} after {optimum.n_iterations} iterations, with a largest gradient of "
        f"{optimum.gradient_norm:.2g}. {_REMEDIES[optimum.status, is_ours]}."
    )
