"""Families of responses: what their mean, variance and distribution are, given the linear predictor.

A family is named, ``"poisson"``, or made here where it has options: ``mixedmodels.families.Binomial(link="probit")``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from mixedmodels.errors import FitError, InferenceError, nearest

Floats = npt.NDArray[np.float64]

__all__ = [
    "Beta",
    "BetaBinomial",
    "Binomial",
    "Family",
    "Gamma",
    "HurdleNegativeBinomial",
    "HurdlePoisson",
    "NegativeBinomial",
    "NegativeBinomial1",
    "Ordinal",
    "Poisson",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "read_family",
]

LARGEST_LOG = 700.0
"""Of a mean, beyond which it is no number."""

LEAST_DISPERSION = 1e-9
"""Of the negative binomial, below which SciPy's numbers are worse than Poisson's."""

COUNTS = "counts are whole numbers from 0 on"
"""What they must be."""


def _laws() -> Any:
    """Return SciPy's distributions: few fits are simulated, and they take long to load."""
    return import_module("scipy.stats")


@dataclass(frozen=True)
class Family(ABC):
    """A distribution of responses and its link.

    Parameters
    ----------
    link
        What the mean is transformed by to the linear predictor; one of ``links``.

    Attributes
    ----------
    name
        ``"binomial"``, ``"poisson"``, ...
    links
        Links that there are, the usual one first.
    variance_text
        The variance in words; ``d`` is the dispersion, ``m`` the mean.
    responses
        How they are read: ``"numbers"``, ``"successes"`` among trials, or ``"categories"`` in order.
    rule
        What a response must be, for messages.
    is_counted
        Responses are whole numbers, so that their distribution has steps.
    is_even
        The dispersion is the square of phi, so that zero, a simpler family, is an ordinary point.
    has_zeros
        Zeros have a chance of their own, whose logit is a linear predictor beside that of the mean.
    residual_kinds
        Kinds of residuals that there are, the usual one first.
    """

    link: str

    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]
    variance_text: ClassVar[str]
    rule: ClassVar[str]
    n_extra: ClassVar[int] = 0
    responses: ClassVar[str] = "numbers"
    is_counted: ClassVar[bool] = False
    is_even: ClassVar[bool] = False
    has_zeros: ClassVar[bool] = False
    residual_kinds: ClassVar[tuple[str, ...]] = ("deviance", "pearson", "response", "quantile")

    def __post_init__(self) -> None:
        if self.link not in self.links:
            allowed = ", ".join(map(repr, self.links))
            raise FitError(
                f"link={self.link!r} is not available for the family {self.name!r}; it must be {allowed}."
                f"{nearest(str(self.link), self.links)}"
            )

    @property
    def engine_name(self) -> str:
        """What the engine calls it."""
        return f"{self.name}-{self.link}"

    @property
    def variance_sentence(self) -> str:
        """What ``variance_text`` is the variance of."""
        return f"the variance of a response with the mean m is {self.variance_text}"

    def mean(self, eta: Floats) -> Floats:
        """Return the mean at the linear predictor; of one trial for the binomial.

        Parameters
        ----------
        eta
            (n,).
        """
        return self._mean(eta)

    def predictor(self, mean: Floats) -> Floats:
        """Return the linear predictor of means, infinite at their ends.

        Parameters
        ----------
        mean
            (n,), of one trial for the binomial.
        """
        with np.errstate(divide="ignore"):
            match self.link:
                case "logit":
                    return np.asarray(special.logit(mean))
                case "probit":
                    return np.asarray(special.ndtri(mean))
                case "cloglog":
                    return np.asarray(np.log(-np.log1p(-mean)))
                case _:
                    return np.asarray(np.log(mean))

    def slope(self, eta: Floats) -> Floats:
        """Return the derivative of the mean in the linear predictor.

        Parameters
        ----------
        eta
            (n,).
        """
        return self._slope(eta)

    def dispersion(self, phi: Floats) -> float | None:
        """Return the dispersion that ``variance_text`` means; None for families without one.

        Parameters
        ----------
        phi
            The engine's extra parameter, (n_extra,).
        """
        return None if self.n_extra == 0 else self._dispersion(float(phi[0]))

    def variance(self, mean: Floats, trials: Floats, dispersion: float | None = None) -> Floats:
        """Return the variance of responses of a mean; of the number of successes for the binomial.

        Parameters
        ----------
        mean
            (n,), of one trial.
        trials
            (n,), ones where the family has none.
        dispersion
            As ``dispersion`` returns it.
        """
        return np.asarray(self._variance(mean, trials, _given(dispersion)))

    def variance_at(self, eta: Floats, trials: Floats, dispersion: float | None = None) -> Floats:
        """Return the variance of responses at the linear predictor.

        Parameters
        ----------
        eta
            (n,).
        trials, dispersion
            As for ``variance``.
        """
        return self._variance_at(eta, trials, dispersion)

    def distribution(self, mean: Floats, trials: Floats, dispersion: float | None = None) -> Any:
        """Return the distribution of responses, as SciPy has it.

        Parameters
        ----------
        mean, trials, dispersion
            As for ``variance``.
        """
        return self._distribution(mean, trials, _given(dispersion))

    def impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        """Return which responses cannot be, (n,), see ``rule``.

        Parameters
        ----------
        y
            (n,).
        """
        return self._impossible(y)

    def unbounded(self, y: Floats, trials: Floats) -> Floats:
        """Return where the likelihood grows with the linear predictor without bound: 1 upwards, -1 downwards, else 0.

        Missing where a row says nothing.

        Parameters
        ----------
        y, trials
            (n,).
        """
        return self._unbounded(y, trials)

    def unit_deviance(self, y: Floats, expected: Floats, trials: Floats, dispersion: float | None = None) -> Floats:
        """Return twice the log density at y's own mean less that at the mean, (n,).

        Parameters
        ----------
        y, expected, trials
            (n,); expected numbers of successes for the binomial.
        dispersion
            As ``dispersion`` returns it.
        """
        return self._unit_deviance(y, expected, trials, dispersion)

    def cumulative(self, y: Floats, eta: Floats, trials: Floats, phi: Floats) -> tuple[Floats, Floats]:
        """Return P(Y < y) and P(Y <= y), (n,) each.

        Parameters
        ----------
        y, eta, trials
            (n,).
        phi
            The engine's extra parameters.
        """
        return self._cumulative(y, eta, trials, phi)

    def draw(self, eta: Floats, trials: Floats, phi: Floats, rng: np.random.Generator) -> Floats:
        """Return responses, (n,), as the engine takes them.

        Parameters
        ----------
        eta, trials
            (n,).
        phi
            The engine's extra parameters.
        rng
            Where they are drawn from.
        """
        return self._draw(eta, trials, phi, rng)

    def _mean(self, eta: Floats) -> Floats:
        match self.link:
            case "logit":
                return np.asarray(special.expit(eta))
            case "probit":
                return np.asarray(special.ndtr(eta))
            case "cloglog":
                return np.asarray(-np.expm1(-np.exp(np.minimum(eta, LARGEST_LOG))))
            case _:
                return np.asarray(np.exp(np.minimum(eta, LARGEST_LOG)))

    def _slope(self, eta: Floats) -> Floats:
        match self.link:
            case "logit":
                return np.asarray(special.expit(eta) * special.expit(-eta))
            case "probit":
                return np.asarray(np.exp(-0.5 * eta**2) / math.sqrt(2 * math.pi))
            case "cloglog":
                return np.asarray(np.exp(eta - np.exp(np.minimum(eta, LARGEST_LOG))))
            case _:
                return self._mean(eta)

    def _variance_at(self, eta: Floats, trials: Floats, dispersion: float | None) -> Floats:
        return self.variance(self.mean(eta), trials, dispersion)

    def _dispersion(self, phi: float) -> float:
        return phi

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return np.zeros(len(y), dtype=bool)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.zeros(len(y))

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        raise NotImplementedError(self.name)

    def _cumulative(self, y: Floats, eta: Floats, trials: Floats, phi: Floats) -> tuple[Floats, Floats]:
        distribution = self.distribution(self.mean(eta), trials, self.dispersion(phi))
        upper = np.asarray(distribution.cdf(y))
        return (np.asarray(distribution.cdf(y - 1)) if self.is_counted else upper), upper

    def _draw(self, eta: Floats, trials: Floats, phi: Floats, rng: np.random.Generator) -> Floats:
        distribution = self.distribution(self.mean(eta), trials, self.dispersion(phi))
        return np.asarray(distribution.rvs(size=len(eta), random_state=rng), dtype=np.float64)

    @abstractmethod
    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        """Return the variance."""

    @abstractmethod
    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        """Return SciPy's distribution."""


@dataclass(frozen=True)
class Binomial(Family):
    """Successes among trials; 0 and 1 are those of one trial.

    Parameters
    ----------
    link
        ``"logit"``, ``"probit"`` or ``"cloglog"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "binomial"
    links: ClassVar[tuple[str, ...]] = ("logit", "probit", "cloglog")
    variance_text: ClassVar[str] = "m (1 - m) a trial"
    rule: ClassVar[str] = (
        "a binomial response is 0 or 1, a proportion with weights= its trials, or cbind(successes, failures)"
    )
    responses: ClassVar[str] = "successes"
    is_counted: ClassVar[bool] = True

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(trials * mean * (1 - mean))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().binom(trials.astype(np.int64), mean)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(trials == 0, np.nan, np.where(y == trials, 1.0, np.where(y == 0, -1.0, 0.0)))

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * (_log_term(y, expected) + _log_term(trials - y, trials - expected)))


@dataclass(frozen=True)
class Poisson(Family):
    """Counts whose variance is their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "poisson"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m"
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return mean

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().poisson(mean)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return _no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * (_log_term(y, expected) - (y - expected)))


@dataclass(frozen=True)
class Gamma(Family):
    """Positive responses whose standard deviation is a share of their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "gamma"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "d m^2"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = "a gamma response is positive"

    def _dispersion(self, phi: float) -> float:
        return math.exp(-phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().gamma(1 / d, scale=mean * d)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray(y <= 0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        return np.asarray(2 * ((y - expected) / expected - np.log(y / expected)))


@dataclass(frozen=True)
class NegativeBinomial(Family):
    """Counts that vary more than Poisson's.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "negative_binomial"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m + d m^2"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean + d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().poisson(mean) if d < LEAST_DISPERSION else _laws().nbinom(1 / d, 1 / (1 + d * mean))

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return _no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _unit_deviance(self, y: Floats, expected: Floats, trials: Floats, d: float | None) -> Floats:
        if not d:
            return np.asarray(2 * (_log_term(y, expected) - (y - expected)))
        size = 1 / d
        return np.asarray(2 * (_log_term(y, expected) - (y + size) * np.log((y + size) / (expected + size))))


@dataclass(frozen=True)
class Beta(Family):
    """Shares strictly between 0 and 1 that are no counts.

    Parameters
    ----------
    link
        ``"logit"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "beta"
    links: ClassVar[tuple[str, ...]] = ("logit",)
    variance_text: ClassVar[str] = "m (1 - m) / (1 + d)"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = (
        "a beta response lies between 0 and 1 and is neither. Proportions of counts are binomial: "
        "cbind(successes, failures)"
    )
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return math.exp(phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean * (1 - mean) / (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().beta(mean * d, (1 - mean) * d)

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray((y <= 0) | (y >= 1))


@dataclass(frozen=True)
class NegativeBinomial1(Family):
    """Counts whose variance is a multiple of their mean.

    Parameters
    ----------
    link
        ``"log"``.
    """

    link: str = "log"

    name: ClassVar[str] = "negative_binomial_1"
    links: ClassVar[tuple[str, ...]] = ("log",)
    variance_text: ClassVar[str] = "m (1 + d)"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return _no_counts(y)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean * (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().poisson(mean) if d < LEAST_DISPERSION else _laws().nbinom(mean / d, 1 / (1 + d))


@dataclass(frozen=True)
class BetaBinomial(Family):
    """Successes among trials that vary more than the binomial's: the chance of a row is drawn from a beta distribution.

    Its parameters are m / d and (1 - m) / d, so that two trials of a row have the correlation d / (1 + d).

    Parameters
    ----------
    link
        ``"logit"``.
    """

    link: str = "logit"

    name: ClassVar[str] = "betabinomial"
    links: ClassVar[tuple[str, ...]] = ("logit",)
    variance_text: ClassVar[str] = "n m (1 - m) (1 + n d) / (1 + d) among n trials"
    n_extra: ClassVar[int] = 1
    rule: ClassVar[str] = (
        "a beta-binomial response is cbind(successes, failures), or a proportion with weights= its trials"
    )
    responses: ClassVar[str] = "successes"
    is_counted: ClassVar[bool] = True
    is_even: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(trials == 0, np.nan, np.where(y == trials, 1.0, np.where(y == 0, -1.0, 0.0)))

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(trials * mean * (1 - mean) * (1 + trials * d) / (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        n = trials.astype(np.int64)
        return _laws().binom(n, mean) if d < LEAST_DISPERSION else _laws().betabinom(n, mean / d, (1 - mean) / d)


@dataclass(frozen=True)
class Ordinal(Family):
    """Ordered categories: P(Y <= k) = F(threshold_k - x'beta - z'b), the cumulative link model (McCullagh 1980).

    F is the distribution function that the link is the inverse of. The thresholds stand in the place of an intercept:
    the engine's linear predictor has one, which is minus the first threshold, and phi are the others' distances to it.

    Parameters
    ----------
    link
        ``"logit"`` (proportional odds), ``"probit"`` or ``"cloglog"`` (proportional hazards).
    """

    link: str = "logit"

    name: ClassVar[str] = "ordinal"
    links: ClassVar[tuple[str, ...]] = ("logit", "probit", "cloglog")
    variance_text: ClassVar[str] = ""
    rule: ClassVar[str] = "an ordinal response has ordered categories"
    responses: ClassVar[str] = "categories"
    is_counted: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("probability", "surrogate", "quantile")

    def cuts(self, phi: Floats) -> Floats:
        """Return the thresholds less the first, which the engine's linear predictor is compared with, (n_thresholds,).

        Parameters
        ----------
        phi
            The engine's extra parameters, (n_categories - 2,).
        """
        return np.concatenate([[0.0], phi])

    def below(self, distance: Floats) -> Floats:
        """Return F at distances from the linear predictor to thresholds.

        Parameters
        ----------
        distance
            Of any shape.
        """
        return super()._mean(distance)

    def below_slope(self, distance: Floats) -> Floats:
        """Return the derivative of ``below``.

        Parameters
        ----------
        distance
            Of any shape.
        """
        return super()._slope(distance)

    def chances(self, eta: Floats, phi: Floats) -> Floats:
        """Return the chances of the categories, (n, n_categories).

        Parameters
        ----------
        eta
            The engine's linear predictor, (n,).
        phi
            The engine's extra parameters.
        """
        distance = self.cuts(phi) - eta[:, None]
        ends = np.zeros((len(eta), 1))
        below = np.hstack([ends, self.below(distance), ends + 1])
        above = np.hstack([ends + 1, self._above(distance), ends])
        # from the smaller tails, which have the digits
        return np.where(below[:, 1:] < above[:, :-1], np.diff(below), -np.diff(above))

    def _above(self, distance: Floats) -> Floats:
        """Return 1 - F."""
        if self.link == "cloglog":
            return np.asarray(np.exp(-np.exp(np.minimum(distance, LARGEST_LOG))))
        return self.below(-distance)

    def _mean(self, eta: Floats) -> Floats:
        raise InferenceError(NO_MEAN)

    def _slope(self, eta: Floats) -> Floats:
        raise InferenceError(NO_MEAN)

    def _cumulative(self, y: Floats, eta: Floats, trials: Floats, phi: Floats) -> tuple[Floats, Floats]:
        ends = np.zeros((len(eta), 1))
        below = np.hstack([ends, self.below(self.cuts(phi) - eta[:, None]), ends + 1])
        code, rows = y.astype(np.intp), np.arange(len(y))
        return below[rows, code], below[rows, code + 1]

    def _draw(self, eta: Floats, trials: Floats, phi: Floats, rng: np.random.Generator) -> Floats:
        share = rng.uniform(size=len(eta))
        above = share[:, None] > self.below(self.cuts(phi) - eta[:, None])
        return np.asarray(above.sum(axis=1), dtype=np.float64)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        raise InferenceError(NO_MEAN)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        raise InferenceError(NO_MEAN)


@dataclass(frozen=True)
class CountsWithZeros(Family):
    """Counts whose zeros have a chance of their own; see the families below.

    Attributes
    ----------
    chance
        Of such a zero, (n,) or one number for all rows; None before the fit.
    d
        The dispersion, None without one or before the fit.
    """

    link: str = "log"
    chance: Floats | float | None = field(default=None, repr=False, compare=False)
    d: float | None = field(default=None, repr=False, compare=False)

    links: ClassVar[tuple[str, ...]] = ("log",)
    rule: ClassVar[str] = COUNTS
    is_counted: ClassVar[bool] = True
    has_zeros: ClassVar[bool] = True
    residual_kinds: ClassVar[tuple[str, ...]] = ("pearson", "response", "quantile")
    base: ClassVar[type[Family]]

    @property
    def variance_sentence(self) -> str:
        """What the dispersion is one of."""
        return f"the variance of counts with the mean m, beside the chance of a zero, is {self.counts.variance_text}"

    @property
    def counts(self) -> Family:
        """The family of the counts beside."""
        return self.base(link=self.link)

    def at(self, phi: Floats, chance: Floats | float) -> Family:
        """Return the family with the chances of rows, which means and variances depend on.

        Parameters
        ----------
        phi
            The engine's extra parameters.
        chance
            Of a zero of its own, (n,) or one number.
        """
        return replace(self, chance=chance, d=self.dispersion(phi))

    @property
    def known(self) -> Floats | float:
        """The chance, where it is known.

        Raises
        ------
        InferenceError
            If it is not.
        """
        if self.chance is None:
            raise InferenceError(f"The mean of the family {self.name!r} depends on the chance of a zero, see at().")
        return self.chance

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _impossible(self, y: Floats) -> npt.NDArray[np.bool_]:
        return _no_counts(y)

    def _none(self, mean: Floats) -> Floats:
        """Return the chance of zero among counts of a mean."""
        return np.asarray(np.exp(-mean) if not self.d else np.exp(-np.log1p(self.d * mean) / self.d))


@dataclass(frozen=True)
class ZeroInflatedPoisson(CountsWithZeros):
    """Poisson's counts with more zeros: a zero with the chance p, else a count (Lambert 1992).

    Parameters
    ----------
    link
        ``"log"``, of the mean m of the counts; that of responses is (1 - p) m.
    chance
        Of such a zero, (n,) or one number for all rows; None before the fit.
    d
        The dispersion, None without one or before the fit.
    """

    name: ClassVar[str] = "zero_inflated_poisson"
    variance_text: ClassVar[str] = "m (1 + m p / (1 - p))"
    base: ClassVar[type[Family]] = Poisson

    def _mean(self, eta: Floats) -> Floats:
        return np.asarray((1 - self.known) * super()._mean(eta))

    def predictor(self, mean: Floats) -> Floats:
        """Return the linear predictor of the counts of means, infinite at their ends.

        Parameters
        ----------
        mean
            Of the responses, (n,).
        """
        return super().predictor(np.asarray(mean / (1 - self.known)))

    def _slope(self, eta: Floats) -> Floats:
        return self._mean(eta)

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, -1.0, 0.0)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        counts = mean / (1 - self.known)
        return np.asarray((1 - self.known) * (self.counts.variance(counts, trials, d) + self.known * counts**2))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _WithMoreZeros(self.counts.distribution(mean / (1 - self.known), trials, d), self.known)


@dataclass(frozen=True)
class ZeroInflatedNegativeBinomial(ZeroInflatedPoisson):
    """Counts of the negative binomial with more zeros: a zero with the chance p, else a count.

    Parameters
    ----------
    link
        ``"log"``, of the mean m of the counts; that of responses is (1 - p) m.
    chance
        Of such a zero, (n,) or one number for all rows; None before the fit.
    d
        The dispersion, None without one or before the fit.
    """

    name: ClassVar[str] = "zero_inflated_negative_binomial"
    variance_text: ClassVar[str] = "m (1 + m (d + p) / (1 - p))"
    n_extra: ClassVar[int] = 1
    is_even: ClassVar[bool] = True
    base: ClassVar[type[Family]] = NegativeBinomial


@dataclass(frozen=True)
class HurdlePoisson(CountsWithZeros):
    """Zeros with the chance p, and else counts of Poisson's that are no zeros (Mullahy 1986).

    Parameters
    ----------
    link
        ``"log"``, of the mean m of counts with zeros among them; that of responses is (1 - p) m / (1 - f), with f the
        chance of a zero that m has.
    chance
        Of such a zero, (n,) or one number for all rows; None before the fit.
    d
        The dispersion, None without one or before the fit.
    """

    name: ClassVar[str] = "hurdle_poisson"
    variance_text: ClassVar[str] = "that of zeros with the chance p, and else of counts above zero"
    base: ClassVar[type[Family]] = Poisson

    def _mean(self, eta: Floats) -> Floats:
        m = super()._mean(eta)
        return np.asarray((1 - self.known) * m / -np.expm1(np.log(self._none(m))))

    def predictor(self, mean: Floats) -> Floats:
        """Refuse, since no closed form has it.

        Parameters
        ----------
        mean
            Of the responses, (n,).

        Raises
        ------
        InferenceError
            Always.
        """
        raise InferenceError("The mean of a hurdle model has no closed inverse.")

    def _slope(self, eta: Floats) -> Floats:
        m = super()._mean(eta)
        none = self._none(m)
        some = -np.expm1(np.log(none))
        slope = m * none / (1 + (self.d or 0.0) * m)
        return np.asarray((1 - self.known) * (m / some - m * slope / some**2))

    def _unbounded(self, y: Floats, trials: Floats) -> Floats:
        return np.where(y == 0, np.nan, np.where(y == 1, -1.0, 0.0))

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        raise InferenceError("Variances of hurdle models are those of their distribution.")

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        raise InferenceError("Distributions of hurdle models are those at a linear predictor.")

    def _variance_at(self, eta: Floats, trials: Floats, dispersion: float | None) -> Floats:
        return self._law(eta).var()

    def _law(self, eta: Floats) -> _Hurdle:
        """Return the distribution at a linear predictor, (n,)."""
        trials = np.ones(len(eta))
        return _Hurdle(self.counts.distribution(super()._mean(eta), trials, self.d), self.known)

    def _cumulative(self, y: Floats, eta: Floats, trials: Floats, phi: Floats) -> tuple[Floats, Floats]:
        law = self._law(eta)
        return law.cdf(y - 1), law.cdf(y)

    def _draw(self, eta: Floats, trials: Floats, phi: Floats, rng: np.random.Generator) -> Floats:
        return self._law(eta).rvs(len(eta), rng)


@dataclass(frozen=True)
class HurdleNegativeBinomial(HurdlePoisson):
    """Zeros with the chance p, and else counts of the negative binomial that are no zeros.

    Parameters
    ----------
    link
        ``"log"``, as for ``HurdlePoisson``.
    chance
        Of such a zero, (n,) or one number for all rows; None before the fit.
    d
        The dispersion, None without one or before the fit.
    """

    name: ClassVar[str] = "hurdle_negative_binomial"
    n_extra: ClassVar[int] = 1
    is_even: ClassVar[bool] = True
    base: ClassVar[type[Family]] = NegativeBinomial


@dataclass(frozen=True)
class _WithMoreZeros:
    """A distribution of counts with more zeros, as much of SciPy's as is asked of it."""

    counts: Any
    chance: Floats | float

    def pmf(self, y: Any) -> Floats:
        return np.asarray(self.chance * (np.asarray(y) == 0) + (1 - self.chance) * self.counts.pmf(y))

    def cdf(self, y: Any) -> Floats:
        return np.asarray(self.chance * (np.asarray(y) >= 0) + (1 - self.chance) * self.counts.cdf(y))

    def rvs(self, size: int, random_state: np.random.Generator) -> Floats:
        zero = random_state.uniform(size=size) < self.chance
        return np.where(zero, 0, self.counts.rvs(size=size, random_state=random_state))


@dataclass(frozen=True)
class _Hurdle:
    """Zeros with a chance, and counts that are none."""

    counts: Any
    chance: Floats | float

    def pmf(self, y: Any) -> Floats:
        positive = (1 - self.chance) * self.counts.pmf(y) / self.counts.sf(0)
        return np.where(np.asarray(y) == 0, self.chance, positive)

    def cdf(self, y: Any) -> Floats:
        positive = (self.counts.cdf(y) - self.counts.cdf(0)) / self.counts.sf(0)
        return np.where(np.asarray(y) < 0, 0.0, self.chance + (1 - self.chance) * np.maximum(positive, 0.0))

    def var(self) -> Floats:
        mean, variance, some = self.counts.mean(), self.counts.var(), self.counts.sf(0)
        second = (variance + mean**2) / some
        return np.asarray((1 - self.chance) * second - ((1 - self.chance) * mean / some) ** 2)

    def rvs(self, size: int, rng: np.random.Generator) -> Floats:
        zero = rng.uniform(size=size) < self.chance
        none = self.counts.cdf(0)
        positive = np.maximum(self.counts.ppf(none + rng.uniform(size=size) * (1 - none)), 1.0)
        return np.where(zero, 0.0, positive)


NO_MEAN = "Ordered categories have no mean. fit.predict() returns the chance of each category."


def _no_counts(y: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((y < 0) | (y != np.round(y)))


def _log_term(y: Floats, mean: Floats) -> Floats:
    """Return y log(y / mean), zero where y is."""
    return np.asarray(special.xlogy(y, y) - special.xlogy(y, mean))


def _given(dispersion: float | None) -> float:
    return math.nan if dispersion is None else dispersion


FAMILIES = (
    Binomial,
    Poisson,
    Gamma,
    NegativeBinomial,
    Beta,
    Ordinal,
    BetaBinomial,
    NegativeBinomial1,
    ZeroInflatedPoisson,
    ZeroInflatedNegativeBinomial,
    HurdlePoisson,
    HurdleNegativeBinomial,
)
"""All families."""

BY_NAME: Mapping[str, Callable[..., Family]] = MappingProxyType({family.name: family for family in FAMILIES})
"""The families by their names."""

NOT_YET: Mapping[str, str] = MappingProxyType({
    "gaussian": "Responses with normal residuals are fitted by mixedmodels.lmer",
    "normal": "Responses with normal residuals are fitted by mixedmodels.lmer",
    "multinomial": "Unordered categories cannot be fitted yet",
    "tweedie": "It cannot be fitted yet",
    "t": "It cannot be fitted yet",
    "inverse_gaussian": "It cannot be fitted yet; 'gamma' has positive responses too",
})  # fmt: skip
"""What one may look for, and what to know of it."""

OTHER_NAMES: Mapping[str, str] = MappingProxyType({
    "bernoulli": "binomial", "logistic": "binomial", "nbinom": "negative_binomial", "nbinom2": "negative_binomial",
    "negbin": "negative_binomial", "count": "poisson", "counts": "poisson", "cumulative": "ordinal",
    "nbinom1": "negative_binomial_1", "nb1": "negative_binomial_1", "beta_binomial": "betabinomial",
    "clm": "ordinal", "clmm": "ordinal", "ordered": "ordinal",
    "polr": "ordinal", "zip": "zero_inflated_poisson", "zinb": "zero_inflated_negative_binomial",
    "hurdle": "hurdle_poisson", "truncated_poisson": "hurdle_poisson",
    "truncated_nbinom2": "hurdle_negative_binomial",
})  # fmt: skip
"""What others call the families, for messages."""

INFLATED: Mapping[str, type[Family]] = MappingProxyType({
    "poisson": ZeroInflatedPoisson, "negative_binomial": ZeroInflatedNegativeBinomial,
})  # fmt: skip
"""Families that zeros can be added to."""


def with_zeros(family: Family, zero_inflation: object) -> Family:
    """Return the family that is fitted when zeros have a chance of their own, the family itself if there is none.

    Parameters
    ----------
    family
        As ``read_family`` returns it.
    zero_inflation
        The formula of their chance; None for none.

    Raises
    ------
    FitError
        If there are no such zeros in the family.
    """
    if zero_inflation is None or family.has_zeros:
        return family
    if family.name not in INFLATED:
        known = ", ".join(map(repr, [*INFLATED, *(name for name in BY_NAME if name.startswith("hurdle"))]))
        raise FitError(
            f"zero_inflation= is given for the family {family.name!r}, for which it cannot be fitted yet. "
            f"It can for {known}."
        )
    return INFLATED[family.name](family.link)


def read_family(family: object, link: object = None) -> Family:
    """Return the family that is meant.

    Parameters
    ----------
    family
        A name or a family.
    link
        Of a family that is named; None: its usual one.

    Raises
    ------
    FitError
        If there is no such family or link, or a link is given beside a family that has its own.
    """
    if isinstance(family, Family):
        if link is not None:
            raise FitError(f"link={link!r} is given beside a family that has its own, {family!r}. Give one of them.")
        return family
    if isinstance(family, type) and issubclass(family, Family) and family.name in BY_NAME:
        raise FitError(f"family is the class {family.__name__}; call it, {family.__name__}(), or write its name.")
    name = family if isinstance(family, str) else ""
    if name in BY_NAME:
        return BY_NAME[name]() if link is None else BY_NAME[name](link=str(link))
    known = ", ".join(map(repr, BY_NAME))
    told = NOT_YET.get(name.casefold())
    if told is not None:
        raise FitError(f"family={family!r} is not available: {told}. There are {known}.")
    close = OTHER_NAMES.get(name.casefold(), name.casefold().replace(" ", "_"))
    hint = f" Did you mean {close!r}?" if close in BY_NAME else nearest(close, BY_NAME)
    raise FitError(f"family={family!r} is not available; it must be {known}, or made by mixedmodels.families.{hint}")
