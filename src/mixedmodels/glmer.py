"""The door to generalised linear mixed models: a formula, data and a family in, a result out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mixedmodels.errors import FitError
from mixedmodels.families.family import Family
from mixedmodels.families.named import read_family
from mixedmodels.fit.call import snapshot
from mixedmodels.fit.control import Control
from mixedmodels.fit.generalized import fit_generalized
from mixedmodels.fit.generalized_call import GeneralizedCall, build_generalized
from mixedmodels.fit.nodes import check_nodes
from mixedmodels.lmer import warn_of_findings
from mixedmodels.result.glmm import GlmmResult
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    import numpy.typing as npt

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats


@refuses_unknown
def glmer(
    formula: str,
    data: object,
    family: str | Family = "binomial",
    *,
    link: str | None = None,
    n_agq: int = 1,
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    zero_inflation: str | None = None,
    control: Control | None = None,
) -> GlmmResult:
    """Return a fitted generalised linear mixed model, by maximum likelihood with Laplace's approximation or quadrature.

    Parameters
    ----------
    formula
        An lme4 formula, such as ``"y ~ x + (1 | g)"``. On the left of a binomial model stand 0 and 1, booleans, a
        category of two levels (the second is a success), ``cbind(successes, failures)``, or a proportion with
        ``weights`` its trials; of an ordinal one categories in order, whole numbers or texts.
    data
        As for ``lmer``.
    family
        ``"binomial"``, ``"betabinomial"``, ``"poisson"``, ``"negative_binomial"``, ``"negative_binomial_1"``,
        ``"gamma"``, ``"beta"`` or ``"ordinal"``, ``"hurdle_poisson"`` or ``"hurdle_negative_binomial"``; or one of
        ``mixedmodels.families``.
    link
        Of a family that is named: for binomial and ordinal ``"logit"``, ``"probit"`` or ``"cloglog"``. None: its usual
        one.
    n_agq
        Nodes of adaptive Gauss-Hermite quadrature an effect, for models with one grouping factor; 1 is Laplace's
        approximation.
    weights
        Trials, where the response is a proportion; else they multiply the log density of their row.
    zero_inflation
        Fixed effects on the logit of the chance of a zero, ``"~ 1"`` or ``"~ 1 + x"``: of one in excess of those of the
        counts (Poisson, negative binomial), or of any zero (hurdle families, where None is ``"~ 1"``).
    offset, contrasts, missing, evaluate, control
        As for ``lmer``.

    Raises
    ------
    MixedModelsError
        If the formula, the data, the family or the model cannot be used.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, IdentificationWarning, RankDeficiencyWarning, DroppedRowsWarning
        For findings of the fit that change its reading.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.glmer("cbind(incidence, size - incidence) ~ period + (1 | herd)", mm.load_dataset("cbpp"))
    >>> fit.fe_params.round(3).to_dict()
    {'Intercept': -1.399, 'period[T.2]': -0.992, 'period[T.3]': -1.129, 'period[T.4]': -1.58}
    """
    chosen = read_family(family, link)
    n_agq = check_nodes(n_agq)
    call = GeneralizedCall(
        *(formula, snapshot(data), weights, offset, contrasts, missing, evaluate),
        family=family,
        link=link,
        n_agq=n_agq,
        zero_inflation=zero_inflation,
    )
    state = fit_generalized(build_generalized(call, chosen), control=checked_control(control))
    warn_of_findings(state.findings)
    return GlmmResult(state, call)


class GeneralizedLinearMixedModel:
    """An unfitted generalised linear mixed model: a criterion to evaluate.

    Parameters
    ----------
    formula, data, family, link, n_agq, weights, offset, contrasts, missing, evaluate, zero_inflation
        As for ``glmer``.

    Attributes
    ----------
    design
        The model's arrays and names.
    family
        What the responses are.
    """

    @refuses_unknown
    def __init__(
        self,
        formula: str,
        data: object,
        family: str | Family = "binomial",
        *,
        link: str | None = None,
        n_agq: int = 1,
        weights: object = None,
        offset: object = None,
        contrasts: Mapping[str, object] | str | None = None,
        missing: str = "drop",
        evaluate: str = "python",
        zero_inflation: str | None = None,
    ) -> None:
        self.family = read_family(family, link)
        n_agq = check_nodes(n_agq)
        self.call = GeneralizedCall(
            formula,
            snapshot(data),
            weights,
            offset,
            contrasts,
            missing,
            evaluate,
            family=family,
            link=link,
            n_agq=n_agq,
            zero_inflation=zero_inflation,
        )
        self.problem = build_generalized(self.call, self.family)
        self.family = self.problem.family

    @property
    def design(self) -> Design:
        """The model's arrays and names."""
        return self.problem.design

    @property
    def theta_names(self) -> tuple[str, ...]:
        """What each element of theta is."""
        return self.design.theta_names

    def psi(self, theta: npt.ArrayLike, beta: npt.ArrayLike, phi: npt.ArrayLike = ()) -> Floats:
        """Return the parameters in which the criterion and its gradient are evaluated, (n_psi,), without units.

        Parameters
        ----------
        theta
            Lower triangles of Lambda by column, (n_theta,), on the link scale.
        beta
            Fixed effects of the columns that are no combinations of others.
        phi
            Of the family: log of the shape (gamma) or precision (beta), root of the dispersion,
            distances of the thresholds after the first from it (ordinal, whose intercept is minus the first); last the
            effects on the chance of a zero, in columns that are orthonormal but for n.
        """
        return self.problem.psi(theta, beta, phi)

    def deviance(self, psi: Floats) -> float:
        """Return -2 log-likelihood by Laplace's approximation or quadrature, with all constants.

        Parameters
        ----------
        psi
            As ``psi`` returns it.
        """
        return self.problem.deviance(psi)

    def gradient(self, psi: Floats) -> Floats:
        """Return its gradient in psi, (n_psi,).

        Parameters
        ----------
        psi
            As ``psi`` returns it.
        """
        return self.problem.gradient(psi)

    @refuses_unknown
    def fit(self, *, control: Control | None = None) -> GlmmResult:
        """Return the fitted model.

        Parameters
        ----------
        control
            As for ``glmer``.
        """
        state = fit_generalized(self.problem, control=checked_control(control))
        warn_of_findings(state.findings)
        return GlmmResult(state, self.call)

    def __repr__(self) -> str:
        name = self.family.name
        return f"<GeneralizedLinearMixedModel: {self.design.formula.text}; {name}, {self.design.n_obs} observations>"


def checked_control(control: Control | None) -> Control | None:
    """Return the limits of the optimiser.

    Raises
    ------
    FitError
        They are none.
    """
    if control is not None and not isinstance(control, Control):
        raise FitError(f"control is {control!r}; it must be a Control, such as Control(max_iterations=500).")
    return control
