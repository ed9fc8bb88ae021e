"""Which random effects a prediction takes: all, none, those of some grouping factors or of some terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.inference.wald import names_in

if TYPE_CHECKING:
    from mixedmodels.design.design import Design

    Mask = npt.NDArray[np.bool_]

WHOLE = ("conditional", "population")


def chosen_columns(design: Design, random_effects: object) -> tuple[Mask, ...]:
    """Return which columns of each grouping factor a choice of random effects takes, (n_effects,) a factor.

    Parameters
    ----------
    design
        The model.
    random_effects
        ``"conditional"``, ``"population"``, or names of grouping factors and texts of terms, ``"(1 | Subject)"``.

    Raises
    ------
    InferenceError
        If it names what is not there.
    """
    places, names = _term_places(design), [factor.name for factor in design.factors]
    wanted = [] if _is_whole(random_effects) else names_in(random_effects)
    terms = [one for one in wanted if isinstance(one, str) and _bare(one) in places]
    factors = random_effects if _is_whole(random_effects) else [one for one in wanted if one not in terms]
    used = used_factors(names, factors, terms=[term.text for term in design.formula.random])
    masks = tuple(np.full(factor.n_effects, whole) for factor, whole in zip(design.factors, used, strict=True))
    for term in terms:
        for k, columns in places[_bare(term)]:
            masks[k][columns] = True
    return masks


def used_factors(names: Sequence[str], random_effects: object, terms: Iterable[str] = ()) -> tuple[bool, ...]:
    """Return which of the grouping factors, by name, a choice of random effects takes.

    Parameters
    ----------
    names
        Of the grouping factors.
    random_effects
        ``"conditional"``, ``"population"``, or some of the names.
    terms
        What else could have been chosen, for the message.

    Raises
    ------
    InferenceError
        If it names one that is not there.
    """
    if _is_whole(random_effects):
        return (random_effects == "conditional",) * len(names)
    wanted, known = names_in(random_effects), [*names, *dict.fromkeys(terms)]
    for name in wanted:
        if name not in names:
            some = f" or some of {', '.join(known)}" if known else ""
            raise InferenceError(
                f"random_effects names {name!r}; it must be 'conditional', 'population'{some}."
                f"{nearest(name, [*known, *WHOLE])}"
            )
    return tuple(name in wanted for name in names)


def _is_whole(random_effects: object) -> bool:
    return isinstance(random_effects, str) and random_effects in WHOLE


def _term_places(design: Design) -> dict[str, list[tuple[int, slice]]]:
    """Return the factor and its columns of each random term, by its text without blanks."""
    places: dict[str, list[tuple[int, slice]]] = {}
    if not design.formula.random:
        return places
    for k, recipe in enumerate(design.recipe.factors):
        own = [term for term in design.formula.random if term.group == tuple(recipe.grouping.variables)]
        ends = list(accumulate((len(matrix.names) for matrix in recipe.matrices), initial=0))
        for term, start, end in zip(own, ends, ends[1:], strict=False):
            places.setdefault(_bare(term.text), []).append((k, slice(start, end)))
    return places


def _bare(text: str) -> str:
    return "".join(text.split())
