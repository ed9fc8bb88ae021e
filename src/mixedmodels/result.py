"""The result of a fit: what users touch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mixedmodels.diagnose.check import check
from mixedmodels.diagnose.hat_values import cooks_distance, hat_values
from mixedmodels.diagnose.influence import Influence, influence
from mixedmodels.diagnose.residuals import residuals
from mixedmodels.diagnose.simulated_residuals import SimulatedResiduals, simulated_residuals
from mixedmodels.diagnose.vif import vif
from mixedmodels.display import broom, maketables, marginaleffects, plain
from mixedmodels.display.check_frame import CheckFrame
from mixedmodels.display.noted_frame import show_notes
from mixedmodels.display.steps import Steps
from mixedmodels.display.summary import Summary, one_line, summarize
from mixedmodels.display.varcorr import VarCorr
from mixedmodels.errors import InferenceError
from mixedmodels.fit import storage
from mixedmodels.fit.call import Call, build_problem, snapshot, with_columns, without_stale_contrasts
from mixedmodels.fit.fit import fit_identified, fit_problem
from mixedmodels.fit.fitted import conditional_fitted
from mixedmodels.fit.plain_values import Kept
from mixedmodels.fit.rowless import is_rowless, without_rows
from mixedmodels.formula.update import update_formula
from mixedmodels.inference import criteria, wald
from mixedmodels.inference.anova import anova
from mixedmodels.inference.bootstrap import Bootstrap, bootstrap
from mixedmodels.inference.conditional_aic import criteria_table
from mixedmodels.inference.conf_int import conf_int
from mixedmodels.inference.contrast import contrast
from mixedmodels.inference.drop1 import drop1
from mixedmodels.inference.effect_sizes import effect_sizes
from mixedmodels.inference.icc import icc
from mixedmodels.inference.joint_tests import joint_tests
from mixedmodels.inference.margins import margins
from mixedmodels.inference.part_r2 import part_r2
from mixedmodels.inference.profile import Profile, profile
from mixedmodels.inference.r2 import r2
from mixedmodels.inference.ranova import ranova
from mixedmodels.inference.re_pca import re_pca
from mixedmodels.inference.robust import RobustCovariance, robust_covariance
from mixedmodels.inference.slopes import slopes
from mixedmodels.inference.standardized import standardized
from mixedmodels.inference.step import step
from mixedmodels.inference.variance_parameters import variance_parameters
from mixedmodels.inference.variance_shares import variance_shares
from mixedmodels.interrupted import warns_if_interrupted
from mixedmodels.predict import random_effects
from mixedmodels.predict.level_slopes import level_slopes
from mixedmodels.predict.predict import predict
from mixedmodels.predict.simulate import simulate
from mixedmodels.vocabulary import OF_A_FIT, refuses_unknown, unknown_attribute

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.records import Finding, Floats
    from mixedmodels.fit.control import Control
    from mixedmodels.fit.records import FitState, Optimum
    from mixedmodels.inference.approximation import Approximation


class FitProfile(Profile):
    """Profiles of some parameters of a fit, which can be drawn."""

    def _conf_int(self, level: float) -> pd.DataFrame:
        return show_notes(super()._conf_int(level))

    @refuses_unknown
    @warns_if_interrupted
    def plot(self, **arguments: Any) -> Any:
        """Draw zeta against the values, with intervals; see ``mixedmodels.plot.profile``."""
        from mixedmodels.plot.profile import profile as draw  # noqa: PLC0415  # few profiles are drawn

        return draw(self, **arguments)


class LmmResult:
    """A fitted linear mixed model. It never changes; frames and arrays are made when asked for.

    Parameters
    ----------
    state
        The fit as numbers.
    call
        What made it, for ``update`` and ``augment``; None if that is not known.
    """

    def __init__(self, state: FitState, call: Call | None = None) -> None:
        self.state = state
        self.call = call

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or hasattr(type(self), name):  # the latter where a property raised AttributeError
            return object.__getattribute__(self, name)
        raise unknown_attribute("A fit", name, OF_A_FIT, dir(type(self)))

    # Estimates

    @property
    def fe_params(self) -> pd.Series[float]:
        """Fixed effects."""
        return pd.Series(self.state.beta, index=list(self.state.fixed_names), name="estimate", copy=True)

    @property
    def bse_fe(self) -> pd.Series[float]:
        """Standard errors of the fixed effects."""
        se = np.sqrt(np.diag(self.state.cov_beta))
        se[self.state.undetermined_rows(np.eye(len(se)))] = np.nan
        return pd.Series(se, index=list(self.state.fixed_names), name="std_error")

    @property
    def cov_fe(self) -> pd.DataFrame:
        """Covariance of the fixed effects."""
        names = list(self.state.fixed_names)
        return show_notes(pd.DataFrame(self.state.cov_beta, index=names, columns=names, copy=True))

    @property
    def sigma(self) -> float:
        """Residual standard deviation, of an observation with weight one."""
        return self.state.sigma

    @property
    def scale(self) -> float:
        """Residual variance, of an observation with weight one."""
        return self.state.sigma**2

    @property
    def theta(self) -> pd.Series[float]:
        """Relative covariance factors, lower triangles of Lambda by column, in lme4's order; diagonals >= 0."""
        return pd.Series(self.state.theta, index=list(self.state.design.theta_names), name="theta", copy=True)

    @property
    def varcorr(self) -> VarCorr:
        """Covariances of the random effects; ``varcorr["Subject"]`` is a DataFrame, ``.to_frame()`` is long."""
        return VarCorr.from_state(self.state)

    @property
    def random_effects(self) -> dict[str, pd.DataFrame]:
        """Conditional modes (BLUPs), grouping factor -> level x effect."""
        by_group = random_effects.random_effects(self.state)
        return type(by_group)((name, show_notes(frame)) for name, frame in by_group.items())

    @property
    def random_effects_cov(self) -> dict[str, Floats]:
        """Conditional covariances of the random effects, grouping factor -> (level, effect, effect)."""
        return random_effects.random_effects_cov(self.state)

    @refuses_unknown
    def random_effects_frame(self, level: float = 0.95) -> pd.DataFrame:
        """Return the conditional modes in one long frame: ``group, level, effect, estimate, std_error, lower, upper``.

        Parameters
        ----------
        level
            Coverage of the intervals, normal ones given the variance parameters and the fixed effects, as in lme4.

        Raises
        ------
        InferenceError
            If ``level`` is not a coverage.
        """
        return show_notes(random_effects.random_effects_frame(self.state, level))

    @refuses_unknown
    def coef_by_level(self, group: str | None = None) -> pd.DataFrame:
        """Return the coefficients of each level of a grouping factor: fixed effects plus random ones of the same name.

        Parameters
        ----------
        group
            The grouping factor; None if there is one only.

        Raises
        ------
        InferenceError
            If there is no such factor, or None and several.
        """
        return show_notes(random_effects.coef_by_level(self.state, group))

    @refuses_unknown
    def cov_fe_robust(self, kind: str = "CR2", cluster: str | npt.ArrayLike | None = None) -> RobustCovariance:
        """Return the cluster-robust covariance of the fixed effects: ``.to_frame()``; any argument ``ddf`` takes it.

        Parameters
        ----------
        kind
            ``"CR0"``, ``"CR1"``, ``"CR2"`` (Bell and McCaffrey) or ``"CR3"`` (about the jackknife).
        cluster
            A grouping factor, a column of the fixed part, or the cluster of each row; None takes the coarsest grouping
            factor. All grouping factors must be nested in it.

        Raises
        ------
        InferenceError
            If there is no such kind or cluster, or a grouping factor is crossed with the clusters.
        """
        return robust_covariance(self.state, kind, cluster)

    # How well it fits

    @property
    def llf(self) -> float:
        """Log-likelihood, restricted under REML."""
        return criteria.log_likelihood(self.state)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood, the REML criterion under REML."""
        return self.state.optimum.deviance

    @property
    def aic(self) -> float:
        """Akaike's criterion."""
        return criteria.aic(self.state)

    @property
    def bic(self) -> float:
        """Schwarz's criterion, with the number of rows."""
        return criteria.bic(self.state)

    @property
    def aicc(self) -> float:
        """Akaike's criterion corrected for few rows."""
        return criteria.aicc(self.state)

    @property
    def df_model_total(self) -> int:
        """Number of parameters (fixed effects, theta and sigma)."""
        return self.state.n_params

    @property
    def df_resid(self) -> int:
        """Rows less fixed effects."""
        return criteria.residual_df(self.state)

    # What was fitted, and how it went

    @property
    def formula(self) -> str:
        """The formula as given."""
        return self.state.design.formula.text

    @property
    def nobs(self) -> int:
        """Rows used."""
        return self.state.design.n_obs

    @property
    def n_groups(self) -> dict[str, int]:
        """Levels of each grouping factor."""
        return {factor.name: factor.n_levels for factor in self.state.design.factors}

    @property
    def n_dropped(self) -> int:
        """Rows left out because of missing values; the reasons are in ``findings``."""
        return sum(self.state.design.n_dropped.values())

    @property
    def reml(self) -> bool:
        """True if fitted by restricted maximum likelihood."""
        return self.state.reml

    @property
    def converged(self) -> bool:
        """True if the gradient shows an optimum."""
        return self.state.optimum.converged

    @property
    def is_singular(self) -> bool:
        """True if a variance is estimated as zero or a correlation as plus or minus one."""
        return self.state.is_singular

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What building the design and fitting noticed, as data."""
        return self.state.findings

    @property
    def optimizer(self) -> Optimum:
        """Iterations, evaluations, gradient norm, status, trace (a row an iteration) and seconds."""
        return self.state.optimum

    # Rows

    @property
    def fittedvalues(self) -> pd.Series[float]:
        """Conditional fitted values X beta + Z b + offset of the rows used, by pandas index or position in the data."""
        return self._by_row(conditional_fitted(self.state), "fitted")

    @property
    def resid(self) -> pd.Series[float]:
        """Conditional residuals of the rows used, by pandas index or position in the data."""
        return self.residuals()

    @refuses_unknown
    def residuals(self, kind: str = "conditional") -> pd.Series[float]:
        """Return residuals of the rows used, by pandas index or position in the data.

        Parameters
        ----------
        kind
            ``"conditional"``: response less ``fittedvalues``; ``"marginal"``: response less X beta + offset;
            ``"pearson"``: conditional times sqrt(weight), so that all have standard deviation sigma;
            ``"standardized"``: pearson over sigma; ``"cholesky"``: marginal ones decorrelated.

        Raises
        ------
        InferenceError
            If there is no such kind.
        """
        return self._by_row(residuals(self.state, kind), "resid")

    def _by_row(self, values: Floats, name: str) -> pd.Series[float]:
        return pd.Series(values, index=self.state.design.row_labels, name=name)

    # Tables

    @refuses_unknown
    def summary(
        self,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
        correlation: bool = False,
        *,
        width: int | None = None,
    ) -> Summary:
        """Return the summary: a string, HTML in notebooks, also ``.to_latex()``, ``.to_markdown()`` and ``.tables``.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        correlation
            Show the correlations of the fixed effects.
        width
            Columns of a line, 60 or more; None for the environment's COLUMNS or the terminal's, 80 where there is none.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit.
        """
        return summarize(self.state, ddf, level, correlation, width=width)

    @refuses_unknown
    def coef_table(self, ddf: str | Approximation = "satterthwaite", level: float = 0.95) -> pd.DataFrame:
        """Return the fixed effects: ``estimate, std_error, df, statistic, p_value, ci_lower, ci_upper``.

        Parameters
        ----------
        ddf
            Degrees of freedom of the tests: ``"satterthwaite"``; ``"kenward-roger"`` (REML only), which also widens the
            standard errors; ``"residual"``, rows less fixed effects; ``"normal"``, infinite; ``"robust"``, what
            ``cov_fe_robust`` returns by default, or another of its results.
        level
            Coverage of the intervals.

        Raises
        ------
        InferenceError
            If ``ddf`` or ``level`` is not allowed, or ``ddf`` does not apply to this fit.
        """
        return show_notes(wald.coef_table(self.state, ddf, level))

    @refuses_unknown
    def anova(self, type: int = 3, ddf: str | Approximation = "satterthwaite") -> pd.DataFrame:
        """Return F tests by term: ``sum_sq, mean_sq, num_df, den_df, f_value, p_value``.

        Parameters
        ----------
        type
            1: each term after those before it; 2: after all terms that do not contain it; 3: after all other terms,
            averaged over the levels of those that contain it, under any coding.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If ``type`` or ``ddf`` is not allowed, or ``ddf`` does not apply to this fit.
        """
        return show_notes(anova(self.state, type, ddf))

    @refuses_unknown
    def drop1(self, test: str = "F", ddf: str | Approximation = "satterthwaite") -> pd.DataFrame:
        """Return tests of the fixed-effect terms that can be taken out, one at a time.

        Those that others contain are not among them: ``a`` is contained in ``a:b``, which has all of its variables.

        Parameters
        ----------
        test
            ``"F"``: F tests of this fit, in the columns of ``anova``; ``"LRT"``: likelihood ratios of fits by ML to the
            same rows, ``n_params, aic, deviance, chisq, df, p_value``, this model first.
        ddf
            Of F tests, as for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit.
        KeyboardInterrupt
            On Ctrl-C while models are fitted; its ``partial`` is the table of the terms that were tested, None if there
            are none.
        """
        return drop1(self.state, test, ddf, show=show_notes)

    @refuses_unknown
    def step(
        self,
        *,
        alpha_random: float = 0.1,
        alpha_fixed: float = 0.05,
        keep: str | Iterable[str] = (),
        ddf: str = "satterthwaite",
    ) -> Steps:
        """Return what backward elimination leaves: ``.random`` and ``.fixed``, tables of what went, and ``.fit``.

        Random terms go first, by ``ranova``, then fixed ones, by ``drop1``, each time the one with the largest p-value.
        All models are fitted to the rows of this one. P-values and intervals of the model that is left do not know that
        it was chosen.

        Parameters
        ----------
        alpha_random, alpha_fixed
            Terms with a p-value up to this stay; 1 leaves that part as it is. Of random terms it is the naive one.
        keep
            Fixed terms that stay, and with them the terms that they contain.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or this result does not know its data.
        """
        left = step(
            self.state,
            self._call_or_refuse("step"),
            alpha_random=alpha_random,
            alpha_fixed=alpha_fixed,
            keep=keep,
            ddf=ddf,
        )
        return Steps(show_notes(left.random), show_notes(left.fixed), type(self)(left.state, left.call))

    @refuses_unknown
    def contrast(
        self, L: object, ddf: str | Approximation = "satterthwaite", level: float = 0.95, joint: bool = False
    ) -> pd.DataFrame:
        """Return tests and intervals of combinations of the fixed effects, a row each, in ``coef_table``'s columns.

        Parameters
        ----------
        L
            A text such as ``"Days = 0"`` or ``"2 * A - B = 1"``, a mapping from names to coefficients, a matrix with
            one column a fixed effect, a list of these, or a mapping from names of your own to these:
            ``{"day 9": {"Intercept": 1, "Days": 9}, "slope": "Days = 10"}``. Tests are not adjusted for their number.
        ddf, level
            As for ``coef_table``.
        joint
            Add a last row with the F test of all rows together.

        Raises
        ------
        InferenceError
            If a contrast cannot be read or estimated, or an argument is not allowed.
        """
        return show_notes(contrast(self.state, L, ddf, level, joint))

    @refuses_unknown
    def margins(  # noqa: PLR0917 - the order of the public signature is promised
        self,
        specs: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
        ddf: str | Approximation = "satterthwaite",
        *,
        contrasts: object = None,
        control: object = None,
        weights: str = "equal",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        scale: str = "model",
        bias_adjust: bool | float = False,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return estimated marginal means, or contrasts among them, a row each, in ``coef_table``'s columns.

        Parameters
        ----------
        specs
            Variables whose combinations of levels have a mean each. Other categorical variables are averaged over,
            numeric ones are at their means. A variable that is nested in others, as B in A by ``A/B``, is averaged over
            within their levels and has its means within them.
        by
            Variables within whose levels means are compared.
        at
            Values of variables to use instead: ``{"Days": [0, 9]}``.
        pairwise
            True: return the differences of all pairs; or the name of a kind, as for ``contrasts``.
        adjust
            For contrasts, within each level of ``by``: ``"tukey"`` (all pairs), ``"dunnett"`` (against a control),
            ``"mvt"`` (any, by their correlations), ``"scheffe"``, ``"holm"``, ``"bonferroni"``, ``"sidak"``, ``"fdr"``
            or ``"none"``; None for what goes with them.
        ddf
            As for ``coef_table``.
        contrasts
            Return contrasts: ``"pairwise"``, ``"reverse-pairwise"``, ``"consecutive"``, ``"reverse-consecutive"``,
            ``"control"`` (from the first, or from ``control``), ``"mean"`` (from the mean of all), ``"others"`` (from
            that of the others), ``"polynomial"``, ``"helmert"`` (from the mean of those before); weights, as
            ``{"new": {"a": 1, "b": -0.5, "c": -0.5}}``, ``{"new": [1, -0.5, -0.5]}`` or a matrix with a row a contrast;
            or interaction contrasts, ``{"dose": "polynomial", "drug": "pairwise"}``.
        control
            Return the differences from this level of ``specs``; a tuple if there are several variables.
        weights
            Average with ``"equal"`` weights, ``"proportional"`` to rows, by products of each variable's proportions
            (``"outer"``), or by the rows of each mean's own levels (``"cells"``).
        null, side, delta
            Test against another value than 0; whether what is estimated differs from it (``"two-sided"``), is
            ``"greater"`` or ``"less"``; with a margin ``delta`` whether it is less than that away (equivalence), not
            that much below (``"greater"``) or not that much above (``"less"``). On the scale of the model.
        scale
            ``"response"`` brings means of a transformed response back, as exp of those of ``log(y)``, and differences
            of logarithms as ratios.
        bias_adjust
            True: means of the response itself rather than, about, its medians; or the standard deviation of an
            observation on the scale of the model, if not that of the fit.
        level
            Coverage of intervals; those of contrasts cover together where they are adjusted.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or a variable is continuous.
        """
        table = margins(
            self.state,
            specs,
            by,
            at,
            pairwise,
            contrasts=contrasts,
            adjust=adjust,
            ddf=ddf,
            control=control,
            weights=weights,
            null=null,
            side=side,
            delta=delta,
            scale=scale,
            bias_adjust=bias_adjust,
            level=level,
        )
        return show_notes(table)

    @refuses_unknown
    def ranova(self, n_exact: int = 0, seed: int | np.random.Generator | None = None) -> pd.DataFrame:
        """Return likelihood-ratio tests of each random term: ``n_params, llf, aic, chisq, df, p_value, p_boundary``.

        ``p_value`` is the naive one; ``p_boundary`` knows that variances cannot be negative. A term with slopes is
        reduced: ``(x | g)`` is compared with ``(1 | g)``.

        Parameters
        ----------
        n_exact
            Simulations of the exact law, for REML fits with one variance parameter; adds ``p_exact``.
        seed
            Of the simulations.

        Raises
        ------
        InferenceError
            If the exact law is not known for this fit.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` is the table of the terms that were tested, None if there are none.
        """
        return ranova(self.state, n_exact, seed, show=show_notes)

    def criteria(self) -> pd.DataFrame:
        """Return AIC, AICc, BIC and the conditional AIC: ``value, deviance, n_params, penalty, counted``.

        ``counted`` says in words what each takes for the number of parameters.
        """
        return show_notes(criteria_table(self.state))

    @refuses_unknown
    def tidy(
        self,
        effects: str | Iterable[str] = broom.EFFECTS,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return one row a parameter, fixed effects and then variance parameters, in broom's columns.

        Parameters
        ----------
        effects
            ``"fixed"``, ``"ran_pars"`` (standard deviations and correlations) or both.
        ddf, level
            As for ``coef_table``.
        """
        return show_notes(broom.tidy(self.state, effects, ddf, level))

    def glance(self) -> pd.DataFrame:
        """Return the fit in one row: number of rows, sigma, likelihood, criteria, degrees of freedom, status."""
        return show_notes(broom.glance(self.state))

    @refuses_unknown
    def augment(
        self,
        data: object = None,
        *,
        interval: str | None = None,
        level: float = 0.95,
        ddf: str = "satterthwaite",
        new_levels: str = "raise",
        weights: object = None,
    ) -> pd.DataFrame:
        """Return rows with ``.fitted`` (conditional), ``.resid`` and ``.fixed`` (the fixed part) added.

        Parameters
        ----------
        data
            New data, ``.resid`` where they have the response; or the data of the fit, of which the rows used are
            returned; None takes those given to ``lmer``.
        interval
            ``"confidence"`` or ``"prediction"`` adds ``.se``, ``.lower`` and ``.upper``, those of ``predict``.
        level, ddf, new_levels, weights
            As for ``predict``.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``; if this result does not know its data and gets none.
        """
        data = self._call_or_refuse("augment").data if data is None else data
        options: dict[str, Any] = {"interval": interval, "level": level, "ddf": ddf}
        return show_notes(broom.augment(self.state, data, **options, new_levels=new_levels, weights=weights))

    # Intervals and variance parameters

    @refuses_unknown
    def variance_parameters(self, scale: str = "sd", level: float = 0.95) -> pd.DataFrame:
        """Return standard deviations, correlations and sigma with standard errors and intervals within their range.

        Parameters
        ----------
        scale
            ``"sd"``; ``"variance"``: variances and covariances; ``"log"``: log sd and Fisher's z.
        level
            Coverage of the intervals.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        """
        return show_notes(variance_parameters(self.state, scale, level))

    @refuses_unknown
    def joint_tests(
        self,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        *,
        ddf: str | Approximation = "satterthwaite",
        weights: str = "equal",
    ) -> pd.DataFrame:
        """Return F tests of each term's effects on marginal means, within levels: ``num_df, den_df, f_value, p_value``.

        Numeric variables count by their slopes at the mean.

        Parameters
        ----------
        by
            Variables within whose levels the others are tested: simple effects.
        at, weights
            As for ``margins``.
        ddf
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or nothing is left to test.
        """
        return show_notes(joint_tests(self.state, by, at, ddf=ddf, weights=weights))

    @refuses_unknown
    def slopes(  # noqa: PLR0917 - in the order of margins
        self,
        variable: str,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        pairwise: bool | str = False,
        adjust: str | None = None,
        ddf: str | Approximation = "satterthwaite",
        *,
        within: str | Sequence[str] | None = None,
        contrasts: object = None,
        control: object = None,
        weights: str = "equal",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return slopes of a numeric variable, or contrasts among them, a row each, in ``coef_table``'s columns.

        The slope is the derivative of the fixed part, however the variable enters: by itself, in interactions, powers,
        logarithms or splines.

        Parameters
        ----------
        variable
            The numeric variable.
        by
            Variables whose combinations of levels have a slope each.
        at
            Values of variables to use, that of a curve's slope among them: ``{"Days": [0, 9]}`` with ``by="Days"``.
        pairwise, adjust, contrasts, control
            Return contrasts among the slopes, as for ``margins``.
        within
            Variables within whose levels slopes are compared.
        ddf
            As for ``coef_table``.
        weights, null, side, delta, level
            As for ``margins``.

        Raises
        ------
        InferenceError
            If a variable, level or argument is not allowed, or the variable is not numeric.
        """
        table = slopes(
            self.state,
            variable,
            by,
            at,
            pairwise,
            within=within,
            contrasts=contrasts,
            control=control,
            adjust=adjust,
            ddf=ddf,
            weights=weights,
            null=null,
            side=side,
            delta=delta,
            level=level,
        )
        return show_notes(table)

    @refuses_unknown
    def slopes_by_level(
        self,
        variable: str,
        group: str | None = None,
        by: str | Sequence[str] | None = None,
        at: Mapping[str, object] | None = None,
        *,
        ddf: str = "satterthwaite",
        null: float = 0.0,
        side: str = "two-sided",
        delta: float = 0.0,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return the slope of each level of a grouping factor, fixed and predicted parts, in ``coef_table``'s columns.

        Variables that do not change within levels have each level's own values. Standard errors count the estimation of
        the fixed effects and the prediction of the random ones together, at the estimated variance parameters.

        Parameters
        ----------
        variable
            The numeric variable.
        group
            The grouping factor; None if there is one only.
        by, at
            As for ``slopes``.
        ddf
            ``"satterthwaite"`` or ``"normal"``.
        null, side, delta, level
            As for ``margins``.

        Raises
        ------
        InferenceError
            If a variable, group, level or argument is not allowed, or the variable is not numeric.
        """
        table = level_slopes(
            self.state, variable, group, by, at, ddf=ddf, null=null, side=side, delta=delta, level=level
        )
        return show_notes(table)

    @refuses_unknown
    def conf_int(
        self, method: str = "wald", level: float = 0.95, which: str | Iterable[str] | None = None, **options: Any
    ) -> pd.DataFrame:
        """Return intervals ``lower, upper`` of fixed effects and, as sds and correlations, of variance parameters.

        Parameters
        ----------
        method
            ``"wald"``, ``"profile"`` or ``"bootstrap"``.
        level
            Coverage.
        which
            Names such as ``"Days"``, ``"sd_Days|Subject"``, ``"cor_Days.Intercept|Subject"``, ``"sigma"``; ``"beta"``
            for all fixed effects, ``"theta"`` or ``"variance"`` for all variance parameters (lme4's ``"beta_"`` and
            ``"theta_"`` too); None: all.
        **options
            Of ``"wald"``: ``ddf``. Of ``"bootstrap"``: ``n, seed, kind, path, progress`` as for ``bootstrap``, and
            ``interval``, ``"studentized"`` unless another is asked for.

        Raises
        ------
        InferenceError
            If an argument is not allowed or a name is not known.
        """
        return show_notes(conf_int(self.state, self._of, method, level, which, **options))

    @refuses_unknown
    def profile(
        self,
        which: str | Iterable[str] | Mapping[str, Callable[[Any], float]] | None = None,
        *,
        progress: bool = True,
    ) -> FitProfile:
        """Return profile likelihoods: ``.zeta`` (DataFrame), ``.conf_int(level)`` and ``.plot()``.

        Parameters
        ----------
        which
            As for ``conf_int``; or a mapping from a name to a function of the variance parameters, such as
            ``{"icc": lambda p: p["sd_Intercept|g"]**2 / (p["sd_Intercept|g"]**2 + p["sigma"]**2)}``.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If a name is unknown, or a correlation is on its boundary.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the parameters that were profiled, None if there are none.
        """
        return profile(self.state, FitProfile, which, progress=progress)

    @staticmethod
    def _of(state: FitState) -> LmmResult:
        """Return what a statistic of the bootstrap gets."""
        return LmmResult(state)

    @refuses_unknown
    def bootstrap(
        self,
        n: int = 1000,
        *,
        seed: int | None = None,
        statistic: Callable[[Any], Any] | None = None,
        kind: str = "parametric",
        level_of: str | None = None,
        path: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> Bootstrap:
        """Return bootstrap replicates: ``.replicates``, ``.n_failed``, ``.n_singular``, ``.conf_int(kind)``.

        Parameters
        ----------
        n
            Replicates.
        seed
            Of the random streams, one a replicate.
        statistic
            Function of a result that returns numbers; None for all parameters, computed inside the engine.
        kind
            ``"parametric"``, ``"residual"`` or ``"cases"``.
        level_of
            For cases: the grouping factor whose levels are drawn.
        path
            A file that keeps what is done, written each second or so. If it is there, it is gone on with: what it lacks
            of n is made, with the numbers of an uninterrupted run; a run that was killed loses a second. It holds the
            fit too, and ``mixedmodels.load`` reads it.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or the file at ``path`` is of another bootstrap.
        DataError
            If the file cannot be read or written.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the replicates that were made, None if there are none.
        """
        options: dict[str, Any] = {"kind": kind, "level_of": level_of, "path": path, "progress": progress}
        return bootstrap(self.state, self._of, n, seed=seed, statistic=statistic, **options)

    def icc(self) -> dict[str, float]:
        """Return intraclass correlations: ``adjusted`` and ``unadjusted`` (for the fixed part)."""
        return icc(self.state)

    def r2(self) -> dict[str, float]:
        """Return Nakagawa and Schielzeth's R-squared: ``marginal`` (fixed part) and ``conditional`` (with random)."""
        return r2(self.state)

    @refuses_unknown
    def variance_shares(self, by: str = "term") -> pd.DataFrame:
        """Return the variance of the fixed part, of what is random and of the residual, with their shares of the whole.

        Parameters
        ----------
        by
            ``"term"``: each random term; ``"factor"``: each grouping factor, both with ``icc``, the share of what the
            fixed part leaves; ``"level"``: parted within and between the levels of the one grouping factor (Rights and
            Sterba 2019).

        Raises
        ------
        InferenceError
            If ``by`` is not allowed, or there are several grouping factors to be within and between.
        """
        return show_notes(variance_shares(self.state, by))

    def part_r2(self) -> pd.DataFrame:
        """Return what the marginal R-squared loses without each term: ``df, part_r2, without``, terms as in ``drop1``.

        The models without a term are fitted to the same rows; what terms explain together is in none of the parts.
        """
        return show_notes(part_r2(self.state))

    @refuses_unknown
    def effect_sizes(
        self,
        kind: str = "eta",
        type: int = 3,
        ddf: str | Approximation = "satterthwaite",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Return partial effect sizes by term, with intervals from the noncentral F law.

        Parameters
        ----------
        kind
            ``"eta"``: eta squared; ``"epsilon"`` or ``"omega"``: less biased ones.
        type, ddf
            Of the F tests that they are made of, as for ``anova``.
        level
            Coverage of the intervals, which leave out the same share on both sides.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or ``ddf`` does not apply to this fit or is infinite.
        """
        return show_notes(effect_sizes(self.state, kind, type, ddf, level))

    @refuses_unknown
    def standardized(
        self, method: str = "refit", ddf: str | Approximation = "satterthwaite", level: float = 0.95
    ) -> pd.DataFrame:
        """Return fixed effects in standard deviations of the response, in the columns of ``coef_table``.

        Parameters
        ----------
        method
            ``"refit"``: the model of z-scores of the response and of the numeric variables, products being formed of
            them; categories keep their coding. ``"basic"``: times the standard deviation of the column of the
            coefficient over that of the response. ``"pseudo"``: by standard deviations within groups for what varies
            within them, and between them for what does not (Hoffman 2015).
        ddf, level
            As for ``coef_table``.

        Raises
        ------
        InferenceError
            If an argument is not allowed, or the method does not apply to this fit.
        """
        return show_notes(standardized(self.state, method, ddf, level))

    def re_pca(self) -> dict[str, pd.DataFrame]:
        """Return the principal components of each factor's random-effects covariance."""
        by_group = re_pca(self.state)
        return type(by_group)((name, show_notes(frame)) for name, frame in by_group.items())

    # New rows

    @refuses_unknown
    def predict(
        self,
        data: object = None,
        *,
        random_effects: str | Iterable[str] = "conditional",
        new_levels: str = "raise",
        interval: str | None = None,
        level: float = 0.95,
        ddf: str = "satterthwaite",
        weights: object = None,
        correction: str | None = None,
    ) -> pd.Series[float] | pd.DataFrame:
        """Return predictions for the rows of the fit or for new data: a Series, or ``mean, se, lower, upper``.

        Parameters
        ----------
        data
            New data; None for the rows of the fit.
        random_effects
            ``"conditional"``, ``"population"``, or names of grouping factors and texts of terms, ``"(1 | Subject)"``.
        new_levels
            ``"raise"``, or ``"population"``: a level that the fit did not have gets no effect.
        interval
            ``"confidence"``: of the mean; ``"prediction"``: of a new observation.
        level
            Coverage.
        ddf
            ``"satterthwaite"`` or ``"normal"``.
        weights
            Of new observations, for prediction intervals.
        correction
            ``"kackar-harville"`` widens intervals by what estimating the variance parameters adds.

        Raises
        ------
        DataError, InferenceError
            If the data lack a column or have a level that the fit did not have; if an argument is not allowed.
        """
        predicted = predict(
            self.state,
            data,
            random_effects=random_effects,
            new_levels=new_levels,
            interval=interval,
            level=level,
            ddf=ddf,
            weights=weights,
            correction=correction,
        )
        return show_notes(predicted) if isinstance(predicted, pd.DataFrame) else predicted

    @refuses_unknown
    def simulate(
        self,
        n: int = 1,
        *,
        seed: int | None = None,
        random_effects: str = "new",
        data: object = None,
        weights: object = None,
    ) -> Floats:
        """Return simulated responses, shape (n_rows, n).

        Parameters
        ----------
        n
            Responses.
        seed
            Of the random numbers.
        random_effects
            ``"new"``: drawn anew; ``"conditional"``: the modes of the fit.
        data
            New data; None for the rows of the fit.
        weights
            Of the rows of new data.

        Raises
        ------
        DataError, InferenceError
            If the data lack a column; if an argument is not allowed.
        """
        return simulate(self.state, n, seed=seed, random_effects=random_effects, data=data, weights=weights)

    # Diagnostics

    def hat_values(self) -> pd.Series[float]:
        """Return the leverage of each row used: d fitted / d response at the estimated theta."""
        return self._by_row(hat_values(self.state), "hat")

    def cooks_distance(self) -> pd.Series[float]:
        """Return Cook's distance of each row used, on the conditional fitted values, at fixed theta and sigma.

        As in lme4, random effects included. ``influence().cooks_distance``, which ``check()`` shows, is another
        quantity, what leaving a row out does to the fixed effects alone, and usually much smaller.
        """
        return self._by_row(cooks_distance(self.state), "cooks_distance")

    @refuses_unknown
    def influence(
        self,
        by: str | None = None,
        method: str = "exact",
        *,
        path: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> Influence:
        """Return estimates without each row, or each level: ``.fe_params``, ``.cooks_distance``, ``.dfbetas``, ...

        ``.cooks_distance`` is that of the fixed effects; the method ``cooks_distance()`` is on the conditional fitted
        values, and the two are not comparable.

        Parameters
        ----------
        by
            A grouping factor; None for single rows.
        method
            ``"exact"`` refits, ``"one-step"`` holds theta and sigma.
        path
            A file that keeps what is done, which the same call goes on from, and ``mixedmodels.load`` reads.
        progress
            Show how far it is if it takes long: a bar, or plain lines where tqdm is not installed.

        Raises
        ------
        InferenceError
            If there is no such factor or method, or the file at ``path`` is of another fit or question.
        DataError
            If the file cannot be read or written.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` holds the deletions that were made, None if there are none.
        """
        return influence(self.state, by, method, path=path, progress=progress)

    @refuses_unknown
    def simulated_residuals(
        self, n: int = 250, *, seed: int | None = None, random_effects: str = "new"
    ) -> SimulatedResiduals:
        """Return residuals scaled by simulation, uniform if the model is right: ``.scaled`` and ``.tests``.

        Parameters
        ----------
        n
            Simulations.
        seed
            Of the random numbers.
        random_effects
            As for ``simulate``.

        Raises
        ------
        InferenceError
            If an argument is not allowed.
        KeyboardInterrupt
            On Ctrl-C; its ``partial`` is from the simulations that were made, None if there are none.
        """
        return simulated_residuals(self.state, n, seed=seed, random_effects=random_effects)

    def vif(self) -> pd.DataFrame:
        """Return generalised variance-inflation factors by term: ``df, gvif, gvif_scaled`` (Fox and Monette 1992).

        A term is judged after those that it contains and without those that contain it, as in tests of type 2, so that
        interactions inflate nothing by the coding of categories or the origin of covariates.

        Raises
        ------
        InferenceError
            If there are fewer than two terms beside the intercept.
        """
        return show_notes(vif(self.state))

    def check(self) -> pd.DataFrame:
        """Return what is worth looking at after a fit: ``verdict, found, advice`` by check."""
        return CheckFrame(check(self.state))

    # Other fits

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
        reml = self.reml if reml is None else reml
        state = fit_identified(
            build_problem(call), reml=reml, start=start, control=self.state.control if control is None else control
        )
        return type(self)(state, call)

    def check_estimated(self, what: str) -> None:
        """Do nothing: all parameters of this fit are estimates by likelihood. ``MixedLMResults`` may refuse.

        Parameters
        ----------
        what
            The question that takes them for that.
        """

    def _call_or_refuse(self, what: str) -> Call:
        if self.call is None:
            raise InferenceError(
                f"{what} needs the data of the fit, which this result does not hold (refit and save(data=False) leave "
                "them behind). Fit the model with lmer to the data you mean."
            )
        return self.call

    # Pictures

    @refuses_unknown
    def plot(self, *, ax: Iterable[Any] | None = None) -> Any:
        """Draw residuals and their size against fitted values, and normal quantiles of residuals and random effects.

        Parameters
        ----------
        ax
            Four matplotlib axes; None for a new figure.

        Returns
        -------
        array of four matplotlib Axes
            ``mixedmodels.plot`` has each of these and more.
        """
        from mixedmodels.plot.panel import panel  # noqa: PLC0415  # few fits are drawn

        return panel(self, ax=ax)

    @refuses_unknown
    def report(
        self,
        path: str | PathLike[str],
        *,
        title: str | None = None,
        ddf: str = "satterthwaite",
        level: float = 0.95,
    ) -> None:
        """Write one HTML page that needs nothing else: the model in mathematics, data, tables, checks and plots.

        Parameters
        ----------
        path
            Where to; the ending ``.html`` is usual.
        title
            Heading of the page; None names the response.
        ddf, level
            As for ``coef_table``.

        Raises
        ------
        MixedModelsError
            If matplotlib is not installed, ``ddf`` or ``level`` is not allowed, or the file cannot be written.
        """
        from mixedmodels.report.page import write_report  # noqa: PLC0415  # few fits are reported

        write_report(self, path, title=title, ddf=ddf, level=level)

    # Keeping

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
        design = self.state.design
        if not data or is_rowless(design):
            content = LmmResult(without_rows(self.state))  # type: ignore[arg-type]  # it is loaded as a fit
            storage.save_records(path, KIND, content, (KEPT,), {"formula": self.formula, "columns": []})
            return
        call = None if self.call is None else with_columns(self.call, design.used_columns)
        storage.save_records(path, KIND, LmmResult(self.state, call), (KEPT,), storage.about(design))

    @refuses_unknown
    def to_dict(self, ddf: str | Approximation = "satterthwaite", level: float = 0.95) -> dict[str, Any]:
        """Return everything as plain Python data, fit for JSON.

        Parameters
        ----------
        ddf, level
            As for ``coef_table``.
        """
        return plain.to_dict(self.state, ddf, level)

    @refuses_unknown
    def to_marginaleffects(self, ddf: str | Approximation = "satterthwaite") -> Any:
        """Return a model for the functions of the Python package marginaleffects, with population predictions.

        Its ``with_df(result)`` gives every row of a result its own degrees of freedom:
        ``model.with_df(avg_slopes(model, eps_vcov=1.0))``. Without it all rows have the smallest of the fixed effects.

        Parameters
        ----------
        ddf
            As for ``coef_table``.

        Raises
        ------
        MixedModelsError
            If marginaleffects is not installed, or ``ddf`` does not apply to this fit.
        """
        return marginaleffects.adapt(self.state, ddf)

    # The plug-in format of the package maketables

    @property
    def __maketables_coef_table__(self) -> pd.DataFrame:
        return maketables.coefficients(self.state)

    @property
    def __maketables_depvar__(self) -> str:
        return self.state.design.response_name

    def __maketables_stat__(self, key: str) -> str | None:
        return maketables.statistics(self.state).get(key, (None, None))[1]

    @property
    def __maketables_stat_labels__(self) -> dict[str, str]:
        return {key: label for key, (label, _) in maketables.statistics(self.state).items()}

    @property
    def __maketables_default_stat_keys__(self) -> list[str]:
        return list(maketables.statistics(self.state))

    def __repr__(self) -> str:
        return one_line(self.state)

    def _repr_html_(self) -> str:
        return self.summary().to_html()


KIND = "fit"
"""What files of results hold."""

KEPT = Kept(LmmResult, ("state", "call"))
