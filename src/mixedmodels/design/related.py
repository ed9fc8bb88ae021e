"""What is not there for models whose levels have known covariances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mixedmodels.errors import InferenceError

if TYPE_CHECKING:
    from mixedmodels.design.design import Design


def refuse_related(design: Design, what: str) -> None:
    """Refuse what takes the levels of grouping factors as independent.

    Raises
    ------
    InferenceError
        Those of a factor have a relationship.
    """
    related = next((factor.name for factor in design.factors if factor.relationship is not None), None)
    if related is not None:
        raise InferenceError(
            f"{what} is not there for models with relationship=, and the levels of {related!r} have one. Leave it out "
            "for levels that are independent."
        )
