"""The result of a fit: what users touch, one chapter of its methods a file."""

from mixedmodels.result.glmm import GLMM, KEPT_GLMM, GlmmResult
from mixedmodels.result.intervals import FitProfile
from mixedmodels.result.lmm import KEPT, KIND, LmmResult, for_files
from mixedmodels.result.mmrm import KEPT_MMRM, MMRM, MmrmResult

__all__ = [
    "GLMM",
    "KEPT",
    "KEPT_GLMM",
    "KEPT_MMRM",
    "KIND",
    "MMRM",
    "FitProfile",
    "GlmmResult",
    "LmmResult",
    "MmrmResult",
    "for_files",
]
