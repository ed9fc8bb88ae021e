"""The result of a fit: what users touch, one chapter of its methods a file."""

from mixedmodels.result.glmm import GLMM, KEPT_GLMM, GlmmResult
from mixedmodels.result.intervals import FitProfile
from mixedmodels.result.lmm import KEPT, KIND, LmmResult, for_files
from mixedmodels.result.mmrm import KEPT_MARGINAL, MMRM, CorrelatedResult, MmrmResult, fitted_result

__all__ = [
    "GLMM",
    "KEPT",
    "KEPT_GLMM",
    "KEPT_MARGINAL",
    "KIND",
    "MMRM",
    "CorrelatedResult",
    "FitProfile",
    "GlmmResult",
    "LmmResult",
    "MmrmResult",
    "fitted_result",
    "for_files",
]
