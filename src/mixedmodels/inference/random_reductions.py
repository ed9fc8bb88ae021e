"""The random terms of a model, each with the design that is left when it is taken out or reduced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from formulaic.formula import SimpleFormula

from mixedmodels.design.design import Design
from mixedmodels.design.evaluation import Evaluation, Memory
from mixedmodels.design.expression import INTERCEPT
from mixedmodels.design.plan import read_part
from mixedmodels.design.records import RandomFactor
from mixedmodels.fit.structured_fit import refuse_structures
from mixedmodels.formula.algebra import terms_of
from mixedmodels.formula.reduced import reduced

if TYPE_CHECKING:
    from formulaic.parser.types import Term

    from mixedmodels.design.evaluation import MatrixRecipe
    from mixedmodels.design.records import Floats
    from mixedmodels.formula.terms import Formula, RandomTerm


@dataclass(frozen=True)
class Reduction:
    """What is tested, and the smaller model.

    Attributes
    ----------
    label
        ``"(1 | Subject)"`` taken out, or ``"Days in (Days | Subject)"``.
    design
        The smaller model; None if no random term is left.
    removed
        Columns of random effects that the larger model has and the smaller has not.
    partners
        Columns that stay and had covariances with those removed.
    place
        Where the term stands in the larger model.
    random
        The random terms of the smaller model; None where no formula says it, as for models of arrays.
    """

    label: str
    design: Design | None
    removed: int
    partners: int
    place: Place
    random: tuple[RandomTerm, ...] | None = None


@dataclass(frozen=True)
class Place:
    """A random term within theta and within its grouping factor, and what is left of it.

    Attributes
    ----------
    factor
        Position of the grouping factor.
    columns
        The term's columns among those of the factor.
    kept
        Of a term without covariances, which of its columns stay, by position among them.
    span
        M of a term with covariances, whose columns that stay are Z M, (n_columns, n_left).
    theta
        First position of the term in theta.
    n_theta, n_theta_left
        Covariance parameters of the term in the larger and in the smaller model.
    """

    factor: int
    columns: tuple[int, ...]
    kept: tuple[int, ...]
    span: Floats
    theta: int
    n_theta: int
    n_theta_left: int


@dataclass(frozen=True)
class _Part:
    """One random term's columns within its grouping factor; Z is (n_obs, m), None for the single column of ones."""

    names: tuple[str, ...]
    Z: Floats | None
    correlated: bool

    @property
    def n_theta(self) -> int:
        """Covariance parameters of the term."""
        m = len(self.names)
        return m * (m + 1) // 2 if self.correlated else m


def reductions(design: Design) -> Iterator[Reduction]:
    """Yield the reductions of every random term, in the order of the formula.

    ``(x | g)`` becomes ``(1 | g)``; ``(x + z | g)`` becomes ``(z | g)`` and ``(x | g)``; ``(0 + f | g)`` with a
    categorical f becomes ``(1 | g)``; what cannot be reduced is taken out, and so is every term of ``||``. A term that
    an interaction contains stays while the interaction does. In a model that was not made from such terms, each block
    of effects is taken out.

    Parameters
    ----------
    design
        The larger model.
    """
    refuse_structures(design, "Taking random terms out one by one")
    if not design.formula.random:
        yield from _without_blocks(design)
        return
    by_group = {recipe.grouping.variables: k for k, recipe in enumerate(design.recipe.factors)}
    seen: dict[int, int] = {}
    for position, term in enumerate(design.formula.random):
        k = by_group[term.group]
        place = seen[k] = seen.get(k, -1) + 1
        yield from _reduce_term(design, position, term, k, place)


def _without_blocks(design: Design) -> Iterator[Reduction]:
    for k, factor in enumerate(design.factors):
        starts = [0, *accumulate(abs(size) for size in factor.block_sizes)]
        for place, (size, start) in enumerate(zip(factor.block_sizes, starts, strict=False)):
            own = factor.columns[start : start + abs(size)]
            columns = [j for j in range(factor.n_effects) if not start <= j < start + abs(size)]
            sizes = (*factor.block_sizes[:place], *factor.block_sizes[place + 1 :])
            label = f"({' + '.join(own)} | {factor.name})"
            block = _Part(own, None, correlated=size > 0)
            before = [_Part(("",) * abs(b), None, correlated=b > 0) for b in factor.block_sizes[:place]]
            where = _place(design, k, before, block, None)
            yield Reduction(label, _with_columns(design, k, columns, sizes), 1 if size < 0 else size, 0, where)


def _with_columns(design: Design, k: int, columns: Sequence[int], sizes: tuple[int, ...]) -> Design | None:
    """Return the design with some columns of one grouping factor; None if no random effect is left."""
    factors, factor = list(design.factors), design.factors[k]
    if columns:
        Z = None if factor.Z is None else np.ascontiguousarray(factor.Z[:, columns])
        factors[k] = replace(factor, columns=tuple(factor.columns[j] for j in columns), Z=Z, block_sizes=sizes)
    else:
        del factors[k]
    return replace(design, factors=tuple(factors)) if factors else None


def _reduce_term(design: Design, position: int, term: RandomTerm, k: int, place: int) -> Iterator[Reduction]:
    parts = _parts(design, k)
    own, recipe = parts[place], design.recipe.factors[k].matrices[place]
    for name, smaller, left in _smaller_parts(design, term, own, recipe):
        rest = [*parts[:place], *([] if smaller is None else [smaller]), *parts[place + 1 :]]
        label = term_text(term) if name is None else f"{name} in {term_text(term)}"
        n_left = 0 if smaller is None else len(smaller.names)
        partners = n_left if own.correlated else 0
        where = _place(design, k, parts[:place], own, smaller)
        random = None if left is None else _replaced(design.formula, position, left)
        yield Reduction(label, _with_parts(design, k, rest), len(own.names) - n_left, partners, where, random)


def _replaced(formula: Formula, position: int, left: Sequence[Term | str]) -> tuple[RandomTerm, ...]:
    """Return the random terms with what is left of one of them, if anything is."""
    terms = formula.random
    kept = [reduced(terms[position], left, formula)] if left else []
    return (*terms[:position], *kept, *terms[position + 1 :])


def _place(design: Design, k: int, before: Sequence[_Part], own: _Part, smaller: _Part | None) -> Place:
    start = sum(len(part.names) for part in before)
    theta = sum(factor.n_theta for factor in design.factors[:k]) + sum(part.n_theta for part in before)
    names = () if smaller is None else smaller.names
    span = np.zeros((len(own.names), len(names)))
    if smaller is not None and own.Z is not None and own.correlated:
        Z = np.ones((design.n_obs, 1)) if smaller.Z is None else smaller.Z
        span[:] = np.linalg.lstsq(own.Z, Z, rcond=None)[0]
    return Place(
        factor=k,
        columns=tuple(range(start, start + len(own.names))),
        kept=tuple(j for j, name in enumerate(own.names) if name in names),
        span=span,
        theta=theta,
        n_theta=own.n_theta,
        n_theta_left=0 if smaller is None else smaller.n_theta,
    )


def _smaller_parts(
    design: Design, term: RandomTerm, own: _Part, recipe: MatrixRecipe
) -> Iterator[tuple[str | None, _Part | None, Sequence[Term | str] | None]]:
    """Yield each term inside the bars that can go, None if all of them do, the columns and the terms that are left.

    What is left of a split category without its intercept is no formula's: there it would have a column more.
    """
    terms = list(terms_of(term.columns))
    if len(terms) == 1 and str(terms[0]) == "1":
        yield None, None, ()
    elif not term.correlated:
        for inner, columns in _columns_by_term(terms, recipe):
            if len(columns) == len(own.names):
                yield None, None, ()
            else:
                keep = [j for j in range(len(own.names)) if j not in columns]
                Z = None if own.Z is None else np.ascontiguousarray(own.Z[:, keep])
                left = [other for other in terms if str(other) != inner]
                has_formula = not recipe.has_categories or any(str(other) == "1" for other in left)
                part = _Part(tuple(own.names[j] for j in keep), Z, correlated=False)
                yield inner, part, left if has_formula else None
    else:
        for inner in terms:
            if str(inner) != "1" and not any(set(inner.factors) < set(other.factors) for other in terms):
                left = [other for other in terms if other is not inner]
                smaller = _without(design, left, recipe)
                yield None if smaller is None else str(inner), smaller, left or ([] if smaller is None else ["1"])


def _without(design: Design, terms: Sequence[Term], recipe: MatrixRecipe) -> _Part | None:
    """Return the columns of the terms that are left; an intercept for a categorical variable alone, else None."""
    if [str(term) for term in terms] == ["1"] or (not terms and recipe.has_categories):
        return _Part((INTERCEPT,), None, correlated=True)
    if not terms:
        return None
    memory = Memory(dict(design.recipe.memory.transforms), dict(design.recipe.memory.codings))
    evaluation = Evaluation(design.columns, design.n_obs, memory, design.recipe.contrasts)
    Z, smaller = evaluation.first_matrix(read_part(SimpleFormula(list(terms)), evaluation.columns))
    return _Part(smaller.names, Z, correlated=True)


def _columns_by_term(terms: Sequence[Term], recipe: MatrixRecipe) -> list[tuple[str, list[int]]]:
    if recipe.spec is None:
        return [(str(term), [j]) for j, term in enumerate(terms)]
    return [(str(term), list(range(len(recipe.names)))[columns]) for term, columns in recipe.spec.term_slices.items()]


def _parts(design: Design, k: int) -> list[_Part]:
    """Return the columns of one grouping factor by random term."""
    factor = design.factors[k]
    matrices = design.recipe.factors[k].matrices
    correlated = [term.correlated for term in design.formula.random if term.group == _group(design, k)]
    starts = [0, *accumulate(len(recipe.names) for recipe in matrices)]
    return [
        _Part(recipe.names, None if factor.Z is None else factor.Z[:, start : start + len(recipe.names)], together)
        for recipe, start, together in zip(matrices, starts, correlated, strict=False)
    ]


def _group(design: Design, k: int) -> tuple[str, ...]:
    return tuple(design.recipe.factors[k].grouping.variables)


def _with_parts(design: Design, k: int, parts: Sequence[_Part]) -> Design | None:
    """Return the design with other columns of one grouping factor; None if no random effect is left."""
    factors = list(design.factors)
    if parts:
        factors[k] = _factor_of(design.factors[k], parts)
    else:
        del factors[k]
    return replace(design, factors=tuple(factors)) if factors else None


def _factor_of(factor: RandomFactor, parts: Sequence[_Part]) -> RandomFactor:
    ones = np.ones((len(factor.codes), 1))
    matrices = [ones if part.Z is None else part.Z for part in parts]
    alone = len(parts) == 1 and parts[0].Z is None
    sizes = [(len(part.names),) if part.correlated else (1,) * len(part.names) for part in parts]
    return replace(
        factor,
        columns=tuple(name for part in parts for name in part.names),
        Z=None if alone else np.ascontiguousarray(np.hstack(matrices)),
        block_sizes=tuple(size for block in sizes for size in block),
    )


def term_text(term: RandomTerm) -> str:
    """Return a random term by itself, without the nesting that it may come from."""
    left = term.columns.removeprefix("1 + ")
    return f"({left} {'|' if term.correlated else '||'} {term.group_name})"
