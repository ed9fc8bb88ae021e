"""What leaving out a row, or a level, does to the estimates: by refitting, or in one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from mixedmodels.design.labels import level_text
from mixedmodels.design.left_out import LeftOut
from mixedmodels.errors import InferenceError, MixedModelsError, unknown_group
from mixedmodels.fit.long_work import WorkFile, carry_out
from mixedmodels.fit.plain_values import Kept
from mixedmodels.texts.noted_frame import show_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from os import PathLike

    import numpy.typing as npt

    from mixedmodels.design.records import Floats
    from mixedmodels.fit.records import FixedFit

    Rows = npt.NDArray[np.intp]

METHODS = ("exact", "one-step")

INFLUENCE = "study of influence"
"""What files of influence hold."""

LOST = "a fixed effect cannot be estimated without it"

STOPPED_EARLY = "the optimiser stopped early without it"


@dataclass(frozen=True)
class Estimates:
    """What a fit to fewer rows leaves behind.

    Attributes
    ----------
    beta, std_errors
        Fixed effects and what their changes are divided by, (n_fixed,).
    away
        K^-1 (b - b_i) with K K' the covariance of the fixed effects b of all rows, (n_fixed,).
    variance
        Variance parameters, (n_parameters,); none for one step.
    """

    beta: Floats
    std_errors: Floats
    away: Floats
    variance: Floats


@dataclass(frozen=True)
class Units:
    """What can be left out.

    Attributes
    ----------
    labels
        Of the units, (n_units,).
    codes
        Unit of each row, (n_obs,).
    """

    labels: pd.Index
    codes: npt.NDArray[np.int32]


class Deletable(Protocol):
    """A fit that can be made again without some of its rows."""

    @property
    def state(self) -> FixedFit:
        """The fit."""
        ...

    @property
    def units(self) -> Mapping[str, Units]:
        """What can be left out beside single rows, by name."""
        ...

    @property
    def parameters(self) -> list[str]:
        """Names of the variance parameters."""
        ...

    @property
    def n_at_once(self) -> int:
        """Refits that are worth doing side by side."""
        ...

    def refit(self, rest: Rows) -> Estimates:
        """Return the estimates from the rows that stay.

        Raises
        ------
        MixedModelsError
            There are none, with the reason.
        """
        ...

    def step(self, rest: Rows) -> Estimates:
        """Return the estimates from the rows that stay in one step, the parameters of the covariance held.

        Raises
        ------
        MixedModelsError
            As ``refit``.
        """
        ...

    def steps_of_rows(self) -> tuple[Floats, Floats]:
        """Return fixed effects and ``away`` without each row in one step, (n_obs, n_fixed) each; nan where none are."""
        ...


@dataclass(frozen=True)
class Influence:
    """Estimates without each row or level.

    Attributes
    ----------
    fe_params
        Fixed effects without it: one row a deletion.
    variance_parameters
        Standard deviations, correlations and sigma without it, other parameters of residuals or responses, thresholds
        between ordered categories, effects on the chance of a zero; no columns for one step, which holds them.
    cooks_distance
        Of the fixed effects b, with ordered categories the first threshold among them: (b - b_i)' V^-1 (b - b_i) / p,
        V = cov(b) of the full fit. Not to be compared with
        ``hat_values.cooks_distance``, which is on the conditional fitted values.
    dfbetas
        (b - b_i) over the standard errors of the fit without it (of the full fit for one step).
    failures
        Deletions whose refit failed, with the reason; their rows are missing.
    n_asked
        Deletions asked for: more than there are if the work was interrupted.
    """

    fe_params: pd.DataFrame
    variance_parameters: pd.DataFrame
    cooks_distance: pd.Series[float]
    dfbetas: pd.DataFrame
    failures: dict[Any, str]
    n_asked: int

    def __post_init__(self) -> None:
        for table in (self.fe_params, self.variance_parameters, self.cooks_distance, self.dfbetas):
            table.attrs["notes"] = self.notes
        for name in ("fe_params", "variance_parameters", "dfbetas"):
            object.__setattr__(self, name, show_notes(getattr(self, name)))

    @property
    def notes(self) -> list[str]:
        """What whoever uses the numbers is to know."""
        made = len(self.cooks_distance)
        if made == self.n_asked:
            return []
        return [f"Influence was interrupted: {made} of {self.n_asked} deletions were made."]

    def __repr__(self) -> str:
        top = self.cooks_distance.sort_values(ascending=False).head(5)
        lines = [f"Influence of {len(self.cooks_distance)} deletions; largest Cook's distances:"]
        lines += [f"  {label_text(label)}: {value:.3f}" for label, value in top.items()]
        return "\n".join([*self.notes, *lines])


KEPT = (Kept(Influence, make=Influence),)
"""How files keep influence."""


def label_text(label: Hashable) -> str:
    """Return the label of a row or level as text, those of several indexes joined by commas."""
    return ", ".join(map(level_text, label)) if isinstance(label, tuple) else level_text(label)


def influence(
    fit: Deletable,
    by: str | None = None,
    method: str = "exact",
    *,
    path: str | PathLike[str] | None = None,
    progress: bool = False,
) -> Influence:
    """Return the influence of each row, or of each level of a grouping factor or subject.

    Parameters
    ----------
    fit
        The fit.
    by
        A grouping factor, or what tells subjects apart; None for single rows.
    method
        ``"exact"``: the model is refitted without it, starting at the full fit; ``"one-step"``: parameters of the
        covariance are held (Christensen, Pearson and Johnson 1992), those of a generalised model with the weights of
        its rows.
    path
        A file that keeps what is done, written each second or so; if it is there, the deletions that it lacks are made.
    progress
        Show a progress bar if it takes long.

    Raises
    ------
    InferenceError
        If there is no such factor or method, the fit has no fixed effects, or the file at ``path`` is of another one.
    DataError
        If the file cannot be read or written.
    KeyboardInterrupt
        On Ctrl-C; its ``partial`` holds the deletions that were made, None if there are none.
    """
    state = fit.state
    if method not in METHODS:
        raise InferenceError(f"method={method!r} is not available; it must be 'exact' or 'one-step'.")
    if state.n_fixed == 0:
        raise InferenceError("Influence is measured on the fixed effects, and this fit has none.")
    if isinstance(state.design.y, LeftOut):
        state.design.y.refuse()
    labels, rest = _deletions(fit, by)
    file = WorkFile(path, INFLUENCE, KEPT)
    before = file.take_up({"by": by, "method": method}, state)
    if before is not None and not before.cooks_distance.index.equals(labels[: len(before.cooks_distance)]):
        raise file.of_another("of rows or levels with other names.")
    if by is None and method == "one-step":
        whole = _of_rows(fit, labels)
        file.keep(whole)
        return whole
    deletions = _Deletions(fit, labels, method == "exact")
    if before is not None:
        deletions.take_up(before)

    def blocks() -> Iterator[int]:
        with _in_order(deletions.without, rest, range(deletions.n_done, len(labels)), fit.n_at_once) as made:
            for one in made:
                deletions.add(one)
                yield 1

    return carry_out(
        blocks(),
        len(labels) - deletions.n_done,
        "influence",
        shown=progress,
        made=deletions.made,
        keep=None if path is None else lambda: file.keep(deletions.made()),
    )


@contextmanager
def _in_order(
    work: Callable[[Rows], Estimates | str], rest: Callable[[int], Rows], places: range, n_at_once: int
) -> Iterator[Iterator[Estimates | str]]:
    """Do work for all places, some at once on threads that share the engine's, and hand it over in their order."""
    if n_at_once == 1:
        yield (work(rest(i)) for i in places)
        return
    pool = ThreadPoolExecutor(n_at_once)

    def made() -> Iterator[Estimates | str]:
        ahead: list[Future[Estimates | str]] = []
        for i in places:
            ahead.append(pool.submit(work, rest(i)))
            if len(ahead) > 2 * n_at_once:
                yield ahead.pop(0).result()
        for future in ahead:
            yield future.result()

    try:
        yield made()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Deletions:
    """Estimates without each row or level, made one after the other.

    Parameters
    ----------
    fit
        The fit.
    labels
        Of what is left out.
    exact
        Whether the model is fitted again.
    """

    def __init__(self, fit: Deletable, labels: pd.Index, exact: bool) -> None:
        self.fit, self.state, self.labels, self.exact = fit, fit.state, labels, exact
        self.parameters = fit.parameters if exact else []
        self.own = fit.state.own_fixed
        self.columns = list(fit.state.fixed_names[self.own])
        self.fixed, self.dfbetas = np.full((2, len(labels), len(self.columns)), np.nan)
        self.variance = np.full((len(labels), len(self.parameters)), np.nan)
        self.cook = np.full(len(labels), np.nan)
        self.failures: dict[Any, str] = {}
        self.n_done = 0

    def without(self, rest: Rows) -> Estimates | str:
        """Return the estimates from the rows that stay, or why there are none."""
        try:
            return self.fit.refit(rest) if self.exact else self.fit.step(rest)
        except MemoryError:
            raise
        except MixedModelsError as error:
            return str(error)

    def add(self, made: Estimates | str) -> None:
        """Take the next deletion in."""
        i = self.n_done
        if isinstance(made, str):
            self.failures[self.labels[i]] = made
        else:
            self.fixed[i], self.variance[i] = made.beta[self.own], made.variance
            self.dfbetas[i] = ((self.state.beta - made.beta) / made.std_errors)[self.own]
            self.cook[i] = _cook(made.away)
        self.n_done += 1

    def take_up(self, before: Influence) -> None:
        """Go on from those that were made before."""
        n = len(before.cooks_distance)
        self.fixed[:n], self.variance[:n] = before.fe_params, before.variance_parameters
        self.cook[:n], self.dfbetas[:n] = before.cooks_distance, before.dfbetas
        self.failures, self.n_done = dict(before.failures), n

    def made(self) -> Influence | None:
        """Return those that were made, None if there are none."""
        columns, n, done = self.columns, self.n_done, self.labels[: self.n_done]
        if not n:
            return None
        return Influence(
            pd.DataFrame(self.fixed[:n], done, columns, copy=True),
            pd.DataFrame(self.variance[:n], done, self.parameters, copy=True),
            pd.Series(self.cook[:n], done, name="cooks_distance", copy=True),
            pd.DataFrame(self.dfbetas[:n], done, columns, copy=True),
            dict(self.failures),
            len(self.labels),
        )


def _deletions(fit: Deletable, by: str | None) -> tuple[pd.Index, Callable[[int], Rows]]:
    """Return the labels of what is left out, and what gives the rows that stay each time."""
    design = fit.state.design
    if by is None:
        return design.row_labels, lambda i: np.delete(np.arange(design.n_obs), i)
    units = fit.units
    names = list(units)
    if by not in names:  # what is no text has no hash, perhaps
        raise unknown_group(by, names)
    own = units[by]
    present = np.unique(own.codes)  # related levels need have no rows
    return own.labels[present].rename(by), lambda i: np.flatnonzero(own.codes != present[i])


def _cook(away: Floats) -> Any:
    """Return d' cov(beta)^-1 d / p of changes d, given as K^-1 d, (..., n_fixed)."""
    return np.sum(away * away, axis=-1) / away.shape[-1]


def _of_rows(fit: Deletable, labels: pd.Index) -> Influence:
    """Return the influence of all rows in one step."""
    state, own = fit.state, fit.state.own_fixed
    beta, away = fit.steps_of_rows()
    columns, dfbetas = list(state.fixed_names[own]), (state.beta - beta) / np.sqrt(np.diag(state.cov_beta))
    return Influence(
        pd.DataFrame(beta[:, own], labels, columns),
        pd.DataFrame(index=labels),
        pd.Series(_cook(away), labels, name="cooks_distance"),
        pd.DataFrame(dfbetas[:, own], labels, columns),
        {},
        len(labels),
    )
