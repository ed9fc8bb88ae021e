"""The statsmodels door: ``MixedLM`` under its own names, on this package's engine.

Facts about what users of statsmodels rely on are in the documentation's page "Coming from statsmodels".
"""

from mixedmodels.mixedlm.model import MixedLM
from mixedmodels.mixedlm.params import MixedLMParams
from mixedmodels.mixedlm.results import MixedLMResults
from mixedmodels.mixedlm.specification import VCSpec

__all__ = ["MixedLM", "MixedLMParams", "MixedLMResults", "VCSpec", "mixedlm"]

mixedlm = MixedLM.from_formula
