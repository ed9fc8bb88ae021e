"""Many models in one call: several formulas or responses, and the same for each part of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from os import cpu_count
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.design.grouping import level_codes
from mixedmodels.display.broom import glance
from mixedmodels.display.noted_frame import show_notes
from mixedmodels.errors import DataError, FormulaError, InferenceError, MixedModelsError, hand_over
from mixedmodels.fit.call import Call, build_problem, snapshot, with_rows
from mixedmodels.fit.fit import check_reml, fit_identified
from mixedmodels.fit.progress import progress_bar
from mixedmodels.formula.update import with_response
from mixedmodels.inference.wald import COLUMNS, check_level
from mixedmodels.result import LmmResult
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from mixedmodels.fit.control import Control

NOT_DONE = "Not fitted: interrupted."
TOLD = ("singular", "not_converged", "unidentified", "dropped_columns", "nearly_dependent_columns")
"""Findings that are noted beside a fit."""


@dataclass(frozen=True)
class _Task:
    """One model to fit; ``labels`` are its place in the tables."""

    labels: tuple[Any, ...]
    formula: str
    rows: np.ndarray | None


Outcome = LmmResult | MixedModelsError | MemoryError


@dataclass(frozen=True, repr=False)
class ManyFits:
    """Fits of many models, with those that failed in their places. It prints its ``table``.

    Attributes
    ----------
    names
        What tells the models apart: ``model``, ``response`` and the column of the split, as far as they vary.
    labels
        Their values, one tuple a model.
    outcomes
        One a model: the result, or the error that it ended with.
    n_outside
        Rows that are in no part, because the column of the split has no value there.
    """

    names: tuple[str, ...]
    labels: tuple[tuple[Any, ...], ...]
    outcomes: tuple[Outcome, ...]
    n_outside: int = 0

    @property
    def fits(self) -> dict[Any, LmmResult]:
        """The results by their labels, tuples where there are several; models that failed are not among them."""
        keys = [label[0] if len(label) == 1 else label for label in self.labels]
        return {key: fit for key, fit in zip(keys, self.outcomes, strict=True) if isinstance(fit, LmmResult)}

    @property
    def table(self) -> pd.DataFrame:
        """A row a model, with the columns of ``glance`` and ``note``, why there is no fit or what was found."""
        empty = pd.DataFrame([{}])
        rows = [glance(fit.state) if isinstance(fit, LmmResult) else empty for fit in self.outcomes]
        known = next((row.columns for row in rows if len(row.columns)), empty.columns)
        table = pd.concat([row.reindex(columns=known).astype(object) for row in rows], ignore_index=True)
        table = table.infer_objects().astype({"nobs": "Int64"} if len(known) else {})
        table["note"] = [_note(fit) for fit in self.outcomes]
        return self._noted(table.set_index(self._index(list(range(len(self.labels))))))

    @refuses_unknown
    def coef_table(self, ddf: str = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects of all models below one another; a model that failed has one row without numbers.

        Parameters
        ----------
        ddf, level
            As for a fit's ``coef_table``. Where ``ddf`` does not apply to a fit, its row says so.

        Returns
        -------
        pandas.DataFrame
            The columns of a fit's ``coef_table`` and ``note``, why there are no numbers; indexed by what tells models
            apart, and ``term``.
        """
        check_level(level)
        places, terms, parts, notes = [], [], [], []
        for place, fit in enumerate(self.outcomes):
            try:
                if not isinstance(fit, LmmResult):
                    raise fit
                part, note = fit.coef_table(ddf, level), ""
            except (MixedModelsError, MemoryError) as error:
                if isinstance(fit, LmmResult) and not isinstance(ddf, str):
                    raise
                part, note = pd.DataFrame(np.nan, index=pd.Index([None]), columns=COLUMNS), str(error)
            places += [place] * len(part)
            terms += list(part.index)
            parts.append(part.to_numpy(float))
            notes += [note] * len(part)
        index = self._index(places, terms)
        return self._noted(pd.DataFrame(np.vstack(parts), index=index, columns=COLUMNS).assign(note=notes))

    def _noted(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.n_outside:
            table.attrs["notes"] = (f"Rows in no part, because {self.names[-1]} is missing there: {self.n_outside}.",)
        return show_notes(table)

    def _index(self, places: Sequence[int], terms: Sequence[Any] | None = None) -> pd.Index:
        levels = [pd.Index([self.labels[i][k] for i in places], name=name) for k, name in enumerate(self.names)]
        if terms is not None:
            levels.append(pd.Index(terms, dtype=object, name="term"))
        return levels[0] if len(levels) == 1 else pd.MultiIndex.from_arrays(levels)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[LmmResult]:
        """Yield the results that there are, in order."""
        return (fit for fit in self.outcomes if isinstance(fit, LmmResult))

    def __getitem__(self, label: Any) -> LmmResult:
        """Return the result of a label, or of a tuple of labels.

        Raises
        ------
        MixedModelsError
            If there is no such model, or it failed.
        """
        wanted = label if isinstance(label, tuple) else (label,)
        for labels, outcome in zip(self.labels, self.outcomes, strict=True):
            if tuple(map(str, labels)) == tuple(map(str, wanted)):
                if isinstance(outcome, LmmResult):
                    return outcome
                raise outcome
        raise InferenceError(
            f"There is no model {label!r}; models are told apart by {', '.join(self.names)}, as in {self.labels[0]!r}."
        )

    def __repr__(self) -> str:
        return repr(self.table)

    def _repr_html_(self) -> str:
        html: str = self.table._repr_html_()  # type: ignore[operator]  # a NotedFrame has it
        return html


def _note(outcome: Outcome) -> str:
    """Return why there is no fit, or the kinds of findings that change its reading."""
    if not isinstance(outcome, LmmResult):
        return str(outcome)
    return ", ".join(finding.kind.replace("_", " ") for finding in outcome.findings if finding.kind in TOLD)


@refuses_unknown
def fit_many(
    formulas: str | Sequence[str] | Mapping[str, str],
    data: object,
    *,
    responses: str | Sequence[str] | None = None,
    split: str | None = None,
    reml: bool = True,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    control: Control | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> ManyFits:
    """Return the fits of many models: each formula, for each response, in each part of the data.

    Each model has its own rows, those without missing values of its variables; ``compare`` refuses others. A model that
    cannot be fitted keeps its place, with the reason; if none can, the first reason is raised.

    Parameters
    ----------
    formulas
        A formula as for ``lmer``, a list of them, or a mapping from names of your own to them.
    data
        As for ``lmer``.
    responses
        Columns or expressions, such as ``["y", "log(y)"]``, each in turn left of the ``~``.
    split
        A column: every model is fitted to the rows of each of its levels by themselves. Rows where it is missing are in
        no part, and counted in a note; ``missing="raise"`` refuses them.
    reml, weights, offset, contrasts, missing, evaluate, control
        As for ``lmer``; weights and offsets given as arrays are split with the rows.
    n_jobs
        Models fitted side by side, on the engine's threads; None for as many as the machine has processors. The numbers
        do not depend on it.
    progress
        Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

    Returns
    -------
    ManyFits
        ``.table`` (a row a model), ``.coef_table()`` (a row a coefficient), ``.fits``, and ``[label]``.

    Raises
    ------
    MixedModelsError
        If an argument is not allowed, or no model can be fitted.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds what was fitted, None if nothing was. Fits that had begun end unseen.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> many = mm.fit_many("distance ~ age + (1 | Subject)", mm.load_dataset("Orthodont"), split="Sex")
    >>> many.coef_table()["estimate"].round(2).to_dict()
    {('Male', 'Intercept'): 16.34, ('Male', 'age'): 0.78, ('Female', 'Intercept'): 17.37, ('Female', 'age'): 0.48}
    """
    check_reml(reml)
    n_jobs = _checked_jobs(n_jobs)
    data = snapshot(data)
    frame = open_frame(data)
    named = _formulas(formulas)
    lefts = _responses(responses, frame.names)
    parts = [(None, None)] if split is None else _parts(frame, split)
    n_outside = 0 if split is None else frame.n_rows - sum(len(rows) for _, rows in parts if rows is not None)
    if n_outside and missing == "raise":
        raise DataError(
            f"Column {split!r} of split has missing values in {n_outside} rows, which are in no part. Fill them in, "
            "leave these rows out, or use missing='drop'."
        )
    tasks = [
        _Task((name, response, part), formula if left is None else with_response(formula, left), rows)
        for name, formula in named
        for response, left in lefts
        for part, rows in parts
    ]
    varying = [len(named) > 1 or len(tasks) == 1, len(lefts) > 1, split is not None]
    whole = Call("", data, weights, offset, contrasts, missing, evaluate)

    def fit(task: _Task) -> Outcome:
        call = Call(task.formula, *list(vars(whole).values())[1:])
        try:
            call = call if task.rows is None else with_rows(call, task.rows)
            return LmmResult(fit_identified(build_problem(call), reml=reml, control=control), call)
        except (MixedModelsError, MemoryError) as error:
            return error.with_traceback(None)  # which would hold on to the data

    def answer(outcomes: Sequence[Outcome]) -> ManyFits:
        names = [name for name, varies in zip(("model", "response", split), varying, strict=True) if varies]
        labels = [tuple(label for label, varies in zip(task.labels, varying, strict=True) if varies) for task in tasks]
        return ManyFits(tuple(map(str, names)), tuple(labels), tuple(outcomes), n_outside)

    outcomes: list[Outcome | None] = [None] * len(tasks)
    try:
        with progress_bar(len(tasks), "fit_many", "model", progress) as advance:
            run = _one_by_one if n_jobs == 1 or len(tasks) == 1 else _side_by_side
            run(fit, tasks, outcomes, advance, n_jobs)
    except KeyboardInterrupt as interruption:
        done = any(isinstance(outcome, LmmResult) for outcome in outcomes)
        kept = answer([InferenceError(NOT_DONE) if outcome is None else outcome for outcome in outcomes])
        hand_over(interruption, kept if done else None)
        raise
    ended = [outcome for outcome in outcomes if outcome is not None]
    if not any(isinstance(outcome, LmmResult) for outcome in ended):
        first = ended[0]
        assert not isinstance(first, LmmResult)
        raise first
    return answer(ended)


def _one_by_one(
    fit: Callable[[_Task], Outcome],
    tasks: Sequence[_Task],
    outcomes: list[Outcome | None],
    advance: Callable[[int], object],
    n_jobs: int,
) -> None:
    for place, task in enumerate(tasks):
        outcomes[place] = fit(task)
        advance(1)


def _side_by_side(
    fit: Callable[[_Task], Outcome],
    tasks: Sequence[_Task],
    outcomes: list[Outcome | None],
    advance: Callable[[int], object],
    n_jobs: int,
) -> None:
    """Fit on threads, which share the engine's; this one waits for them and hears Ctrl-C."""
    stopped = Event()

    def work(place: int) -> None:
        if not stopped.is_set():
            outcomes[place] = fit(tasks[place])

    pool = ThreadPoolExecutor(min(n_jobs, len(tasks)))
    try:
        waiting: set[Future[None]] = {pool.submit(work, place) for place in range(len(tasks))}
        while waiting:
            done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if done:
                advance(len(done))
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _checked_jobs(n_jobs: int | None) -> int:
    if n_jobs is None:
        return cpu_count() or 1
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs < 1:
        raise InferenceError(f"n_jobs is {n_jobs!r}; it must be a number of models to fit side by side, or None.")
    return int(n_jobs)


def _formulas(formulas: object) -> list[tuple[str, str]]:
    """Return names and texts."""
    if isinstance(formulas, str):
        return [(formulas, formulas)]
    if isinstance(formulas, Mapping):
        named = [(str(name), formula) for name, formula in formulas.items()]
    elif isinstance(formulas, Sequence) and not isinstance(formulas, bytes):
        named = [(formula, formula) for formula in formulas]
    else:
        named = []
    wrong = [formula for _, formula in named if not isinstance(formula, str)]
    if wrong or not named:
        found = repr(wrong[0]) if wrong else repr(formulas)
        raise FormulaError(f"formulas has {found}; it must be a formula as for lmer, a list or a mapping of them.")
    _check_told_apart("formulas", [name for name, _ in named])
    return named


def _check_told_apart(argument: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FormulaError(f"{argument} has {twice!r} twice, and models are told apart by it. Leave one out.")


def _responses(responses: object, columns: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Return what stands left of the tilde in turn, as given and as a formula spells it; None leaves what is there."""
    if responses is None:
        return [(None, None)]
    given = [responses] if isinstance(responses, str) else responses
    if not isinstance(given, Sequence) or not given or not all(isinstance(each, str) for each in given):
        raise FormulaError(
            f"responses is {responses!r}; it must be a column or an expression, or a list of them, such as "
            "['y', 'log(y)']."
        )
    _check_told_apart("responses", given)
    return [(each, f"`{each}`" if each in columns and not each.isidentifier() else each) for each in given]


def _parts(frame: Any, split: str) -> list[tuple[Any, np.ndarray | None]]:
    """Return the levels of a column and the rows of each."""
    if not isinstance(split, str) or split not in frame.names:
        raise (
            unknown_column(split, frame.names)
            if isinstance(split, str)
            else DataError(f"split is {split!r}; it must be the name of a column of the data.")
        )
    column = frame.read(split)
    rows = np.arange(frame.n_rows) if column.missing is None else np.flatnonzero(~column.missing)
    if not len(rows):
        raise DataError(f"Column {split!r} of split has missing values only.")
    codes, levels = level_codes(column.take(rows))
    if len(levels) == len(rows) > 1:
        raise DataError(
            f"Column {split!r} of split has another value in each of its {len(rows)} rows; it must tell parts of the "
            "data apart."
        )
    return [(level, rows[codes == k]) for k, level in enumerate(levels.tolist())]
