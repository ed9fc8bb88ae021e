"""The variance functions by name: one line for each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mixedmodels.covariance.exponential_variance import ExponentialVariance
from mixedmodels.covariance.power_variance import PowerVariance
from mixedmodels.covariance.stratum_variance import StratumVariance
from mixedmodels.covariance.variance_function import VarianceFunction

VARIANCES: Mapping[str, type[VarianceFunction]] = MappingProxyType(
    {"ident": StratumVariance, "power": PowerVariance, "exp": ExponentialVariance}
)
"""Variance functions."""
