"""The result of a generalised linear mixed model: what users touch."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from mixedmodels.diagnose.deleted_generalized import DeletedGeneralized
from mixedmodels.diagnose.generalized_check import check_generalized
from mixedmodels.diagnose.generalized_residuals import generalized_residuals
from mixedmodels.display import broom, marginaleffects
from mixedmodels.display.added import GeneralizedAdded
from mixedmodels.display.augment import augment
from mixedmodels.display.broom_generalized import tidy_generalized
from mixedmodels.display.check_frame import show_checks
from mixedmodels.display.generalized_summary import one_line_generalized, summarize_generalized
from mixedmodels.errors import UnknownArgumentError
from mixedmodels.families.family import Family
from mixedmodels.families.named import read_family
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.fit import storage
from mixedmodels.fit.call import snapshot, with_columns, without_stale_contrasts
from mixedmodels.fit.generalized import fit_generalized
from mixedmodels.fit.generalized_call import GeneralizedCall, build_generalized
from mixedmodels.fit.nodes import check_nodes
from mixedmodels.fit.plain_values import Kept
from mixedmodels.formula.update import update_formula
from mixedmodels.inference.bootstrap import bootstrap
from mixedmodels.inference.conf_int import Ways
from mixedmodels.inference.degrees import wald_tests
from mixedmodels.inference.generalized_sizes import generalized_icc, generalized_r2
from mixedmodels.inference.profiled_generalized import GeneralizedProfiled
from mixedmodels.inference.replicated_generalized import GeneralizedReplicated
from mixedmodels.inference.thresholds import threshold_names, threshold_table, thresholds
from mixedmodels.inference.zero_effects import zero_table
from mixedmodels.predict.generalized import predict_generalized, simulate_generalized
from mixedmodels.result.deletions import Deletions
from mixedmodels.result.fixed_estimates import FixedEstimates
from mixedmodels.result.for_maketables import ForMaketables
from mixedmodels.result.generalized_tests import GeneralizedTests
from mixedmodels.result.intervals import VarianceIntervals
from mixedmodels.result.pictures import Pictures
from mixedmodels.result.random_estimates import RandomEstimates
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import OF_A_FIT, OF_A_GENERALIZED_FIT, refuses_unknown, unknown_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from mixedmodels.design.records import Floats
    from mixedmodels.display.summary import Summary
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.generalized import GlmmState


class GlmmResult(
    RandomEstimates, FixedEstimates, GeneralizedTests, VarianceIntervals, Deletions, Pictures, ForMaketables
):
    """A fitted generalised linear mixed model. It never changes; frames and arrays are made when asked for.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it, for ``update``; None if that is not known.
    """

    state: GlmmState
    call: GeneralizedCall | None

    def __init__(self, state: GlmmState, call: GeneralizedCall | None = None) -> None:
        super().__init__(state, call)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or hasattr(type(self), name):
            return object.__getattribute__(self, name)
        raise unknown_attribute("A fit", name, {**OF_A_FIT, **OF_A_GENERALIZED_FIT}, dir(type(self)))

    def _ways(self) -> Ways:
        tests = partial(wald_tests, self.state)
        own = partial(threshold_table, self.state) if isinstance(self.family, Ordinal) else None
        replicate = partial(bootstrap, self._replicated())
        return Ways(GeneralizedProfiled(self.state), tests, frozenset(), replicate, own)

    def _replicated(self) -> GeneralizedReplicated:
        return GeneralizedReplicated(self.state, GlmmResult)

    def _deleted(self) -> DeletedGeneralized:
        return DeletedGeneralized(self.state)

    @property
    def family(self) -> Family:
        """What the responses are, with the link."""
        return self.state.family

    @property
    def dispersion(self) -> float | None:
        """The dispersion that ``family.variance_text`` means; None for families without one."""
        return self.state.dispersion

    @property
    def scale(self) -> float:
        """The dispersion, 1 for families without one."""
        return 1.0 if self.state.dispersion is None else self.state.dispersion

    @property
    def thresholds(self) -> pd.Series[float]:
        """Thresholds between ordered categories, named ``1|2``; those of ``family="ordinal"``."""
        return pd.Series(thresholds(self.state), index=threshold_names(self.state), name="estimate")

    @refuses_unknown
    def zero_table(self, level: float = 0.95) -> pd.DataFrame:
        """Return effects on the logit of the chance of a zero, with Wald's tests and intervals, a row each.

        Of zero-inflated and hurdle models; zeros that are those of the counts are not meant in the former.

        Parameters
        ----------
        level
            Coverage of Wald's intervals.

        Raises
        ------
        InferenceError
            If zeros have no chance of their own in this model.
        """
        return show_notes(zero_table(self.state, level))

    @refuses_unknown
    def tidy(
        self, effects: str | Iterable[str] = broom.EFFECTS, level: float = 0.95, exponentiate: bool = False
    ) -> pd.DataFrame:
        """Return one row a parameter, fixed effects (and thresholds) and then variance parameters, in broom's columns.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (standard deviations, correlations, dispersion) or both.
        level
            Coverage of the intervals.
        exponentiate
            Exponentials of the fixed effects, as for ``coef_table``.
        """
        return show_notes(tidy_generalized(self.state, effects, level, exponentiate))

    @refuses_unknown
    def to_marginaleffects(self, scale: str = "response") -> Any:
        """Return a model for the functions of the Python package marginaleffects, with predictions of the population.

        Predictions are means of a level without random effects, tests normal.

        Parameters
        ----------
        scale
            ``"response"``: means; ``"link"``: the linear predictor.

        Raises
        ------
        MixedModelsError
            If marginaleffects is not installed.
        InferenceError
            If the responses have no mean of that kind: ordered categories, an offset, zeros whose chance varies.
        """
        return marginaleffects.adapt_generalized(self.state, scale)

    def glance(self) -> pd.DataFrame:
        """Return the fit in one row: number of rows, likelihood, criteria, degrees of freedom, status."""
        return show_notes(broom.glance(self.state))

    @refuses_unknown
    def augment(
        self,
        data: object = None,
        *,
        interval: str | None = None,
        level: float = 0.95,
        new_levels: str = "raise",
        modes: bool = False,
        seed: int | None = None,
    ) -> pd.DataFrame:
        """Return rows with fitted means, the linear predictor and residuals added.

        ``.fitted`` is the conditional mean or chance of success, ``.link`` the linear predictor, ``.fixed`` the mean of
        an average level, ``.resid`` the residual of the family's first kind; ``.pearson``, ``.response``, ``.quantile``
        and so on are those of the other kinds. Ordered categories have a column each, ``.fitted_1``.

        Parameters
        ----------
        data
            New data, which get no residuals; or the data of the fit, of which the rows used are returned; None takes
            those given to ``glmer``.
        interval
            ``"confidence"`` adds ``.se``, ``.lower`` and ``.upper``, those of ``predict``; not for ordered categories.
        level, new_levels
            As for ``predict``.
        modes
            Add the conditional modes of each row's levels, ``.b_Intercept|herd``.
        seed
            Of residuals that are drawn.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``; if this result does not know its data and gets none.
        """
        data = self._call_or_refuse("augment").data if data is None else data
        options: dict[str, Any] = {"interval": interval, "level": level, "new_levels": new_levels}
        return show_notes(augment(GeneralizedAdded(self.state, **options, modes=modes, seed=seed), data))

    @refuses_unknown
    def threshold_table(self, level: float = 0.95) -> pd.DataFrame:
        """Return the thresholds between ordered categories: ``estimate, std_error, ci_lower, ci_upper``.

        Parameters
        ----------
        level
            Coverage of Wald's intervals.

        Raises
        ------
        InferenceError
            If the responses are no ordered categories.
        """
        return show_notes(threshold_table(self.state, level))

    @property
    def n_agq(self) -> int:
        """Nodes of the quadrature an effect; 1 is Laplace's approximation."""
        return self.state.n_agq

    @property
    def fittedvalues(self) -> pd.Series[float] | pd.DataFrame:
        """Conditional means or chances (of success, of each category) of the rows used, by pandas index or position."""
        if isinstance(self.family, Ordinal):
            return predict_generalized(self.state)
        return self._by_row(self.state.fitted_family.mean(self.state.eta), "fitted")

    @property
    def linear_predictor(self) -> pd.Series[float]:
        """Conditional linear predictor of the rows used, X beta + Z b + offset, by pandas index or position."""
        # thresholds stand in the place of an intercept
        own = self.state.eta - (self.state.beta[0] if isinstance(self.family, Ordinal) else 0.0)
        return self._by_row(own, "linear_predictor")

    @refuses_unknown
    def residuals(self, kind: str | None = None, *, seed: int | None = None) -> pd.Series[float]:
        """Return residuals of the rows used given the effects of the levels.

        Parameters
        ----------
        kind
            ``"deviance"``; ``"pearson"``; ``"response"``: y less the mean; ``"quantile"``: normal quantiles of each
            row's own distribution, drawn between its steps where responses are counted (Dunn and Smyth 1996). Of
            ordered categories ``"probability"``: P(Y < y) - P(Y > y) (Li and Shepherd 2012), and ``"surrogate"``: a
            latent response drawn within its category, less its mean (Liu and Zhang 2018). None: the family's first,
            ``family.residual_kinds``.
        seed
            Of what is drawn.

        Raises
        ------
        InferenceError
            If there is no such kind for this family.
        """
        return self._by_row(generalized_residuals(self.state, kind, seed), "resid")

    @property
    def resid(self) -> pd.Series[float]:
        """Residuals of the family's first kind, deviance residuals where it has these."""
        return self.residuals()

    def r2(self) -> dict[str, float]:
        """Return R-squared on the link scale: ``marginal`` (fixed part) and ``conditional`` (with random effects).

        Of Nakagawa, Johnson and Schielzeth (2017), with the family's own variance there. Not for the beta family.
        """
        return generalized_r2(self.state)

    def icc(self) -> dict[str, float]:
        """Return intraclass correlations on the link scale: ``adjusted`` and ``unadjusted`` (for the fixed part)."""
        return generalized_icc(self.state)

    def check(self) -> pd.DataFrame:
        """Return what is worth looking at after a fit: ``verdict, found, advice`` by check.

        Overdispersion, zeros, separation and the accuracy of Laplace's approximation are among the checks.
        """
        return show_checks(check_generalized(self.state))

    @refuses_unknown
    def summary(self, level: float = 0.95, correlation: bool = False, *, width: int | None = None) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        level
            Coverage of the intervals.
        correlation
            Show the correlations of the fixed effects.
        width
            Columns of a line, 60 or more; None for the environment's COLUMNS or the terminal's, 80 where there is none.
        """
        return summarize_generalized(self.state, level, correlation, width=width)

    @refuses_unknown
    def predict(
        self,
        data: object = None,
        *,
        scale: str = "response",
        random_effects: str | Iterable[str] = "conditional",
        new_levels: str = "raise",
        interval: str | None = None,
        level: float = 0.95,
    ) -> pd.Series[float] | pd.DataFrame:
        """Return predictions for the rows of the fit or for new data.

        Parameters
        ----------
        data
            New data; None for the rows of the fit.
        scale
            ``"response"``: the mean, a chance of success for the binomial, the chance of each category for the ordinal;
            ``"link"``: the linear predictor, x'beta + z'b without thresholds for the ordinal.
        random_effects
            ``"conditional"``; ``"population"``: all effects zero, the average level; ``"averaged"``: the mean over new
            levels of all grouping factors; or names of grouping factors and texts of terms.
        new_levels
            ``"raise"``; ``"population"``: rows of a level that the fit did not have get none of its effects;
            ``"averaged"``: the mean over the effects of such a level.
        interval
            ``"confidence"``: formed on the link scale, the errors of effects counted where they are in it; None: none.
        level
            Coverage.

        Returns
        -------
        pandas.Series or pandas.DataFrame
            With an interval ``mean, se, lower, upper``. For the ordinal a column a category, and with an interval a row
            a category.

        Raises
        ------
        DataError, InferenceError
            If new data lack a column or have an unknown level, or an argument is not allowed.
        """
        return predict_generalized(
            self.state,
            data,
            scale=scale,
            random_effects=random_effects,
            new_levels=new_levels,
            interval=interval,
            level=level,
        )

    @refuses_unknown
    def simulate(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        random_effects: str = "new",
        data: object = None,
        trials: object = None,
    ) -> Floats:
        """Return simulated responses, one a column, (n_rows, n); numbers of successes for the binomial.

        Parameters
        ----------
        n
            Responses.
        seed
            Of the random numbers.
        random_effects
            ``"new"``: drawn for every level; ``"conditional"``: the modes of the fit.
        data
            New data; None for the rows of the fit.
        trials
            Of new rows, for the binomial: a number, (n_rows,) or the name of a column; None: one each.

        Raises
        ------
        DataError, InferenceError
            If new data lack a column, or an argument is not allowed.
        """
        options: dict[str, Any] = {"seed": seed, "random_effects": random_effects, "data": data, "trials": trials}
        return simulate_generalized(self.state, n, **options)

    @refuses_unknown
    def update(
        self, formula: str | None = None, data: object = None, *, control: Control | None = None, **changes: Any
    ) -> GlmmResult:
        """Return the fit of a changed model; this result stays as it is.

        Parameters
        ----------
        formula
            A new formula, in which ``.`` stands for what was there.
        data
            New data.
        control
            Limits of the optimiser.
        **changes
            ``family, link, n_agq, weights, offset, contrasts, missing, zero_inflation`` as for ``glmer``; those not
            given stay.

        Raises
        ------
        InferenceError
            If this result does not know its data, or an argument is not one of these.
        """
        self._call_or_refuse("update")
        call = self.call
        assert call is not None
        unknown = next((name for name in changes if name not in CHANGEABLE), None)
        if unknown is not None:
            raise UnknownArgumentError(
                f"update has no argument {unknown!r}; there are formula, data, control, {', '.join(CHANGEABLE)}."
            )
        if formula is not None:
            changes["formula"] = update_formula(self.state.design.formula, formula)
        if data is not None:
            changes["data"] = snapshot(data)
        if "family" in changes and "link" not in changes:
            changes["link"] = None
        if "n_agq" in changes:
            changes["n_agq"] = check_nodes(changes["n_agq"])
        call = replace(call, **changes)
        if formula is not None and "contrasts" not in changes:
            call = replace(call, contrasts=without_stale_contrasts(call).contrasts)
        problem = build_generalized(call, read_family(call.family, call.link))
        return GlmmResult(fit_generalized(problem, control=control or self.state.control), call)

    @refuses_unknown
    def save(self, path: str | PathLike[str]) -> None:
        """Write the result to a file that ``mixedmodels.load`` reads: a zip of arrays and JSON, which runs nothing.

        Parameters
        ----------
        path
            Where to.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        design = self.state.design
        call = None if self.call is None else replace(self.call, data=with_columns(self.call, design.used_columns).data)
        storage.save_records(path, GLMM, GlmmResult(self.state, call), (KEPT_GLMM,), storage.about(design))

    def __repr__(self) -> str:
        return one_line_generalized(self.state)

    def _repr_html_(self) -> str:
        return self.summary().to_html()


GLMM = "generalised fit"
KEPT_GLMM = Kept(GlmmResult, ("state", "call"))
CHANGEABLE = ("family", "link", "n_agq", "weights", "offset", "contrasts", "missing", "zero_inflation")
"""What ``update`` changes beside formula and data."""
