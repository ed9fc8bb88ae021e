"""The result of a fit: what users touch, one chapter of its methods a file."""

from mixedmodels.result.intervals import FitProfile
from mixedmodels.result.lmm import KEPT, KIND, LmmResult, for_files

__all__ = ["KEPT", "KIND", "FitProfile", "LmmResult", "for_files"]
