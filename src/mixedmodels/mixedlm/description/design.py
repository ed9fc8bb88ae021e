"""The model's rows as a design of the engine: factors with covariance blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mixedmodels.design.design import Design
from mixedmodels.design.records import Codes, Floats, RandomFactor
from mixedmodels.errors import DesignError
from mixedmodels.formula.terms import Formula
from mixedmodels.mixedlm.description.layout import Block, Layout
from mixedmodels.mixedlm.description.recipe import ModelRecipe
from mixedmodels.mixedlm.reading.components import Component
from mixedmodels.mixedlm.reading.groups import Groups

INTERCEPT = "Intercept"

_NEARLY_DEPENDENT = 1e-6
"""Smallest eigenvalue of the products of columns of length one."""
_DEPENDENT = 1e-10
"""What is left of a column of length one without the columns before it."""


@dataclass
class _Bundle:
    """A grouping factor under construction: blocks of columns side by side."""

    name: str
    codes: Codes
    levels: pd.Index
    columns: list[str] = field(default_factory=list)
    values: list[Floats | None] = field(default_factory=list)
    blocks: list[tuple[int, tuple[int, ...], int]] = field(default_factory=list)  # size, effects, component

    def add(self, size: int, names: Sequence[str], values: Floats | None, effects: tuple[int, ...], vc: int) -> None:
        self.blocks.append((size, effects, vc))
        self.columns.extend(names)
        self.values.append(values)

    def matrix(self) -> Floats | None:
        if len(self.values) == 1:
            return self.values[0]
        ones = np.ones((len(self.codes), 1))
        return np.hstack([ones if values is None else values for values in self.values])


@dataclass(frozen=True)
class RandomPart:
    """What is random in a model, in the user's terms.

    Attributes
    ----------
    groups, group_name
        The top-level groups and what they are called.
    exog_re, re_names
        (n_rows, k_re) and its names; None if there are only variance components.
    components
        The variance components.
    """

    groups: Groups
    group_name: str
    exog_re: Floats | None
    re_names: Sequence[str]
    components: Sequence[Component]

    @property
    def k_re(self) -> int:
        """Random coefficients with a covariance."""
        return 0 if self.exog_re is None else self.exog_re.shape[1]


@dataclass(frozen=True)
class Structure:
    """Which effects vary, and which of them together.

    Attributes
    ----------
    re_blocks
        Random coefficients in blocks that are independent of each other; those in none do not vary.
    components
        Variance components that are not zero.
    """

    re_blocks: tuple[tuple[int, ...], ...]
    components: tuple[int, ...]


def build_random(part: RandomPart, structure: Structure) -> tuple[tuple[RandomFactor, ...], Layout]:
    """Return the grouping factors, most levels first, and where each parameter stands."""
    bundles = sorted(_bundles(part, structure), key=lambda bundle: -len(bundle.levels))
    factors, blocks, used = [], [], 0
    for k, bundle in enumerate(bundles):
        first = 0
        for size, effects, component in bundle.blocks:
            columns = tuple(range(first, first + abs(size)))
            n_theta = 1 if size < 0 else size * (size + 1) // 2
            blocks.append(Block(k, columns, effects, component, tuple(range(used, used + n_theta))))
            first, used = first + abs(size), used + n_theta
        factors.append(
            RandomFactor(
                name=bundle.name,
                levels=bundle.levels,
                codes=bundle.codes,
                columns=tuple(bundle.columns),
                Z=bundle.matrix(),
                block_sizes=tuple(size for size, _, _ in bundle.blocks),
            )
        )
    return tuple(factors), Layout(part.k_re, len(part.components), tuple(blocks))


def _bundles(part: RandomPart, structure: Structure) -> list[_Bundle]:
    bundles: list[_Bundle] = []
    groups = part.groups

    def bundle_of(codes: Codes, name: str, n_levels: int, names: pd.Index | None = None) -> _Bundle:
        for bundle in bundles:
            if len(bundle.levels) == n_levels and np.array_equal(bundle.codes, codes):
                return bundle
        is_top = codes is groups.codes
        levels = pd.Index(groups.labels) if is_top else pd.RangeIndex(n_levels) if names is None else names
        bundles.append(_Bundle(part.group_name if is_top else name, codes, levels))
        return bundles[-1]

    if part.exog_re is not None and structure.re_blocks:
        top = bundle_of(groups.codes, part.group_name, len(groups))
        for effects in structure.re_blocks:
            values = part.exog_re[:, list(effects)]
            is_ones = len(effects) == 1 and bool((values == 1).all())
            names = [_effect_name(part, effect) for effect in effects]
            top.add(len(effects), names, None if is_ones else np.ascontiguousarray(values), effects, -1)
    for k in structure.components:
        component = part.components[k]
        if component.codes is None:
            assert component.Z is not None
            width = component.Z.shape[1]
            names = [f"{component.name}[{j}]" for j in range(width)]
            bundle_of(groups.codes, part.group_name, len(groups)).add(-width, names, component.Z, (), k)
            continue
        is_top = bool((component.counts == 1).all())
        codes = groups.codes if is_top else component.codes
        column = None if component.values is None else component.values[:, None]
        name = INTERCEPT if column is None and not is_top else component.name
        bundle_of(codes, component.name, component.n_columns, component.levels).add(1, [name], column, (), k)
    return bundles


def _effect_name(part: RandomPart, effect: int) -> str:
    assert part.exog_re is not None
    return INTERCEPT if bool((part.exog_re[:, effect] == 1).all()) else str(part.re_names[effect])


def check_factors(factors: Sequence[RandomFactor], n_rows: int) -> None:
    """Each variance must be distinguishable from the residual variance and from the others.

    Raises
    ------
    DesignError
        If a grouping factor has one level, or a level for each row; columns of random effects are zero or can be
        computed from others; or two variances belong to the same columns.
    """
    for factor in factors:
        _check_levels(factor, n_rows)
        Z = np.ones((n_rows, 1)) if factor.Z is None else factor.Z
        _check_blocks(factor, Z)
        if 1 < Z.shape[1] <= 20 and len(factor.block_sizes) > 1:
            _check_columns(factor, Z)
    for k, one in enumerate(factors):
        for other in factors[k + 1 :]:
            if one.n_levels == other.n_levels and one.Z is None and other.Z is None and _same_groups(one, other):
                raise DesignError(
                    f"{one.name!r} and {other.name!r} divide the rows into the same {one.n_levels} groups, "
                    "so their variances cannot be told apart. Keep one of them."
                )


def _check_levels(factor: RandomFactor, n_rows: int) -> None:
    is_tied = any(size < 0 for size in factor.block_sizes)
    if factor.n_levels == 1 and not is_tied:
        raise DesignError(
            f"The grouping factor {factor.name!r} has one level only ({str(factor.levels[0])!r}). "
            "A variance between levels needs at least two; for crossed components give no re_formula."
        )
    if factor.n_levels >= n_rows and factor.n_effects == 1 and _is_constant(factor.Z):
        raise DesignError(
            f"The grouping factor {factor.name!r} has a level for each of the {n_rows} rows, so its variance cannot "
            "be told apart from the residual variance. Group by something that repeats."
        )


def _is_constant(Z: Floats | None) -> bool:
    return Z is None or bool((np.abs(Z) == abs(Z[0, 0])).all())


def _check_blocks(factor: RandomFactor, Z: Floats) -> None:
    first = 0
    zeros = set(np.flatnonzero(~Z.any(axis=0)).tolist())
    for size in factor.block_sizes:
        columns = list(range(first, first + abs(size)))
        first += abs(size)
        zero = [j for j in columns if j in zeros]
        if zero and (size > 0 or len(zero) == len(columns)):
            name = factor.columns[zero[0]] if size > 0 else factor.columns[zero[0]].rpartition("[")[0]
            raise DesignError(
                f"The random effect {name!r} of {factor.name!r} is zero in every row, so its variance cannot be told. "
                "Leave it out."
            )
        j = _dependent(Z[:, columns]) if size > 1 else None
        if j is not None:
            others = ", ".join(map(repr, factor.columns[columns[0] : columns[j]]))
            raise DesignError(
                f"The random effect {factor.columns[columns[j]]!r} of {factor.name!r} can be computed from {others}, "
                "so their variances and covariances cannot be told apart. Leave it out."
            )


def _dependent(Z: Floats) -> int | None:
    """Return the first column that is a combination of those before it, or None."""
    lengths = np.sqrt(np.einsum("ij,ij->j", Z, Z))
    products = (Z / lengths).T @ (Z / lengths)
    if np.linalg.eigvalsh(products)[0] > _NEARLY_DEPENDENT:
        return None
    # Products lose half of the digits; the columns themselves decide.
    rest = np.abs(np.diag(np.linalg.qr(Z / lengths, mode="r")))
    return int(rest.argmin()) if rest.min() < _DEPENDENT else None


def _check_columns(factor: RandomFactor, Z: Floats) -> None:
    first = 0
    seen: dict[bytes, str] = {}
    for size in factor.block_sizes:
        for j in range(first, first + abs(size)):
            key = _direction(Z[:, j])
            if key in seen and abs(size) == 1:
                raise DesignError(
                    f"The random effects {seen[key]!r} and {factor.columns[j]!r} of {factor.name!r} are the same "
                    "column or multiples, so their variances cannot be told apart. Keep one of them."
                )
            seen[key] = factor.columns[j]
        first += abs(size)


def _direction(column: Floats) -> bytes:
    """Return the same for columns that are multiples of each other."""
    largest = column[np.abs(column).argmax()]
    return np.asarray(np.round(column / (largest or 1.0), 12) + 0.0).tobytes()


def _same_groups(one: RandomFactor, other: RandomFactor) -> bool:
    pairs = one.codes.astype(np.int64) * other.n_levels + other.codes
    return len(np.unique(pairs)) == one.n_levels


def build_design(
    text: str,
    response_name: str,
    y: Floats,
    X: Floats,
    x_names: Sequence[str],
    factors: tuple[RandomFactor, ...],
    recipe: ModelRecipe,
    rows: Any,
    n_rows: int,
) -> Design:
    """Return the design of a model."""
    dropped = n_rows - len(y)
    return Design(
        formula=Formula(text, response_name, text.partition("~")[2].strip(), (), ()),
        response_name=response_name,
        y=y,
        X=X,
        x_names=tuple(x_names),
        offset=None,
        weights=None,
        factors=factors,
        rows=rows,
        n_rows=n_rows,
        n_dropped={"missing values": dropped} if dropped else {},
        findings=(),
        recipe=recipe,  # type: ignore[arg-type]  # answers the same questions
    )
