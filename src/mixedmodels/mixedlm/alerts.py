"""What a fit has to tell, in warnings that code written for statsmodels can catch by its own names."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from mixedmodels.errors import ConvergenceWarning, IdentificationWarning, MixedModelsWarning, SingularFitWarning

if TYPE_CHECKING:
    from mixedmodels.fit.records import FitState
    from mixedmodels.mixedlm.fitting.record import Fit

_THEIRS = {ConvergenceWarning: "ConvergenceWarning", SingularFitWarning: "SingularMatrixWarning"}


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
    """Warn of no convergence, of singular covariances and of those that the data cannot tell.

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
        elif finding.kind == "unidentified":
            warn(finding.message, IdentificationWarning, stacklevel + 1)


def print_progress(fit: Fit) -> None:
    """Print how the optimisers of a fit ended, as statsmodels does where ``disp`` is asked for."""
    ended = fit.ended
    print(
        f"{', '.join(ended['optimizer'])}: {'converged' if ended['converged'] else 'not converged'}\n"
        f"    Function value: {ended['fopt']:.6f}\n    Iterations: {ended['iterations']}\n"
        f"    Function evaluations: {ended['fcalls']}"
    )
