"""The model as MathML, which browsers show without help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from mixedmodels.design.expression import INTERCEPT
from mixedmodels.inference.covariances import factor_covariances
from mixedmodels.texts import numbers

if TYPE_CHECKING:
    from mixedmodels.design.records import Floats, RandomFactor
    from mixedmodels.fit.records import FitState

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


def _predictor(state: FitState) -> str:
    design = state.design
    if len(state.fixed_names) > MAX_TERMS:
        terms = ["<msubsup><mi>x</mi><mi>i</mi><mo>′</mo></msubsup><mi>β</mi>"]
    else:
        terms = [_fixed_term(k, name) for k, name in enumerate(state.fixed_names)]
    if design.offset is not None:
        terms.append(_sub("<mtext>offset</mtext>", ROW))
    terms += [
        _random_term(factor, column, len(factor.columns) > 1) for factor in design.factors for column in factor.columns
    ]
    terms.append(_sub("<mi>e</mi>", ROW))
    left = _sub(_text(design.response_name), ROW) + '<mo form="infix">=</mo>'
    return " ".join([_math(left + terms[0]), *(_math('<mo form="infix">+</mo>' + term) for term in terms[1:])])


def _fixed_term(k: int, name: str) -> str:
    coefficient = _sub("<mi>β</mi>", f"<mn>{k}</mn>")
    return coefficient if name == INTERCEPT else coefficient + _times(name)


def _random_term(factor: RandomFactor, column: str, is_one_of_several: bool) -> str:
    """Return b with its effect and the level of row i below it, times the column."""
    level = _text(factor.name) + f"<mo>[</mo>{ROW}<mo>]</mo>"
    below = _text(column) + "<mo>,</mo>" + level if is_one_of_several else level
    effect = _sub("<mi>b</mi>", below)
    return effect if column == INTERCEPT else effect + _times(column)


def _distributions(state: FitState) -> Iterator[str]:
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


def _residual(state: FitState) -> str:
    variance = _variance("<mi>σ</mi>")
    if state.design.weights is not None:
        variance = f"<mfrac>{variance}{_sub('<mi>w</mi>', ROW)}</mfrac>"
    return _normal(_sub("<mi>e</mi>", ROW), variance, state.sigma, sd_of="<mi>σ</mi>")


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
