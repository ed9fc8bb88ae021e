"""Families of responses: what their mean, variance and distribution are, given the linear predictor.

A family is named, ``"poisson"``, or made here where it has options: ``mixedmodels.families.Binomial(link="probit")``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from mixedmodels.errors import FitError, nearest

Floats = npt.NDArray[np.float64]

__all__ = ["Beta", "Binomial", "Family", "Gamma", "NegativeBinomial", "Poisson", "read_family"]

LARGEST_LOG = 700.0
"""Of a mean, beyond which it is no number."""

LEAST_DISPERSION = 1e-9
"""Of the negative binomial, below which SciPy's numbers are worse than Poisson's."""


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
    """

    link: str

    name: ClassVar[str]
    links: ClassVar[tuple[str, ...]]
    variance_text: ClassVar[str]
    n_extra: ClassVar[int] = 0

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

    def mean(self, eta: Floats) -> Floats:
        """Return the mean at the linear predictor; of one trial for the binomial.

        Parameters
        ----------
        eta
            (n,).
        """
        match self.link:
            case "logit":
                return np.asarray(special.expit(eta))
            case "probit":
                return np.asarray(special.ndtr(eta))
            case "cloglog":
                return np.asarray(-np.expm1(-np.exp(np.minimum(eta, LARGEST_LOG))))
            case _:
                return np.asarray(np.exp(np.minimum(eta, LARGEST_LOG)))

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
        match self.link:
            case "logit":
                return np.asarray(special.expit(eta) * special.expit(-eta))
            case "probit":
                return np.asarray(np.exp(-0.5 * eta**2) / math.sqrt(2 * math.pi))
            case "cloglog":
                return np.asarray(np.exp(eta - np.exp(np.minimum(eta, LARGEST_LOG))))
            case _:
                return self.mean(eta)

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

    def distribution(self, mean: Floats, trials: Floats, dispersion: float | None = None) -> Any:
        """Return the distribution of responses, as SciPy has it.

        Parameters
        ----------
        mean, trials, dispersion
            As for ``variance``.
        """
        return self._distribution(mean, trials, _given(dispersion))

    def _dispersion(self, phi: float) -> float:
        return phi

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

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(trials * mean * (1 - mean))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().binom(trials.astype(np.int64), mean)


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

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return mean

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().poisson(mean)


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

    def _dispersion(self, phi: float) -> float:
        return math.exp(-phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().gamma(1 / d, scale=mean * d)


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

    def _dispersion(self, phi: float) -> float:
        return phi**2

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean + d * mean**2)

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().poisson(mean) if d < LEAST_DISPERSION else _laws().nbinom(1 / d, 1 / (1 + d * mean))


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

    def _dispersion(self, phi: float) -> float:
        return math.exp(phi)

    def _variance(self, mean: Floats, trials: Floats, d: float) -> Floats:
        return np.asarray(mean * (1 - mean) / (1 + d))

    def _distribution(self, mean: Floats, trials: Floats, d: float) -> Any:
        return _laws().beta(mean * d, (1 - mean) * d)


def _given(dispersion: float | None) -> float:
    return math.nan if dispersion is None else dispersion


BY_NAME: Mapping[str, type[Binomial | Poisson | Gamma | NegativeBinomial | Beta]] = MappingProxyType(
    {family.name: family for family in (Binomial, Poisson, Gamma, NegativeBinomial, Beta)}
)
"""The families by their names."""

NOT_YET: Mapping[str, str] = MappingProxyType({
    "gaussian": "Responses with normal residuals are fitted by mixedmodels.lmer",
    "normal": "Responses with normal residuals are fitted by mixedmodels.lmer",
    "ordinal": "Ordered categories cannot be fitted yet",
    "cumulative": "Ordered categories cannot be fitted yet",
    "multinomial": "Unordered categories cannot be fitted yet",
    "betabinomial": "It cannot be fitted yet; a random effect of each row is another way to overdispersed proportions",
    "nbinom1": "It cannot be fitted yet; 'negative_binomial' has a variance of m + d m^2",
    "zip": "Zero inflation cannot be fitted yet",
    "hurdle": "Hurdle models cannot be fitted yet",
    "tweedie": "It cannot be fitted yet",
    "inverse_gaussian": "It cannot be fitted yet; 'gamma' has positive responses too",
    "t": "It cannot be fitted yet",
})  # fmt: skip
"""What one may look for, and what to know of it."""

OTHER_NAMES: Mapping[str, str] = MappingProxyType({
    "bernoulli": "binomial", "logistic": "binomial", "nbinom": "negative_binomial", "nbinom2": "negative_binomial",
    "negbin": "negative_binomial", "count": "poisson", "counts": "poisson",
})  # fmt: skip
"""What others call the families, for messages."""


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
