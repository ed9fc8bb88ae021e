"""Power by simulation: responses drawn from known parameters for designs of several sizes, fitted and tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import pandas as pd

from mixedmodels.design.canonical import in_canonical_order
from mixedmodels.design.checks import check_factors
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.planned import any_response, planned_design
from mixedmodels.design.resize import resize_levels, resize_rows
from mixedmodels.display.composition import levels_in_words, rows_in_words
from mixedmodels.errors import DesignError, FormulaError, InferenceError, nearest, unknown_group
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.families.zeros import CountsWithZeros
from mixedmodels.fit.call import check_evaluation
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.identification import check_identified
from mixedmodels.fit.long_work import WorkFile, carry_out
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.records import FitState
from mixedmodels.fit.stated import (
    at_design,
    check_complete,
    independent_columns,
    unfitted_state,
    with_any_response,
    with_covariances,
    with_fixed_effects,
    with_parameters,
)
from mixedmodels.formula.parse import parse_formula
from mixedmodels.inference.bootstrap import check_seed
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.marginality import TermContrasts
from mixedmodels.inference.simulated_power import KEPT, POWER, Cell, Simulation
from mixedmodels.inference.simulated_refits import RefitStudy, generalized_study, marginal_study
from mixedmodels.inference.simulated_tests import SimulatedTests, Study
from mixedmodels.inference.wald import check_level
from mixedmodels.result.glmm import GlmmResult
from mixedmodels.result.lmm import LmmResult
from mixedmodels.result.mmrm import CorrelatedResult, MmrmResult
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit


@runtime_checkable
class Unfitted(Protocol):
    """A model that can be fitted, such as a ``LinearMixedModel``."""

    def fit(self) -> LmmResult:
        """Return its fit."""
        ...


@refuses_unknown
def power(
    model: LmmResult | GlmmResult | MmrmResult | Unfitted | str,
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
    ddf: str | None = None,
    seed: int | None = None,
    level: float = 0.95,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
    evaluate: str = "python",
) -> pd.DataFrame:
    """Return the power to find a fixed effect, by the numbers of levels of grouping factors and of rows within them.

    Every simulated response is fitted anew and tested: a coefficient as in ``coef_table``, a term of several columns,
    such as a factor, by its joint F test, as in ``anova`` of type 3. In a generalised model these are Wald's tests, z
    and chi-squared; a response that a predictor separates has huge standard errors or none, so that it counts as
    fitted and not significant, and one that does not vary counts as failed.

    Parameters
    ----------
    model
        A fit (of a pilot, say) whose parameters are taken as true, or a model, which is fitted first; or a formula,
        for a linear model of a study that has no data yet. Fits of ``glmer`` have no ``sigma`` and no ``ddf``, and no
        ``vary`` and ``within`` where zeros have a chance of their own. Fits of ``mmrm`` are simulated at their own
        design, with each subject's own visits, and with ``beta`` or ``size`` for other fixed effects; ``varcorr``,
        ``sigma``, ``vary``, ``within`` and ``path`` are not for them. Fits of ``lmer`` with ``residual``, ``variance``
        or a known ``sigma`` are refused.
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
        the response, of a generalised model on the link scale, as ``fit.varcorr`` holds them; None as for beta.
    sigma
        True residual standard deviation; None as for beta. Covariances stay when it changes.
    size
        True value of the coefficient that is tested, which ``beta`` then lacks; None leaves it, as for terms. Zero
        gives the rate of false alarms.
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
        As for ``coef_table``; None for ``"satterthwaite"``.
    seed
        Of the random streams, one a simulation.
    level
        Coverage of the intervals of power (Clopper and Pearson 1934).
    path
        A file that keeps what is done, written each second or so; if it is there, the simulations that it lacks are
        made, with the numbers of an uninterrupted run. ``alpha``, ``level`` and ``n`` may change.
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
        If there is no such effect or factor, an argument is not allowed or not for this model, a design cannot be made
        or fitted, or the file at ``path`` is of another simulation.
    DataError
        If the file cannot be read or written.
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
    if not isinstance(model, LmmResult | GlmmResult | MmrmResult | Unfitted | str):
        raise InferenceError(
            f"model is {model!r}; it must be a fit, as lmer, glmer or mmrm returns it, a model to fit, such as a "
            "LinearMixedModel, or a formula."
        )
    if isinstance(model, CorrelatedResult):
        raise InferenceError(
            "power is not available yet for models with residual, variance or a known sigma, times of each subject's "
            "own, or random effects beside a structure. Draw responses with fit.simulate() and fit them."
        )
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    if not (_is_number(alpha) and 0 < alpha < 1):
        raise InferenceError(f"alpha is {alpha!r}; it must lie between 0 and 1, such as 0.05.")
    check_level(level)
    check_seed(seed)
    state = _state(model, data, evaluate)
    asked_too = {"varcorr": varcorr, "sigma": sigma, "vary": vary, "within": within, "path": path}
    named = [name for name, value in asked_too.items() if value is not None]
    if isinstance(state, GlmmState):
        _check_generalized(state, named, ddf)
    ddf = "satterthwaite" if ddf is None else ddf
    if isinstance(state, MarginalState):
        _check_marginal(state, named, ddf)
    effect = _only_effect(state) if effect is None else effect
    L = _hypothesis(state, effect)
    beta = beta if size is None else _with_size(state, beta, effect, size)
    if isinstance(model, str):
        check_complete(cast("FitState", state), beta, varcorr, sigma)
    truth = _truth(state, beta, varcorr, sigma)
    plans = _plans(truth.design, vary, within)
    designs = [_with_response(truth, plan.carry_out(truth.design)) for plan in plans]
    for plan, design in zip(plans, designs, strict=True):
        _check_fits(truth, design, plan)
    file = WorkFile(path, POWER, KEPT)
    entropy = cast("int", np.random.SeedSequence(file.seed(seed)).entropy)
    asked = {"effect": effect, "ddf": ddf, "vary": _plain(vary), "within": _plain(within), "seed": entropy}
    before = file.take_up(asked, truth)
    studies = [_study(truth, design, L, ddf, (entropy, k)) for k, design in enumerate(designs)]
    done = [SimulatedTests.missing(0) for _ in plans] if before is None else [cell.tests for cell in before.cells]
    is_varied = vary is not None or within is not None
    words = [plan.in_words(design) if is_varied else [] for plan, design in zip(plans, designs, strict=True)]

    def blocks() -> Iterator[int]:
        for k, study in enumerate(studies):
            for block in study.tests(len(done[k]), n):
                done[k] += block
                yield len(block)
            if not done[k].fitted.any():
                raise InferenceError("No simulated response could be fitted; look at the fit first with fit.check().")

    def simulation() -> Simulation:
        cells = [
            Cell(plan.label, study.truth.design.n_obs, study.size, lines, tests)
            for plan, study, lines, tests in zip(plans, studies, words, done, strict=True)
        ]
        return Simulation(plans[0].names, cells, int(n), alpha, level)

    return carry_out(
        blocks(),
        sum(max(n - len(tests), 0) for tests in done),
        "power",
        shown=progress,
        made=lambda: show_notes(simulation().table()) if any(map(len, done)) else None,
        keep=None if path is None else lambda: file.keep(simulation()),
    )


def _study(
    truth: FitState | GlmmState | MarginalState, design: Design, L: Floats, ddf: str, key: tuple[int, int]
) -> Study | RefitStudy:
    """Return what draws, fits and tests the responses of a design."""
    if isinstance(truth, GlmmState):
        return generalized_study(truth if design is truth.design else at_design(truth, design), L, key)
    if isinstance(truth, MarginalState):
        return marginal_study(truth, L, ddf, key)
    return Study(truth, design, L, ddf, key)


def _state(
    model: LmmResult | GlmmResult | MmrmResult | Unfitted | str, data: object, evaluate: str
) -> FitState | GlmmState | MarginalState:
    """Return the fit whose parameters are true unless others are stated, or a state without any."""
    if isinstance(model, str):
        if data is None:
            raise InferenceError("data is None; with a formula it must hold the design, one row an observation.")
        formula = parse_formula(model)
        check_evaluation(formula, evaluate)
        if formula.absorbed:
            raise FormulaError("power does not absorb fixed effects. Write the levels as a fixed term.")
        return unfitted_state(planned_design(formula, data))
    if data is not None:
        raise InferenceError("data goes with a formula; a fit and a model have their data.")
    if evaluate != "python":
        raise InferenceError(f"evaluate is {evaluate!r}, and goes with a formula; those of a fit were run already.")
    fit = model if isinstance(model, LmmResult | GlmmResult | MmrmResult) else model.fit()
    fit.check_estimated("power")
    return fit.state


def _check_generalized(state: GlmmState, asked: Sequence[str], ddf: str | None) -> None:
    """Power must be there for the family, and for what is asked of a generalised model.

    Raises
    ------
    InferenceError
        It is not.
    """
    if ddf is not None:
        raise InferenceError("ddf is not for a generalised model, whose tests are normal or chi-squared; leave it out.")
    if "sigma" in asked:
        raise InferenceError(f"sigma is not for the family {state.family.name!r}, which has no residual; leave it out.")
    sizes = [name for name in ("vary", "within") if name in asked]
    if sizes and isinstance(state.family, CountsWithZeros):
        raise InferenceError(
            f"{' and '.join(sizes)} {'is' if len(sizes) == 1 else 'are'} not available yet for the family "
            f"{state.family.name!r}, whose zeros have a chance of their own. Leave out what changes the design."
        )


def _check_marginal(state: MarginalState, asked: Sequence[str], ddf: object) -> None:
    """What is asked of a model with correlated residuals must be there, and its degrees of freedom defined.

    Raises
    ------
    InferenceError
        It is not.
    """
    _refuse(asked, "a fit of mmrm")
    if not isinstance(ddf, str):
        raise InferenceError('ddf is that of one fit; name the method of every fit, such as "kenward-roger".')
    approximation(state, ddf)


def _refuse(asked: Sequence[str], what: str) -> None:
    """Nothing may be asked of a model that is simulated at its own design beside other fixed effects.

    Raises
    ------
    InferenceError
        Something is.
    """
    if asked:
        raise InferenceError(
            f"{' and '.join(asked)} {'is' if len(asked) == 1 else 'are'} not available yet for {what}, "
            "which is simulated at the design and the covariances of its fit. Leave out what is not beta or size."
        )


def _truth(
    state: FitState | GlmmState | MarginalState, beta: object, varcorr: object, sigma: object
) -> FitState | GlmmState | MarginalState:
    """Return the state at the parameters that are stated."""
    if isinstance(state, FitState):
        return with_parameters(state, beta, varcorr, sigma)
    if isinstance(state, GlmmState):
        _check_thresholds(state, beta)
        return with_covariances(with_fixed_effects(state, beta), varcorr)
    return with_fixed_effects(state, beta)


def _check_thresholds(state: GlmmState, beta: object) -> None:
    """Thresholds of ordered categories, which stand in the place of an intercept, stay.

    Raises
    ------
    InferenceError
        They are stated.
    """
    if not isinstance(state.family, Ordinal) or beta is None:
        return
    if not isinstance(beta, Mapping | pd.Series) or INTERCEPT in beta:
        raise InferenceError(
            f"beta is {beta!r}; of ordered categories it must map fixed effects to numbers, such as "
            f"{{{state.fixed_names[-1]!r}: 1.0}}, and thresholds are those of the fit."
        )


def _with_response(truth: FitState | GlmmState | MarginalState, made: Design) -> Design:
    """Return a design with a response that can be read: a generalised model's is one that its family may have."""
    if made is truth.design:
        return made
    if not isinstance(truth, GlmmState):
        return replace(made, y=any_response(made.n_obs))
    if truth.family.responses == "successes":
        return made  # those of its rows, which their trials allow
    y = np.arange(len(made.categories), dtype=np.float64) if made.categories else truth.design.y
    return replace(made, y=np.resize(y, made.n_obs))


def _plain(numbers: Mapping[str, Sequence[int]] | None) -> dict[str, list[int]] | None:
    return None if numbers is None else {name: [int(count) for count in counts] for name, counts in numbers.items()}


def _only_effect(truth: FixedFit) -> str:
    contrasts = TermContrasts.of(truth)
    if len(contrasts.terms) != 1:
        names = ", ".join(dict.fromkeys([*truth.fixed_names, *(term.name for term in contrasts.terms)]))
        raise InferenceError(f"effect is None; name the fixed effect or the term to test: {names}.")
    return contrasts.terms[0].name


def _hypothesis(state: FixedFit, effect: str) -> Floats:
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


def _with_size(state: FixedFit, beta: Any, effect: str, size: float) -> object:
    """Return the fixed effects that are stated, with the value of a coefficient."""
    if not (_is_number(size) and np.isfinite(size)):
        raise InferenceError(f"size is {size!r}; the true value of the effect must be a finite number, or None.")
    if effect not in state.fixed_names:
        raise InferenceError(
            f"size is the true value of one coefficient, and {effect!r} is a term. Leave size out, or name one of: "
            f"{', '.join(state.fixed_names)}."
        )
    if beta is None:
        return {effect: size}
    if not isinstance(beta, Mapping | pd.Series) or effect in beta:
        raise InferenceError(f"size and beta both have a true value for {effect!r}; leave one of them out.")
    return {**dict(beta), effect: size}


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
        """Return the design with these numbers, as it is where it has them."""
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
        return made

    def _is_met(self, design: Design) -> bool:
        found = _n_levels(design)
        return all(found[name] == n for name, n in self.levels.items())

    def in_words(self, design: Design) -> list[str]:
        """Return what the design is made of, a line for each number."""
        others = [f.name for f in design.factors if f.name not in self.levels]
        levels = [levels_in_words(design, name, others) for name in self.levels]
        return [*levels, *filter(None, (rows_in_words(design, name) for name in self.rows))]


def _n_levels(design: Design) -> dict[str, int]:
    found = {f.name: f.n_levels for f in design.factors}
    return found if design.residual is None else {**found, design.residual.term.subject: design.residual.n_subjects}


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


def _check_fits(truth: FitState | GlmmState | MarginalState, design: Design, plan: _Plan) -> None:
    """The model must be one that can be fitted to the design, with all its fixed effects.

    One that is simulated at its own design was.

    Raises
    ------
    InferenceError
        It is not.
    """
    if isinstance(truth, MarginalState) or (isinstance(truth, GlmmState) and design is truth.design):
        return
    try:
        check_factors(design.factors, design.n_obs if truth.has_residual else None)
        made_anew = design is not truth.design
        if design.n_obs == truth.n_fixed or (made_anew and independent_columns(design) != truth.kept):
            made = "; ".join(plan.in_words(design))
            raise InferenceError(
                f"With {plan} not all fixed effects of the model can be estimated{f' ({made})' if made else ''}. Ask "
                "for more, or leave fixed effects out."
            )
        if isinstance(truth, FitState):
            check_identified(with_any_response(design), truth.reml)
    except DesignError as error:
        raise InferenceError(f"With {plan} the model cannot be fitted. {error}") from error
