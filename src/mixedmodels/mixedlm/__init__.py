"""The statsmodels door: ``MixedLM`` with its names, conventions and layout, fitted by our engine."""

from __future__ import annotations

from mixedmodels.mixedlm.model import MixedLM
from mixedmodels.mixedlm.params import MixedLMParams
from mixedmodels.mixedlm.results import MixedLMResults
from mixedmodels.mixedlm.specification import VCSpec

MixedLMResultsWrapper = MixedLMResults
"""statsmodels' name for results with labels; ours have them."""

mixedlm = MixedLM.from_formula

__all__ = ["MixedLM", "MixedLMParams", "MixedLMResults", "MixedLMResultsWrapper", "VCSpec", "mixedlm"]
