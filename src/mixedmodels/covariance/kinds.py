"""The kinds of residual structures by name: one line for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from mixedmodels.covariance.ante_dependence import AnteDependence
from mixedmodels.covariance.autoregressive import Autoregressive
from mixedmodels.covariance.autoregressive_moving_average import AutoregressiveMovingAverage
from mixedmodels.covariance.compound_symmetry import CompoundSymmetry
from mixedmodels.covariance.correlation import Correlation, Visits
from mixedmodels.covariance.exponential import Exponential
from mixedmodels.covariance.gaussian import Gaussian
from mixedmodels.covariance.independence import Independence
from mixedmodels.covariance.nugget import Nugget
from mixedmodels.covariance.residual import ResidualStructure, SdsAndCorrelations, Unstructured
from mixedmodels.covariance.spherical import Spherical
from mixedmodels.covariance.toeplitz import Toeplitz

_SPATIAL: Mapping[str, type[Exponential]] = MappingProxyType({"exp": Exponential, "gau": Gaussian, "sph": Spherical})

_NUGGET = " with nugget"

CORRELATIONS: Mapping[str, Callable[[], Correlation]] = MappingProxyType(
    {
        "cs": CompoundSymmetry,
        "ar1": Autoregressive,
        "toep": Toeplitz,
        "ad": AnteDependence,
        "arma11": AutoregressiveMovingAverage,
        **_SPATIAL,
        **{f"{name}{_NUGGET}": partial(Nugget, of()) for name, of in _SPATIAL.items()},
        "id": Independence,
    }
)
"""Correlation structures; the name with an h behind it has a standard deviation for each visit."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "un": "us",
        "car1": "exp",
        "ou": "exp",
        "sp_exp": "exp",
        "sp_gau": "gau",
        "sp_sph": "sph",
        "ante": "ad",
        "hetar1": "ar1h",
    }
)
"""Other names of the same."""

UNSTRUCTURED = "us"

_NAMES = tuple(name for name in CORRELATIONS if not name.endswith(_NUGGET))

KINDS = (UNSTRUCTURED, *_NAMES, *(f"{name}h" for name in _NAMES))
"""Every kind, as users write it."""


def canonical(kind: str) -> str:
    """Return the name of a kind by which it is known here."""
    return ALIASES.get(kind, kind)


def with_nugget(kind: str) -> str:
    """Return the name of a spatial kind with a nugget."""
    is_heterogeneous = kind not in CORRELATIONS
    return f"{kind.removesuffix('h') if is_heterogeneous else kind}{_NUGGET}{'h' if is_heterogeneous else ''}"


def correlation_of(kind: str) -> Correlation | None:
    """Return the correlation structure of a kind, None for the unstructured one."""
    if kind == UNSTRUCTURED:
        return None
    return CORRELATIONS[kind if kind in CORRELATIONS else kind.removesuffix("h")]()


def correlation_needs(kind: str) -> str:
    """Return what the visits of a kind must be, see ``Correlation.needs``."""
    correlation = correlation_of(kind)
    return "order" if correlation is None else correlation.needs


def make_structure(kind: str, visits: Visits) -> ResidualStructure:
    """Return the structure of a kind over visits.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    visits
        Where subjects may be seen, two or more; with one the correlations do not matter.
    """
    correlation = correlation_of(kind)
    is_heterogeneous = kind not in CORRELATIONS
    if len(visits) == 1:
        return SdsAndCorrelations(Independence(), is_heterogeneous=False, visits=visits)
    if correlation is None:
        return Unstructured(visits)
    return SdsAndCorrelations(correlation, is_heterogeneous, visits)


SPECIAL_CASES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cs": frozenset({"id"}),
        "ar1": frozenset({"id"}),
        "arma11": frozenset({"ar1", "id"}),
        "ad": frozenset({"ar1", "id"}),
        "toep": frozenset({"cs", "ar1", "arma11", "id"}),
        **{f"{name}{_NUGGET}": frozenset({name, "id"}) for name in _SPATIAL},
    }
)
"""Correlation structures that another one allows."""


def is_special_case(small: str, large: str) -> bool:
    """Return whether every covariance of one kind is one of another, over the same visits."""
    if large in (UNSTRUCTURED, small):
        return True
    if small == UNSTRUCTURED or (small not in CORRELATIONS and large in CORRELATIONS):
        return False
    one, two = (kind if kind in CORRELATIONS else kind.removesuffix("h") for kind in (small, large))
    return one == two or one in SPECIAL_CASES.get(two, ())
