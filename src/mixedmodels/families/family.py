"""What a family of responses is: its mean, variance and distribution, given the linear predictor."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from mixedmodels.errors import FitError, nearest

Floats = npt.NDArray[np.float64]

LARGEST_LOG = 700.0
"""Of a mean, beyond which it is no number."""

LEAST_DISPERSION = 1e-9
"""Of the negative binomial, below which SciPy's numbers are worse than Poisson's."""

COUNTS = "counts are whole numbers from 0 on"
"""What they must be."""


def laws() -> Any:
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
        return np.asarray(self._variance(mean, trials, given(dispersion)))

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
        return self._distribution(mean, trials, given(dispersion))

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


def no_counts(y: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((y < 0) | (y != np.round(y)))


def log_term(y: Floats, mean: Floats) -> Floats:
    """Return y log(y / mean), zero where y is."""
    return np.asarray(special.xlogy(y, y) - special.xlogy(y, mean))


def given(dispersion: float | None) -> float:
    return math.nan if dispersion is None else dispersion
