"""Values that NumPy and pandas hold in special ways give the model of plain ones."""

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.design.build import build_design
from mixedmodels.formula.parse import parse_formula

RNG = np.random.default_rng(0)
N = 120
DATA = pd.DataFrame({
    "g": np.repeat(np.arange(12), 10),
    "age": RNG.integers(10, 120, N),
    "dose": RNG.integers(0, 100, N),
    "y": RNG.normal(size=N),
})  # fmt: skip


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint64", "Int8"])
@pytest.mark.parametrize(
    "right", ["age*dose", "I(age**2)", "I(age - 150) + I(-dose)", "log(age) + sqrt(dose)", "age + offset(age*dose)"]
)
def test_whole_numbers_do_not_overflow(right: str, kind: str) -> None:
    small = DATA.astype({"age": kind, "dose": kind})
    one, other = (build_design(parse_formula(f"y ~ {right} + (1|g)"), data) for data in (small, DATA))
    np.testing.assert_array_equal(one.X, other.X)
    if other.offset is not None:
        np.testing.assert_array_equal(one.offset, other.offset)


def test_masked_values_are_missing() -> None:
    columns = {name: DATA[name].to_numpy() for name in DATA}
    masked = {
        "y": np.ma.masked_greater(columns["y"], 1.5),
        "g": np.ma.masked_equal(columns["g"], 3),
        "age": np.ma.masked_less(columns["age"], 15),
    }
    kept = ~np.logical_or.reduce([values.mask for values in masked.values()])
    with pytest.warns(mm.DroppedRowsWarning):
        fit = mm.lmer("y ~ age + (1|g)", columns | masked)
    assert fit.deviance == pytest.approx(mm.lmer("y ~ age + (1|g)", DATA[kept]).deviance, abs=1e-8)
    assert fit.nobs == kept.sum()


def test_arrow_dictionaries_with_nulls() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"y": DATA["y"], "g": DATA["g"], "f": pa.array([None, *"abcb" * 29, *"abc"]).dictionary_encode()})
    with pytest.warns(mm.DroppedRowsWarning):
        one = mm.lmer("y ~ f + (1|g)", table.to_pandas(types_mapper=pd.ArrowDtype))
    with pytest.warns(mm.DroppedRowsWarning):
        other = mm.lmer("y ~ f + (1|g)", table.to_pandas())
    assert one.deviance == other.deviance


def test_whole_numbers_beyond_signed_ones_keep_their_values() -> None:
    large = DATA.assign(k=np.uint64(2**63) + DATA["g"].to_numpy().astype(np.uint64) % np.uint64(3))
    made, plain = (
        build_design(parse_formula("y ~ C(k) + (1|g)"), data) for data in (large, DATA.assign(k=DATA["g"] % 3))
    )
    np.testing.assert_array_equal(made.X, plain.X)
    assert made.x_names == ("Intercept", f"C(k)[T.{2**63 + 1}]", f"C(k)[T.{2**63 + 2}]")
