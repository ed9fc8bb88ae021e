"""Power by simulation: responses drawn from known parameters for designs of several sizes, fitted and tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from mixedmodels.design.canonical import in_canonical_order
from mixedmodels.design.checks import check_factors
from mixedmodels.design.planned import any_response, planned_design
from mixedmodels.design.resize import resize_levels, resize_rows
from mixedmodels.display.composition import levels_in_words, rows_in_words
from mixedmodels.display.noted_frame import show_notes
from mixedmodels.errors import DesignError, InferenceError, nearest, unknown_group
from mixedmodels.fit.call import check_evaluation
from mixedmodels.fit.identification import check_identified
from mixedmodels.fit.problem import Problem, row_arguments
from mixedmodels.fit.progress import progress_bar
from mixedmodels.fit.stated import (
    check_complete,
    independent_columns,
    unfitted_state,
    with_any_response,
    with_parameters,
)
from mixedmodels.formula.parse import parse_formula
from mixedmodels.inference.bootstrap import check_seed, simulated_response
from mixedmodels.inference.degrees import estimate_rows, joint_test
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.inference.wald import check_level, two_sided_p
from mixedmodels.result import LmmResult
from mixedmodels.vocabulary import refuses_unknown

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


@refuses_unknown
def power(
    model: LmmResult | Unfitted | str,
    effect: str | None = None,
    *,
    data: object = None,
    beta: object = None,
    varcorr: object = None,
    sigma: float | None = None,
    size: float | None = None,
    vary: Mapping[str, Sequence[int]] | None = None,
    within: Mapping[str, Sequence[int]] | None = None,
    n: int = 1000,
    alpha: float = 0.05,
    ddf: str = "satterthwaite",
    seed: int | None = None,
    level: float = 0.95,
    progress: bool = True,
    evaluate: str = "python",
) -> pd.DataFrame:
    """Return the power to find a fixed effect, by the numbers of levels of grouping factors and of rows within them.

    Every simulated response is fitted anew and tested: a coefficient as in ``coef_table``, a term of several columns,
    such as a factor, by its joint F test, as in ``anova`` of type 3.

    Parameters
    ----------
    model
        A fit (of a pilot, say) whose parameters are taken as true, or a model, which is fitted first; or a formula,
        for a study that has no data yet.
    effect
        Name of a fixed effect, or of a term; None where there is one only beside the intercept.
    data
        With a formula: the design, a frame of predictors and grouping factors, one row an observation. It may lack the
        response, which is not read.
    beta
        True fixed effects, name -> value, or a value for each; needed with a formula, else None leaves those of the
        fit, as it does those that a mapping leaves out.
    varcorr
        True covariances of the random effects, grouping factor -> variance, variances or matrix, in squared units of
        the response, as ``fit.varcorr`` holds them; None as for beta.
    sigma
        True residual standard deviation; None as for beta. Covariances stay when it changes.
    size
        True value of the coefficient that is tested; None leaves it, as for terms. Zero gives the rate of false alarms.
    vary
        Grouping factors and the numbers of their levels, ``{"Subject": [20, 40, 80]}``; all combinations are tried if
        there are several. Every combination of labels that do not change within a level, such as arms, keeps its share
        of the levels; levels come with their rows and the levels nested in them, as often as needed, and share crossed
        ones.
    within
        A grouping factor and the numbers of rows in each of its levels, ``{"Subject": [5, 10]}``. Combinations of
        labels and of levels of other factors keep their shares; numbers, such as times, are taken evenly, and so
        repeated where there are more rows than before.
    n
        Simulations a design.
    alpha
        Level of the test.
    ddf
        As for ``coef_table``.
    seed
        Of the random streams, one a simulation.
    level
        Coverage of the intervals of power (Clopper and Pearson 1934).
    progress
        Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.
    evaluate
        With a formula: as for ``lmer``; ``"restricted"`` for one that a stranger wrote.

    Returns
    -------
    pandas.DataFrame
        By numbers of levels and of rows: ``n_obs, power, lower, upper``, ``type_s`` (share of significant estimates
        with the wrong sign), ``type_m`` (mean exaggeration of significant estimates; Gelman and Carlin 2014),
        ``n_failed`` (not among the others), ``n_singular``. A joint test has no sign and no single estimate: there
        ``type_s`` and ``type_m`` are NaN. ``attrs["notes"]``, shown below the table, says what the designs that were
        made are made of.

    Raises
    ------
    InferenceError
        If there is no such effect or factor, an argument is not allowed, or a design cannot be made or fitted.
    MixedModelsError
        With a formula: if it does not fit the data.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` is the table of the responses that were fitted, None if there are none.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    >>> table = mm.power(fit, "Days", n=50, size=4, vary={"Subject": [6, 40]}, seed=1, progress=False)
    >>> bool(table.loc[6, "power"] < table.loc[40, "power"])
    True
    """
    if not isinstance(model, LmmResult | Unfitted | str):
        raise InferenceError(
            f"model is {model!r}; it must be a fit, as lmer returns it, a model to fit, such as a LinearMixedModel, or "
            "a formula."
        )
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    if not (_is_number(alpha) and 0 < alpha < 1):
        raise InferenceError(f"alpha is {alpha!r}; it must lie between 0 and 1, such as 0.05.")
    check_level(level)
    check_seed(seed)
    truth = _truth(model, data, beta, varcorr, sigma, evaluate=evaluate)
    effect = _only_effect(truth) if effect is None else effect
    L = _hypothesis(truth, effect)
    truth = truth if size is None else _with_size(truth, effect, size)
    plans = _plans(truth.design, vary, within)
    designs = [plan.carry_out(truth.design) for plan in plans]
    for plan, design in zip(plans, designs, strict=True):
        _check_fits(truth, design, plan)
    entropy = np.random.SeedSequence(seed).entropy
    cells = [
        _Cell(plan, _Study(truth, design, L, ddf, (entropy, k)))
        for k, (plan, design) in enumerate(zip(plans, designs, strict=True))
    ]
    is_varied = vary is not None or within is not None
    try:
        with progress_bar(n * len(plans), "power", "fit", progress) as advance:
            for cell in cells:
                cell.simulate(n, advance)
    except KeyboardInterrupt as error:
        begun = [cell for cell in cells if any(cell.tests)]
        error.partial = _table(begun, n, alpha, level, is_varied) if begun else None  # type: ignore[attr-defined]
        raise
    return _table(cells, n, alpha, level, is_varied)


def _truth(
    model: LmmResult | Unfitted | str,
    data: object,
    beta: object,
    varcorr: object,
    sigma: float | None,
    *,
    evaluate: str,
) -> FitState:
    """Return the parameters that responses are drawn from, with the design as it is."""
    if isinstance(model, str):
        if data is None:
            raise InferenceError("data is None; with a formula it must hold the design, one row an observation.")
        formula = parse_formula(model)
        check_evaluation(formula, evaluate)
        state = unfitted_state(planned_design(formula, data))
        check_complete(state, beta, varcorr, sigma)
        return with_parameters(state, beta, varcorr, sigma)
    if data is not None:
        raise InferenceError("data goes with a formula; a fit and a model have their data.")
    if evaluate != "python":
        raise InferenceError(f"evaluate is {evaluate!r}, and goes with a formula; those of a fit were run already.")
    fit = model if isinstance(model, LmmResult) else model.fit()
    fit.check_estimated("power")
    return with_parameters(fit.state, beta, varcorr, sigma)


def _only_effect(truth: FitState) -> str:
    contrasts = TermContrasts.of(truth)
    if len(contrasts.terms) != 1:
        names = ", ".join(dict.fromkeys([*truth.fixed_names, *(term.name for term in contrasts.terms)]))
        raise InferenceError(f"effect is None; name the fixed effect or the term to test: {names}.")
    return contrasts.terms[0].name


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


@dataclass(frozen=True)
class _Plan:
    """Numbers of levels of grouping factors, and of rows in each level of one, that a design is to have."""

    levels: Mapping[str, int]
    rows: Mapping[str, int]

    @property
    def names(self) -> list[str]:
        return [*self.levels, *(f"rows per {name}" for name in self.rows)]

    @property
    def label(self) -> tuple[int, ...]:
        return (*self.levels.values(), *self.rows.values())

    def __str__(self) -> str:
        parts = [f"{n} level{'s' if n > 1 else ''} of {name}" for name, n in self.levels.items()]
        parts += [f"{n} row{'s' if n > 1 else ''} in each level of {name}" for name, n in self.rows.items()]
        return " and ".join(parts)

    def carry_out(self, design: Design) -> Design:
        """Return the design with these numbers, as it is where it has them; y of another is noise."""
        if not self.rows and self._is_met(design):
            return design
        made = in_canonical_order(design)
        outer_first = [f.name for f in reversed(design.factors) if f.name in self.levels]
        for name in 2 * outer_first:  # twice, since levels of a crossed factor may have met none that were kept
            if _n_levels(made)[name] != self.levels[name]:
                made = resize_levels(made, name, self.levels[name])
        if not self._is_met(made):
            found = ", ".join(f"{count} levels of {name}" for name, count in _n_levels(made).items())
            raise InferenceError(
                f"There cannot be {self}, since levels of one are nested in those of the other: {found} are left. "
                "Ask for at least as many inner levels as outer ones."
            )
        for name, n in self.rows.items():
            made = resize_rows(made, name, n)
        return replace(made, y=any_response(made.n_obs))

    def _is_met(self, design: Design) -> bool:
        found = _n_levels(design)
        return all(found[name] == n for name, n in self.levels.items())

    def in_words(self, design: Design) -> list[str]:
        """Return what the design is made of, a line for each number."""
        others = [f.name for f in design.factors if f.name not in self.levels]
        levels = [levels_in_words(design, name, others) for name in self.levels]
        return [*levels, *filter(None, (rows_in_words(design, name) for name in self.rows))]


def _n_levels(design: Design) -> dict[str, int]:
    return {f.name: f.n_levels for f in design.factors}


def _plans(
    design: Design, vary: Mapping[str, Sequence[int]] | None, within: Mapping[str, Sequence[int]] | None
) -> list[_Plan]:
    """Return the numbers of levels and rows of each design."""
    known = _n_levels(design)
    if vary is None and within is None:
        return [_Plan(known, {})]
    levels = {} if vary is None else _numbers_asked("vary", vary, known, "levels", 2)
    rows = {} if within is None else _numbers_asked("within", within, known, "rows in each level", 1)
    if len(rows) > 1:
        raise InferenceError(
            f"within names {' and '.join(rows)}; there can be a number of rows for the levels of one grouping factor "
            "at a time."
        )
    names = [*levels, *rows]
    cells = product(*levels.values(), *rows.values())
    split = len(levels)
    return [
        _Plan(dict(zip(names[:split], cell[:split], strict=True)), dict(zip(names[split:], cell[split:], strict=True)))
        for cell in cells
    ]


def _numbers_asked(
    argument: str, asked: Mapping[str, Sequence[int]], known: Mapping[str, int], what: str, least: int
) -> dict[str, list[int]]:
    """Return the numbers of levels or rows that an argument asks for, by grouping factor."""
    if not isinstance(asked, Mapping) or not asked:
        found = "empty" if isinstance(asked, Mapping) else repr(asked)
        raise InferenceError(
            f"{argument} is {found}; it must hold a grouping factor, such as {{{next(iter(known))!r}: [20]}}."
        )
    for name, counts in asked.items():
        if name not in known:
            raise unknown_group(name, known)
        if not isinstance(counts, Iterable) or not list(counts):
            raise InferenceError(
                f"{argument} has {counts!r} for {name!r}; it must be a list of numbers of {what}: [20, 40]."
            )
        for count in counts:
            if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < least:
                raise InferenceError(
                    f"{argument} asks for {count!r} {what} of {name!r}; it must be an integer, at least {least}."
                )
    return {name: [int(count) for count in counts] for name, counts in asked.items()}


def _check_fits(truth: FitState, design: Design, plan: _Plan) -> None:
    """The model must be one that can be fitted to the design, with all its fixed effects.

    Raises
    ------
    InferenceError
        It is not.
    """
    try:
        check_factors(design.factors, design.n_obs)
        made_anew = design is not truth.design
        if design.n_obs == truth.n_fixed or (made_anew and independent_columns(design) != truth.kept):
            made = "; ".join(plan.in_words(design))
            raise InferenceError(
                f"With {plan} not all fixed effects of the model can be estimated{f' ({made})' if made else ''}. Ask "
                "for more, or leave fixed effects out."
            )
        check_identified(with_any_response(design), truth.reml)
    except DesignError as error:
        raise InferenceError(f"With {plan} the model cannot be fitted. {error}") from error


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
        beta, unscaled, sigma, b = problem.solve(theta, self.truth.reml)
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


@dataclass(frozen=True)
class _Cell:
    """A design, its study, and the tests made of it so far, None where the model could not be fitted."""

    plan: _Plan
    study: _Study
    tests: list[_Test | None] = field(default_factory=list)

    def simulate(self, n: int, advance: Callable[[int], object]) -> None:
        for block in self.study.tests(n):
            self.tests.extend(block)
            advance(len(block))
        if not any(self.tests):
            raise InferenceError("No simulated response could be fitted; look at the fit first with fit.check().")


def _table(cells: Sequence[_Cell], n: int, alpha: float, level: float, is_varied: bool) -> pd.DataFrame:
    """Return one row a design, and what the designs are and how many of n responses there are in its notes."""
    names = cells[0].plan.names
    index: pd.Index = pd.MultiIndex.from_tuples([cell.plan.label for cell in cells], names=names)
    rows = [{"n_obs": cell.study.truth.design.n_obs} | _summary(cell.study, cell.tests, alpha, level) for cell in cells]
    table = pd.DataFrame(rows, index=index.get_level_values(0) if len(names) == 1 else index)
    words = [line for cell in cells for line in cell.plan.in_words(cell.study.truth.design)] if is_varied else []
    made = [len(cell.tests) for cell in cells]
    if min(made) < n:
        words.append(f"The simulation was interrupted: of {n} responses a row there are {', '.join(map(str, made))}.")
    table.attrs["notes"] = tuple(dict.fromkeys(words))
    return show_notes(table)


def _summary(study: _Study, tests: Sequence[_Test | None], alpha: float, level: float) -> dict[str, float]:
    done = [test for test in tests if test is not None]
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
        "n_failed": len(tests) - len(done),
        "n_singular": sum(test.singular for test in done),
    }


def _clopper_pearson(found: int, n: int, level: float) -> tuple[float, float]:
    tail = 0.5 - level / 2
    lower = float(betaincinv(found, n - found + 1, tail)) if found else 0.0
    upper = float(betaincinv(found + 1, n - found, 1 - tail)) if found < n else 1.0
    return lower, upper
