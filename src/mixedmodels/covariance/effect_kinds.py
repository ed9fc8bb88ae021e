"""The kinds of covariances of random effects by name, as in lme4 and glmmTMB: one line for each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mixedmodels.covariance.autoregressive import Autoregressive
from mixedmodels.covariance.compound_symmetry import CompoundSymmetry
from mixedmodels.covariance.correlation import Correlation
from mixedmodels.covariance.toeplitz import Toeplitz

UNSTRUCTURED = "us"
DIAGONAL = "diag"
ONE_VARIANCE = "homdiag"
REDUCED_RANK = "rr"

CORRELATIONS: Mapping[str, tuple[type[Correlation], bool]] = MappingProxyType(
    {
        "cs": (CompoundSymmetry, True),
        "homcs": (CompoundSymmetry, False),
        "ar1": (Autoregressive, False),
        "hetar1": (Autoregressive, True),
        "toep": (Toeplitz, True),
        "homtoep": (Toeplitz, False),
    }
)
"""Correlation structures, and whether each effect has a standard deviation of its own."""

KINDS = (UNSTRUCTURED, DIAGONAL, ONE_VARIANCE, *CORRELATIONS, REDUCED_RANK)
"""Every kind."""

ONE_SD: Mapping[str, str] = MappingProxyType({"diag": "homdiag", "cs": "homcs", "hetar1": "ar1", "toep": "homtoep"})
"""Kinds with a standard deviation for each effect, and the same with one for all."""


def with_one_sd(kind: str, is_one: bool) -> str | None:
    """Return the kind with one standard deviation for all effects, or with one for each; None if there is no such.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    is_one
        Whether all effects shall have one standard deviation.
    """
    for several, one in ONE_SD.items():
        if kind in (several, one):
            return one if is_one else several
    return None


def is_restricted(kind: str) -> bool:
    """Return whether a kind has fewer parameters than blocks of Lambda, whose elements it is a function of."""
    return kind in CORRELATIONS or kind == REDUCED_RANK


def needs_order(kind: str) -> bool:
    """Return whether effects must be those of levels in an order."""
    return kind in CORRELATIONS and CORRELATIONS[kind][0].needs != "order"


SPECIAL_CASES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "diag": frozenset({"homdiag"}),
        "homcs": frozenset({"homdiag"}),
        "ar1": frozenset({"homdiag"}),
        "homtoep": frozenset({"homdiag", "homcs", "ar1"}),
        "cs": frozenset({"homdiag", "diag", "homcs"}),
        "hetar1": frozenset({"homdiag", "diag", "ar1"}),
        "toep": frozenset({"homdiag", "diag", "homcs", "ar1", "homtoep", "cs", "hetar1"}),
    }
)
"""Kinds that another one allows, over the same effects."""


def is_special_case(small: str, large: str) -> bool:
    """Return whether every covariance of one kind is one of another, but for ranks, over the same effects."""
    return large in (UNSTRUCTURED, small) or small in SPECIAL_CASES.get(large, ())
