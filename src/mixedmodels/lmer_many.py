"""Many responses to one model: genes, voxels, questions. One design, and a fit for each column of Y."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from os import PathLike
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from mixedmodels.design.build import build_design
from mixedmodels.design.frame import Column, Frame, open_frame
from mixedmodels.design.planned import any_response
from mixedmodels.design.responses import Responses, frame_with_response, open_responses, take_rows_of
from mixedmodels.display.many_responses import KEPT, RESPONSES, ManyResponses
from mixedmodels.errors import DataError, FitError, FormulaError, MixedModelsError
from mixedmodels.fit.call import check_evaluation, snapshot, values_at
from mixedmodels.fit.control import Control
from mixedmodels.fit.findings import aliased_columns, nearly_aliased_columns
from mixedmodels.fit.fingerprint import fingerprint_of_model
from mixedmodels.fit.fit import check_control, check_reml
from mixedmodels.fit.identification import check_identified, unidentified
from mixedmodels.fit.long_work import Task, WorkFile, carry_out
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.side_by_side import CANNOT_FIT, fit_side_by_side, is_constant, why_not
from mixedmodels.fit.structured_fit import refuse_structures
from mixedmodels.formula.parse import parse_formula
from mixedmodels.formula.update import left_side, with_response
from mixedmodels.inference.many_responses import tested
from mixedmodels.inference.variance_parameters import list_parameters
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.inference.variance_parameter import VarianceParameter

    Rows = npt.NDArray[np.intp]

FIRST_BLOCK, MIN_BLOCK, MAX_BLOCK = 32, 8, 1000
BLOCK_VALUES = 4_000_000
"""Responses, and numbers of them, that are fitted before it is counted how far it is."""
BLOCK_SECONDS = 0.5
"""What that is to take."""
SAME = 1e-9
"""Relative difference of columns that are the same."""
MAX_PATTERNS = 32
"""Designs of rows without missing values that are kept for further blocks."""


@refuses_unknown
def lmer_many(
    formula: str,
    data: object,
    Y: Any,
    *,
    reml: bool = True,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    control: Control | None = None,
    path: str | PathLike[str] | None = None,
    progress: bool = True,
) -> ManyResponses:
    """Return the fits of one model to many responses, such as the expression of 20,000 genes, with their tests.

    Every number is that of ``lmer`` with this response; thousands a second are fitted, on all cores. Of other formulas,
    parts of the data, or results that one can go on with, ``fit_many`` makes fits one by one.

    Parameters
    ----------
    formula
        As for ``lmer`` without a response: ``"~ treatment + time + (1 | patient)"``.
    data
        As for ``lmer``: predictors and grouping factors.
    Y
        The responses: an array (n_rows, n_responses), a pandas or polars DataFrame, a pyarrow Table or a mapping with a
        column for each, or the path of a parquet file, of which some columns are read at a time. Rows are those of the
        data, by position.
    reml, weights, offset, contrasts, evaluate, control
        As for ``lmer``; one for all responses.
    missing
        ``"drop"``: a response that is missing in some rows is fitted to the others, as ``lmer`` does it, and so are all
        without the rows where predictors are missing; ``"raise"`` refuses both.
    path
        A file that keeps what is done, written each second or so; if it is there, the responses that it lacks are
        fitted. ``load`` reads it.
    progress
        Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

    Returns
    -------
    ManyResponses
        ``.coef_table(adjust="fdr")`` (a row a response and coefficient), ``.variance_parameters()`` and ``.table`` (a
        row a response). A response that cannot be fitted keeps its rows, with the reason.

    Raises
    ------
    MixedModelsError
        If an argument is not allowed, the model cannot be identified, or no response can be fitted.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the responses that were fitted, None if there are none.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> sleep = mm.load_dataset("sleepstudy")
    >>> Y = {"ms": sleep["Reaction"], "speed": 1000 / sleep["Reaction"]}
    >>> many = mm.lmer_many("~ Days + (Days | Subject)", sleep, Y)
    >>> many.coef_table()["estimate"].round(3).to_dict()
    {('ms', 'Intercept'): 251.405, ('ms', 'Days'): 10.467, ('speed', 'Intercept'): 3.966, ('speed', 'Days'): -0.111}
    """
    check_reml(reml)
    frame = open_frame(snapshot(data))
    responses = open_responses(Y, frame.n_rows, frame.index)
    models = _Models(
        _without_response(formula), frame, weights, offset, contrasts, missing, evaluate, reml, check_control(control)
    )
    table = _Filled(models, responses)
    if missing == "raise":
        table.refuse_missing()
    file = WorkFile(path, RESPONSES, KEPT)
    if path is not None:
        asked = {"reml": reml, "max_iterations": models.control.max_iterations, "n_starts": models.control.n_starts}
        told = f"{fingerprint_of_model(models.whole.design)} {responses.digest()}"
        table.take(file.go_on(Task(RESPONSES, asked, models.formula, told)))
    done: ManyResponses = carry_out(
        table.blocks(),
        len(responses) - table.n_done,
        "lmer_many",
        unit="response",
        shown=progress,
        made=table.made,
        keep=None if path is None else lambda: file.keep(table.made()),
    )
    if not done.is_fitted.any():
        raise FitError(f"No response could be fitted. The first: {done.note[0]}")
    return done


def _without_response(formula: str) -> str:
    if not isinstance(formula, str):
        parse_formula(formula)  # which says what is wrong
    left = left_side(formula)
    if left is None:
        raise FormulaError(
            f"The formula {formula!r} has no ~; write what predicts the responses, as in '~ x + (1 | g)'."
        )
    if left:
        raise FormulaError(
            f"The formula has {left!r} on its left, and the responses are the columns of Y. Leave it out: "
            f"{with_response(formula, '').strip()!r}."
        )
    return formula.strip()


class _Models:
    """The model on all rows, and on those where a response has a value."""

    def __init__(  # noqa: PLR0917  # one place makes it
        self,
        formula: str,
        frame: Frame,
        weights: object,
        offset: object,
        contrasts: Mapping[str, object] | str | None,
        missing: str,
        evaluate: str,
        reml: bool,
        control: Control,
    ) -> None:
        self.formula, self.frame = formula, frame
        self.weights, self.offset, self.contrasts, self.missing = weights, offset, contrasts, missing
        self.evaluate, self.reml, self.control = evaluate, reml, control
        self.whole = self._on(None)
        self.of_pattern = lru_cache(MAX_PATTERNS)(self._of_pattern)

    def _on(self, rows: Rows | None) -> Problem:
        frame = self.frame if rows is None else take_rows_of(self.frame, rows)
        name, planned = frame_with_response(frame, Column(any_response(frame.n_rows)), self.formula)
        parsed = parse_formula(with_response(self.formula, name))
        check_evaluation(parsed, self.evaluate, self.contrasts)
        if parsed.absorbed:
            raise FormulaError("lmer_many does not absorb fixed effects. Write the levels as a fixed term.")
        design = build_design(
            parsed,
            planned,
            weights=values_at(self.weights, rows),
            offset=values_at(self.offset, rows),
            contrasts=self.contrasts,
            missing=self.missing,
        )
        refuse_structures(design, "lmer_many")
        problem = Problem(design, n_threads=self.control.n_threads)
        check_identified(problem, self.reml)
        return problem

    def _of_pattern(self, pattern: bytes) -> tuple[Problem | str, Rows]:
        """Return the model on the rows that have a value, or why there is none, and where these are in the data."""
        used = _positions(self.whole)
        has_value = np.unpackbits(np.frombuffer(pattern, dtype=np.uint8), count=len(used)).astype(bool)
        rows, n_left_out = used[has_value], int(np.count_nonzero(~has_value))
        if not len(rows):
            return f"Values are missing in all {len(used)} rows: none can be used.", rows
        left_out = f"Left out {n_left_out} of {len(used)} rows, where the response is missing."
        try:
            problem = self._on(rows)
        except MixedModelsError as error:
            return f"{error} {left_out}", rows
        if unknown := [name for name in _names(problem) if name not in _names(self.whole)]:
            return f"The rows that are left have {', '.join(unknown)}, which complete ones have not. {left_out}", rows
        return problem, rows[_positions(problem)]

    def has_other_columns(self, problem: Problem, rows: Rows) -> bool:
        """Return whether fixed effects of some rows are of other columns than those of all, which contain them."""
        own, whole = problem.design, self.whole.design
        if own is whole:
            return False
        of_whole = whole.X[np.searchsorted(_positions(self.whole), rows)]
        columns = [whole.x_names.index(name) for name in own.x_names]
        lost = np.delete(of_whole, columns, axis=1)  # of levels without rows
        return bool(lost.any() or not np.allclose(own.X, of_whole[:, columns], rtol=SAME, atol=0.0))


def _positions(problem: Problem) -> Rows:
    design = problem.design
    return np.arange(design.n_obs) if design.rows is None else design.rows


class _Filled:
    """Numbers of all responses, filled from the first on."""

    def __init__(self, models: _Models, responses: Responses) -> None:
        self.models, self.responses = models, responses
        self.n_done = 0
        whole = models.whole
        self.terms = _terms(whole)
        self.parameters: tuple[VarianceParameter, ...] = list_parameters(whole.design.factors)
        m = len(responses)
        self.estimate, self.std_error, self.df = (np.full((m, len(self.terms)), np.nan) for _ in range(3))
        self.varcorr = np.full((m, len(self.parameters)), np.nan)
        self.deviance = np.full(m, np.nan)
        self.nobs, self.n_fixed, self.n_params = (np.zeros(m, dtype=np.int64) for _ in range(3))
        self.converged, self.singular = np.zeros(m, dtype=bool), np.zeros(m, dtype=bool)
        self.note = [""] * m

    def refuse_missing(self) -> None:
        """Refuse responses with missing values."""
        for start in range(0, len(self.responses), MAX_BLOCK):
            at = range(start, min(start + MAX_BLOCK, len(self.responses)))
            n_missing = np.isnan(self.responses.read(at)).sum(axis=1)
            for j in np.flatnonzero(n_missing).tolist():
                raise DataError(
                    f"Response {self.responses.labels[start + j]!r} is missing in {n_missing[j]} of "
                    f"{self.responses.n_rows} rows. Fill it in, or pass missing='drop' to leave these rows out of it."
                )

    def take(self, before: ManyResponses | None) -> None:
        """Begin with what a file holds."""
        if before is None:
            return
        self.n_done = len(before)
        for name in (
            "estimate",
            "std_error",
            "df",
            "varcorr",
            "deviance",
            "nobs",
            "n_fixed",
            "n_params",
            "converged",
            "singular",
            "note",
        ):
            getattr(self, name)[: self.n_done] = getattr(before, name)

    def made(self) -> ManyResponses | None:
        """Return what is done."""
        if not self.n_done:
            return None
        m = self.n_done
        return ManyResponses(
            self.models.formula,
            self.models.reml,
            self.responses.labels,
            self.terms,
            self.parameters,
            self.estimate[:m],
            self.std_error[:m],
            self.df[:m],
            self.varcorr[:m],
            self.deviance[:m],
            self.nobs[:m],
            self.n_fixed[:m],
            self.n_params[:m],
            self.converged[:m],
            self.singular[:m],
            tuple(self.note[:m]),
            tuple(finding.message for finding in _common(self.models.whole, self.models.reml)),
        )

    def blocks(self) -> Iterator[int]:
        """Fit a block after the other, and yield how many responses it has."""
        size = FIRST_BLOCK
        while self.n_done < len(self.responses):
            began = monotonic()
            at = self._next(size)
            self._fit(at)
            self.n_done = at.stop
            yield len(at)
            size = max(MIN_BLOCK, int(size * min(4.0, BLOCK_SECONDS / max(monotonic() - began, 1e-3))))

    def _next(self, size: int) -> range:
        most = max(1, min(MAX_BLOCK, BLOCK_VALUES // self.responses.n_rows))
        return range(self.n_done, min(self.n_done + min(size, most), len(self.responses)))

    def _fit(self, at: range) -> None:
        block = self.responses.read(at)
        used = _positions(self.models.whole)
        is_missing = np.isnan(block[:, used])
        incomplete = is_missing.any(axis=1)
        whole = np.flatnonzero(~incomplete)
        if len(whole):
            self._fill(self.models.whole, used, at.start + whole, block[np.ix_(whole, used)])
        patterns = [np.packbits(~missing).tobytes() for missing in is_missing[incomplete]]
        for pattern in dict.fromkeys(patterns):
            members = np.flatnonzero(incomplete)[[each == pattern for each in patterns]]
            problem, rows = self.models.of_pattern(pattern)
            if isinstance(problem, str):
                for place in (at.start + members).tolist():
                    self.note[place] = problem
            else:
                self._fill(problem, rows, at.start + members, block[np.ix_(members, rows)])

    def _fill(self, problem: Problem, rows: Rows, places: Rows, Y: Floats) -> None:
        """Fit responses that have values in the same rows."""
        reml, control = self.models.reml, self.models.control
        fits = fit_side_by_side(problem, Y, reml, control)
        found = tested(problem, fits, reml)
        failed = (fits.status == CANNOT_FIT) | is_constant(problem, Y)
        told = [kind.kind.replace("_", " ") for kind in _common(problem, reml) if kind.kind != "dropped_rows"]
        told += ["columns computed from its own rows"] if self.models.has_other_columns(problem, rows) else []
        for j, place in enumerate(places.tolist()):
            if failed[j]:
                self.note[place] = why_not(problem, Y[j], str(self.responses.labels[place]), reml, control)
                continue
            own = [
                *told,
                *(["not converged"] if not found.converged[j] else []),
                *(["singular"] if found.singular[j] else []),
            ]
            self.note[place] = ", ".join(own)
        fitted, own_places = ~failed, places[~failed]
        terms = _terms(problem)
        columns = [self.terms.index(term) for term in terms]
        for name in ("estimate", "std_error", "df"):
            getattr(self, name)[np.ix_(own_places, columns)] = getattr(found, name)[fitted]
        names = [parameter.name for parameter in self.parameters]
        own_names = [parameter.name for parameter in list_parameters(problem.design.factors)]
        self.varcorr[np.ix_(own_places, [names.index(name) for name in own_names])] = found.varcorr[fitted]
        self.deviance[own_places] = found.deviance[fitted]
        self.nobs[own_places] = problem.design.n_obs
        self.n_fixed[own_places] = len(terms)
        self.n_params[own_places] = len(terms) + fits.theta.shape[1] + 1
        self.converged[own_places], self.singular[own_places] = found.converged[fitted], found.singular[fitted]


def _names(problem: Problem) -> list[str]:
    """Return what is estimated."""
    return [*_terms(problem), *(parameter.name for parameter in list_parameters(problem.design.factors))]


def _terms(problem: Problem) -> tuple[str, ...]:
    return tuple(problem.design.x_names[j] for j in problem.model.kept)


def _common(problem: Problem, reml: bool) -> list[Finding]:
    """Return what is found of a model whatever the response."""
    design, model = problem.design, problem.model
    found = [finding for finding in design.findings if finding.kind in ("dropped_rows", "numbers_among_labels")]
    if len(model.kept) < len(design.x_names):
        found.append(aliased_columns(design, model.kept))
    if model.nearly_dependent:
        found.append(nearly_aliased_columns([design.x_names[j] for j in model.nearly_dependent]))
    return [*found, *unidentified(problem, reml)]
