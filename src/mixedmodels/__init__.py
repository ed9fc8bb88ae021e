"""Linear mixed-effects models: lme4's formulas, exact sparse fits, answers that do not depend on units.

>>> import mixedmodels as mm
>>> fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
>>> round(fit.deviance, 3)
1743.628
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mixedmodels import families, plot
    from mixedmodels.compare import compare
    from mixedmodels.datasets import list_datasets, load_dataset
    from mixedmodels.display.compare_table import table
    from mixedmodels.errors import (
        CollinearColumnsError,
        ConvergenceWarning,
        DataError,
        DesignError,
        DroppedRowsWarning,
        FitError,
        FormulaError,
        IdentificationWarning,
        InferenceError,
        MixedModelsError,
        MixedModelsWarning,
        NotEnoughMemoryError,
        PartialResultWarning,
        RankDeficiencyWarning,
        SingularFitWarning,
        UnknownArgumentError,
        UnknownAttributeError,
        UnknownColumnError,
        UnknownGroupError,
    )
    from mixedmodels.fit.control import Control
    from mixedmodels.fit_each import fit_each
    from mixedmodels.fit_many import fit_many
    from mixedmodels.from_statistics import lmer_from_statistics, sufficient_statistics_sql
    from mixedmodels.glmer import GeneralizedLinearMixedModel, glmer
    from mixedmodels.lmer import LinearMixedModel, lmer
    from mixedmodels.lmer_many import lmer_many
    from mixedmodels.mixedlm import (
        MixedLM,
        MixedLMParams,
        MixedLMResults,
        MixedLMResultsWrapper,
        Penalty,
        VCSpec,
        mixedlm,
    )
    from mixedmodels.mmrm import mmrm
    from mixedmodels.power import power
    from mixedmodels.result.glmm import GlmmResult
    from mixedmodels.result.lmm import LmmResult
    from mixedmodels.result.mmrm import CorrelatedResult, MmrmResult
    from mixedmodels.saved import load

__version__ = "0.1.0"

__all__ = [
    "CollinearColumnsError",
    "Control",
    "ConvergenceWarning",
    "CorrelatedResult",
    "DataError",
    "DesignError",
    "DroppedRowsWarning",
    "FitError",
    "FormulaError",
    "GeneralizedLinearMixedModel",
    "GlmmResult",
    "IdentificationWarning",
    "InferenceError",
    "LinearMixedModel",
    "LmmResult",
    "MixedLM",
    "MixedLMParams",
    "MixedLMResults",
    "MixedLMResultsWrapper",
    "MixedModelsError",
    "MixedModelsWarning",
    "MmrmResult",
    "NotEnoughMemoryError",
    "PartialResultWarning",
    "Penalty",
    "RankDeficiencyWarning",
    "SingularFitWarning",
    "UnknownArgumentError",
    "UnknownAttributeError",
    "UnknownColumnError",
    "UnknownGroupError",
    "VCSpec",
    "__version__",
    "compare",
    "families",
    "fit_each",
    "fit_many",
    "glmer",
    "list_datasets",
    "lmer",
    "lmer_from_statistics",
    "lmer_many",
    "load",
    "load_dataset",
    "mixedlm",
    "mmrm",
    "plot",
    "power",
    "sufficient_statistics_sql",
    "table",
]

_LAZY = {
    "Control": "fit.control",
    "GeneralizedLinearMixedModel": "glmer",
    "GlmmResult": "result.glmm",
    "LinearMixedModel": "lmer",
    "LmmResult": "result.lmm",
    "MixedLM": "mixedlm",
    "MixedLMParams": "mixedlm",
    "MixedLMResults": "mixedlm",
    "MixedLMResultsWrapper": "mixedlm",
    "CorrelatedResult": "result.mmrm",
    "MmrmResult": "result.mmrm",
    "Penalty": "mixedlm",
    "VCSpec": "mixedlm",
    "compare": "compare",
    "fit_each": "fit_each",
    "fit_many": "fit_many",
    "glmer": "glmer",
    "list_datasets": "datasets",
    "lmer": "lmer",
    "lmer_from_statistics": "from_statistics",
    "lmer_many": "lmer_many",
    "load": "saved",
    "load_dataset": "datasets",
    "mixedlm": "mixedlm",
    "mmrm": "mmrm",
    "power": "power",
    "sufficient_statistics_sql": "from_statistics",
    "table": "display.compare_table",
}


MODULES = ("families", "plot")
"""Public names that are modules."""


def __getattr__(name: str) -> object:
    # pandas and formulaic are loaded with the first name that needs them, not with the package.
    if name not in __all__:
        raise _unknown(name)
    if name in MODULES:
        return import_module(f"mixedmodels.{name}")
    return getattr(import_module(f"mixedmodels.{_LAZY.get(name, 'errors')}"), name)


def _unknown(name: str) -> AttributeError:
    if name.startswith("_"):
        return AttributeError(f"module 'mixedmodels' has no attribute {name!r}")
    from mixedmodels.vocabulary import OF_THE_PACKAGE, unknown_attribute  # noqa: PLC0415  # loaded when it is needed

    return unknown_attribute("mixedmodels", name, OF_THE_PACKAGE, __all__)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package; importing its module ``lmer`` does not hide the function ``lmer``."""

    def __setattr__(self, name: str, value: object) -> None:
        hides = isinstance(value, ModuleType) and name in __all__ and name not in MODULES
        super().__setattr__(name, getattr(value, name) if hides else value)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        # what sends functions to other processes (cloudpickle) knows modules by their exact type only
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
