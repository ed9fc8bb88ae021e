"""The statsmodels door: ``MixedLM`` under its own names, on this package's engine.

Facts about what users of statsmodels rely on are in the documentation's page "Coming from statsmodels".
"""

from mixedmodels.mixedlm.model import MixedLM
from mixedmodels.mixedlm.reading.params import MixedLMParams
from mixedmodels.mixedlm.reading.penalties import Penalty
from mixedmodels.mixedlm.reading.specification import VCSpec
from mixedmodels.mixedlm.results import MixedLMResults

__all__ = [
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "Penalty",
    "VCSpec",
    "mixedlm",
]

mixedlm = MixedLM.from_formula
MixedLMResultsWrapper = MixedLMResults
"""What statsmodels' fits return; ours need no wrapper."""
