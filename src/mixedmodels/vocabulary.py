"""What users of R, statsmodels and scikit-learn look for under another name, and where it is here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Number
from os import PathLike
from types import MappingProxyType
from typing import ParamSpec, TypeVar

import numpy as np

from mixedmodels.errors import MixedModelsError, UnknownArgumentError, UnknownAttributeError, memory_told, nearest

P = ParamSpec("P")
R = TypeVar("R")


def _by_name(sentences: Mapping[str, str]) -> Mapping[str, str]:
    """Return the sentence of each name; names that share one stand side by side in its key."""
    return MappingProxyType({name: sentence for names, sentence in sentences.items() for name in names.split()})


OF_A_FIT = _by_name({
    "params coef coefs coef_ fixef coefficients beta": "the fixed effects are fit.fe_params, with tests and intervals "
    "fit.coef_table()",
    "pvalues tvalues": "tests are in fit.coef_table()",
    "bse se": "standard errors of the fixed effects are fit.bse_fe",
    "cov_params vcov": "the covariance of the fixed effects is fit.cov_fe",
    "cov_re vcomp VarCorr": "the covariances of the random effects are fit.varcorr",
    "ranef": "the effects of the levels are fit.random_effects, in one frame fit.random_effects_frame()",
    "loglik logLik loglike": "the log-likelihood is fit.llf",
    "rsquared rsquared_adj": "R-squared, marginal and conditional, is fit.r2()",
    "eta_squared omega_squared cohens_f2": "sizes of terms are fit.effect_sizes(kind)",
    "standardize standardize_parameters": "standardised coefficients are fit.standardized(method)",
    "emmeans lsmeans": "marginal means are fit.margins()",
    "test simple_effects": "effects within levels are tested by fit.joint_tests(by=...)",
    "emtrends avg_slopes": "slopes are fit.slopes()",
    "t_test f_test wald_test": "tests of combinations of coefficients are fit.contrast(...)",
    "compare_lr_test lrtest": "fits are compared by mixedmodels.compare",
    "confint": "intervals are fit.conf_int(method)",
    "fitted": "fitted values are fit.fittedvalues",
    "AIC": "it is fit.aic here",
    "BIC": "it is fit.bic here",
    "REML": "it is fit.reml here",
    "isSingular": "it is fit.is_singular here",
    "ngrps": "numbers of levels are fit.n_groups",
    "get_prediction": "predictions with intervals are fit.predict(interval='confidence')",
    "resid_pearson": "they are fit.residuals('pearson')",
    "bse_re": "standard errors of variance parameters are in fit.variance_parameters()",
    "dropterm": "it is fit.drop1() here",
    "bootMer": "it is fit.bootstrap() here",
    "getME": "theta is fit.theta, and the design is fit.state.design",
    "model": "the design is fit.state.design, and what made it is fit.call",
})  # fmt: skip
"""Names that results have elsewhere, and what to use here."""

OF_A_GENERALIZED_FIT = _by_name({
    "fitted_values": "conditional means are fit.fittedvalues",
    "ranova to_dict drop1 step": "it is not available for generalised models yet",
    "overdispersion": "compare family='poisson' with family='negative_binomial' by mixedmodels.compare",
})  # fmt: skip
"""Names that results of linear models have, and what to use for generalised ones."""

OF_THE_PACKAGE = _by_name({
    "glmmTMB clmm glm": "generalised linear mixed models are fitted by mixedmodels.glmer",
    "nlmer": "nonlinear models are not fitted; there are mixedmodels.lmer and mixedmodels.glmer",
    "lme Lmer": "linear mixed models are fitted by mixedmodels.lmer",
    "gls MMRM": "models with correlated residuals are fitted by mixedmodels.mmrm",
    "anova": "fits are compared by mixedmodels.compare, terms are tested by fit.anova()",
    "summary fixef ranef VarCorr confint ranova": "ask the fit, as in fit.summary(), fit.fe_params, "
    "fit.random_effects, fit.varcorr, fit.conf_int() or fit.ranova()",
    "simulate predict": "ask the fit, as in fit.simulate() or fit.predict()",
    "emmeans lsmeans": "marginal means are fit.margins()",
    "emtrends": "slopes are fit.slopes()",
    "powerSim powerCurve": "it is mixedmodels.power here",
    "lmerControl": "limits of the optimiser are mixedmodels.Control",
    "allFit": "there is one optimiser, whose steps are in fit.optimizer",
    "isSingular": "it is fit.is_singular here",
    "drop1 step": "ask the fit, as in fit.drop1() or fit.step()",
    "lmList": "one regression a level is mixedmodels.fit_each",
    "bootMer": "it is fit.bootstrap() here",
    "rePCA": "it is fit.re_pca() here",
    "contrast": "contrasts are fit.contrast() and, of marginal means, fit.margins(contrasts=...)",
})  # fmt: skip
"""Names that packages for mixed models have elsewhere, and what to use here."""

OF_A_CALL = _by_name({
    "REML method": "write reml=True or reml=False",
    "subset": "leave rows out of the data, as in data[data['x'] > 0]",
    "na_action": "write missing='drop' or missing='raise'",
    "family link": "responses are normal here; mixedmodels.glmer has other families",
    "nAGQ": "write n_agq=",
    "random groups re_formula vc_formula exog_re": "random terms stand in the formula, as in (1 | g), and "
    "mixedmodels.mixedlm takes what statsmodels takes",
    "correlation": "residuals are independent beside random effects; without these mixedmodels.mmrm has correlations",
    "re_form use_re": "write random_effects=, which is 'conditional', 'population' or names of terms (to simulate "
    "'new' or 'conditional')",
    "newdata exog": "write data=",
    "allow_new_levels": "write new_levels='population'",
    "se_fit": "write interval='confidence', which gives standard errors too",
    "pairwise contrasts control adjust": "marginal means and slopes of the fixed part have contrasts, fit.margins() "
    "and fit.slopes(); predicted effects of levels have standard errors one by one",
    "alpha conf_level": "write level=, the coverage, such as 0.95",
    "nsim": "write n=",
    "random_state": "write seed=",
    "optimizer lmerControl optCtrl": "limits of the optimiser are control=mixedmodels.Control(...)",
    "ddf": "tests choose it, as in fit.summary(ddf='kenward-roger')",
    "parm": "write which=",
    "typ": "write type=",
    "verbose": "the steps of a fit are in fit.optimizer.trace",
    "devFunOnly": "mixedmodels.LinearMixedModel has deviance(theta) without a fit",
})  # fmt: skip
"""Arguments that functions take elsewhere, and what to write here."""


def unknown_attribute(
    owner: str, name: str, elsewhere: Mapping[str, str], known: Iterable[str]
) -> UnknownAttributeError:
    """Return the complaint that something has no such name, with what to use instead.

    Parameters
    ----------
    owner
        What it is that was asked.
    name
        The name.
    elsewhere
        Names known from elsewhere, and what to use here.
    known
        Names that there are.
    """
    if name in elsewhere:
        return UnknownAttributeError(f"{owner} has no {name!r}: {elsewhere[name]}.")
    return UnknownAttributeError(f"{owner} has no {name!r}.{nearest(name, known)}")


_ONE_VALUE: Mapping[str, str] = MappingProxyType({
    "str": "a text", "bool": "True or False", "int": "a whole number", "float": "a number", "PathLike[str]": "a path",
    "None": "None",
})  # fmt: skip
"""Types of arguments that are one value, and what they are called."""

_SCALARS = (str, bytes, Number)


def refuses_unknown(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function, which answers unknown arguments, arrays in the place of one value and no memory, in words.

    NumPy's True and False reach it as Python's.

    Raises
    ------
    UnknownArgumentError, NotEnoughMemoryError
        By the function returned.
    """
    parameters = inspect.signature(function).parameters
    known = tuple(name for name in parameters if name not in ("self", "cls"))
    named = [name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    has_options = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    by_name = {
        name
        for name in known
        if parameters[name].kind not in {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    }
    has_any = any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters.values())
    n_in_order = len(parameters) - len(named)
    types = {name: str(parameter.annotation).split(" | ") for name, parameter in parameters.items()}
    single = {name: kinds for name, kinds in types.items() if _ONE_VALUE.keys() >= set(kinds)}
    is_asked_of = next(iter(parameters), "") == "self" and function.__name__ != "__init__"

    def called(args: tuple[object, ...]) -> str:
        # a method is called after the object in the user's hands, not after the class that has it
        owner = f"{type(args[0]).__name__}.{function.__name__}" if is_asked_of and args else function.__qualname__
        return owner.removesuffix(".__init__") + "()"

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) > n_in_order and named and not has_any:
            in_order = known[: -len(named)]
            raise UnknownArgumentError(
                f"{called(args)} takes {' and '.join(in_order) or 'nothing'} in order and the rest by name: write "
                f"{' or '.join(f'{name}=' for name in named)}."
            )
        for name in kwargs:
            if name not in by_name and not has_options:
                advice = OF_A_CALL.get(name, f"it takes {', '.join(known)}")
                near = "" if name in OF_A_CALL else nearest(name, known)
                raise UnknownArgumentError(f"{called(args)} has no argument {name!r}: {advice}.{near}")
        args, kwargs = tuple(map(_plain_flag, args)), {name: _plain_flag(value) for name, value in kwargs.items()}  # type: ignore[assignment]
        given = (*zip(parameters, args, strict=False), *kwargs.items())
        wrong = [(name, value) for name, value in given if name in single and not _is_one_value(value, single[name])]
        if not wrong:
            try:
                return function(*args, **kwargs)
            except MemoryError:
                with memory_told(called(args)):
                    raise
        name, value = wrong[0]
        words = " or ".join(_ONE_VALUE[kind] for kind in single[name])
        complaint = UnknownArgumentError(f"{called(args)} takes {words} for {name!r}, not {type(value).__name__!r}.")
        if all("str" in single[name] for name, _ in wrong):
            try:
                function(*args, **kwargs)
            except MixedModelsError:  # which may know what was meant
                raise
            except Exception as error:
                raise complaint from error
        raise complaint

    return checked


def _plain_flag(value: object) -> object:
    return bool(value) if isinstance(value, np.bool_) else value


def _is_one_value(value: object, kinds: Sequence[str]) -> bool:
    """Return whether a value is a scalar, or a path where that is wanted; which scalar it may be says the function."""
    if "PathLike[str]" in kinds:
        return isinstance(value, str | PathLike) or (value is None and "None" in kinds)
    if isinstance(value, _SCALARS) or getattr(value, "ndim", None) == 0:
        return True
    return not isinstance(value, Iterable) and not hasattr(value, "__array__")
