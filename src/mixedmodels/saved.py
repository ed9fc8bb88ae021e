"""Results from files."""

from __future__ import annotations

from os import PathLike
from typing import Any

from mixedmodels.diagnose.influence import INFLUENCE
from mixedmodels.diagnose.influence import KEPT as OF_INFLUENCE
from mixedmodels.display.many_responses import KEPT as OF_RESPONSES
from mixedmodels.display.many_responses import RESPONSES
from mixedmodels.fit import storage
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.generalized import GlmmState
from mixedmodels.fit.long_work import KEPT as OF_WORK
from mixedmodels.fit.long_work import Work
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit_many import KEPT as OF_MANY
from mixedmodels.fit_many import MANY
from mixedmodels.inference.bootstrap import BOOTSTRAP, Replicated, kept
from mixedmodels.inference.replicated_correlated import CorrelatedReplicated
from mixedmodels.inference.replicated_generalized import GeneralizedReplicated
from mixedmodels.inference.replicated_linear import LinearReplicated
from mixedmodels.inference.replicated_marginal import MarginalReplicated
from mixedmodels.inference.simulated_power import KEPT as OF_POWER
from mixedmodels.inference.simulated_power import POWER, Simulation
from mixedmodels.interrupted import warn_if_interrupted
from mixedmodels.result.glmm import GLMM, KEPT_GLMM, GlmmResult
from mixedmodels.result.lmm import KEPT, KIND, LmmResult
from mixedmodels.result.mmrm import KEPT_MARGINAL, MMRM, CorrelatedResult, MmrmResult
from mixedmodels.texts.noted_frame import show_notes
from mixedmodels.vocabulary import refuses_unknown


@refuses_unknown
def load(path: str | PathLike[str], *, trust: bool = False) -> Any:
    """Return what ``save`` or a ``path=`` wrote; a fit answers everything that the original did.

    Nothing in the file is run by loading it. Predictions for new data compute the formula's expressions, as for a
    formula that one types: do not ask them of a file of someone whose formula you would not run.

    Parameters
    ----------
    path
        The file.
    trust
        Read a pickle too, as version 0.1 wrote them, and the statsmodels door does: this can run any program that the
        writer of the file put there.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged or no saved result, was written in another format by a later version, or
        is a pickle and not trusted.

    Warns
    -----
    PartialResultWarning
        If it holds work that was interrupted, or still goes on.
    """
    if trust and storage.is_pickle(path):
        return storage.load_pickle(path)
    records = (
        KEPT,
        *KEPT_MARGINAL,
        KEPT_GLMM,
        *OF_WORK,
        *kept(_replicated),
        *OF_INFLUENCE,
        *OF_POWER,
        *OF_MANY,
        *OF_RESPONSES,
    )
    found = storage.load_records(path, (KIND, MMRM, GLMM, BOOTSTRAP, INFLUENCE, POWER, MANY, RESPONSES), records)
    if not isinstance(found, Work):
        return found
    warn_if_interrupted(found.done)
    return show_notes(found.done.table()) if isinstance(found.done, Simulation) else found.done


def _replicated(state: Any) -> Replicated:
    """Return a fit from a file as its bootstrap sees it."""
    if isinstance(state, GlmmState):
        return GeneralizedReplicated(state, GlmmResult)
    if isinstance(state, CorrelatedState):
        return CorrelatedReplicated(state, CorrelatedResult)
    if isinstance(state, MarginalState):
        return MarginalReplicated(state, MmrmResult)
    return LinearReplicated(state, LmmResult)
