"""The door of trials: mmrm's formula and data in, a mixed model for repeated measures out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mixedmodels.errors import InferenceError, nearest
from mixedmodels.fit.call import Call, snapshot
from mixedmodels.fit.correlated_call import build_marginal
from mixedmodels.inference.degrees import MARGINAL_NAMES
from mixedmodels.lmer import warn_of_findings
from mixedmodels.result.mmrm import MmrmResult, fitted_result
from mixedmodels.vocabulary import refuses_unknown

if TYPE_CHECKING:
    from mixedmodels.fit.control import Control


@refuses_unknown
def mmrm(
    formula: str,
    data: object,
    *,
    reml: bool = True,
    ddf: str = "satterthwaite",
    weights: object = None,
    offset: object = None,
    contrasts: Mapping[str, object] | str | None = None,
    missing: str = "drop",
    evaluate: str = "python",
    control: Control | None = None,
) -> MmrmResult:
    """Return a fitted mixed model for repeated measures: residuals of a subject are correlated, with no random effects.

    Parameters
    ----------
    formula
        In the language of the R package mmrm, such as ``"FEV1 ~ ARMCD * AVISIT + us(AVISIT | USUBJID)"``: fixed effects
        as for ``lmer``, and one covariance structure ``kind(visit | subject)``, or ``kind(visit | group / subject)``
        with a covariance for each group of subjects. Kinds: ``us`` unstructured, ``cs`` compound symmetry, ``ar1``,
        ``toep`` Toeplitz, ``ad`` ante-dependence, ``arma11``, ``id`` independence, and ``exp`` (``sp_exp``, ``car1``)
        and ``gau`` over numeric times or coordinates; with an ``h`` behind the name, as in ``csh``, each visit has its
        own variance.
    data
        pandas or polars DataFrame, pyarrow Table, or a mapping of equal-length arrays, one row a subject and visit;
        visits that are missing have no row, or no response. Visits of a category are in its order, others in that of
        their values.
    reml
        Restricted maximum likelihood; False for maximum likelihood.
    ddf
        Degrees of freedom of the summary, as for ``MmrmResult.coef_table``.
    weights
        Column name or array, > 0: Var(e_i) = Sigma_vv / w_i.
    offset, contrasts, missing, evaluate, control
        As for ``lmer``.

    Raises
    ------
    MixedModelsError
        If the formula, the data or the model cannot be used.

    Warns
    -----
    ConvergenceWarning, SingularFitWarning, RankDeficiencyWarning, DroppedRowsWarning
        For findings of the fit that change its reading.

    Examples
    --------
    >>> import mixedmodels as mm
    >>> fit = mm.mmrm("distance ~ age * Sex + us(age | Subject)", mm.load_dataset("Orthodont"))
    >>> fit.residual_correlation.round(2).loc["8", "10"].item()
    0.57
    """
    if isinstance(ddf, str) and ddf not in MARGINAL_NAMES:
        allowed = ", ".join(f'"{name}"' for name in MARGINAL_NAMES)
        raise InferenceError(
            f"ddf={ddf!r} is not available; it must be one of {allowed}.{nearest(ddf, MARGINAL_NAMES)}"
        )
    call = Call(formula, snapshot(data), weights, offset, contrasts, missing, evaluate)
    problem = build_marginal(call, 0 if control is None else control.n_threads)
    fit = fitted_result(problem, call, reml=reml, control=control, ddf=ddf)
    warn_of_findings(fit.findings)
    return fit
