"""Counts whose zeros have a chance of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mixedmodels.errors import InferenceError
from mixedmodels.families.family import COUNTS, Family, Floats, no_counts
from mixedmodels.families.negative_binomial import NegativeBinomial
from mixedmodels.families.poisson import Poisson


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
        return no_counts(y)

    def _log_none(self, mean: Floats) -> Floats:
        """Return the logarithm of the chance of zero among counts of a mean."""
        return np.asarray(-mean if not self.d else -np.log1p(self.d * mean) / self.d)


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
        return np.asarray((1 - self.known) * m / -np.expm1(self._log_none(m)))

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
        none = np.exp(self._log_none(m))
        some = -np.expm1(self._log_none(m))
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
