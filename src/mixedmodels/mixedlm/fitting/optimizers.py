"""scipy's optimisers under the names that statsmodels gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy import optimize

from mixedmodels.design.records import Floats
from mixedmodels.fit.objective import Objective

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
    "BFGS": {"gtol": "gtol", "maxiter": "maxiter"},
    "CG": {"gtol": "gtol", "maxiter": "maxiter"},
    "L-BFGS-B": {n: n for n in ("gtol", "ftol", "maxiter", "maxcor", "maxls")},
    "Newton-CG": {"maxiter": "maxiter", "eps": "eps"},
    "Powell": {"ftol": "ftol", "maxiter": "maxiter"},
    "Nelder-Mead": {"ftol": "fatol", "maxiter": "maxiter"},
    "TNC": {"gtol": "gtol", "ftol": "ftol", "maxiter": "maxfun"},
    "SLSQP": {"ftol": "ftol", "maxiter": "maxiter"},
}
"""Their options beside ``tol``, which all take, under scipy's names. Gradients are exact, so that ``eps``, a step of
differences, is for what makes a Hessian of them."""
MIN_METHODS = tuple(_TAKES)
"""What ``method="minimize"`` runs by the name ``min_method``."""
_WITHOUT_GRADIENT = ("Powell", "Nelder-Mead")

CERTIFIED_DECREASE = 1e-6
"""What a Newton step may still gain, in -2 log-likelihood, at an end that counts as an optimum."""
STEP_SCALED = 1e-4
"""Step of differences of the gradient, for an effect as large as the residual."""
MAX_ROUNDS = 5
"""How often a penalised fit is sent on from where it is no optimum."""

Certificate = Callable[[Floats], float]
"""What a Newton step from some roots would gain, in -2 log-likelihood."""


@dataclass(frozen=True)
class Minimum:
    """Where the optimisers ended.

    Attributes
    ----------
    x
        Roots of the free covariances.
    status
        ``"converged"`` at an optimum, else ``"iteration limit"`` or ``"no further decrease"``.
    gradient_norm
        Largest element of the gradient there.
    hist
        What each reported; ``converged`` says whether it ended at an optimum, not what it claims.
    """

    x: Floats
    status: str
    gradient_norm: float
    hist: list[dict[str, Any]]

    @property
    def tried(self) -> tuple[str, ...]:
        """Names of the optimisers."""
        return tuple(entry["method"] for entry in self.hist)

    @property
    def n_iterations(self) -> int:
        """Of all that were tried."""
        return sum(entry["iterations"] for entry in self.hist)

    @property
    def n_evaluations(self) -> int:
        """Of all that were tried."""
        return sum(entry["fcalls"] for entry in self.hist)


def minimize(
    objective: Objective, x0: Floats, methods: tuple[str, ...], options: dict[str, Any], gain: Certificate
) -> Minimum:
    """Return the best end of the methods, which all start from the same values; the first at an optimum is the last.

    Parameters
    ----------
    objective
        What to minimise.
    x0
        First roots.
    methods
        Names, as statsmodels spells them.
    options
        ``maxiter, gtol, ftol, tol, eps, maxcor, maxls, disp`` and ``min_method``; each optimiser takes those it knows.
    gain
        Judges an end; the optimiser's own word is not taken for it.
    """
    hist: list[dict[str, Any]] = []
    best: tuple[float, Floats, str] | None = None
    options = {"maxiter": 100, **options}
    for name in methods:
        path = [x0.copy()]
        found = _run(objective, x0, METHODS[name], options, path)
        is_defined = bool(np.isfinite(found.fun))
        x = np.atleast_1d(np.asarray(found.x, dtype=np.float64)) if is_defined else x0
        is_optimum = is_defined and gain(x) <= CERTIFIED_DECREASE
        hist.append(_entry(name, found, is_optimum, path))
        if best is None or found.fun < best[0]:
            is_short = hist[-1]["iterations"] >= options["maxiter"]
            status = "converged" if is_optimum else "iteration limit" if is_short else "no further decrease"
            best = float(found.fun), x, status
        if is_optimum:
            break
    assert best is not None
    return Minimum(best[1], best[2], float(np.abs(objective.gradient(best[1])).max(initial=0.0)), hist)


def minimize_certified(objective: Objective, x0: Floats, methods: tuple[str, ...], options: dict[str, Any]) -> Minimum:
    """Return the end of the methods; where that is no optimum, of BFGS from a Newton step further on, a few times.

    Parameters
    ----------
    objective, x0, methods, options
        As for ``minimize``.
    """

    def gain(x: Floats) -> float:
        return newton_step(objective, x)[1]

    found = minimize(objective, x0, methods, options, gain)
    for _ in range(MAX_ROUNDS):
        is_limited = found.status == "iteration limit" and "maxiter" in options
        if found.status == "converged" or is_limited:
            break
        step, _ = newton_step(objective, found.x)
        ahead = [found.x + t * step for t in 0.5 ** np.arange(20)]
        lowest = ahead[int(np.argmin([objective.value(x) for x in ahead]))]
        last = minimize(objective, lowest, ("bfgs",), options, gain)
        found = replace(last, hist=[*found.hist, *last.hist])
    return found


def newton_step(objective: Objective, x: Floats) -> tuple[Floats, float]:
    """Return a step downhill, along negative curvature too, and what it gains by the quadratic model.

    The curvature is from differences of the gradient: where a variance is zero, and with it the gradient, it alone
    tells a saddle from an optimum.

    Parameters
    ----------
    objective
        A function of roots.
    x
        Some roots.

    Returns
    -------
    step
        In roots.
    gain
        In -2 log-likelihood.
    """
    if not len(x):
        return x, 0.0
    units = objective.units
    moves = STEP_SCALED * np.diag(units)
    gradient = objective.gradient(x) * units
    rows = [(objective.gradient(x + h) - objective.gradient(x - h)) * units / (2 * STEP_SCALED) for h in moves]
    if not (np.isfinite(gradient).all() and np.isfinite(rows).all()):
        return np.zeros_like(x), np.inf
    values, vectors = np.linalg.eigh(0.5 * (np.array(rows) + np.array(rows).T))
    along = vectors.T @ gradient
    floor = 1e-6 * max(float(np.abs(values).max()), 1e-300)
    step = -along / np.maximum(np.abs(values), floor)
    if values[0] < -floor:
        step[0] = -1.0 if along[0] > 0 else 1.0
    gain = -float(along @ step + 0.5 * values @ step**2)
    return units * (vectors @ step), 2 * objective.likelihood.n_obs * gain


def _entry(name: str, found: Any, is_optimum: bool, path: list[Floats]) -> dict[str, Any]:
    """Return what an optimiser reported, under statsmodels' names."""
    entry = {
        "method": name,
        "fopt": float(found.fun),
        "iterations": int(getattr(found, "nit", 0)),
        "fcalls": int(getattr(found, "nfev", 0)),
        "warnflag": int(getattr(found, "status", 0)),
        "converged": is_optimum,
        "message": str(found.message),
        "allvecs": path,
    }
    for theirs, scipys in (("gopt", "jac"), ("Hinv", "hess_inv"), ("direc", "direc"), ("gcalls", "njev")):
        value = getattr(found, scipys, None)
        if isinstance(value, np.ndarray | int):
            entry[theirs] = value
    return entry


def taken_by(method: str, options: Mapping[str, Any]) -> set[str]:
    """Return the options that a method takes.

    Parameters
    ----------
    method
        A name, as statsmodels spells it.
    options
        All that were given; ``min_method`` says what ``"minimize"`` is.
    """
    name = METHODS[method]
    if name == "minimize":
        chosen = options.get("min_method", "BFGS")
        return {"tol", "min_method", *(_TAKES.get(chosen, {}) if isinstance(chosen, str) else {})}
    return {"tol", *_TAKES["L-BFGS-B" if name == "basinhopping" else name]}


def _run(objective: Objective, x0: Floats, method: str, options: dict[str, Any], path: list[Floats]) -> Any:
    if method == "minimize":
        method = options.get("min_method", "BFGS")
    if not len(x0):
        return SimpleNamespace(x=x0, fun=objective.value(x0), success=True, message="nothing to estimate")
    callback = lambda x, *_: path.append(np.array(x))  # noqa: E731  # scipy calls it with different arguments
    gradient = None if method in _WITHOUT_GRADIENT else objective.gradient
    tol = options.get("tol")
    if method == "basinhopping":
        chosen = {name: options[name] for name in _TAKES["L-BFGS-B"] if name in options and name != "maxiter"}
        inner: Any = {"method": "L-BFGS-B", "jac": objective.gradient, "options": chosen, "tol": tol}
        seed: Any = {"rng" if "rng" in signature(optimize.basinhopping).parameters else "seed": 0}  # before SciPy 1.15
        with np.errstate(all="ignore"):
            found = optimize.basinhopping(
                objective.value, x0, niter=options["maxiter"], minimizer_kwargs=inner, callback=callback, **seed
            )
        found.success = bool(found.lowest_optimization_result.success)
        return found
    chosen = {_TAKES[method][name]: value for name, value in options.items() if name in _TAKES[method]}
    run: Any = optimize.minimize  # its overloads know names of methods, not variables
    with np.errstate(all="ignore"):  # far steps overflow
        return run(objective.value, x0, method=method, jac=gradient, options=chosen, tol=tol, callback=callback)
