"""What a fit noticed, in words and as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.covariance.unstructured import relative_factor, split_theta
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.records import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.design.design import Design
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import Optimum

NEGLIGIBLE_SD_SCALED = 1e-6
"""Sd of a random effect's contribution to the response, in residual sds, that counts as zero in a singular fit."""

SMALL_RESIDUAL_RATIO = 1e-5
"""Residual sd, in sds of the response about the fixed part, below which the criterion has visibly fewer digits."""

ROUNDINGS = 100
"""Of the response's sum of squares, that its residual part may be off by."""

UNLIKE_COLUMNS_RATIO = 1e6
"""Ratio of root mean squares of fixed-effect columns from which coefficients are hard to read."""


def fit_findings(
    design: Design, kept: Sequence[int], nearly_dependent: Sequence[int], optimum: Optimum, is_singular: bool
) -> tuple[Finding, ...]:
    """Return what the fit noticed: aliased columns, no convergence, a boundary, other optima, columns of unlike size.

    Parameters
    ----------
    design
        The model's arrays.
    kept
        Positions of the columns of X that are estimated.
    nearly_dependent
        Those of them whose own part is as small as R would take for rounding.
    optimum
        Where the optimiser stopped.
    is_singular
        Whether the engine found Lambda Lambda' singular there.
    """
    findings: list[Finding] = []
    if dropped_columns(design, kept):
        findings.append(aliased_columns(design, kept))
    findings.extend(idle_levels(design))
    if nearly_dependent:
        findings.append(nearly_aliased_columns([design.x_names[j] for j in nearly_dependent]))
    if not optimum.converged:
        findings.append(not_converged(optimum))
    if is_singular:
        findings.append(singular_fit(design, optimum.theta))
    if optimum.other_optima:
        findings.append(other_optima(optimum))
    findings.extend(unlike_columns(design, kept))
    return tuple(findings)


def dropped_columns(design: Design, kept: Sequence[int]) -> list[int]:
    """Return the dropped columns, without an intercept, which goes without saying where levels are absorbed."""
    names, absorbs = design.x_names, design.absorbed is not None
    return [j for j in range(len(names)) if j not in set(kept) and not (absorbs and names[j] == INTERCEPT)]


def aliased_columns(design: Design, kept: Sequence[int]) -> Finding:
    """Return the finding that names the dropped columns and what each is a combination of."""
    names = design.x_names
    gone = () if design.absorbed is None else design.absorbed_columns.aliased
    dropped = dropped_columns(design, kept)
    levels = [] if design.absorbed is None else [f"fe({name})" for name in design.absorbed.names]
    X = design.moment_rows
    scale = np.sqrt(np.mean(X[:, kept] ** 2, axis=0))
    weights = np.linalg.lstsq(X[:, kept] / scale, X[:, dropped], rcond=None)[0]
    parts: dict[str, list[str]] = {}
    for column, of in zip(dropped, weights.T, strict=True):
        present = np.abs(of) > 1e-8 * np.abs(of).max(initial=0.0)
        others = [names[k] for k, is_part in zip(kept, present, strict=True) if is_part]
        parts[names[column]] = levels if column in gone else others
    sentences = [
        f"{name} (a combination of {listing(others)})" if others else f"{name} (all zero)"
        for name, others in parts.items()
    ]
    count = "A fixed-effect column was" if len(parts) == 1 else f"{len(parts)} fixed-effect columns were"
    message = f"{count} dropped: {listing(sentences)}."
    return Finding("dropped_columns", message, {"columns": parts})


def idle_levels(design: Design) -> Iterator[Finding]:
    """Yield what is to know of absorbed factors that are combinations of others, and of data in several parts."""
    if design.absorbed is None:
        return
    for factor, reference in zip(design.absorbed.factors, design.absorbed.is_reference, strict=True):
        n_idle = int(reference.sum())
        before = listing(f"fe({name})" for name in design.absorbed.names[: design.absorbed.factors.index(factor)])
        if n_idle == factor.n_levels:
            message = f"fe({factor.name}) adds nothing: its levels are combinations of those of {before}. Leave it out."
            yield Finding("idle_levels", message, {"factor": factor.name, "n_levels": n_idle})
        elif n_idle > 1:
            message = (
                f"The effects of fe({factor.name}) can be compared within {n_idle} parts of the data only, in which "
                f"its levels meet those of {before}: in each its first level is the reference."
            )
            yield Finding("idle_levels", message, {"factor": factor.name, "n_levels": n_idle})


def nearly_aliased_columns(names: Sequence[str]) -> Finding:
    """Return the finding that names the columns that are combinations of others but for a very small part."""
    column, are = ("Column", "is") if len(names) == 1 else ("Columns", "are")
    message = (
        f"{column} {listing(names)} {are} all but a combination of the columns before: what is left is below 1e-7 of "
        "the spread, which R would drop, and estimates have lost that many digits. Centre the covariates that they are "
        "made of; where they say the same thing twice, remove them."
    )
    return Finding("nearly_dependent_columns", message, {"columns": list(names)})


def not_converged(optimum: Optimum, simplify: str = "simplify the random effects") -> Finding:
    """Return the finding that says why the optimiser stopped and what to do."""
    remedy = {
        "iteration limit": "Raise control=Control(max_iterations=...)",
        "no further decrease": f"The likelihood is nearly flat there; {simplify}",
    }[optimum.status]
    message = (
        f"Not converged: {optimum.status} after {optimum.n_iterations} iterations, "
        f"with a largest scaled gradient of {optimum.gradient_norm:.2g}. {remedy}."
    )
    return Finding("not_converged", message, {"status": optimum.status, "gradient_norm": optimum.gradient_norm})


def singular_fit(design: Design, theta: Floats) -> Finding:
    """Return the finding that names the effects whose variance is zero or whose correlation is perfect."""
    boundaries: list[dict[str, object]] = []
    sentences: list[str] = []
    parts = split_theta(theta, [factor.n_theta for factor in design.factors])
    weights = None if design.stand_in is not None else design.weights  # whether rows vary does not hang on weights
    for factor, Z, part in zip(design.factors, design.moment_effects, parts, strict=True):
        for boundary, sentence in _boundaries(factor, Z, relative_factor(part, factor.block_sizes), weights):
            boundaries.append({"group": factor.name, **boundary})
            sentences.append(sentence)
    found = listing(sentences) or "the covariance of the random effects has less than full rank"
    message = (
        f"Singular fit: {found}. The estimates stand, but the data support fewer random effects than the model has."
    )
    return Finding("singular", message, {"boundaries": boundaries})


def _boundaries(
    factor: RandomFactor, Z: Floats | None, Lambda: Floats, weights: Floats | None
) -> Iterator[tuple[dict[str, object], str]]:
    if Z is None:
        Z = np.ones((1 if weights is None else len(weights), 1))
    weighted = Z if weights is None else np.sqrt(weights)[:, None] * Z
    R = np.linalg.qr(weighted, mode="r") / np.sqrt(len(Z))
    first = 0
    for size in factor.block_sizes:
        block = range(first, first + abs(size))
        for part in [block] if size > 0 else [[i] for i in block[:1]]:
            yield from _block_boundaries(factor, part, R, Lambda)
        first += abs(size)


def _block_boundaries(
    factor: RandomFactor, block: Sequence[int], R: Floats, Lambda: Floats
) -> Iterator[tuple[dict[str, object], str]]:
    effects, group = factor.columns, factor.name

    def rank(some: Sequence[int]) -> int:
        # With Z = Q R, R Lambda is Lambda in a basis that has neither units nor an origin.
        scaled = R[:, some] @ Lambda[some]
        return int((np.linalg.svd(scaled, compute_uv=False) > NEGLIGIBLE_SD_SCALED).sum())

    for i in block:
        if rank([i]) == 0:
            yield {"zero_variance": effects[i]}, f"the variance of {effects[i]} in {group} is estimated as zero"
    rest = [i for i in block if rank([i]) > 0]
    if not rest or rank(rest) == len(rest):
        return
    pairs = [(i, j) for i, j in combinations(rest, 2) if rank([i, j]) == 1]
    for i, j in pairs:
        sign = int(np.sign(Lambda[i] @ Lambda[j]))
        sentence = f"the correlation of {effects[i]} and {effects[j]} in {group} is estimated as {sign}"
        yield {"perfect_correlation": (effects[i], effects[j], sign)}, sentence
    if not pairs:
        names = tuple(effects[i] for i in rest)
        sentence = f"the effects {listing(names)} in {group} vary in only {rank(rest)} of {len(rest)} directions"
        yield {"rank": rank(rest), "effects": names}, sentence


def other_optima(optimum: Optimum) -> Finding:
    """Return the finding that the likelihood has worse stationary points too."""
    worse = ", ".join(f"{value:.6g}" for value in optimum.other_optima)
    message = (
        f"The likelihood has more than one optimum: the best has deviance {optimum.deviance:.6g}; "
        f"other starts ended at {worse}."
    )
    return Finding("other_optima", message, {"deviances": list(optimum.other_optima)})


def small_residual(spread: float, sigma: float) -> Iterator[Finding]:
    """Yield a finding if the residual variance is the difference of far larger numbers.

    Parameters
    ----------
    spread
        Root mean square of the response about the fixed part.
    sigma
        The residual standard deviation.
    """
    if sigma >= SMALL_RESIDUAL_RATIO * spread:
        return
    ratio = sigma / spread
    digits = max(0, int(np.log10(ratio**2 / (ROUNDINGS * np.finfo(float).eps))))
    message = (
        f"The residual standard deviation is {ratio:.0e} of that of the response about the fixed part, so its variance "
        f"is known to about {digits} digits and the criterion no better: the random effects fit almost perfectly. See "
        "whether the response is computed from the grouping variables, or repeated within their levels."
    )
    yield Finding("small_residual", message, {"ratio": ratio, "digits": digits})


def unlike_columns(design: Design, kept: Sequence[int]) -> Iterator[Finding]:
    """Yield a finding if fixed-effect columns differ so much in size that their coefficients are hard to read."""
    squares = np.einsum("ij,ij->j", design.moment_rows, design.moment_rows)[list(kept)].tolist()
    if not squares or max(squares) < UNLIKE_COLUMNS_RATIO**2 * min(squares):
        return
    largest, smallest = (design.x_names[kept[squares.index(find(squares))]] for find in (max, min))
    ratio = sqrt(max(squares) / min(squares)) if min(squares) else inf  # where squares are below the least number
    message = (
        f"Columns {largest} and {smallest} differ in size by a factor of {ratio:.0e}. "
        "The fit does not depend on units, but other units would make the coefficients easier to read."
    )
    yield Finding("badly_scaled", message, {"largest": largest, "smallest": smallest})


def listing(names: Iterable[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last
