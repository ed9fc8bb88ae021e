"""Families of responses: what their mean, variance and distribution are, given the linear predictor.

A family is named, ``"poisson"``, or made here where it has options: ``mixedmodels.families.Binomial(link="probit")``.
"""

from mixedmodels.families.beta import Beta
from mixedmodels.families.beta_binomial import BetaBinomial
from mixedmodels.families.binomial import Binomial
from mixedmodels.families.family import Family
from mixedmodels.families.gamma import Gamma
from mixedmodels.families.named import BY_NAME, read_family
from mixedmodels.families.negative_binomial import NegativeBinomial, NegativeBinomial1
from mixedmodels.families.ordinal import Ordinal
from mixedmodels.families.poisson import Poisson
from mixedmodels.families.zeros import (
    HurdleNegativeBinomial,
    HurdlePoisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)

__all__ = [
    "BY_NAME",
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
