"""Why a fit did not converge, in words that name the caller's arguments."""

from __future__ import annotations

from dataclasses import replace

from mixedmodels.fit.records import FitState, Optimum

_REMEDIES = {
    ("iteration limit", True): "Raise maxiter",
    ("iteration limit", False): "Raise maxiter, or leave out method",
    ("no further decrease", True): "The likelihood is nearly flat there; simplify the random effects",
    ("no further decrease", False): "Leave out method",
}
"""What to do about a status, where the caller named no method and where one was named."""


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
