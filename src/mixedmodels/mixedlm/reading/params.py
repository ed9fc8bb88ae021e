"""Parameters of a mixed model, as one object or packed into a vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mixedmodels.covariance.packed import lower_places
from mixedmodels.errors import DataError
from mixedmodels.mixedlm.reading.arguments import read_count, read_flag, read_numbers

Floats = npt.NDArray[np.float64]


class MixedLMParams:
    """Fixed effects, random-effects covariance and variance components.

    Packed, they are the fixed effects, the lower triangle of ``cov_re`` row by row, and ``vcomp``. Fits and likelihoods
    take ``cov_re`` and ``vcomp`` as ratios to the residual variance.

    Parameters
    ----------
    k_fe
        Number of fixed effects.
    k_re
        Number of random coefficients that have a covariance.
    k_vc
        Number of variance components. A boolean is ``use_sqrt``, which was the third argument in release 0.6.
    use_sqrt
        How ``get_packed`` and ``set_packed`` pack where they are not told.

    Attributes
    ----------
    k_re2, k_tot
        Numbers of covariance parameters in the lower triangle, and of all parameters.
    fe_params
        (k_fe,).
    cov_re
        (k_re, k_re).
    vcomp
        (k_vc,).
    reml
        Which likelihood the parameters maximise; None if they do not come from a fit.
    """

    def __init__(self, k_fe: int, k_re: int, k_vc: int | bool = 0, *, use_sqrt: bool = True) -> None:
        if isinstance(k_vc, bool):
            use_sqrt, k_vc = k_vc, 0
        sizes = {"k_fe": k_fe, "k_re": k_re, "k_vc": k_vc}
        self.k_fe, self.k_re, self.k_vc = (read_count(name, size, 0) for name, size in sizes.items())
        self.use_sqrt = read_flag("use_sqrt", use_sqrt)
        self.k_re2 = self.k_re * (self.k_re + 1) // 2
        self.k_tot = self.k_fe + self.k_re2 + self.k_vc
        self.fe_params: Floats = np.zeros(self.k_fe)
        self.cov_re: Floats = np.zeros((self.k_re, self.k_re))
        self.vcomp: Floats = np.zeros(self.k_vc)
        self.reml: bool | None = None
        self._ix = lower_places(self.k_re)

    @staticmethod
    def from_packed(params: npt.ArrayLike, k_fe: int, k_re: int, use_sqrt: bool, has_fe: bool) -> MixedLMParams:
        """Return the parameters in a packed vector.

        Parameters
        ----------
        params
            The vector.
        k_fe, k_re
            Numbers of fixed effects and of random coefficients; the rest are variance components.
        use_sqrt
            The vector holds the lower Cholesky factor of ``cov_re`` and the square roots of ``vcomp``.
        has_fe
            The vector begins with the fixed effects; otherwise they are zero.

        Raises
        ------
        DataError
            If the vector is too short, or an argument is of another kind.
        """
        packed = read_numbers("params", params).ravel()
        k_fe, k_re = read_count("k_fe", k_fe, 0), read_count("k_re", k_re, 0)
        use_sqrt, has_fe = read_flag("use_sqrt", use_sqrt), read_flag("has_fe", has_fe)
        first = k_fe if has_fe else 0
        last = first + k_re * (k_re + 1) // 2
        if len(packed) < last:
            raise DataError(f"The packed parameters have {len(packed)} values; this model needs at least {last}.")
        out = MixedLMParams(k_fe, k_re, len(packed) - last)
        if has_fe:
            out.fe_params = packed[:k_fe].copy()
        lower = np.zeros((k_re, k_re))
        lower[out._ix] = packed[first:last]
        out.cov_re = lower @ lower.T if use_sqrt else lower + np.tril(lower, -1).T
        out.vcomp = packed[last:] ** 2 if use_sqrt else packed[last:].copy()
        return out

    @staticmethod
    def from_components(
        fe_params: npt.ArrayLike | None = None,
        cov_re: npt.ArrayLike | None = None,
        cov_re_sqrt: npt.ArrayLike | None = None,
        vcomp: npt.ArrayLike | None = None,
    ) -> MixedLMParams:
        """Return the parameters with these parts; those not given are empty.

        Parameters
        ----------
        fe_params, cov_re, vcomp
            As the attributes.
        cov_re_sqrt
            A lower Cholesky factor of ``cov_re``, in its place.

        Raises
        ------
        DataError
            If one is no vector or square matrix of numbers.
        """
        fixed, components = _vector("fe_params", fe_params), _vector("vcomp", vcomp)
        root = _square("cov_re_sqrt", cov_re_sqrt)
        covariance = _square("cov_re", cov_re) if cov_re_sqrt is None else root @ root.T
        out = MixedLMParams(len(fixed), len(covariance), len(components))
        out.fe_params, out.cov_re, out.vcomp = fixed, covariance, components
        return out

    def copy(self) -> MixedLMParams:
        """Return a copy that shares nothing."""
        out = MixedLMParams(self.k_fe, self.k_re, self.k_vc, use_sqrt=self.use_sqrt)
        out.fe_params = np.array(self.fe_params, dtype=np.float64)
        out.cov_re = np.array(self.cov_re, dtype=np.float64)
        out.vcomp = np.array(self.vcomp, dtype=np.float64)
        out.reml = self.reml
        return out

    def get_packed(self, use_sqrt: bool | None = None, has_fe: bool | None = None) -> Floats:
        """Return the parameters as one vector.

        Parameters
        ----------
        use_sqrt
            True: pack the lower Cholesky factor of ``cov_re`` (the roots of its diagonal where it is not positive
            definite) and the square roots of ``vcomp``. None takes that of the object and, as in release 0.6, puts the
            fixed effects first.
        has_fe
            Put the fixed effects first.
        """
        has_fe = use_sqrt is None if has_fe is None else read_flag("has_fe", has_fe)
        use_sqrt = self.use_sqrt if use_sqrt is None else read_flag("use_sqrt", use_sqrt)
        covariance, components = self.cov_re, self.vcomp
        if use_sqrt:
            covariance, components = _root(covariance), np.sqrt(components)
        fixed = [self.fe_params] if has_fe else []
        return np.concatenate([*fixed, covariance[self._ix], components])

    # As in release 0.6

    def set_packed(self, params: npt.ArrayLike) -> None:
        """Set all parameters from one vector.

        Parameters
        ----------
        params
            Fixed effects first, packed as ``use_sqrt`` says.
        """
        found = MixedLMParams.from_packed(params, self.k_fe, self.k_re, self.use_sqrt, has_fe=True)
        if found.k_vc != self.k_vc:
            raise DataError(f"The packed parameters have {np.size(params)} values; these need {self.k_tot}.")
        self.fe_params, self.cov_re, self.vcomp = found.fe_params, found.cov_re, found.vcomp

    def get_fe_params(self) -> Floats:
        """Return ``fe_params``."""
        return self.fe_params

    def set_fe_params(self, fe_params: npt.ArrayLike) -> None:
        """Set ``fe_params``.

        Parameters
        ----------
        fe_params
            (k_fe,).
        """
        self.fe_params = read_numbers("fe_params", fe_params).copy()

    def get_cov_re(self) -> Floats:
        """Return ``cov_re``."""
        return self.cov_re

    def set_cov_re(self, cov_re: npt.ArrayLike | None = None, cov_re_sqrt: npt.ArrayLike | None = None) -> None:
        """Set ``cov_re``.

        Parameters
        ----------
        cov_re
            (k_re, k_re).
        cov_re_sqrt
            Its lower Cholesky factor, in its place.
        """
        self.cov_re = MixedLMParams.from_components(cov_re=cov_re, cov_re_sqrt=cov_re_sqrt).cov_re


def as_params(name: str, given: Any, k_fe: int, k_re: int, k_vc: int) -> MixedLMParams | None:
    """Return an object with the parts of a ``MixedLMParams``, such as statsmodels' own, as ours; None without them.

    Parameters
    ----------
    name
        Of the argument.
    given
        Anything.
    k_fe, k_re, k_vc
        Sizes of the model. Fixed effects may be left out, and are zero then.

    Raises
    ------
    DataError
        If the sizes are others.
    """
    if not all(hasattr(given, part) for part in ("fe_params", "cov_re", "vcomp")):
        return None
    found = MixedLMParams.from_components(given.fe_params, given.cov_re, vcomp=given.vcomp)
    if found.k_fe not in (0, k_fe) or (found.k_re, found.k_vc) != (k_re, k_vc):
        raise DataError(
            f"{name} is for {found.k_fe} fixed effects, {found.k_re} random coefficients and {found.k_vc} variance "
            f"components; the model has {k_fe}, {k_re} and {k_vc}."
        )
    if found.k_fe < k_fe:
        found = MixedLMParams.from_components(np.zeros(k_fe), found.cov_re, vcomp=found.vcomp)
    found.reml = getattr(given, "reml", None)
    return found


def slopes_in_roots(params: MixedLMParams, covariances: Floats, components: Floats) -> tuple[Floats, Floats]:
    """Return derivatives in the Cholesky factor of ``cov_re`` and the roots of ``vcomp`` from those in the latter.

    Parameters
    ----------
    params
        Where.
    covariances, components
        Derivatives in the lower triangle of ``cov_re``, row by row, and in ``vcomp``.
    """
    places, roots = lower_places(params.k_re), params.get_packed(use_sqrt=True)
    L, S = np.zeros((2, params.k_re, params.k_re))
    L[places], S[places] = roots[: params.k_re2], covariances
    return np.tril((S + S.T) @ L)[places], 2 * components * roots[params.k_re2 :]


def _vector(name: str, values: Any) -> Floats:
    """Return a vector, empty for None."""
    found = np.atleast_1d(read_numbers(name, [] if values is None else values))
    if found.ndim > 1:
        raise DataError(f"{name} has the shape {found.shape}; it must be a vector.")
    return found


def _square(name: str, values: Any) -> Floats:
    """Return a square matrix, empty for None."""
    found = np.zeros((0, 0)) if values is None else np.atleast_2d(read_numbers(name, values))
    if found.ndim > 2 or found.shape[0] != found.shape[1]:
        raise DataError(f"{name} has the shape {found.shape}; it must be a square matrix.")
    return found


def _root(covariance: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    except np.linalg.LinAlgError:
        return np.diag(np.sqrt(np.diag(covariance)))
