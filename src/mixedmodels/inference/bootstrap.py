"""The bootstrap: refits to simulated or resampled data.

Every replicate has its own random stream, spawned from the seed by its number (NumPy's Philox), so that results do not
depend on the number of threads, on blocks, or on whether the replicates were made at once or extended later.
Parametric: y* = X beta + Z b* + e* from the fitted distribution. Residual: conditional modes and residuals are reflated
to their estimated covariance and resampled by level and by row (Carpenter, Goldstein and Rasbash 2003). Cases: whole
levels of one grouping factor are drawn with replacement, and every drawn copy is a level of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from mixedmodels.design.left_out import LeftOut
from mixedmodels.errors import InferenceError, MixedModelsError, nearest, unknown_group
from mixedmodels.fit.long_work import Task, Work, WorkFile, carry_out, write_work
from mixedmodels.fit.plain_values import Kept
from mixedmodels.inference.pivots import Pivots
from mixedmodels.inference.selection import select, unknown_parameter
from mixedmodels.inference.variance_parameters import Parametrized, undetermined_notes
from mixedmodels.inference.wald import check_level
from mixedmodels.interrupted import warns_if_interrupted
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

KINDS = ("parametric", "residual", "cases")
CONF_INT_KINDS = ("percentile", "basic", "bca", "studentized")
BLOCK_VALUES = 4_000_000
"""Numbers held at once by a block of simulated responses."""
MAX_BLOCK = 500
CANNOT_FIT = "the model cannot be fitted to the replicate"
STOPPED_EARLY = "the optimiser stopped early"
LOST_COLUMN = "a fixed effect cannot be estimated from the replicate"

BOOTSTRAP = "bootstrap"
"""What files of bootstraps hold."""

REAL_LINE = (-np.inf, np.inf)

Statistic = Callable[[Any], Any]


class Replicated(Parametrized, Protocol):
    """A fit that can be simulated from and fitted again."""

    @property
    def state(self) -> FixedFit:
        """The fit."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of bootstrap that there are of it, of ``KINDS``."""
        ...

    @property
    def units(self) -> Mapping[str, int]:
        """How many levels of each grouping factor, or subjects, can be drawn or left out; fewest last."""
        ...

    def wrap(self, state: Any) -> Any:
        """Return the result that a statistic of the user's gets of a fit."""
        ...

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed effects, and of thresholds where there are some."""
        ...

    def errors_of(self, state: Any) -> Floats:
        """Return their standard errors in one fit, (n_fixed,)."""
        ...

    def values_of(self, state: Any) -> Floats:
        """Return fixed effects and variance parameters of one fit, (n_fixed + n_parameters,)."""
        ...

    def draw(self, kind: str) -> Draw:
        """Return the function that draws a response, parametrically or from residuals."""
        ...

    def refits(self, Y: Floats) -> Refits:
        """Return estimates from responses, (m, n_obs)."""
        ...

    def refit(self, y: Floats) -> FixedFit:
        """Return the fit to another response."""
        ...

    def refit_levels(self, name: str, drawn: npt.NDArray[np.int64]) -> FixedFit:
        """Return the fit to some levels of a grouping factor, each time one that is drawn a level of its own."""
        ...

    def refit_without(self, level: int) -> FixedFit:
        """Return the fit without a level of the grouping factor with fewest."""
        ...

    def noise(self, values: pd.DataFrame) -> list[Floats]:
        """Return N, what levels' estimates vary by beside Sigma, of each factor; see ``pivots``.

        Parameters
        ----------
        values
            Variance parameters, a fit each row.

        Returns
        -------
        list of numpy.ndarray
            (n_values, n_effects, n_effects) a factor.
        """
        ...


Draw = Callable[[np.random.Generator], "Floats"]
"""One response of the rows used, offset included, (n_obs,)."""


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of statistics of a fit.

    Attributes
    ----------
    replicates
        One row a replicate, one column a statistic; nan where the refit failed.
    estimates
        The statistics of the fit itself.
    std_errors
        Of the fixed effects, one row a replicate; no columns where a statistic of the user's was asked for.
    n_failed
        Replicates whose refit failed.
    n_singular
        Replicates whose refit is singular.
    failures
        Messages of failures and how often each occurred.
    n_asked
        Replicates asked for: more than there are if the work was interrupted.
    """

    replicates: pd.DataFrame
    estimates: pd.Series[float]
    std_errors: pd.DataFrame
    n_failed: int
    n_singular: int
    failures: dict[str, int]
    n_asked: int
    _plan: _Plan = field(repr=False)

    @property
    def notes(self) -> list[str]:
        """What whoever uses the replicates is to know."""
        if len(self.replicates) == self.n_asked:
            return []
        return [f"The bootstrap was interrupted: {len(self.replicates)} of {self.n_asked} replicates were made."]

    @refuses_unknown
    @warns_if_interrupted
    def summary(self) -> pd.DataFrame:
        """Return ``estimate, bias, std_error`` of each statistic; failed replicates are left out.

        Warns
        -----
        PartialResultWarning
            If the bootstrap was interrupted.
        """
        return self._summary()

    def _summary(self) -> pd.DataFrame:
        estimate = self.estimates.set_axis(self.replicates.columns)
        columns = {
            "estimate": estimate,
            "bias": self.replicates.mean() - estimate,
            "std_error": self.replicates.std(),
        }
        table = pd.DataFrame(columns).rename_axis("parameter")
        table.attrs["notes"] = self.notes
        return show_notes(table)

    def __repr__(self) -> str:
        heading = (
            f"Bootstrap of {self._plan.fit.state.design.formula.text}: {len(self.replicates)} {self._plan.kind} "
            f"replicates, {self.n_failed} failed, {self.n_singular} singular"
        )
        return f"{heading}\n{self._summary()!r}"

    @refuses_unknown
    def save(self, path: str | PathLike[str]) -> None:
        """Write the replicates and their fit to a file that ``mixedmodels.load`` reads, without the data of the fit.

        Of the data there are the rows that were used, as numbers. A statistic of the user's is not in the file:
        ``fit.bootstrap(path=...)`` goes on with it, and what ``load`` returns answers all but ``extend`` and BCa.

        Parameters
        ----------
        path
            Where to; what is there is replaced when the new file is whole.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        plan = self._plan
        write_work(path, Work(Task.of(BOOTSTRAP, plan.asked, plan.fit.state), self), kept(None))

    @refuses_unknown
    def extend(self, n: int, *, progress: bool = False) -> Bootstrap:
        """Return this bootstrap with n more replicates: the same as if all had been asked for at once.

        Parameters
        ----------
        n
            Replicates to add.
        progress
            Show a progress bar.

        Raises
        ------
        InferenceError
            If n is not a positive integer.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the replicates that were made.
        """
        _check_n(n)
        self._plan.check_statistic()
        return _run(self._plan, int(n), progress, self)

    @refuses_unknown
    @warns_if_interrupted
    def conf_int(
        self, kind: str = "percentile", level: float = 0.95, which: str | Iterable[str] | None = None
    ) -> pd.DataFrame:
        """Return intervals ``lower, upper`` of each statistic; failed replicates are left out.

        Parameters
        ----------
        kind
            ``"percentile"``; ``"basic"``: reflected at the estimate, within the parameter's range; ``"bca"``:
            bias-corrected and accelerated, the acceleration from leaving out one level after the other of the grouping
            factor with fewest (Efron 1987); ``"studentized"``: fixed effects by their t ratios in the replicates,
            standard deviations and correlations by pivots (Davison and Hinkley 1997, section 5.2; ``pivots``), the best
            with few groups. All but percentiles are nan where the estimate is
            undefined or at the end of its range: they compare replicates on both sides of it. All are nan for
            parameters that the data cannot tell apart.
        level
            Coverage.
        which
            Names, ``"beta"`` for all fixed effects or ``"theta"`` for all variance parameters; None for all.

        Raises
        ------
        InferenceError
            If an argument is not allowed, fewer than two replicates succeeded, or studentized intervals are asked of a
            statistic without standard errors.

        Warns
        -----
        PartialResultWarning
            If the bootstrap was interrupted.
        """
        check_interval(kind)
        check_level(level)
        done = self.replicates.dropna(how="all")
        if len(done) < 2:
            raise InferenceError(
                f"Only {len(done)} of {len(self.replicates)} replicates succeeded; intervals need two."
            )
        if kind == "studentized" and self._plan.statistic is not None:
            raise InferenceError(
                "kind='studentized' needs standard errors, which your own statistic has not; use kind='percentile'."
            )
        tails = np.array([0.5 - level / 2, 0.5 + level / 2])
        acceleration = self._plan.acceleration() if kind == "bca" else dict.fromkeys(done.columns, 0.0)
        parameters = {p.name: p for p in self._plan.parameters}
        pivots = Pivots(self._plan.parameters, self._plan.fit.noise, self.estimates, done)
        rows = {}
        for name, estimated in zip(done.columns, self.estimates, strict=True):
            if name in self._plan.kinds and self._plan.fit.is_undetermined(parameters[name]):
                rows[name] = (np.nan, np.nan)
                continue
            values = done[name].dropna().to_numpy()
            defined = len(values) > 1 and (kind == "percentile" or name in self._plan.interior)
            low, high = np.nan, np.nan
            if defined and kind == "basic":
                low, high = _reflected(values, estimated, tails)
            elif defined and kind == "studentized" and name in self.std_errors:
                ratios = (done[name] - estimated) / self.std_errors.loc[done.index, name]
                low, high = estimated - self._plan.std_errors[name] * np.quantile(ratios, tails[::-1])
            elif defined and kind == "studentized":
                low, high = pivots.limits(parameters[name], tails)
            elif defined:
                low, high = _percentiles(values, estimated, kind, tails, acceleration[name])
            limits = parameters[name].limits if name in self._plan.kinds else REAL_LINE
            rows[name] = tuple(np.clip([low, high], *limits))
        table = pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"]).rename_axis("parameter")
        table = table if which is None else table.loc[self._selected(which)]
        table.attrs["notes"] = [*undetermined_notes(self._plan.fit), *self.notes]
        return show_notes(table)

    def _selected(self, which: str | Iterable[str]) -> list[str]:
        known = list(self.replicates.columns)
        fixed = [name for name in known if name in self._plan.std_errors]
        names = select(which, fixed, [name for name in known if name in self._plan.kinds])
        for name in names:
            if name not in known:
                raise unknown_parameter(name, known)
        return names


def bootstrap(
    fit: Replicated,
    n: int = 1000,
    *,
    seed: int | None = None,
    statistic: Statistic | None = None,
    kind: str = "parametric",
    level_of: str | None = None,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> Bootstrap:
    """Return bootstrap replicates of a fit's parameters or of any statistic.

    Parameters
    ----------
    fit
        What is simulated and fitted again.
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
    path
        A file that keeps what is done, written each second or so; if it is there, what it lacks of n is made, with the
        numbers of an uninterrupted run. It is what ``save`` writes. If it holds more than n, it is returned as it is.
    progress
        Show how far it is: a bar, or plain lines where tqdm is not installed.

    Raises
    ------
    InferenceError
        If an argument is not allowed, the statistic raises or returns no numbers on the fit itself, or the file at
        ``path`` is of another bootstrap.
    DataError
        If the file cannot be read or written.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the replicates that were made, None if there are none.
    """
    _check_n(n)
    check_seed(seed)
    if statistic is not None and not callable(statistic):
        raise InferenceError(f"statistic is {statistic!r}; it must be a function of a result that returns numbers.")
    if kind not in KINDS:
        known = ", ".join(f'"{k}"' for k in KINDS)
        near = nearest(str(kind), KINDS)
        if kind in CONF_INT_KINDS:
            near = f" {kind} intervals are had by conf_int({kind!r}) of a bootstrap, or interval={kind!r} of a fit's."
        raise InferenceError(f"kind={kind!r} is not available; it must be one of {known}.{near}")
    if kind not in fit.kinds:
        there = ", ".join(f'"{k}"' for k in fit.kinds)
        raise InferenceError(f"kind={kind!r} is not available for this model; it must be {there}.")
    names = list(fit.units)
    if kind == "cases":
        level_of = names[-1] if level_of is None else level_of
        if level_of not in names:
            raise unknown_group(level_of, names)
    elif level_of is not None:
        raise InferenceError(f"level_of={level_of!r} goes with kind='cases' only.")
    file = WorkFile(path, BOOTSTRAP, kept(lambda _: fit))
    seed = file.seed(seed)
    entropy = seed if seed is not None else np.random.SeedSequence().generate_state(4).view(np.uint64)[0]
    plan = _Plan(fit, int(entropy), statistic, kind, level_of)
    before = file.take_up(plan.asked, fit.state)
    if before is None:
        return _run(plan, int(n), progress, None, file)
    if not plan.estimates.equals(before.estimates):
        raise file.of_another("of another statistic.")
    n_done = len(before.replicates)
    before = replace(before, n_asked=max(int(n), n_done), _plan=plan)
    return before if n_done >= n else _run(plan, int(n) - n_done, progress, before, file)


def check_interval(kind: str) -> None:
    """There must be intervals of that kind.

    Raises
    ------
    InferenceError
        There are none.
    """
    if kind not in CONF_INT_KINDS:
        known = ", ".join(f'"{k}"' for k in CONF_INT_KINDS)
        raise InferenceError(
            f"kind={kind!r} is not available; it must be one of {known}.{nearest(kind, CONF_INT_KINDS)}"
        )


def check_seed(seed: object) -> None:
    """A seed must be an integer from 0 on, or None.

    Raises
    ------
    InferenceError
        It is not.
    """
    if seed is not None and (not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0):
        raise InferenceError(f"seed is {seed!r}; it must be an integer from 0 on, or None for one from the system.")


def _check_n(n: int) -> None:
    if not isinstance(n, int | np.integer) or isinstance(n, bool) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of replicates must be a positive integer, such as 1000.")


@dataclass(frozen=True)
class Refits:
    """Some replicates.

    Attributes
    ----------
    values
        Their statistics, (m, n_statistics); nan where there are none.
    std_errors
        Of the fixed effects, (m, n_fixed).
    singular
        (m,).
    failures
        Why there are no statistics, one sentence a failed replicate.
    """

    values: Floats
    std_errors: Floats
    singular: npt.NDArray[np.bool_]
    failures: tuple[str, ...] = ()


class _Plan:
    """What a bootstrap repeats."""

    def __init__(  # noqa: PLR0917  # one place makes it
        self,
        fit: Replicated,
        entropy: int,
        statistic: Statistic | None,
        kind: str,
        level_of: str | None,
        estimates: pd.Series[float] | None = None,
    ) -> None:
        self.fit, self.state, self.entropy = fit, fit.state, entropy
        self.statistic, self.kind, self.level_of = statistic, kind, level_of
        self.parameters = fit.map.parameters
        self.kinds: dict[str, str] = {}
        self.std_errors = pd.Series(dtype=float)
        if statistic is None:
            labels = [*fit.fixed_names, *(p.name for p in self.parameters)]
            self.estimates = pd.Series(fit.values_of(self.state), index=labels)
            self.kinds = {p.name: p.kind for p in self.parameters}
            self.std_errors = pd.Series(fit.errors_of(self.state), index=fit.fixed_names)
            ends = {p.name for p in self.parameters if fit.map.on_boundary(fit.psi, p)}
        elif estimates is not None:
            self.estimates, ends = estimates, set()
        else:
            try:
                self.estimates = _numbers(statistic(fit.wrap(self.state)))
            except (InferenceError, MemoryError):
                raise
            except Exception as error:
                raise InferenceError(
                    f"The statistic raised {type(error).__name__} on the fit itself: {error}. It must return numbers."
                ) from error
            ends = set()
        self.interior = set(self.estimates.dropna().index) - ends

    @cached_property
    def draw(self) -> Draw:
        return self.fit.draw(self.kind)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "draw"}

    def check_statistic(self) -> None:
        """Refuse to go on without the function that a file does not hold.

        Raises
        ------
        InferenceError
            There is none.
        """
        if isinstance(self.statistic, LeftOut):
            raise InferenceError(
                f"This needs {self.statistic.what}, which the file of the bootstrap does not hold. "
                "Go on with fit.bootstrap(n, statistic=..., path=...)."
            )

    @property
    def asked(self) -> dict[str, Any]:
        """The arguments that the replicates depend on, but for the statistic."""
        return {"kind": self.kind, "level_of": self.level_of, "seed": self.entropy}

    def stream(self, replicate: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.entropy, spawn_key=(replicate,))))

    def refits(self, first: int, count: int) -> Iterator[Refits]:
        """Yield the replicates first, first + 1, ... in blocks."""
        size = min(MAX_BLOCK, max(1, BLOCK_VALUES // self.state.design.n_obs))
        if self.statistic is not None or self.kind == "cases":
            size = 1
        for start in range(first, first + count, size):
            yield self._block(range(start, min(start + size, first + count)))

    def _block(self, replicates: range) -> Refits:
        if self.kind == "cases":
            return self._one(lambda: self._drawn(replicates[0]))
        Y = np.array([self.draw(self.stream(r)) for r in replicates])
        return self.fit.refits(Y) if self.statistic is None else self._one(lambda: self.fit.refit(Y[0]))

    def _drawn(self, replicate: int) -> FixedFit:
        name = str(self.level_of)
        n_levels = self.fit.units[name]
        return self.fit.refit_levels(name, self.stream(replicate).integers(0, n_levels, n_levels))

    def _missing(self, failure: str, singular: bool = False) -> Refits:
        values, std_errors = (np.full((1, len(known)), np.nan) for known in (self.estimates, self.std_errors))
        return Refits(values, std_errors, np.array([singular]), (failure,))

    def _one(self, refit: Callable[[], FixedFit]) -> Refits:
        try:
            state = refit()
        except MemoryError:
            raise
        except MixedModelsError as error:
            return self._missing(str(error))
        failure = failure_of(state, self.state)
        if failure is not None:
            return self._missing(failure, state.is_singular)
        if self.statistic is None:
            singular = np.array([state.is_singular])
            return Refits(self.fit.values_of(state)[None], self.fit.errors_of(state)[None], singular)
        return self._statistic_of(state, self.statistic)

    def _statistic_of(self, state: FixedFit, statistic: Statistic) -> Refits:
        try:
            numbers = _numbers(statistic(self.fit.wrap(state)))
        except MemoryError:
            raise
        except Exception as error:  # whatever a user's function raises is counted
            return self._missing(f"the statistic raised {type(error).__name__}: {error}", state.is_singular)
        if list(numbers.index) != list(self.estimates.index):
            return self._missing("the statistic returned other names or another length", state.is_singular)
        return Refits(np.asarray(numbers, dtype=np.float64)[None], np.empty((1, 0)), np.array([state.is_singular]))

    def acceleration(self) -> dict[str, float]:
        """Return Efron's acceleration of each statistic by leaving out levels of the factor with fewest."""
        self.check_statistic()
        *_, n_levels = self.fit.units.values()
        refits = [self._one(partial(self.fit.refit_without, level)) for level in range(n_levels)]
        values = np.vstack([r.values for r in refits if not r.failures] or [np.empty((0, len(self.estimates)))])
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


def refitted_one_by_one(fit: Replicated, Y: Floats) -> Refits:
    """Return estimates from responses, each fitted by ``fit.refit``, for models that the engine does not fit together.

    Parameters
    ----------
    fit
        What is fitted again.
    Y
        Responses, (m, n_obs).
    """
    n_fixed = len(fit.fixed_names)
    values = np.full((len(Y), n_fixed + len(fit.map.parameters)), np.nan)
    errors = np.full((len(Y), n_fixed), np.nan)
    singular, failures = np.zeros(len(Y), dtype=bool), []
    for i, y in enumerate(Y):
        try:
            state = fit.refit(y)
        except MemoryError:
            raise
        except InferenceError as error:
            failures.append(str(error))
            continue
        except MixedModelsError:
            failures.append(CANNOT_FIT)
            continue
        singular[i] = state.is_singular
        failure = failure_of(state, fit.state)
        if failure is not None:
            failures.append(failure)
            continue
        values[i], errors[i] = fit.values_of(state), fit.errors_of(state)
    return Refits(values, errors, singular, tuple(failures))


def failure_of(state: FixedFit, of: FixedFit) -> str | None:
    """Return why a refit does not count; None if it does.

    Parameters
    ----------
    state
        The refit.
    of
        The fit.
    """
    if not state.optimum.converged:
        return STOPPED_EARLY
    return LOST_COLUMN if state.fixed_names != of.fixed_names else None


def kept(of_state: Callable[[Any], Replicated] | None) -> tuple[Kept, ...]:
    """Return how files keep a bootstrap.

    Parameters
    ----------
    of_state
        Makes of a fit what is simulated and fitted again, if the bootstrap is to be read.
    """

    def plan(state: Any, **values: Any) -> _Plan:
        return _Plan((of_state or _not_read)(state), **values)

    return Kept(Bootstrap), Kept(_Plan, ("state", "entropy", "statistic", "kind", "level_of", "estimates"), plan)


def _not_read(state: Any) -> Replicated:
    raise AssertionError(state)


def _run(plan: _Plan, n: int, progress: bool, before: Bootstrap | None, file: WorkFile | None = None) -> Bootstrap:
    first = 0 if before is None else len(before.replicates)
    done: list[Refits] = []

    def blocks() -> Iterator[int]:
        for block in plan.refits(first, n):
            done.append(block)
            yield len(block.values)

    def made() -> Bootstrap | None:
        return _collect(plan, first + n, before, done) if done else before

    keep = None if file is None or file.path is None else lambda: file.keep(made())
    return carry_out(blocks(), n, "bootstrap", shown=progress, made=made, keep=keep)


def _collect(plan: _Plan, n_asked: int, before: Bootstrap | None, done: list[Refits]) -> Bootstrap:
    """Return the replicates of some blocks, after those that were there before."""
    frame = pd.DataFrame(np.vstack([block.values for block in done]), columns=plan.estimates.index)
    std_errors = pd.DataFrame(np.vstack([block.std_errors for block in done]), columns=plan.std_errors.index)
    failures = Counter(failure for block in done for failure in block.failures)
    n_singular = sum(int(block.singular.sum()) for block in done)
    if before is not None:
        frame = pd.concat([before.replicates, frame], ignore_index=True)
        std_errors = pd.concat([before.std_errors, std_errors], ignore_index=True)
        failures.update(before.failures)
        n_singular += before.n_singular
    return Bootstrap(frame, plan.estimates, std_errors, failures.total(), n_singular, dict(failures), n_asked, plan)


def _numbers(value: Any) -> pd.Series[float]:
    """Return what a statistic returned as a named Series of floats."""
    try:
        if np.ndim(value) == 1 or isinstance(value, Mapping):
            series = pd.Series(value, dtype=float)
        else:
            series = pd.Series([float(value)], index=["statistic"])
    except (TypeError, ValueError) as error:
        shown = repr(value) if np.isscalar(value) or value is None else f"a {type(value).__name__}"
        raise InferenceError(
            f"The statistic must return a number, a mapping, a Series or a sequence of numbers, and returned {shown}."
        ) from error
    if series.empty:
        raise InferenceError("The statistic returned nothing; it must return at least one number.")
    return series


def std_errors(state: FixedFit) -> Floats:
    """Return the standard errors of the fixed effects, (n_fixed,)."""
    return np.sqrt(np.diag(state.cov_beta))


def _percentiles(values: Floats, estimate: float, kind: str, tails: Floats, acceleration: float) -> tuple[float, float]:
    if kind == "bca":
        below = (np.sum(values < estimate) + 0.5 * np.sum(values == estimate)) / len(values)
        bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
        z = bias + ndtri(tails)
        tails = ndtr(bias + z / (1 - acceleration * z))
    low, high = np.quantile(values, tails)
    return float(low), float(high)


def _reflected(values: Floats, estimate: float, tails: Floats) -> tuple[float, float]:
    """Return the quantiles reflected at the estimate."""
    low, high = np.quantile(values, tails)
    return float(2 * estimate - high), float(2 * estimate - low)
