"""scipy's optimisers under the names that statsmodels gives them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from mixedmodels.design.records import Floats

if TYPE_CHECKING:
    from mixedmodels.mixedlm.fitting.objective import Objective
    from mixedmodels.mixedlm.reading.params import MixedLMParams

METHODS = {
    "bfgs": "BFGS",
    "lbfgs": "L-BFGS-B",
    "cg": "CG",
    "ncg": "Newton-CG",
    "powell": "Powell",
    "nm": "Nelder-Mead",
    "basinhopping": "basinhopping",
    "minimize": "minimize",
}
_TAKES = {
    "BFGS": {"gtol": "gtol", "maxiter": "maxiter", "eps": "eps", "disp": "disp"},
    "CG": {"gtol": "gtol", "maxiter": "maxiter", "eps": "eps", "disp": "disp"},
    "L-BFGS-B": {n: n for n in ("gtol", "ftol", "maxiter", "eps", "maxcor", "maxls")},
    "Newton-CG": {"tol": "xtol", "maxiter": "maxiter", "eps": "eps", "disp": "disp"},
    "Powell": {"ftol": "ftol", "tol": "xtol", "maxiter": "maxiter", "disp": "disp"},
    "Nelder-Mead": {"ftol": "fatol", "tol": "xatol", "maxiter": "maxiter", "disp": "disp"},
}
_WITHOUT_GRADIENT = ("Powell", "Nelder-Mead")

ROUNDING = 1e-12
"""Decrease of the objective, of order one, that its own rounding hides: strong penalties leave 5e-13 of noise."""


@dataclass(frozen=True)
class Minimum:
    """Where the optimisers ended.

    Attributes
    ----------
    x
        Roots of the free covariances.
    status
        ``"converged"``, ``"iteration limit"`` or ``"no further decrease"``, of the last that ran.
    gradient_norm
        Largest element of the gradient there.
    n_iterations, n_evaluations
        Of all that were tried.
    hist
        What each reported.
    tried
        Their names.
    """

    x: Floats
    status: str
    gradient_norm: float
    n_iterations: int
    n_evaluations: int
    hist: list[dict[str, Any]]
    tried: tuple[str, ...]


def minimize(objective: Objective, start: MixedLMParams, methods: tuple[str, ...], options: dict[str, Any]) -> Minimum:
    """Return the best end of the methods, which all start from the same values; the first that converges is the last.

    Parameters
    ----------
    objective
        What to minimise.
    start
        First parameters.
    methods
        Names, as statsmodels spells them.
    options
        ``maxiter, gtol, ftol, tol, eps, maxcor, maxls, disp`` and ``min_method``; each optimiser takes those it knows.
    """
    x0 = objective.start(start)
    hist: list[dict[str, Any]] = []
    best: tuple[float, Floats] | None = None
    options = {"maxiter": 100, **options}
    n_iterations = n_evaluations = 0
    for name in methods:
        path = [x0.copy()]
        found = _run(objective, x0, METHODS[name], options, path)
        n_iterations += int(getattr(found, "nit", 0))
        n_evaluations += int(getattr(found, "nfev", 0))
        status = _status(found, options["maxiter"])
        hist.append(
            {
                "method": name,
                "fopt": float(found.fun),
                "iterations": int(getattr(found, "nit", 0)),
                "fcalls": int(getattr(found, "nfev", 0)),
                "converged": status == "converged",
                "message": str(found.message),
                "allvecs": path,
            }
        )
        if best is None or found.fun < best[0]:
            best = float(found.fun), np.atleast_1d(np.asarray(found.x, dtype=np.float64))
        if status == "converged":
            break
    assert best is not None
    norm = float(np.abs(objective.gradient(best[1])).max(initial=0.0))
    tried = tuple(entry["method"] for entry in hist)
    return Minimum(best[1], status, norm, n_iterations, n_evaluations, hist, tried)


def _status(found: Any, maxiter: int) -> str:
    """Return how an optimiser ended; one whose next step would gain less than rounding has converged."""
    inverse_hessian = getattr(found, "hess_inv", None)
    if found.success:
        return "converged"
    if inverse_hessian is not None and 0.5 * found.jac @ (inverse_hessian @ found.jac) <= ROUNDING:
        return "converged"
    return "iteration limit" if found.nit >= maxiter else "no further decrease"


def _run(objective: Objective, x0: Floats, method: str, options: dict[str, Any], path: list[Floats]) -> Any:
    if method == "minimize":
        method = options.get("min_method", "BFGS")
    if not len(x0):
        return SimpleNamespace(x=x0, fun=objective.value(x0), success=True, message="nothing to estimate")
    callback = lambda x, *_: path.append(np.array(x))  # noqa: E731  # scipy calls it with different arguments
    gradient = None if method in _WITHOUT_GRADIENT else objective.gradient
    if method == "basinhopping":
        inner: Any = {"method": "L-BFGS-B", "jac": objective.gradient}
        found = optimize.basinhopping(
            objective.value, x0, niter=options["maxiter"], minimizer_kwargs=inner, rng=0, callback=callback
        )
        found.success = bool(found.lowest_optimization_result.success)
        return found
    takes = _TAKES.get(method, {"maxiter": "maxiter"})
    chosen = {takes[name]: value for name, value in options.items() if name in takes}
    run: Any = optimize.minimize  # its overloads know names of methods, not variables
    return run(objective.value, x0, method=method, jac=gradient, options=chosen, callback=callback)
