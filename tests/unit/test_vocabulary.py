"""Names from elsewhere: what the answers say is there, and everything that asks for a name still works."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from collections.abc import Callable

import numpy as np
import pytest

import mixedmodels as mm
from data_loader import load
from mixedmodels.vocabulary import OF_A_CALL, OF_A_FIT, OF_THE_PACKAGE

SLEEP = load("sleepstudy")
FORMULA = "Reaction ~ Days + (Days | Subject)"
FIT = mm.lmer(FORMULA, SLEEP)


def test_answers_name_what_there_is() -> None:
    sentences = {*OF_A_FIT.values(), *OF_THE_PACKAGE.values(), *OF_A_CALL.values()}
    for sentence in sentences:
        for name in re.findall(r"\bfit\.(\w+)", sentence):
            assert hasattr(FIT, name), sentence
        for name in re.findall(r"\bmixedmodels\.(\w+)", sentence):
            assert hasattr(mm, name), sentence
    assert not {name for name in OF_A_FIT if hasattr(FIT, name)}
    assert not set(OF_THE_PACKAGE) & set(mm.__all__)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("params", "the fixed effects are fit.fe_params"),
        ("pvalues", "tests are in fit.coef_table()"),
        ("cov_re", "are fit.varcorr"),
        ("logLik", "fit.llf"),
        ("fe_param", "Did you mean 'fe_params'?"),
    ],
)
def test_attributes_of_other_packages_point_the_way(name: str, says: str) -> None:
    with pytest.raises(mm.UnknownAttributeError, match=re.escape(says)) as caught:
        getattr(FIT, name)
    assert isinstance(caught.value, AttributeError)
    assert "\n" not in str(caught.value)
    assert not hasattr(FIT, name)
    assert getattr(FIT, name, None) is None


@pytest.mark.parametrize("name", ["nlmer", "VarCorr", "lmerr", "anova"])
def test_functions_of_other_packages_point_the_way(name: str) -> None:
    with pytest.raises(mm.UnknownAttributeError, match=f"mixedmodels has no '{name}'"):
        getattr(mm, name)
    assert not hasattr(mm, name)


def test_an_attribute_error_inside_of_a_property_is_not_hidden() -> None:
    class Broken(mm.LmmResult):
        @property
        def broken(self) -> float:
            return (1.0).nothing  # type: ignore[attr-defined]  # what is tested

    with pytest.raises(AttributeError, match="'float' object has no attribute 'nothing'"):
        _ = Broken(FIT.state).broken


def test_copies_and_pickles() -> None:
    for twin in (copy.copy(FIT), copy.deepcopy(FIT), pickle.loads(pickle.dumps(FIT))):
        assert twin.deviance == FIT.deviance
    assert not hasattr(mm.LmmResult.__new__(mm.LmmResult), "state")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mm.lmer(FORMULA, SLEEP, REML=False), "write reml=True or reml=False"),
        (lambda: mm.lmer(FORMULA, SLEEP, subset="x"), "leave rows out of the data"),
        (lambda: mm.lmer(FORMULA, SLEEP, family="binomial"), "responses are normal here"),
        (lambda: mm.lmer(FORMULA, SLEEP, wieghts="w"), "it takes .* Did you mean 'weights'"),
        (lambda: mm.LinearMixedModel(FORMULA, SLEEP, groups="Subject"), r"as in \(1 \| g\)"),
        (lambda: mm.LinearMixedModel(FORMULA, SLEEP).fit(REML=True), "write reml="),
        (lambda: FIT.predict(SLEEP, re_form=None), "write random_effects=, which is 'conditional'"),
        (lambda: FIT.predict(newdata=SLEEP), "write data="),
        (lambda: FIT.simulate(nsim=3), "write n="),
        (lambda: FIT.summary(alpha=0.1), "write level="),
        (lambda: FIT.anova(typ=2), "write type="),
        (lambda: FIT.update(REML=False), "write reml="),
        (lambda: mm.lmer(FORMULA, SLEEP, False), r"lmer\(\) takes formula and data in order .*: write reml="),  # type: ignore[misc]
        (lambda: FIT.simulate(3, 1), r"takes n in order and the rest by name: write seed="),  # type: ignore[misc]
    ],
)
def test_arguments_of_other_packages_point_the_way(call: Callable[[], object], says: str) -> None:
    with pytest.raises(mm.UnknownArgumentError, match=says) as caught:
        call()
    assert isinstance(caught.value, TypeError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("specs", ["pairwise ~ Days", "~ Days | Subject"])
def test_formulas_of_emmeans_point_the_way(specs: str) -> None:
    with pytest.raises(mm.InferenceError, match=r"Write margins\('a', by='b'\) for .* pairwise=True"):
        FIT.margins(specs)


@pytest.mark.parametrize("argument", ["alpha", "parm"])
def test_intervals_take_options_by_method(argument: str) -> None:
    with pytest.raises(mm.InferenceError, match=re.escape(OF_A_CALL[argument])):
        FIT.conf_int(**{argument: 0.1})


def test_warnings_point_to_the_line_of_the_user() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mm.lmer("Yield ~ 1 + (1 | Batch)", load("Dyestuff2"))
        mm.LinearMixedModel("Yield ~ 1 + (1 | Batch)", load("Dyestuff2")).fit()
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_arguments_that_are_one_value_are_no_arrays() -> None:
    with pytest.raises(mm.UnknownArgumentError, match=r"residuals\(\) takes a text for 'kind', not 'ndarray'\.$"):
        FIT.residuals(np.array(["pearson"]))  # type: ignore[arg-type]
    with pytest.raises(mm.InferenceError, match="Did you mean 'pearson'"):  # which knows more
        FIT.residuals(["pearson"])  # type: ignore[arg-type]
    with pytest.raises(mm.UnknownArgumentError, match=r"lmer\(\) takes True or False for 'reml', not 'dict'\.$"):
        mm.lmer(FORMULA, SLEEP, reml={})  # type: ignore[arg-type]
    assert FIT.bootstrap(2, seed=1, path=None, level_of=None, progress=False).n_failed == 0
