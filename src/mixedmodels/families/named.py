"""Families by their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mixedmodels.errors import FitError, nearest
from mixedmodels.families.beta import Beta
from mixedmodels.families.beta_binomial import BetaBinomial
from mixedmodels.families.binomial import Binomial
from mixedmodels.families.family import Family
from mixedmodels.families.gamma import Gamma
from mixedmodels.families.negative_binomial import NegativeBinomial, NegativeBinomial1
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.families.poisson import Poisson
from mixedmodels.families.zeros import (
    HurdleNegativeBinomial,
    HurdlePoisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

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
