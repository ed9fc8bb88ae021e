"""Many models in one call: several formulas or responses, and the same for each part of the data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from os import PathLike, cpu_count
from threading import Event
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.design.expression import unknown_column
from mixedmodels.design.frame import open_frame
from mixedmodels.design.grouping import level_codes
from mixedmodels.display.broom import glance
from mixedmodels.errors import DataError, FormulaError, InferenceError, MixedModelsError
from mixedmodels.fit.call import Call, build_problem, snapshot, with_rows
from mixedmodels.fit.control import Control
from mixedmodels.fit.fingerprint import fingerprint_of_model
from mixedmodels.fit.fit import check_control, check_reml, fit_identified
from mixedmodels.fit.long_work import WorkFile, carry_out
from mixedmodels.fit.plain_values import Kept
from mixedmodels.formula.update import with_response
from mixedmodels.inference.wald import COLUMNS, check_level
from mixedmodels.result.lmm import KEPT as OF_FITS
from mixedmodels.result.lmm import LmmResult, for_files
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown

MANY = "set of fits"
"""What files of many fits hold."""

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
    def notes(self) -> list[str]:
        """What is missing because the work was interrupted."""
        n_missing = sum(str(outcome) == NOT_DONE for outcome in self.outcomes)
        n = len(self.outcomes)
        return [f"fit_many was interrupted: {n - n_missing} of {n} models were done."] if n_missing else []

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
        outside = [f"Rows in no part, because {self.names[-1]} is missing there: {self.n_outside}."]
        table.attrs["notes"] = (*(outside if self.n_outside else ()), *self.notes)
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


def _kept_error(kind: type[Exception]) -> Kept:
    def make(args: tuple[Any, ...], __dict__: dict[str, Any]) -> Exception:
        error = kind.__new__(kind)  # not by its __init__, since the message is whole
        error.args = args
        vars(error).update(__dict__)
        return error

    return Kept(kind, ("args", "__dict__"), make)


def _subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


ERRORS: set[type[Exception]] = {MemoryError, MixedModelsError, *_subclasses(MixedModelsError)}
KEPT = (OF_FITS, Kept(ManyFits), *map(_kept_error, ERRORS))
"""How files keep many fits."""


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
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> ManyFits:
    """Return the fits of many models: each formula, for each response, in each part of the data.

    For thousands of responses to one formula, of which tables are wanted and not fits, ``lmer_many`` is faster.

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
    path
        A file that keeps what is done, written each second or so, with the columns of the data that the models use; if
        it is there, the models that it has no fits of are fitted. ``mixedmodels.load`` reads it.
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
    InferenceError
        If the file at ``path`` is of other models or data.
    DataError
        If the file cannot be read or written.
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
    names = tuple(str(name) for name, varies in zip(("model", "response", split), varying, strict=True) if varies)
    labels = tuple(tuple(label for label, varies in zip(task.labels, varying, strict=True) if varies) for task in tasks)
    whole = Call("", data, weights, offset, contrasts, missing, evaluate)

    def call_of(task: _Task) -> Call:
        call = replace(whole, formula=task.formula)
        return call if task.rows is None else with_rows(call, task.rows)

    def fit(task: _Task) -> Outcome:
        try:
            call = call_of(task)
            return LmmResult(fit_identified(build_problem(call), reml=reml, control=control), call)
        except (MixedModelsError, MemoryError) as error:
            return error.with_traceback(None)  # which would hold on to the data

    file = WorkFile(path, MANY, KEPT)
    before = file.take_up({"reml": reml, "control": asdict(check_control(control))}, None)
    outcomes: list[Outcome | None] = [None] * len(tasks)
    if before is not None:
        outcomes = _taken_up(file, before, labels, list(map(call_of, tasks)))
    places = [place for place, outcome in enumerate(outcomes) if outcome is None]

    def blocks() -> Generator[int, None, None]:
        run = _one_by_one if n_jobs == 1 or len(places) < 2 else _side_by_side
        yield from run(lambda place: fit(tasks[place]), places, outcomes, n_jobs)
        first = outcomes[0]
        if isinstance(first, Exception) and not any(isinstance(outcome, LmmResult) for outcome in outcomes):
            raise first

    def many() -> ManyFits:
        ended = (InferenceError(NOT_DONE) if outcome is None else outcome for outcome in outcomes)
        return ManyFits(names, labels, tuple(ended), n_outside)

    with closing(blocks()) as running:  # threads that have not begun then end, whatever ends this
        return carry_out(
            running,
            len(places),
            "fit_many",
            unit="model",
            shown=progress,
            made=lambda: many() if any(isinstance(outcome, LmmResult) for outcome in outcomes) else None,
            keep=None if path is None else lambda: file.keep(_for_files(many())),
        )


def _taken_up(
    file: WorkFile, before: ManyFits, labels: tuple[tuple[Any, ...], ...], calls: Sequence[Call]
) -> list[Outcome | None]:
    """Return the fits of a file in their places, None for models that it has none of.

    Raises
    ------
    InferenceError
        If they are of other models or data.
    """
    if before.labels != labels:
        raise file.of_another(f"of {len(before.labels)} other models.")
    return [
        _same_model(file, outcome, label, call) if isinstance(outcome, LmmResult) else None
        for outcome, label, call in zip(before.outcomes, labels, calls, strict=True)
    ]


def _same_model(file: WorkFile, fit: LmmResult, label: tuple[Any, ...], call: Call) -> LmmResult:
    try:
        design = build_problem(call).design
    except MixedModelsError as error:
        raise file.of_another(f"whose {_shown(label)} cannot be fitted now: {error}") from error
    if fingerprint_of_model(design) != fingerprint_of_model(fit.state.design):
        raise file.of_another(f"whose {_shown(label)} is of another formula or other data.")
    return LmmResult(fit.state, call)


def _shown(label: tuple[Any, ...]) -> str:
    return repr(label[0] if len(label) == 1 else label)


def _for_files(many: ManyFits) -> ManyFits:
    """Return the fits with no other columns of the data than their models use."""
    fits = (for_files(outcome) if isinstance(outcome, LmmResult) else outcome for outcome in many.outcomes)
    return replace(many, outcomes=tuple(fits))


def _one_by_one(
    fit: Callable[[int], Outcome], places: Sequence[int], outcomes: list[Outcome | None], n_jobs: int
) -> Iterator[int]:
    for place in places:
        outcomes[place] = fit(place)
        yield 1


def _side_by_side(
    fit: Callable[[int], Outcome], places: Sequence[int], outcomes: list[Outcome | None], n_jobs: int
) -> Iterator[int]:
    """Fit on threads, which share the engine's; this one waits for them and hears Ctrl-C. Yields how many ended."""
    stopped = Event()

    def work(place: int) -> None:
        if not stopped.is_set():
            outcomes[place] = fit(place)

    pool = ThreadPoolExecutor(min(n_jobs, len(places)))
    try:
        waiting: set[Future[None]] = {pool.submit(work, place) for place in places}
        while waiting:
            done, waiting = wait(waiting, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            yield len(done)
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
