"""The result of a linear mixed model: what users touch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mixedmodels.diagnose.deleted_linear import DeletedLinear
from mixedmodels.display.summary import one_line
from mixedmodels.fit.call import (
    build_problem,
    snapshot,
    with_columns,
    without_stale_contrasts,
    without_stale_relationships,
)
from mixedmodels.fit.fit import fit_identified, fit_problem
from mixedmodels.fit.plain_values import Kept
from mixedmodels.fit.rowless import is_rowless, without_rows
from mixedmodels.fit.sampled_fit import chosen, shows_progress
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.formula.update import update_formula
from mixedmodels.inference.bootstrap import bootstrap
from mixedmodels.inference.conf_int import Ways
from mixedmodels.inference.degrees import approximation
from mixedmodels.inference.profiled_linear import LinearProfiled
from mixedmodels.inference.profiled_structured import StructuredProfiled
from mixedmodels.inference.replicated_linear import LinearReplicated
from mixedmodels.result.deletions import Deletions
from mixedmodels.result.diagnostics import Diagnostics
from mixedmodels.result.estimates import Estimates
from mixedmodels.result.for_maketables import ForMaketables
from mixedmodels.result.intervals import VarianceIntervals
from mixedmodels.result.pictures import Pictures
from mixedmodels.result.rows import Rows
from mixedmodels.result.sizes import Sizes
from mixedmodels.result.tables import Tables
from mixedmodels.result.tests import Tests
from mixedmodels.vocabulary import OF_A_FIT, refuses_unknown, unknown_attribute

if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    import numpy.typing as npt

    from mixedmodels.fit.control import Control


class LmmResult(
    Estimates, Tables, Tests, VarianceIntervals, Sizes, Rows, Diagnostics, Deletions, Pictures, ForMaketables
):
    """A fitted linear mixed model. It never changes; frames and arrays are made when asked for.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it, for ``update`` and ``augment``; None if that is not known.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or hasattr(type(self), name):  # the latter where a property raised AttributeError
            return object.__getattribute__(self, name)
        raise unknown_attribute("A fit", name, OF_A_FIT, dir(type(self)))

    def _ways(self) -> Ways:
        tests = partial(approximation, self.state)
        replicate = partial(bootstrap, self._replicated())
        state = self.state
        profiled = StructuredProfiled(state) if isinstance(state, StructuredState) else LinearProfiled(state)
        return Ways(profiled, tests, frozenset({"ddf"}), replicate)

    def _replicated(self) -> LinearReplicated:
        return LinearReplicated(self.state, LmmResult)

    def _deleted(self) -> DeletedLinear:
        return DeletedLinear(self.state)

    @refuses_unknown
    def refit(self, y: npt.ArrayLike) -> LmmResult:
        """Return the fit of the same model to another response; this result stays as it is.

        Parameters
        ----------
        y
            Response of the rows used, or of all rows of the data, in their order; a table of one column, such as
            ``simulate`` returns, will do. A pandas Series with the labels of the rows in another order is refused.

        Raises
        ------
        DataError
            If y has another length, another order, or values that are not finite numbers.
        """
        problem = self.state.problem.with_response(y)
        return type(self)(fit_problem(problem, reml=self.reml, control=self.state.control))

    @refuses_unknown
    def update(
        self,
        formula: str | None = None,
        data: object = None,
        *,
        reml: bool | None = None,
        weights: object = ...,
        offset: object = ...,
        contrasts: object = ...,
        missing: object = ...,
        start: npt.ArrayLike | None = None,
        control: Control | None = None,
    ) -> LmmResult:
        """Return the fit of a changed model; this result stays as it is.

        Parameters
        ----------
        formula
            A new formula, in which ``.`` stands for what was there: ``". ~ . + x"``, ``". ~ . - (1 | item)"``,
            ``"log(.) ~ ."``.
        data
            New data.
        reml, weights, offset, contrasts, missing, control
            As for ``lmer``; those not given stay as they were, but for contrasts of columns that leave the formula.
        start
            First theta of the new fit.

        Raises
        ------
        InferenceError
            If this result does not know its data.
        """
        call = self._call_or_refuse("update")
        given = {"weights": weights, "offset": offset, "contrasts": contrasts, "missing": missing}
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not ...}
        if formula is not None:
            changes["formula"] = update_formula(self.state.design.formula, formula)
        if data is not None:
            changes["data"] = snapshot(data)
        call = replace(call, **changes)
        if formula is not None and contrasts is ...:
            call = without_stale_contrasts(call)
        if formula is not None:
            call = without_stale_relationships(call)
        reml = self.reml if reml is None else reml
        state = fit_identified(
            chosen(build_problem(call), call.method, shows_progress(self.state.problem)),
            reml=reml,
            start=start,
            control=self.state.control if control is None else control,
        )
        return type(self)(state, call)

    @refuses_unknown
    def save(self, path: str | PathLike[str], *, data: bool = True) -> None:
        """Write the result to a file that ``mixedmodels.load`` reads: a zip of arrays and JSON, which runs nothing.

        It holds the columns of the data that the model uses, with the labels of the rows, and no others. A file that is
        there is replaced when the new one is whole.

        Parameters
        ----------
        path
            Where to.
        data
            False leaves the rows out; the labels and effects of the levels stay. The estimates, ``summary`` (without
            quartiles of residuals), ``coef_table``, ``contrast``, Wald's ``conf_int``, ``variance_parameters`` and
            ``predict`` for new data (without intervals, if no column was dropped) are answered, with Kenward and
            Roger's method if it was asked for before. Everything else needs the rows and says so: fitted values,
            residuals, ``anova``, ``margins``, ``r2``, ``icc``, ``random_effects_cov``, checks, plots, simulations and
            all that fits again.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        from mixedmodels.fit import storage  # noqa: PLC0415  # it knows all kinds of fits, and few are kept in files

        design = self.state.design
        if not data or is_rowless(design):
            content = LmmResult(without_rows(self.state))  # type: ignore[arg-type]  # it is loaded as a fit
            storage.save_records(path, KIND, content, (KEPT,), {"formula": self.formula, "columns": []})
            return
        storage.save_records(path, KIND, for_files(self), (KEPT,), storage.about(design))

    def __repr__(self) -> str:
        return one_line(self.state)

    def _repr_html_(self) -> str:
        return self.summary().to_html()


KIND = "fit"
KEPT = Kept(LmmResult, ("state", "call"))


def for_files(fit: LmmResult) -> LmmResult:
    """Return the fit with no other columns of the data than the model uses."""
    call = None if fit.call is None else with_columns(fit.call, fit.state.design.used_columns)
    return LmmResult(fit.state, call)
