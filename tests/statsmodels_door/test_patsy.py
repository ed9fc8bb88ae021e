"""What follows from formulas being patsy's own: against patsy, and against statsmodels, which reads them with it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels import MixedLM, mixedlm

patsy = pytest.importorskip("patsy", reason="patsy, whose formulas these are, is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")


def simulated() -> pd.DataFrame:
    """Rows in no order, labels from 100 on, groups of unlike sizes, levels that some groups lack."""
    random, n = np.random.default_rng(5), 150
    g = random.permutation(np.repeat(np.arange(15), random.multinomial(n - 30, np.ones(15) / 15) + 2))
    day = pd.Timestamp(2020, 1, 1) + pd.to_timedelta(random.integers(0, 3, n), unit="D")
    frame = pd.DataFrame(
        {
            "x": random.normal(5, 2, n),
            "p": random.uniform(0.1, 3, n),
            "day": day,
            "g": g,
            "k": random.integers(0, 4, n),
        },
        index=np.arange(100, 100 + n),
    )
    frame["c"] = random.choice(list("ABC"), n, p=[0.2, 0.7, 0.1])
    frame["s"] = pd.Categorical([f"s{j}" for j in random.integers(0, 4, n)])
    frame["f"] = random.random(n) > 0.5
    frame["y"] = random.normal(size=15)[g] + 0.3 * frame["x"] + random.normal(size=n)
    return frame


DATA = simulated()


def twice(x: Any) -> Any:
    return 2 * x


def same_columns(ours: MixedLM, theirs: Any) -> None:
    assert ours.endog_names == theirs.endog_names
    assert ours.data.param_names == theirs.data.param_names
    np.testing.assert_allclose(ours.endog, theirs.endog)
    np.testing.assert_allclose(ours.exog, theirs.exog)
    if ours.exog_re is not None:
        np.testing.assert_allclose(ours.exog_re, theirs.exog_re)


@pytest.mark.parametrize(
    "formula",
    [
        "df.y ~ df.x",
        "np.log(p) ~ C(day) + x",
        "I(y * 2) ~ Q('x')",
        "y ~ 0 + C(c, Sum) * x",
        "y ~ I(x > .5)",
        "y ~ twice(x)",
    ],
)
def test_names_and_values_are_statsmodels(formula: str) -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    df = DATA
    assert len(df)
    same_columns(mixedlm(formula, DATA, groups="g"), smf.mixedlm(formula, DATA, groups="g"))


@pytest.mark.parametrize(
    "text", ["~x", "~ C(c, Sum)", "0 + x", "~ center(x)", "~ x + I(x**2)", "1 + C(day)", "0 + C(f)"]
)
def test_random_coefficients_are_statsmodels(text: str) -> None:
    smf = pytest.importorskip("statsmodels.formula.api")
    same_columns(*(m.mixedlm("y ~ x", DATA, groups="g", re_formula=text) for m in (mm, smf)))


@pytest.mark.parametrize(
    "text",
    [
        "0 + C(k)", "0 + C(day)", "0 + s:x", "0 + C(k):x", "0 + x", "1", "0 + c", "C(c)", "0 + center(x)", "0 + C(f)",
        "0 + f", "0 + bs(x, 3)", "0 + C(k, Sum)", "0 + C(np.round(p))", "0 + C(p > 1)", "~ 0 + C(k)", "0 + c:f",
        "0 + np.log(p) + x",
    ],
)  # fmt: skip
def test_components_are_statsmodels(text: str) -> None:
    """The same labels and designs in every group; a level that a group lacks has no column, or one of zeros."""
    smf = pytest.importorskip("statsmodels.formula.api")
    ours, theirs = (m.mixedlm("y ~ x", DATA, groups="g", vc_formula={"v": text}).exog_vc for m in (mm, smf))
    assert list(ours.names) == list(theirs.names)
    for found, names, expected, expected_names in zip(
        ours.mats[0], ours.colnames[0], theirs.mats[0], theirs.colnames[0], strict=True
    ):
        columns = dict(zip(expected_names, np.asarray(expected).T, strict=True))
        np.testing.assert_allclose(found, np.array([columns.pop(name) for name in names]).T)
        assert all((rest == 0).all() for rest in columns.values())


def test_the_recipe_is_patsys() -> None:
    """``design_info`` is what users of patsy hand to ``build_design_matrices``."""
    model = mixedlm("y ~ center(x) * c + bs(p, 4)", DATA, groups="g")
    rows = DATA.iloc[[3, 50, 7]]
    info = model.data.design_info
    assert isinstance(info, patsy.DesignInfo)
    assert model.data.model_spec is info
    (matrix,) = patsy.build_design_matrices([info], rows)
    np.testing.assert_allclose(matrix, model.exog[[3, 50, 7]])
    assert info.column_names == model.exog_names


@pytest.mark.parametrize("kind", ["matrix", "dataframe"])
def test_matrices_of_patsy_keep_their_names(kind: str) -> None:
    theirs = pytest.importorskip("statsmodels.regression.mixed_linear_model").MixedLM
    y, X = patsy.dmatrices("np.log(p) ~ c * x", DATA, return_type=kind)
    same_columns(MixedLM(y, X, DATA["g"]), theirs(y, X, DATA["g"]))


FORMULAS = ["center(x) * c", "bs(x, 4) + C(day)", "cr(x, df=4) - 1", "te(cr(x, df=3), cr(p, df=3)) - 1", "scale(x) + f",
            "C(k, Treatment(2)) * f", "twice(x)", "np.log(p).clip(-1, 1)", "C(c, Sum('A')):x", "x > 5",
            "C(k, Poly)"]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_kept_results_know_their_formulas(formula: str, tmp_path: Path) -> None:
    """Pickled, copied, and saved without rows, a result predicts what patsy's columns give."""
    fit = mixedlm(f"y ~ {formula}", DATA, groups="g", re_formula="1", vc_formula={"s": "0 + s"}).fit()
    chosen = [3, 50, 7]
    fit.save(tmp_path / "bare", remove_data=True)
    kept = [fit, pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit), mm.load(tmp_path / "bare", trust=True)]
    expected = np.asarray(patsy.dmatrix(formula, DATA))[chosen] @ fit.fe_params.to_numpy()
    for result in kept:
        rows = DATA.iloc[chosen]
        np.testing.assert_allclose(result.predict(rows), expected)
        conditional = result.predict(rows, random_effects="conditional")
        np.testing.assert_allclose(conditional, fit.fittedvalues.iloc[chosen])


def test_a_function_that_cannot_be_kept_is_missed_by_name() -> None:
    def halved(x: Any) -> Any:
        return x / 2

    fit = pickle.loads(pickle.dumps(mixedlm("y ~ halved(x)", DATA, groups="g").fit()))
    assert len(fit.resid) == len(DATA)
    with pytest.raises(mm.DataError, match="calls 'halved', which is not a known function"):
        fit.predict(DATA)


@pytest.mark.parametrize(
    ("ours", "same"),
    [("x * c", "x * c"), ("C(c, Sum) * f", "c * f"), ("C(k) * c", "C(k) * c"), ("x + C(c, Helmert):f", "x + c:f"),
     ("c * C(f, Poly) * x", "c * f * x"), ("C(c, [[0, 1], [1, 0], [3, 3]]) + x", "c + x")],
)  # fmt: skip
@pytest.mark.parametrize("type_", [2, 3])
def test_tests_of_terms_are_lmers_whatever_the_coding(ours: str, same: str, type_: int) -> None:
    fit, other = mixedlm(f"y ~ {ours}", DATA, groups="g").fit(), mm.lmer(f"y ~ {same} + (1 | g)", DATA)
    expected = other.anova(type=type_)
    found = fit.anova(type=type_)
    for coded, plain in (("C(c, Sum)", "c"), ("C(c, Helmert)", "c"), ("C(f, Poly)", "f"),
                         ("C(c, [[0, 1], [1, 0], [3, 3]])", "c")):  # fmt: skip
        found.index = [name.replace(coded, plain) for name in found.index]
    np.testing.assert_allclose(found.loc[expected.index], expected, rtol=1e-5)
    np.testing.assert_allclose(fit.margins("c"), other.margins("c"), rtol=1e-5)


def test_nullable_columns() -> None:
    frame = DATA.assign(x=DATA["x"].astype("Float64"), k=DATA["k"].astype("Int64"), f=DATA["f"].astype("boolean"))
    frame["c"] = frame["c"].astype("string")
    plain, nullable = (mixedlm("y ~ x * c + k + f", data, groups="g") for data in (DATA, frame))
    assert nullable.exog_names == plain.exog_names
    np.testing.assert_allclose(nullable.exog, plain.exog)
    frame.loc[frame.index[:4], ["x", "k", "f", "c"]] = pd.NA
    dropped = mixedlm("y ~ x * c + k + f", frame, groups="g", missing="drop")
    assert dropped.nobs == len(DATA) - 4
    np.testing.assert_allclose(dropped.fit().predict(frame)[4:], dropped.fit().predict())
    assert dropped.fit().predict(frame)[:4].isna().all()


def test_a_level_called_like_a_column() -> None:
    """A text in a formula is a level; only ``Q`` makes a column of it."""
    data = DATA.assign(A=np.nan, B=DATA["x"])
    fit = mixedlm("y ~ C(c, Treatment('A')) + Q('B')", data, groups="g").fit()
    same = mm.lmer("y ~ c + x + (1 | g)", DATA)
    np.testing.assert_allclose(fit.fe_params, same.fe_params, rtol=1e-6)
    np.testing.assert_allclose(fit.margins("c"), same.margins("c"), rtol=1e-6)
    with pytest.raises(mm.DataError, match="'A' has missing values: 150 of 150 rows"):
        mixedlm("y ~ Q('A')", data, groups="g")


def test_gaps_that_a_function_makes() -> None:
    low = (DATA["x"] <= 4).sum()
    with pytest.raises(mm.DataError, match=rf"'np.log\(x - 4\)' has missing values: {low} of 150 rows"):
        mixedlm("y ~ np.log(x - 4)", DATA[DATA["x"] != 4], groups="g")
    model = mixedlm("y ~ np.log(x - 4) + center(p)", DATA, groups="g", missing="drop")
    theirs = patsy.dmatrix("np.log(x - 4) + center(p)", DATA[DATA["x"] > 4])
    np.testing.assert_allclose(model.exog, theirs)
    assert model.data.frame.index.tolist() == DATA.index[DATA["x"] > 4].tolist()


def raising(x: Any) -> Any:
    raise RuntimeError("first line\nsecond line")


FAULTS: dict[str, tuple[str, type[mm.MixedModelsError], str]] = {
    "open end": (
        "y ~ x +",
        mm.FormulaError,
        r"'y ~ x \+' cannot be read: expected a noun, but instead the expression ended\.",
    ),
    "bar": ("y ~ x + (1 | g)", mm.FormulaError, r"has a bar\. Terms such as \(1 \| g\) belong to mixedmodels\.lmer"),
    "two sides": ("y ~ x ~ c", mm.FormulaError, "~ can only be used once"),
    "no response": ("~ x", mm.FormulaError, "has no response"),
    "spaces": ("y ~ my v", mm.FormulaError, r"cannot be read: invalid syntax\. .* Q\('the name'\)\."),
    "backticks": ("y ~ `my v`", mm.FormulaError, r"cannot be read: .* Q\('the name'\)\."),
    "power": ("y ~ x ** c", mm.FormulaError, r"'\*\*' requires a positive integer"),
    "level": ("y ~ C(c, Treatment('Z'))", mm.DataError, "cannot be computed: specified level 'Z' not found"),
    "quoted": ("y ~ Q('X')", mm.DataError, r"There is no column 'X' in the data\. Did you mean 'x'\?"),
    "function": ("y ~ log(x)", mm.DataError, r"calls 'log', which is not a known function\. .* np\.log\(x\)\."),
    "raises": ("y ~ raising(x)", mm.DataError, "cannot be computed: RuntimeError: first line"),
    "rows": ("y ~ np.ones(3)", mm.DataError, r"Number of rows mismatch .* \(150 versus 3\)"),
    "knots": ("y ~ bs(x)", mm.DataError, "must specify either df or knots"),
    "text": ("c ~ x", mm.DataError, r"must be one numeric column, but it gives c\[A\], c\[B\], c\[C\]"),
    "sense": ("y ~ %in%", mm.FormulaError, "cannot be read: patsy finds no sense in it"),
}


@pytest.mark.parametrize(("formula", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_what_patsy_refuses_is_one_sentence(formula: str, kind: type[mm.MixedModelsError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        mixedlm(formula, DATA, groups="g")
    assert "\n" not in str(caught.value)


def test_a_column_that_hides_a_function() -> None:
    with pytest.raises(mm.DataError, match=r"the column 'I' hides the function of that name\. Rename the column\.$"):
        mixedlm("y ~ I(x > 0) + I", DATA.assign(I=1.0), groups="g")
    assert mixedlm("y ~ I", DATA.assign(I=DATA.x), groups="g").fit().llf == mixedlm("y ~ x", DATA, groups="g").fit().llf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="p"), "There is no column 'p' in the data"),
        (lambda d: d.assign(x="a"), "Column 'x' was numeric in the fit, but holds 'a' now"),
        (lambda d: d.assign(c="Z"), "cannot be computed for these data: .*'Z'"),
        (lambda d: d.assign(p="a"), "cannot be computed for these data: .*np.log|cannot be computed for these data"),
    ],
    ids=["column", "number", "level", "computed"],
)
def test_new_data_that_do_not_fit(change: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    fit = mixedlm("y ~ x + c + np.log(p)", DATA, groups="g").fit()
    with pytest.raises(mm.DataError, match=message) as caught:
        fit.predict(change(DATA))
    assert "\n" not in str(caught.value)


def test_patsy_is_loaded_by_formulas_alone() -> None:
    code = """
import sys, numpy as np, mixedmodels as mm
mm.MixedLM(np.arange(20.0) % 7, np.ones((20, 1)), np.repeat(np.arange(5), 4)).fit()
mm.lmer("y ~ 1 + (1 | g)", {"y": np.arange(20.0) % 7, "g": np.repeat(np.arange(5), 4)})
before = "patsy" in sys.modules
mm.mixedlm("y ~ 1", {"y": np.arange(20.0) % 7, "g": np.repeat(np.arange(5), 4)}, groups="g")
print(before, "patsy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False True"


PIECES = (
    """
x|p|c|s|f|k|C(k)|C(c, Sum)|C(s, Treatment('s1'))|center(x)|bs(p, 4)|I(x * p)|x > 5|np.log(p)|Q('x')|day|C(day)|1|0
twice(x)|nosuch|C(c, Nosuch)|log(x)|bs(x)|x.gt(5)|C(c, Sum('Z'))|2|p.shift(1)|(x|c)|'A'
""".strip()
    .replace("\n", "|")
    .split("|")
)
OPERATORS = [" + ", " - ", " * ", ":", " / ", " ** ", " | ", " == ", " ~ ", " "]


def random_formula(random: np.random.Generator) -> str:
    """Return pieces joined by operators, some in parentheses; not all of it makes sense."""
    text = str(random.choice(PIECES))
    for _ in range(random.integers(0, 4)):
        operator = str(random.choice(OPERATORS, p=[0.4, 0.08, 0.14, 0.14, 0.06, 0.04, 0.03, 0.05, 0.03, 0.03]))
        text = f"{text}{operator}{random.choice(PIECES)}"
        if random.random() < 0.2:
            text = f"({text})"
    return text


@pytest.mark.parametrize("seed", range(4))
def test_random_formulas_are_patsys_or_refused_by_us(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = {True: 0, False: 0}
    for formula in (random_formula(random) for _ in range(40)):
        try:
            theirs: Any = patsy.dmatrix(formula, DATA, NA_action="raise")
        except Exception:
            theirs = None
        is_readable = theirs is not None and "|" not in formula
        kinds[is_readable] += 1
        if is_readable:
            model = mixedlm(f"y ~ {formula}", DATA, groups="g")
            assert model.exog_names == theirs.design_info.column_names
            np.testing.assert_allclose(model.exog, theirs)
            found = mixedlm("y ~ 1", DATA, groups="g", vc_formula={"v": formula}).exog_vc
            assert found.names == ["v"]
        else:
            with pytest.raises(mm.MixedModelsError) as caught:
                mixedlm(f"y ~ {formula}", DATA, groups="g")
            assert not {"\n", "\x1b"} & set(str(caught.value))
    assert min(kinds.values()) >= 5
