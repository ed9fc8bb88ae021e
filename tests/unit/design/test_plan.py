"""What is remembered of a formula: every ingredient of a fit counts, and a fit is the same whether it is or not."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import mixedmodels as mm
from mixedmodels.design import plan
from mixedmodels.formula import algebra, expressions, parse

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.errors.SingularFitWarning")

RNG = np.random.default_rng(13)
N = 120
DATA = pd.DataFrame({
    "g": np.repeat(np.arange(12), 10), "h": RNG.integers(0, 6, N), "x": RNG.normal(size=N), "z": RNG.normal(size=N),
    "f": RNG.choice(["a", "b", "c"], N), "k": RNG.integers(1, 4, N), "w": RNG.uniform(0.5, 2, N),
})  # fmt: skip
DATA["y"] = RNG.normal(size=12)[DATA.g] + DATA.x * RNG.normal(1, 0.5, 12)[DATA.g] + RNG.normal(size=N)
DATA["log"] = RNG.uniform(1, 2, N)
CACHES = (plan.make_plan, algebra.terms_of, expressions.mentions, parse._parse)


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    forget()
    yield
    forget()


def forget() -> None:
    for cache in CACHES:
        cache.cache_clear()


def content(fit: mm.LmmResult) -> dict[str, object]:
    """Return what a fit is made of and what it says, to the last bit."""
    design = fit.state.design
    return {
        "names": (design.x_names, tuple(f.columns for f in design.factors), design.theta_names),
        "levels": tuple(tuple(f.levels) for f in design.factors),
        "arrays": tuple(
            None if a is None else a.tobytes()
            for a in (design.y, design.X, design.offset, design.weights, *(f.Z for f in design.factors))
        ),
        "codes": tuple(f.codes.tobytes() for f in design.factors),
        "estimates": (fit.deviance, fit.theta.to_numpy().tobytes(), fit.fe_params.to_numpy().tobytes()),
        "findings": tuple(finding.message for finding in fit.findings),
    }


def ordered(levels: list[str]) -> pd.DataFrame:
    return DATA.assign(f=pd.Categorical(DATA.f, categories=levels))


FITS: Mapping[str, tuple[str, object, dict[str, object]]] = {
    "plain": ("y ~ x + f + (x | g)", DATA, {}),
    "another formula": ("y ~ f + x + (x | g)", DATA, {}),
    "no correlation": ("y ~ x + f + (x || g)", DATA, {}),
    "another group": ("y ~ x + f + (x | h)", DATA, {}),
    "another response": ("z ~ x + f + (x | g)", DATA, {}),
    "numbers where labels were": ("y ~ x + f + (x | g)", DATA.assign(f=DATA.k), {}),
    "labels where numbers were": ("y ~ x + f + (x | g)", DATA.assign(x=DATA.x > 0), {}),
    "true and false as text": ("y ~ x + f + (x | g)", DATA.assign(x=np.where(DATA.x > 0, "yes", "no")), {}),
    "another order of levels": ("y ~ x + f + (x | g)", ordered(["c", "b", "a"]), {}),
    "a level that no row has": ("y ~ x + f + (x | g)", ordered(["d", "b", "a", "c"]), {}),
    "groups in another order": ("y ~ x + f + (x | g)", DATA.assign(g=-DATA.g), {}),
    "other values": ("y ~ x + f + (x | g)", DATA.assign(x=DATA.x + 1), {}),
    "missing values": ("y ~ x + f + (x | g)", DATA.assign(x=DATA.x.where(DATA.x < 1)), {}),
    "sums": ("y ~ x + f + (x | g)", DATA, {"contrasts": {"f": "sum"}}),
    "helmert": ("y ~ x + f + (x | g)", DATA, {"contrasts": {"f": "helmert"}}),
    "weights": ("y ~ x + f + (x | g)", DATA, {"weights": "w"}),
    "an array of weights": ("y ~ x + f + (x | g)", DATA, {"weights": DATA.w[::-1].to_numpy()}),
    "offset": ("y ~ x + f + (x | g)", DATA, {"offset": "w"}),
    "an array as offset": ("y ~ x + f + (x | g)", DATA, {"offset": DATA.w[::-1].to_numpy()}),
    "ML": ("y ~ x + f + (x | g)", DATA, {"reml": False}),
    "dot": ("y ~ . - k - h - w - log + (x | g)", DATA, {}),
    "dot with a column more": ("y ~ . - k - h - w - log + (x | g)", DATA.assign(v=DATA.z**2), {}),
    "dot with columns in another order": ("y ~ . - k - h - w - log + (x | g)", DATA[sorted(DATA)[::-1]], {}),
    "a function": ("y ~ log(log) + x + (1 | g)", DATA, {}),
    "a column called as it": ("y ~ log + x + (1 | g)", DATA, {}),
    "a column in backticks": ("y ~ `log(log)` + x + (1 | g)", DATA.assign(**{"log(log)": DATA.z}), {}),
    "a group that is computed": ("y ~ x + (1 | I(g // 2))", DATA, {}),
}


def fitted(name: str) -> dict[str, object]:
    formula, data, arguments = FITS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mm.DroppedRowsWarning)
        return content(mm.lmer(formula, data, **arguments))


def test_a_fit_is_the_same_whatever_was_fitted_before() -> None:
    alone = {}
    for name in FITS:
        forget()
        alone[name] = fitted(name)
    forget()
    for _ in range(2):
        for name in FITS:
            assert fitted(name) == alone[name], name
    for name in reversed(FITS):
        assert fitted(name) == alone[name], name


def test_every_ingredient_makes_a_difference() -> None:
    contents = {name: fitted(name) for name in FITS}
    for one, other in combinations(FITS, 2):
        assert contents[one] != contents[other], (one, other)


def test_the_kind_of_frame_makes_none() -> None:
    formula, there = "y ~ x + f + (x | g)", fitted("plain")
    for data in (DATA, pl.from_pandas(DATA), {name: DATA[name].to_numpy() for name in DATA}, DATA[::-1][::-1]):
        assert content(mm.lmer(formula, data))["estimates"] == there["estimates"]


def test_what_is_refused_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(mm.DataError, match="no column 'x'"):
            mm.lmer("y ~ x + (1 | g)", DATA.drop(columns="x"))
        assert mm.lmer("y ~ x + (1 | g)", DATA).converged
        with pytest.raises(mm.DataError, match="is the index of the data"):
            mm.lmer("y ~ x + (1 | g)", DATA.set_index("x"))
        mm.lmer("y ~ np.cos(x) + z.abs() + (1 | g)", DATA)
        with pytest.raises(mm.FormulaError, match="restricted"):
            mm.lmer("y ~ np.cos(x) + z.abs() + (1 | g)", DATA, evaluate="restricted")
        with pytest.raises(mm.DesignError, match="one level only"):
            mm.lmer("y ~ x + f + (1 | g)", DATA.assign(f="a"))
        with pytest.raises(mm.DataError, match="dates or times"):
            mm.lmer("y ~ x + (1 | g)", DATA.assign(x=pd.date_range("2026-01-01", periods=N)))


def test_a_column_called_weights_is_no_array_of_weights() -> None:
    data = DATA.assign(**{"(weights)": DATA.w, "(offset)": DATA.z})
    for _ in range(2):
        by_name = mm.lmer("y ~ x + (1 | g)", data, weights="(weights)", offset="(offset)")
        by_array = mm.lmer("y ~ x + (1 | g)", data, weights=DATA.w.to_numpy()[::-1], offset=DATA.z.to_numpy()[::-1])
        twin = mm.lmer("y ~ x + (1 | g)", DATA, weights="w", offset="z")
        assert by_name.deviance == twin.deviance != by_array.deviance


def test_results_do_not_share_what_can_be_changed() -> None:
    one, other = (mm.lmer("y ~ x + f + (x | g)", DATA) for _ in range(2))
    assert one.state.design.recipe.sources == other.state.design.recipe.sources
    assert one.state.design.recipe.sources is not other.state.design.recipe.sources
    assert one.state.design.recipe.memory is not other.state.design.recipe.memory


def test_no_more_is_remembered_than_said() -> None:
    for k in range(plan.MAX_KNOWN + 20):
        mm.LinearMixedModel("y ~ x + (1 | g)", DATA[["y", "x", "g"]].assign(**{f"extra{k}": 0}))
    assert plan.make_plan.cache_info().currsize == plan.MAX_KNOWN
    for cache in CACHES:
        assert cache.cache_info().maxsize is not None


def test_threads_do_not_disturb_each_other() -> None:
    alone = {name: fitted(name) for name in FITS if name != "missing values"}  # warning filters hold for all threads
    forget()
    names = [*alone] * 8
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: content(mm.lmer(*FITS[name][:2], **FITS[name][2])), names))
    for name, one in zip(names, found, strict=True):
        assert one == alone[name], name


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\):DeprecationWarning")
def test_a_forked_process_goes_on_from_what_is_remembered() -> None:
    here = fitted("plain")
    with multiprocessing.get_context("fork").Pool(1) as pool:
        for name in ("plain", "another formula", "plain"):
            there = pool.apply_async(fitted, (name,)).get(60)
            assert (there == here) == (name == "plain")
