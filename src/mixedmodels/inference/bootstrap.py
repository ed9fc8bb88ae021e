"""The bootstrap: refits to simulated or resampled data.

Every replicate has its own random stream, spawned from the seed by its number (NumPy's Philox), so that results do not
depend on the number of threads, on blocks, or on whether the replicates were made at once or extended later.
Parametric: y* = X beta + Z b* + e* from the fitted distribution. Residual: conditional modes and residuals are reflated
to their estimated covariance and resampled by level and by row (Carpenter, Goldstein and Rasbash 2003). Cases: whole
levels of one grouping factor are drawn with replacement, and every drawn copy is a level of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.subset import take_rows
from mixedmodels.errors import InferenceError, MixedModelsError, nearest
from mixedmodels.fit.fit import fit_problem
from mixedmodels.fit.fitted import conditional_fitted, marginal_fitted, random_part
from mixedmodels.fit.problem import Problem, row_arguments
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.inference.variance_parameters import list_parameters
from mixedmodels.inference.wald import check_level

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Design, Floats
    from mixedmodels.fit.records import FitState

KINDS = ("parametric", "residual", "cases")
CONF_INT_KINDS = ("percentile", "basic", "bca")
BLOCK_VALUES = 4_000_000
"""Numbers held at once by a block of simulated responses."""
MAX_BLOCK = 500
CANNOT_FIT = "the model cannot be fitted to the replicate"
STOPPED_EARLY = "the optimiser stopped early"
LOST_COLUMN = "a fixed effect cannot be estimated from the replicate"

Statistic = Callable[[Any], Any]


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of statistics of a fit.

    Attributes
    ----------
    replicates
        One row a replicate, one column a statistic; nan where the refit failed.
    estimates
        The statistics of the fit itself.
    n_failed
        Replicates whose refit failed.
    n_singular
        Replicates whose refit is singular.
    failures
        Messages of failures and how often each occurred.
    """

    replicates: pd.DataFrame
    estimates: pd.Series[float]
    n_failed: int
    n_singular: int
    failures: dict[str, int]
    _plan: _Plan = field(repr=False)

    def extend(self, n: int, *, progress: bool = False) -> Bootstrap:
        """Return this bootstrap with n more replicates: the same as if all had been asked for at once.

        Parameters
        ----------
        n
            Replicates to add.
        progress
            Show a progress bar.
        """
        return _run(self._plan, n, progress, self)

    def conf_int(self, kind: str = "percentile", level: float = 0.95) -> pd.DataFrame:
        """Return intervals ``lower, upper`` of each statistic; failed replicates are left out.

        Parameters
        ----------
        kind
            ``"percentile"``; ``"basic"``: reflected at the estimate; ``"bca"``: bias-corrected and accelerated, the
            acceleration from leaving out one level after the other of the grouping factor with fewest (Efron 1987).
        level
            Coverage.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or fewer than two replicates succeeded.
        """
        if kind not in CONF_INT_KINDS:
            known = ", ".join(f'"{k}"' for k in CONF_INT_KINDS)
            raise InferenceError(
                f"kind={kind!r} is not available; it must be one of {known}.{nearest(kind, CONF_INT_KINDS)}"
            )
        check_level(level)
        done = self.replicates.dropna(how="all")
        if len(done) < 2:
            raise InferenceError(
                f"Only {len(done)} of {len(self.replicates)} replicates succeeded; intervals need two."
            )
        tails = np.array([0.5 - level / 2, 0.5 + level / 2])
        acceleration = self._plan.acceleration() if kind == "bca" else dict.fromkeys(done.columns, 0.0)
        rows = {}
        for name, estimate in zip(done.columns, self.estimates, strict=True):
            rows[name] = _limits(done[name].dropna().to_numpy(), estimate, kind, tails, acceleration[name])
        return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"]).rename_axis("parameter")


def bootstrap(
    state: FitState,
    wrap: Callable[[FitState], Any],
    n: int = 1000,
    *,
    seed: int | None = None,
    statistic: Statistic | None = None,
    kind: str = "parametric",
    level_of: str | None = None,
    progress: bool = True,
) -> Bootstrap:
    """Return bootstrap replicates of a fit's parameters or of any statistic.

    Parameters
    ----------
    state
        The fit.
    wrap
        Makes of a refitted state the result that ``statistic`` gets.
    n
        Replicates.
    seed
        Of the random streams; None takes one from the system.
    statistic
        A function of a result that returns a number, a mapping, a Series or a sequence of numbers; None for fixed
        effects, standard deviations, correlations and sigma, which are computed inside the engine on all cores.
    kind
        ``"parametric"``, ``"residual"`` or ``"cases"``.
    level_of
        For ``"cases"``: the grouping factor whose levels are drawn; None for the one with fewest levels.
    progress
        Show a progress bar (needs tqdm; without it there is none).

    Raises
    ------
    InferenceError
        If an argument is not allowed, or the statistic does not return numbers on the fit itself.
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of replicates must be a positive integer, such as 1000.")
    if kind not in KINDS:
        known = ", ".join(f'"{k}"' for k in KINDS)
        raise InferenceError(f"kind={kind!r} is not available; it must be one of {known}.{nearest(str(kind), KINDS)}")
    names = [f.name for f in state.design.factors]
    if kind == "cases":
        level_of = names[-1] if level_of is None else level_of
        if level_of not in names:
            raise InferenceError(
                f"There is no grouping factor {level_of!r}; there are {', '.join(names)}.{nearest(level_of, names)}"
            )
    elif level_of is not None:
        raise InferenceError(f"level_of={level_of!r} goes with kind='cases' only.")
    entropy = seed if seed is not None else np.random.SeedSequence().generate_state(4).view(np.uint64)[0]
    plan = _Plan(state, wrap, int(entropy), statistic, kind, level_of)
    return _run(plan, int(n), progress, None)


@dataclass(frozen=True)
class _Refit:
    """One replicate: its statistics, or why there are none."""

    values: Floats
    singular: bool
    failure: str | None


class _Plan:
    """What a bootstrap repeats."""

    def __init__(  # noqa: PLR0917  # one place makes it
        self,
        state: FitState,
        wrap: Callable[[FitState], Any],
        entropy: int,
        statistic: Statistic | None,
        kind: str,
        level_of: str | None,
    ) -> None:
        self.state, self.wrap, self.entropy = state, wrap, entropy
        self.statistic, self.kind, self.level_of = statistic, kind, level_of
        self.parameters = list_parameters(state.design.factors)
        if statistic is None:
            labels = [*state.fixed_names, *(p.name for p in self.parameters)]
            self.estimates = pd.Series(self.values(state.beta, state.theta, state.sigma), index=labels)
        else:
            self.estimates = _numbers(statistic(wrap(state)))

    def stream(self, replicate: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.entropy, spawn_key=(replicate,))))

    def values(self, beta: Floats, theta: Floats, sigma: float) -> Floats:
        """Return fixed effects and variance parameters."""
        factors = self.state.design.factors
        parts = split_theta(theta, [f.n_theta for f in factors])
        roots = [relative_factor(part, f.block_sizes) for part, f in zip(parts, factors, strict=True)]
        out = [*beta]
        for p in self.parameters:
            if p.kind == "sigma":
                out.append(sigma)
                continue
            row, column = roots[p.factor][p.row], roots[p.factor][p.column]
            if p.kind == "sd":
                out.append(sigma * np.sqrt(row @ row))
            else:
                length = np.sqrt((row @ row) * (column @ column))
                out.append(row @ column / length if length > 0 else np.nan)
        return np.array(out)

    def refits(self, first: int, count: int) -> Iterator[list[_Refit]]:
        """Yield the replicates first, first + 1, ... in blocks."""
        size = min(MAX_BLOCK, max(1, BLOCK_VALUES // self.state.design.n_obs))
        if self.statistic is not None or self.kind == "cases":
            size = 1
        for start in range(first, first + count, size):
            yield self._block(range(start, min(start + size, first + count)))

    def _block(self, replicates: range) -> list[_Refit]:
        if self.kind == "cases":
            return [self._one(partial(self._drawn_problem, r)) for r in replicates]
        Y = np.array([self.response(self.stream(r)) for r in replicates])
        if self.statistic is not None:
            return [self._one(partial(self.state.problem.with_response, y)) for y in Y]
        design = self.state.design
        if design.offset is not None:
            Y -= design.offset
        fits = self.state.problem.model.refit_many(
            Y, *row_arguments(design), self.state.reml, np.ascontiguousarray(self.state.theta)
        )
        out = []
        for beta, sigma, theta, _, status, singular in zip(*fits, strict=True):
            if status == 0:
                out.append(_Refit(self.values(beta, theta, sigma), bool(singular), None))
            else:
                out.append(self._missing(CANNOT_FIT if status < 0 else STOPPED_EARLY, bool(singular)))
        return out

    def _drawn_problem(self, replicate: int) -> Problem:
        return Problem(_resampled(self.state.design, str(self.level_of), self.stream(replicate)))

    def _missing(self, failure: str, singular: bool = False) -> _Refit:
        return _Refit(np.full(len(self.estimates), np.nan), singular, failure)

    def _one(self, problem: Callable[[], Problem]) -> _Refit:
        try:
            state = fit_problem(problem(), reml=self.state.reml, control=self.state.control)
        except MixedModelsError as error:
            return self._missing(str(error))
        if state.fixed_names != self.state.fixed_names or not state.optimum.converged:
            return self._missing(STOPPED_EARLY if not state.optimum.converged else LOST_COLUMN, state.is_singular)
        if self.statistic is None:
            return _Refit(self.values(state.beta, state.theta, state.sigma), state.is_singular, None)
        return self._statistic_of(state, self.statistic)

    def _statistic_of(self, state: FitState, statistic: Statistic) -> _Refit:
        try:
            numbers = _numbers(statistic(self.wrap(state)))
        except Exception as error:  # whatever a user's function raises is counted
            return self._missing(f"the statistic raised {type(error).__name__}: {error}", state.is_singular)
        if list(numbers.index) != list(self.estimates.index):
            return self._missing("the statistic returned other names or another length", state.is_singular)
        return _Refit(np.asarray(numbers, dtype=np.float64), state.is_singular, None)

    def response(self, rng: np.random.Generator) -> Floats:
        """Return one simulated response of the rows used."""
        return simulated_response(self.state, rng) if self.kind == "parametric" else _residual_response(self.state, rng)

    def acceleration(self) -> dict[str, float]:
        """Return Efron's acceleration of each statistic by leaving out levels of the factor with fewest."""
        factor = self.state.design.factors[-1]
        refits = [
            self._one(partial(_without_level, self.state.design, factor.codes, level))
            for level in range(factor.n_levels)
        ]
        values = np.array([r.values for r in refits if r.failure is None])
        if len(values) < 3:
            raise InferenceError(
                "BCa intervals need at least three levels that can be left out; use kind='percentile'."
            )
        out = {}
        for name, column in zip(self.estimates.index, values.T, strict=True):
            centred = np.nanmean(column) - column
            spread = float(np.nansum(centred**2)) ** 1.5
            out[name] = float(np.nansum(centred**3)) / (6 * spread) if spread > 0 else 0.0
        return out


def simulated_response(state: FitState, rng: np.random.Generator) -> Floats:
    """Return y* = X beta + Z b* + e* of the rows used, offset included, (n_obs,).

    Parameters
    ----------
    state
        The fit.
    rng
        Draws first the effects of each factor, (n_levels, n_effects), then the residuals.
    """
    design = state.design
    y = marginal_fitted(state).copy()
    parts = split_theta(state.theta, [f.n_theta for f in design.factors])
    for factor, theta in zip(design.factors, parts, strict=True):
        b = (
            state.sigma
            * rng.standard_normal((factor.n_levels, factor.n_effects))
            @ relative_factor(theta, factor.block_sizes).T
        )
        y += random_part(factor, b)
    e = state.sigma * rng.standard_normal(design.n_obs)
    return y + (e if design.weights is None else e / np.sqrt(design.weights))


def _residual_response(state: FitState, rng: np.random.Generator) -> Floats:
    """Return a response from resampled modes and residuals, each reflated to its estimated covariance."""
    design = state.design
    y = marginal_fitted(state).copy()
    for factor, b, fitted in zip(design.factors, state.b, factor_covariances(state), strict=True):
        centred = b - b.mean(axis=0)
        reflated = centred @ _reflation(centred.T @ centred / len(b), fitted.covariance)
        y += random_part(factor, reflated[rng.integers(0, factor.n_levels, factor.n_levels)])
    root = np.ones(design.n_obs) if design.weights is None else np.sqrt(design.weights)
    e = (design.y - conditional_fitted(state)) * root
    e -= e.mean()
    e *= state.sigma / np.sqrt(np.mean(e**2))
    return y + e[rng.integers(0, design.n_obs, design.n_obs)] / root


def _reflation(empirical: Floats, fitted: Floats) -> Floats:
    """Return A with A' empirical A = fitted, on the space where the empirical covariance is not zero."""
    values, vectors = np.linalg.eigh(empirical)
    keep = values > 1e-12 * max(float(values.max()), 1e-300)
    down = vectors[:, keep] / np.sqrt(values[keep])
    values_up, vectors_up = np.linalg.eigh(vectors[:, keep].T @ fitted @ vectors[:, keep])
    up = (vectors_up * np.sqrt(np.maximum(values_up, 0))) @ vectors_up.T
    return np.asarray(down @ up @ vectors[:, keep].T)


def _without_level(design: Design, codes: npt.NDArray[np.int32], level: int) -> Problem:
    return Problem(take_rows(design, np.flatnonzero(codes != level)))


def _resampled(design: Design, name: str, rng: np.random.Generator) -> Design:
    """Return the design of levels of one factor drawn with replacement; a copy's nested levels are its own."""
    drawn_factor = next(f for f in design.factors if f.name == name)
    drawn = rng.integers(0, drawn_factor.n_levels, drawn_factor.n_levels)
    by_level = np.argsort(drawn_factor.codes, kind="stable")
    start = np.searchsorted(drawn_factor.codes[by_level], np.arange(drawn_factor.n_levels + 1))
    rows = np.concatenate([by_level[start[level] : start[level + 1]] for level in drawn])
    copy = np.repeat(np.arange(len(drawn)), np.diff(start)[drawn])
    out = take_rows(design, rows)
    factors = []
    for f, old in zip(out.factors, design.factors, strict=True):
        nested = len(np.unique(np.stack([old.codes, drawn_factor.codes]), axis=1).T) == old.n_levels
        if not nested:
            factors.append(f)
            continue
        labels = copy.astype(np.int64) * (int(f.codes.max()) + 1) + f.codes
        levels, codes = np.unique(labels, return_inverse=True)
        factors.append(replace(f, levels=pd.Index(levels), codes=codes.astype(np.int32)))
    factors.sort(key=lambda f: -f.n_levels)
    if [f.name for f in factors] != [f.name for f in out.factors]:
        factors = [next(f for f in factors if f.name == old.name) for old in out.factors]
    return replace(out, factors=tuple(factors))


def _run(plan: _Plan, n: int, progress: bool, before: Bootstrap | None) -> Bootstrap:
    first = 0 if before is None else len(before.replicates)
    done: list[_Refit] = []
    bar = _progress_bar(n) if progress else None
    try:
        for block in plan.refits(first, n):
            done += block
            if bar is not None:
                bar.update(len(block))
    except KeyboardInterrupt:
        if not done:
            raise
    finally:
        if bar is not None:
            bar.close()
    frame = pd.DataFrame(np.array([r.values for r in done]), columns=plan.estimates.index)
    failures: dict[str, int] = {} if before is None else dict(before.failures)
    for r in done:
        if r.failure is not None:
            failures[r.failure] = failures.get(r.failure, 0) + 1
    n_singular = sum(r.singular for r in done)
    if before is not None:
        frame = pd.concat([before.replicates, frame], ignore_index=True)
        n_singular += before.n_singular
    return Bootstrap(frame, plan.estimates, sum(failures.values()), n_singular, failures, plan)


def _progress_bar(n: int) -> Any:
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return tqdm(total=n, desc="bootstrap", unit="fit", leave=False)


def _numbers(value: Any) -> pd.Series[float]:
    """Return what a statistic returned as a named Series of floats."""
    try:
        series = (
            pd.Series(value, dtype=float)
            if np.ndim(value) or hasattr(value, "keys")
            else pd.Series([float(value)], index=["statistic"])
        )
    except (TypeError, ValueError) as error:
        raise InferenceError(f"The statistic must return numbers, and returned {value!r}.") from error
    return series


def _limits(values: Floats, estimate: float, kind: str, tails: Floats, acceleration: float) -> tuple[float, float]:
    if kind == "bca":
        below = (np.sum(values < estimate) + 0.5 * np.sum(values == estimate)) / len(values)
        bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
        z = bias + ndtri(tails)
        tails = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(values, tails)
    return (2 * estimate - high, 2 * estimate - low) if kind == "basic" else (float(low), float(high))
