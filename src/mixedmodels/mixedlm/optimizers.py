"""scipy's optimisers under the names that statsmodels gives them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize

from mixedmodels.design.records import Floats

if TYPE_CHECKING:
    from mixedmodels.mixedlm.objective import Objective
    from mixedmodels.mixedlm.params import MixedLMParams

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


@dataclass(frozen=True)
class Minimum:
    """Where the optimisers ended.

    Attributes
    ----------
    x
        Roots of the free covariances.
    converged
        One of them says so.
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
    converged: bool
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
    n_iterations = n_evaluations = 0
    for name in methods:
        path = [x0.copy()]
        found = _run(objective, x0, METHODS[name], {"maxiter": 100, **options}, path)
        n_iterations += int(getattr(found, "nit", 0))
        n_evaluations += int(getattr(found, "nfev", 0))
        converged = bool(getattr(found, "success", True))
        hist.append(
            {
                "method": name,
                "fopt": float(found.fun),
                "iterations": int(getattr(found, "nit", 0)),
                "fcalls": int(getattr(found, "nfev", 0)),
                "converged": converged,
                "message": str(found.message),
                "allvecs": path,
            }
        )
        if best is None or found.fun < best[0]:
            best = float(found.fun), np.atleast_1d(np.asarray(found.x, dtype=np.float64))
        if converged:
            break
    assert best is not None
    norm = float(np.abs(objective.gradient(best[1])).max(initial=0.0))
    tried = tuple(entry["method"] for entry in hist)
    return Minimum(best[1], hist[-1]["converged"], norm, n_iterations, n_evaluations, hist, tried)


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
