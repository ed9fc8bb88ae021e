"""The model as MathML, which browsers show without help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.design.residual_rows import ResidualRows
    from mixedmodels.fit.generalized import GlmmState
    from mixedmodels.fit.marginal_fit import MarginalState
    from mixedmodels.fit.records import FitState, FixedFit, MixedFit

MAX_MATRIX = 5
"""Effects of a factor whose covariance is written out."""

MAX_TERMS = 20
"""Fixed effects that are written out; of more, x'beta stands for all."""

ROW = "<mi>i</mi>"


def equations(state: FitState) -> list[str]:
    """Return the model equation, the distribution of each factor's effects and that of the residuals, as HTML.

    Each is a sequence of ``<math>`` elements, one a term, so that a narrow page can break lines between them.
    """
    return [_predictor(state), *_distributions(state), _residual(state)]


def marginal_equations(state: MarginalState) -> list[str]:
    """Return the same of a model without random effects whose residuals are correlated within subjects."""
    return [_predictor(state), *_of_subjects(state, state.problem.rows)]


def correlated_equations(state: CorrelatedState) -> list[str]:
    """Return the same of a model with something on its residuals and random effects beside them, or none."""
    own = state.design.residual
    of_residuals = [] if own is None else _of_subjects(state, own)
    known, variance = state.problem.known_sigma, state.design.formula.variance
    if state.design.known_residual is not None:
        variance_of_all = _variance("<mi>σ</mi>") + "<mi>V</mi>"
        told = ", V known" if known is None else ", V and σ known"
        of_residuals.append(_normal("<mi>e</mi>", variance_of_all, state.sigma, sd_of="<mi>σ</mi>") + told)
    elif known is not None:
        of_residuals.append(_normal(_sub("<mi>e</mi>", ROW), _weighted(state), known, sd_of="<mi>σ</mi>") + ", known")
    elif own is None and not variance:
        of_residuals.append(_residual(state))
    if variance:
        terms = " * ".join(term.text for term in variance)
        of_residuals.append(f"Standard deviations of the residuals: <code>{escape(terms)}</code>")
    return [_predictor(state), *_distributions(state), *of_residuals]


def generalized_equations(state: GlmmState) -> list[str]:
    """Return the linear predictor, the distribution of each factor's effects and that of the responses."""
    link, mean = _text(state.family.link), _sub("<mi>μ</mi>", ROW)
    left = f"{mean}" if state.family.link == "identity" else f"{link}<mo>(</mo>{mean}<mo>)</mo>"
    name = _text(state.family.name.replace("_", " "))
    parameters = mean + ("" if state.dispersion is None else "<mo>,</mo><mi>d</mi>")
    if state.family.responses == "successes":
        parameters = _sub("<mi>n</mi>", ROW) + "<mo>,</mo>" + parameters
    response = _sub(_text(state.design.response_name), ROW)
    distribution = _math(f"{response}<mo>∼</mo>{name}<mo>(</mo>{parameters}<mo>)</mo>")
    if state.dispersion is not None:
        distribution += ", " + _math(f"<mi>d</mi><mo>=</mo>{_number(numbers.significant(state.dispersion))}")
    return [_sum(left, _terms(state)), *_distributions(state), distribution]


def category_equations(state: GlmmState) -> list[str]:
    """Return the same of ordered categories: chances of being below a threshold."""
    chance = f"<mi>P</mi><mo>(</mo>{_sub(_text(state.design.response_name), ROW)}<mo>≤</mo><mi>k</mi><mo>)</mo>"
    left = f"{_text(state.family.link)}<mo>(</mo>{chance}<mo>)</mo>"
    own = _terms(state, state.own_fixed)
    terms = [_sub("<mi>θ</mi>", "<mi>k</mi>"), *own]
    return [_sum(left, terms, sign="−"), *_distributions(state)]


def _predictor(state: FixedFit) -> str:
    return _sum(_sub(_text(state.design.response_name), ROW), [*_terms(state), _sub("<mi>e</mi>", ROW)])


def _terms(state: FixedFit, own: slice = slice(None)) -> list[str]:
    """Return what a linear predictor is the sum of."""
    design = state.design
    if len(state.fixed_names) > MAX_TERMS:
        terms = ["<msubsup><mi>x</mi><mi>i</mi><mo>′</mo></msubsup><mi>β</mi>"]
    else:
        terms = [_fixed_term(k, name) for k, name in list(enumerate(state.fixed_names))[own]]
    if design.offset is not None:
        terms.append(_sub("<mtext>offset</mtext>", ROW))
    return terms + [
        _random_term(factor, column, len(factor.columns) > 1) for factor in design.factors for column in factor.columns
    ]


def _sum(left: str, terms: Sequence[str], sign: str = "+") -> str:
    """Return an equation whose right side may be broken between terms; ``sign`` stands before the second and others."""
    first = _math(left + '<mo form="infix">=</mo>' + terms[0])
    return " ".join([first, *(_math(f'<mo form="infix">{sign}</mo>{term}') for term in terms[1:])])


def _of_subjects(state: MarginalState, own: ResidualRows) -> list[str]:
    """Return the distribution of the residuals of a subject."""
    subject = _text(own.term.subject)
    vector = _sub("<mi>e</mi>", subject)
    title = state.problem.covariance.title if isinstance(state, CorrelatedState) else state.problem.structure.title
    lines = [
        _math(f"{vector}<mo>∼</mo><mi>N</mi><mo>(</mo><mn>0</mn><mo>,</mo>{_sub('<mi>R</mi>', subject)}<mo>)</mo>")
        + f", {escape(title)}: <code>{escape(own.term.text)}</code>"
    ]
    few = not own.has_own_times and len(own.visits) <= MAX_MATRIX and not isinstance(state, CorrelatedState)
    for group, Sigma in zip(own.groups, state.residual_covariance, strict=True) if few else ():
        below = "" if own.term.group is None else f"{escape(own.term.group)} {escape(str(group))}: "
        lines.append(below + _math(f"{_sub('<mi>R</mi>', subject)}<mo>=</mo>{_matrix(Sigma)}"))
    return lines


def _fixed_term(k: int, name: str) -> str:
    coefficient = _sub("<mi>β</mi>", f"<mn>{k}</mn>")
    return coefficient if name == INTERCEPT else coefficient + _times(name)


def _random_term(factor: RandomFactor, column: str, is_one_of_several: bool) -> str:
    """Return b with its effect and the level of row i below it, times the column."""
    level = _text(factor.name) + f"<mo>[</mo>{ROW}<mo>]</mo>"
    below = _text(column) + "<mo>,</mo>" + level if is_one_of_several else level
    effect = _sub("<mi>b</mi>", below)
    return effect if column == INTERCEPT else effect + _times(column)


def _distributions(state: MixedFit) -> Iterator[str]:
    for factor, fitted in zip(state.design.factors, factor_covariances(state), strict=True):
        name = _text(factor.name)
        if factor.n_effects == 1:
            yield _normal(_sub("<mi>b</mi>", name), _variance(f"{_sub('<mi>σ</mi>', name)}"), fitted.sd[0])
            continue
        effects = [_sub("<mi>b</mi>", _text(column) + "<mo>,</mo>" + name) for column in factor.columns]
        vector = "<mo>(</mo>" + "<mo>,</mo>".join(effects) + "<mo>)</mo>"
        Sigma = _sub("<mi>Σ</mi>", name)
        matrix = f"<mo>=</mo>{_matrix(fitted.covariance)}" if factor.n_effects <= MAX_MATRIX else ""
        yield _math(vector + "<mo>∼</mo><mi>N</mi><mo>(</mo><mn>0</mn><mo>,</mo>" + Sigma + "<mo>)</mo>") + (
            ", " + _math(Sigma + matrix) if matrix else ""
        )


def _residual(state: FixedFit) -> str:
    return _normal(_sub("<mi>e</mi>", ROW), _weighted(state), state.sigma, sd_of="<mi>σ</mi>")


def _weighted(state: FixedFit) -> str:
    """Return the variance of a residual, over its weight if there is one."""
    variance = _variance("<mi>σ</mi>")
    return variance if state.design.weights is None else f"<mfrac>{variance}{_sub('<mi>w</mi>', ROW)}</mfrac>"


def _normal(what: str, variance: str, sd: float, sd_of: str | None = None) -> str:
    """Return ``what ~ N(0, variance)`` and the estimated standard deviation."""
    distribution = what + "<mo>∼</mo><mi>N</mi><mo>(</mo><mn>0</mn><mo>,</mo>" + variance + "<mo>)</mo>"
    symbol = sd_of or variance.removeprefix("<msup>").rpartition("<mn>2</mn></msup>")[0]
    return _math(distribution) + ", " + _math(f"{symbol}<mo>=</mo>{_number(numbers.significant(sd))}")


def _matrix(values: Floats) -> str:
    texts = np.array(numbers.column(values.ravel().tolist())).reshape(values.shape)
    rows = "".join(f"<mtr>{''.join(f'<mtd>{_number(text)}</mtd>' for text in row)}</mtr>" for row in texts.tolist())
    return f"<mtable>{rows}</mtable>"


def _math(content: str) -> str:
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"><mrow>{content}</mrow></math>'


def _number(text: str) -> str:
    return f"<mrow><mo>−</mo><mn>{text[1:]}</mn></mrow>" if text.startswith("-") else f"<mn>{text}</mn>"


def _variance(symbol: str) -> str:
    return f"<msup>{symbol}<mn>2</mn></msup>"


def _sub(base: str, below: str) -> str:
    return f"<msub><mrow>{base}</mrow><mrow>{below}</mrow></msub>"


def _times(column: str) -> str:
    factors: Sequence[str] = column.split(":")
    return "<mo>⁢</mo>" + "<mo>·</mo>".join(_sub(_text(factor), ROW) for factor in factors)


def _text(name: str) -> str:
    return f"<mtext>{escape(name)}</mtext>"
