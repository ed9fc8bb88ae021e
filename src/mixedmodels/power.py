"""Power of a design by simulation: responses drawn from a fit, for more or fewer levels, refitted and tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from mixedmodels.design.subset import draw_levels
from mixedmodels.errors import InferenceError, nearest, unknown_group
from mixedmodels.fit.problem import Problem, row_arguments
from mixedmodels.fit.progress import progress_bar
from mixedmodels.inference.bootstrap import check_seed, simulated_response
from mixedmodels.inference.degrees import estimate_rows, joint_test
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.inference.wald import check_level, two_sided_p
from mixedmodels.result import LmmResult

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FitState

BLOCK_VALUES = 2_000_000
"""Numbers held at once by a block of simulated responses."""
MAX_BLOCK = 100


@runtime_checkable
class Unfitted(Protocol):
    """A model that can be fitted, such as a ``LinearMixedModel``."""

    def fit(self) -> LmmResult:
        """Return its fit."""
        ...


def power(
    model: LmmResult | Unfitted,
    effect: str,
    *,
    n: int = 1000,
    vary: Mapping[str, Sequence[int]] | None = None,
    size: float | None = None,
    alpha: float = 0.05,
    ddf: str = "satterthwaite",
    seed: int | None = None,
    level: float = 0.95,
    progress: bool = True,
) -> pd.DataFrame:
    """Return the power to find a fixed effect, by the numbers of levels of grouping factors.

    Every simulated response is fitted anew and tested: a coefficient as in ``coef_table``, a term of several columns,
    such as a factor, by its joint F test, as in ``anova`` of type 3. More levels are copies of the data's levels, taken
    in turn, with their rows and the levels nested in them; fewer are the first ones.

    Parameters
    ----------
    model
        A fit (of a pilot, say) whose parameters are taken as true, or a model, which is fitted first.
    effect
        Name of a fixed effect, or of a term.
    n
        Simulations a design.
    vary
        Grouping factors and the numbers of their levels, ``{"Subject": [20, 40, 80]}``; all combinations are tried if
        there are several. None for the design as it is.
    size
        True value of the coefficient; None for the estimate, and for terms. Zero gives the rate of false alarms.
    alpha
        Level of the test.
    ddf
        As for ``coef_table``.
    seed
        Of the random streams, one a simulation.
    level
        Coverage of the intervals of power (Clopper and Pearson 1934).
    progress
        Show a progress bar if it takes long and tqdm is installed.

    Returns
    -------
    pandas.DataFrame
        By numbers of levels: ``n_obs, power, lower, upper``, ``type_s`` (share of significant estimates with the wrong
        sign), ``type_m`` (mean exaggeration of significant estimates; Gelman and Carlin 2014), ``n_failed`` (not among
        the others), ``n_singular``. A joint test has no sign and no single estimate: there ``type_s`` and ``type_m``
        are NaN.

    Raises
    ------
    InferenceError
        If there is no such effect or factor, an argument is not allowed, or a design cannot be fitted.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> table = mm.power(fit, "Days", n=50, size=4, vary={"Subject": [6, 40]}, seed=1, progress=False)
    >>> bool(table.loc[6, "power"] < table.loc[40, "power"])
    True
    """
    if not isinstance(model, LmmResult | Unfitted):
        raise InferenceError(
            f"model is {model!r}; it must be a fit, as lmer returns it, or a model to fit, such as a LinearMixedModel."
        )
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    if not (_is_number(alpha) and 0 < alpha < 1):
        raise InferenceError(f"alpha is {alpha!r}; it must lie between 0 and 1, such as 0.05.")
    check_level(level)
    check_seed(seed)
    fit = model if isinstance(model, LmmResult) else model.fit()
    fit.check_estimated("power")
    state = fit.state
    L = _hypothesis(state, effect)
    truth = state if size is None else _with_size(state, effect, size)
    sizes = _sizes(state, vary)
    entropy = np.random.SeedSequence(seed).entropy
    rows = []
    with progress_bar(n * len(sizes), "power", "fit", progress) as advance:
        for cell, counts in enumerate(sizes):
            design = state.design
            for name, count in counts.items():
                n_levels = next(f.n_levels for f in design.factors if f.name == name)
                if count != n_levels:
                    design = draw_levels(design, name, np.arange(count) % n_levels)
            study = _Study(truth, design, L, ddf, (entropy, cell))
            rows.append({"n_obs": design.n_obs} | _summary(study, n, alpha, level, advance))
    names = list(sizes[0])
    labels = [tuple(counts.values()) for counts in sizes]
    index: pd.Index = pd.MultiIndex.from_tuples(labels, names=names)
    return pd.DataFrame(rows, index=index.get_level_values(0) if len(names) == 1 else index)


def _hypothesis(state: FitState, effect: str) -> Floats:
    """Return the combinations of the fixed effects that the test says are all zero, (n_rows, n_fixed)."""
    if not isinstance(effect, str):
        raise InferenceError(f"effect is {effect!r}; it must be the name of a fixed effect, such as 'x'.")
    if effect in state.fixed_names:
        return np.eye(state.n_fixed)[[state.fixed_names.index(effect)]]
    contrasts = TermContrasts.of(state)
    terms = [term.name for term in contrasts.terms]
    if effect not in terms:
        known = dict.fromkeys([*state.fixed_names, *terms])
        raise InferenceError(
            f"There is no fixed effect {effect!r}; there are {', '.join(known)}.{nearest(effect, known)}"
        )
    L = contrasts.hypothesis(terms.index(effect), 3)
    if not len(L):
        raise InferenceError(f"All columns of {effect!r} were dropped as aliased, so there is nothing to test.")
    return L


def _with_size(state: FitState, effect: str, size: float) -> FitState:
    """Return the fit with another value of a coefficient."""
    if not (_is_number(size) and np.isfinite(size)):
        raise InferenceError(f"size is {size!r}; the true value of the effect must be a finite number, or None.")
    if effect not in state.fixed_names:
        raise InferenceError(
            f"size is the true value of one coefficient, and {effect!r} is a term. Leave size out, or name one of: "
            f"{', '.join(state.fixed_names)}."
        )
    beta = state.beta.copy()
    beta[state.fixed_names.index(effect)] = size
    return replace(state, beta=beta)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _sizes(state: FitState, vary: Mapping[str, Sequence[int]] | None) -> list[dict[str, int]]:
    """Return the numbers of levels of each design."""
    known = {f.name: f.n_levels for f in state.design.factors}
    if vary is None:
        return [known]
    if not isinstance(vary, Mapping) or not vary:
        found = "empty" if isinstance(vary, Mapping) else repr(vary)
        raise InferenceError(
            f"vary is {found}; it must hold a grouping factor, such as {{{next(iter(known))!r}: [20]}}."
        )
    for name, counts in vary.items():
        if name not in known:
            raise unknown_group(name, known)
        if not isinstance(counts, Iterable) or not list(counts):
            raise InferenceError(f"vary has {counts!r} for {name!r}; it must be a list of numbers of levels: [20, 40].")
        for count in counts:
            if not isinstance(count, int | np.integer) or count < 2:
                raise InferenceError(f"vary asks for {count!r} levels of {name!r}; it must be an integer, at least 2.")
    for outer, inner in permutations((f for f in state.design.factors if f.name in vary), 2):
        pairs = np.unique(inner.codes.astype(np.int64) * outer.n_levels + outer.codes)
        if len(pairs) == inner.n_levels:
            raise InferenceError(
                f"vary names {inner.name!r}, which is nested in {outer.name!r}: the levels of {inner.name} come with "
                f"those of {outer.name}. Vary one of them."
            )
    return [dict(zip(vary, map(int, counts), strict=True)) for counts in product(*vary.values())]


@dataclass(frozen=True)
class _Test:
    """Estimate, NaN for a joint test, and p-value of the effect in one simulated response."""

    estimate: float
    p_value: float
    singular: bool


class _Study:
    """A design whose responses are drawn from known parameters."""

    def __init__(self, truth: FitState, design: Design, L: Floats, ddf: str, key: tuple[Any, int]) -> None:
        self.problem = Problem(design, n_threads=truth.problem.n_threads)
        if tuple(self.problem.model.kept) != truth.kept:
            sizes = ", ".join(f"{f.n_levels} levels of {f.name}" for f in design.factors)
            raise InferenceError(
                f"With {sizes} not all fixed effects of this fit can be estimated. Ask for more levels, or fit a "
                "simpler model."
            )
        self.truth = replace(truth, design=design, problem=self.problem)
        self.L, self.ddf, self.key = L, ddf, key

    @property
    def size(self) -> float:
        """The true value of what is tested; NaN for a joint test."""
        return float((self.L @ self.truth.beta)[0]) if len(self.L) == 1 else np.nan

    def tests(self, n: int) -> Iterator[list[_Test | None]]:
        """Yield blocks of tests, None where the model could not be fitted."""
        size = max(1, min(MAX_BLOCK, BLOCK_VALUES // self.truth.design.n_obs))
        for start in range(0, n, size):
            yield self._block(range(start, min(start + size, n)))

    def _block(self, numbers: range) -> list[_Test | None]:
        entropy, cell = self.key
        streams = (np.random.SeedSequence(entropy, spawn_key=(cell, j)) for j in numbers)
        Y = np.array([simulated_response(self.truth, np.random.default_rng(stream)) for stream in streams])
        design, truth = self.truth.design, self.truth
        net = Y if design.offset is None else Y - design.offset
        _, _, _, thetas, _, status, singular = self.problem.model.refit_many(
            net, *row_arguments(design), truth.reml, np.ascontiguousarray(truth.theta)
        )
        return [
            None if failed else self._test(y, theta, bool(is_singular))
            for y, theta, failed, is_singular in zip(Y, thetas, status, singular, strict=True)
        ]

    def _test(self, y: Floats, theta: Floats, singular: bool) -> _Test:
        problem = self.problem.with_response(y)
        beta, unscaled, sigma, b = problem.model.solve(theta, self.truth.reml)
        state = replace(
            self.truth,
            problem=problem,
            design=problem.design,
            beta=beta,
            cov_beta=sigma**2 * unscaled,
            sigma=sigma,
            theta=theta,
            b=tuple(b),
            is_singular=singular,
        )
        if len(self.L) > 1:
            return _Test(np.nan, joint_test(state, self.L, self.ddf).p_value, singular)
        row = estimate_rows(state, self.L, self.ddf)
        p_value = two_sided_p(row.df, row.estimate / row.std_error)
        return _Test(float(row.estimate[0]), float(p_value[0]), singular)


def _summary(study: _Study, n: int, alpha: float, level: float, advance: Callable[[int], object]) -> dict[str, float]:
    done: list[_Test] = []
    for block in study.tests(n):
        done += [test for test in block if test is not None]
        advance(len(block))
    if not done:
        raise InferenceError("No simulated response could be fitted; look at the fit first with fit.check().")
    true = study.size
    found = np.array([test.estimate for test in done if test.p_value < alpha])
    lower, upper = _clopper_pearson(len(found), len(done), level)
    defined = true != 0 and len(found) > 0 and len(study.L) == 1
    return {
        "power": len(found) / len(done),
        "lower": lower,
        "upper": upper,
        "type_s": float(np.mean(np.sign(found) != np.sign(true))) if defined else np.nan,
        "type_m": float(np.mean(np.abs(found)) / abs(true)) if defined else np.nan,
        "n_failed": n - len(done),
        "n_singular": sum(test.singular for test in done),
    }


def _clopper_pearson(found: int, n: int, level: float) -> tuple[float, float]:
    tail = 0.5 - level / 2
    lower = float(betaincinv(found, n - found + 1, tail)) if found else 0.0
    upper = float(betaincinv(found + 1, n - found, 1 - tail)) if found < n else 1.0
    return lower, upper
