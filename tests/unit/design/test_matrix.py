"""Fixed and random columns: the same as formulaic's, and what the formula language promises."""

from __future__ import annotations

from typing import Any

import formulaic
import numpy as np
import pandas as pd
import pytest
from formulaic.transforms.contrasts import HelmertContrasts, SumContrasts, TreatmentContrasts

from data_loader import load
from mixedmodels.design.build import build_design
from mixedmodels.design.design import Design
from mixedmodels.design.records import RandomFactor
from mixedmodels.errors import DataError, DesignError
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(20240501)
N = 60
DATA = pd.DataFrame(
    {
        "y": RNG.normal(size=N),
        "x": RNG.normal(size=N),
        "z": RNG.uniform(1, 9, N),
        "k": RNG.integers(0, 5, N),
        "b": RNG.integers(0, 2, N).astype(bool),
        "f": pd.Categorical(np.tile(["lo", "mid", "hi"], N // 3), categories=["lo", "mid", "hi", "never"]),
        "s": np.repeat(["q", "p"], N // 2),
        "g": np.arange(N) % 10,
        "h": np.arange(N) % 4,
        "two words": RNG.normal(size=N),
    }
)


def design(formula: str, data: Any = DATA, **arguments: Any) -> Design:
    """Return the design of a formula."""
    return build_design(parse_formula(formula), data, **arguments)


def by_formulaic(right: str, data: pd.DataFrame = DATA) -> pd.DataFrame:
    """Return formulaic's own matrix; it keeps unused categories, so these go first, and takes booleans as numbers."""
    trimmed = data.assign(f=data["f"].cat.remove_unused_categories(), b=data["b"].astype("category"))
    return formulaic.Formula(right).get_model_matrix(
        trimmed, context={"factor": formulaic.transforms.C, "sqrt": np.sqrt}
    )


def only_factor(formula: str, **arguments: Any) -> RandomFactor:
    """Return the one grouping factor of a formula."""
    (factor,) = design(formula, **arguments).factors
    return factor


@pytest.mark.parametrize(
    "right",
    [
        "1",
        "0",
        "x",
        "0 + x",
        "x + z + k",  # no formulaic needed
        "x + b",
        "0 + b",
        "C(b)*z",
        "k + x:z",
        "x*z",
        "f",
        "0 + f",
        "s + f",
        "s*f",
        "f*x",
        "f:x",
        "0 + f:x",
        "f:s",
        "(x + z + f)**2",
        "x + I(x**2)",
        "log(z)",
        "sqrt(z)",
        "np.exp(x)",
        "poly(x, 2)",
        "bs(x, df=4)",
        "cr(x, df=4)",
        "scale(x) + center(z)",
        "C(k)",
        "factor(k)",
        "C(f, contr.sum)",
        "C(f, contr.helmert):x",
        "C(f, Treatment('mid'))",
        "`two words` + log(`two words`**2)",
        "b:x",
        "{x + z}",
        "x.clip(0)",
    ],
)
def test_fixed_part_is_formulaic_s(right: str) -> None:
    ours, theirs = design(f"y ~ {right} + (1|g)"), by_formulaic(right)
    assert list(ours.x_names) == list(theirs.columns)
    np.testing.assert_array_equal(ours.X, theirs.to_numpy(dtype=float).reshape(N, -1))
    assert ours.X.dtype == np.float64
    assert ours.X.flags.c_contiguous


@pytest.mark.parametrize(
    "left",
    [
        "x",
        "0 + x",
        "x*z",
        "x + I(x**2)",
        "log(z)",
        "poly(x, 2)",
        "bs(x, df=4)",
        "f",
        "0 + f",
        "0 + f:x",
        "C(f, contr.sum)",
    ],
)
@pytest.mark.parametrize("fixed", ["1", "x", "f*x", "poly(x, 2)"])
@pytest.mark.parametrize("bars", ["|", "||"])
def test_random_part_is_formulaic_s(left: str, fixed: str, bars: str) -> None:
    factor, theirs = only_factor(f"y ~ {fixed} + ({left} {bars} h)"), by_formulaic(left)
    assert list(factor.columns) == list(theirs.columns)
    assert factor.Z is not None
    np.testing.assert_array_equal(factor.Z, theirs.to_numpy(dtype=float))
    assert factor.Z.flags.c_contiguous
    assert factor.block_sizes == ((len(factor.columns),) if bars == "|" else (1,) * len(factor.columns))


def test_intercepts_need_no_column() -> None:
    assert only_factor("y ~ x + (1|g)").Z is None
    assert only_factor("y ~ 1 + (1|g)").Z is None
    assert only_factor("y ~ x + (1|g)").columns == ("Intercept",)


def test_equal_columns_are_shared() -> None:
    for formula in ("y ~ x + (x|g)", "y ~ f*x + (1 + f*x|h)", "y ~ poly(x, 2) + (poly(x, 2)|h)"):
        made = design(formula)
        assert made.factors[0].Z is made.X


def test_response_may_be_transformed() -> None:
    np.testing.assert_allclose(design("log(z) ~ x + (1|g)").y, np.log(DATA["z"]))
    np.testing.assert_allclose(
        design("z^2 / k ~ x + (1|g)", DATA.assign(k=DATA["k"] + 1)).y, DATA["z"] ** 2 / (DATA["k"] + 1)
    )
    np.testing.assert_array_equal(design("`two words` ~ x + (1|g)").y, DATA["two words"])
    np.testing.assert_array_equal(design("b ~ x + (1|g)").y, DATA["b"])
    assert design("log(z) ~ x + (1|g)").response_name == "log(z)"


def test_columns_may_be_called_like_words_of_python() -> None:
    oats = load("Oats")
    made = build_design(parse_formula("yield ~ nitro + (nitro | Block)"), oats)
    np.testing.assert_array_equal(made.y, oats["yield"])


def test_offsets_add_up() -> None:
    both = design("y ~ x + offset(z) + offset(log(z)) + (1|g)", offset="k")
    np.testing.assert_allclose(both.offset, DATA["z"] + np.log(DATA["z"]) + DATA["k"])
    array = design("y ~ x + offset(z) + (1|g)", offset=DATA["x"].to_numpy())
    np.testing.assert_allclose(array.offset, DATA["z"] + DATA["x"])
    assert design("y ~ x + (1|g)").offset is None


def test_weights() -> None:
    np.testing.assert_array_equal(design("y ~ x + (1|g)", weights="z").weights, DATA["z"])
    foreign = DATA["z"].set_axis(np.arange(N)[::-1] + 0.5)
    np.testing.assert_array_equal(design("y ~ x + (1|g)", weights=foreign).weights, DATA["z"])
    np.testing.assert_array_equal(design("y ~ x + (1|g)", weights=[2] * N).weights, np.full(N, 2.0))
    assert design("y ~ x + (1|g)").weights is None


def test_rest_of_the_columns() -> None:
    frame = DATA[["y", "x", "z", "f", "g", "k"]].assign(k=DATA["k"] + 1)
    made = design("y ~ . + (x|g)", frame, weights="k")
    assert made.x_names == ("Intercept", "x", "z", "f[T.mid]", "f[T.hi]")
    assert design("log(z) ~ . - x + (1|g)", frame[["z", "x", "k", "g"]]).x_names == ("Intercept", "k")


def test_terms_of_one_factor_are_merged() -> None:
    factor = only_factor("y ~ x + (1|g) + (0 + x|g)")
    assert (factor.columns, factor.block_sizes) == (("Intercept", "x"), (1, 1))
    np.testing.assert_array_equal(factor.Z, np.column_stack([np.ones(N), DATA["x"]]))
    factor = only_factor("y ~ x + (x|h) + (0 + z + k||h)")
    assert (factor.columns, factor.block_sizes) == (("Intercept", "x", "z", "k"), (2, 1, 1))
    assert factor.n_theta == 5


def test_theta_names() -> None:
    made = design("y ~ x + (x|g) + (0 + z||h) + (1|h)")
    assert made.theta_names == ("g.Intercept", "g.x.Intercept", "g.x", "h.z", "h.Intercept")


def test_factors_with_more_levels_come_first() -> None:
    made = design("y ~ x + (1|s) + (1|h) + (1|g) + (1|f)")
    assert [f.name for f in made.factors] == ["g", "h", "f", "s"]
    tied = DATA.assign(g2=DATA["g"].to_numpy()[::-1] // 2 * 2 + 1, g3=RNG.permutation(N) % 10)
    tied["g2"] = (tied["g3"] * 7 + DATA["x"].gt(0)) % 10
    assert [f.name for f in design("y ~ x + (1|g2) + (1|g3) + (1|g)", tied).factors] == ["g2", "g3", "g"]


def test_double_bar_splits_categories_and_says_so() -> None:
    made = design("y ~ x + (f || h)")
    assert made.factors[0].columns == ("Intercept", "f[T.mid]", "f[T.hi]")
    assert made.factors[0].block_sizes == (1, 1, 1)
    finding = next(f for f in made.findings if f.kind == "double_bar_split")
    assert "(f || h)" in finding.message
    assert "f[T.mid], f[T.hi]" in finding.message
    for quiet in ("y ~ x + (x || g)", "y ~ f + (f | h)", "y ~ x + (poly(x, 2) || h)"):
        assert not any(f.kind == "double_bar_split" for f in design(quiet).findings)


@pytest.mark.parametrize(
    ("contrast", "spelled"),
    [
        ("sum", "contr.sum"),
        ("helmert", "contr.helmert"),
        ("poly", "contr.poly"),
        ("treatment", "contr.treatment"),
        ("diff", "contr.diff"),
        ("SAS", "contr.SAS"),
        (SumContrasts(), "contr.sum"),
        (HelmertContrasts, "contr.helmert"),
        (TreatmentContrasts(base="mid"), "contr.treatment('mid')"),
    ],
)
@pytest.mark.parametrize("formula", ["y ~ f*x + (1|g)", "y ~ x + (f|h)", "y ~ s*f + (0 + f|h)"])
def test_contrasts_argument(contrast: object, spelled: str, formula: str) -> None:
    chosen = design(formula, contrasts={"f": contrast})
    written = design(formula.replace("f", f"C(f, {spelled})"))
    np.testing.assert_array_equal(chosen.X, written.X)
    assert [name.replace(f"C(f, {spelled})", "f") for name in written.x_names] == list(chosen.x_names)
    for ours, theirs in zip(chosen.factors, written.factors, strict=True):
        assert ours.Z is theirs.Z is None or np.array_equal(np.asarray(ours.Z), np.asarray(theirs.Z))


@pytest.mark.parametrize(
    ("contrasts", "says"),
    [
        ({"ff": "sum"}, "contrasts names 'ff'.*Did you mean 'f'"),
        ({"x": "sum"}, r"contrasts names 'x'.*not a categorical column.*C\(x, contr.sum\)"),
        ({"s": "sum"}, "contrasts names 's'"),
        ({"f": "summ"}, "'summ' of 'f' is unknown.*Did you mean 'sum'.*Known are treatment, sum, helmert"),
        ({"f": 3}, "contrast of 'f' must be one of.*not 'int'"),
    ],
)
def test_contrasts_that_cannot_be_used(contrasts: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        design("y ~ f*x + (1|g)", contrasts=contrasts)


@pytest.mark.parametrize(
    ("formula", "says"),
    [
        ("y ~ x + (x|g) + (x|g)", r"\(x\|g\) is in the formula twice"),
        ("y ~ x + (1|a/g) + (1|a)", r"\(1\|a\) is in the formula twice"),
        ("y ~ x + (1|g) + (x|g)", "'Intercept' of 'g' is in two terms"),
        ("y ~ x + (x|g) + (x||g)", "'Intercept' of 'g' is in two terms"),
        ("y ~ x + (1|a:h) + (1|h:a)", "'a:h' and 'h:a' divide the rows into the same"),
        ("y ~ x + (1|g) + (x|copy)", "'g' and 'copy' divide the rows into the same 10 groups"),
    ],
)
def test_effects_that_cannot_be_told_apart(formula: str, says: str) -> None:
    with pytest.raises(DesignError, match=says):
        design(formula, DATA.assign(copy=DATA["g"].map(lambda v: f"{9 - v}"), a=DATA["g"] % 2))


def test_same_groups_with_different_effects_are_fine() -> None:
    made = design("y ~ x + (1|g) + (0 + x|copy)", DATA.assign(copy=9 - DATA["g"]))
    assert [f.name for f in made.factors] == ["g", "copy"]


@pytest.mark.parametrize("column", ["log", "scale", "I", "C", "pi"])
def test_columns_may_be_called_like_functions(column: str) -> None:
    made = design(f"y ~ {column} + exp(x) + ({column}|g)", DATA.rename(columns={"z": column}))
    np.testing.assert_array_equal(made.X[:, 1], DATA["z"])


def test_functions_of_r() -> None:
    made = design("y ~ sin(2*pi*x) + poly(x, 2, raw = TRUE) + as.factor(k) + I(x^2) + (1|g)")
    np.testing.assert_allclose(made.X[:, list(made.x_names).index("sin(2 * pi * x)")], np.sin(2 * np.pi * DATA["x"]))
    np.testing.assert_allclose(made.X[:, list(made.x_names).index("I(x ** 2)")], DATA["x"] ** 2)
    assert "factor(k)[T.1]" in made.x_names
