"""Results that were saved and loaded."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
from formulaic.transforms.contrasts import SumContrasts

import mixedmodels as mm
from mixedmodels.fit.storage import save_pickle


def messy_data() -> pd.DataFrame:
    """Return unbalanced rows with gaps, labels of many kinds, and names that no model uses."""
    rng = np.random.default_rng(5)
    n = 160
    site = rng.choice(["north", "south", "east \u00e9"], n, p=[0.6, 0.3, 0.1])
    data = pd.DataFrame(
        {
            "patient": [f"Name {k}" for k in range(n)],
            "g": pd.Categorical(rng.choice(["b", "a", "c", "d", "e", "f"], n), categories=list("fedcbaz")),
            "h": rng.integers(0, 8, n),
            "site": site,
            "sex": rng.random(n) < 0.5,
            "age": pd.array(np.where(rng.random(n) < 0.05, None, rng.integers(20, 80, n)), dtype="Int64"),
            "day": pd.Timestamp("2020-01-01", tz="Europe/Paris") + pd.to_timedelta(rng.integers(0, 4, n), unit="D"),
            "band": pd.cut(rng.normal(size=n), [-10, -0.5, 0.5, 10]),
            "time": 1.6e9 + rng.integers(0, 1000, n),
            "w": rng.uniform(0.5, 2, n),
        },
        index=pd.MultiIndex.from_arrays([np.arange(n) % 7, np.arange(n)], names=["batch", "row"]),
    )
    data["y"] = rng.normal(size=n) + 0.5 * rng.normal(size=8)[data["h"]] + data["sex"]
    data.loc[data.index[:3], "y"] = np.nan
    return data


DATA = messy_data()
OWN = np.array([[1.0, 0], [0, 1], [-1, -1]])
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("y ~ age + sex + (1 | g)", {}),
    ("y ~ site * scale(age) + poly(h, 2) + (1 | g)", {"contrasts": {"site": "sum"}, "weights": "w"}),
    ("y ~ site + (1 + sex || h) + (1 | g:h)", {"contrasts": {"site": OWN}, "weights": DATA["w"]}),
    ("y ~ bs(time, df=4) + offset(w) + (1 | h)", {"reml": False, "offset": np.ones(len(DATA))}),
    ("y ~ C(site, contr.treatment('south')) + I(age > 50) + (1 | h)", {"control": mm.Control(n_starts=1)}),
    ("y ~ band + C(day) + (1 | h)", {"contrasts": {"band": pd.DataFrame(OWN, columns=["u", "v"])}}),
    ("np.log(y + 10) ~ center(time) + cr(age, df=3) + (0 + band | h)", {}),
    ("y ~ site + (1 | day) + (1 | band:h)", {"contrasts": {"site": SumContrasts}}),
    ("y ~ 0 + sex:site + (1 | h)", {"missing": "drop"}),
]


@pytest.fixture(params=CALLS, ids=lambda call: call[0])
def fit(request: pytest.FixtureRequest) -> mm.LmmResult:
    formula, options = request.param
    return mm.lmer(formula, DATA, **options)


@pytest.mark.filterwarnings("ignore")
def test_a_loaded_fit_answers_the_same(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    fit.save(path)
    again = mm.load(path)
    assert about(path)["left out"] == []
    assert again.summary() == fit.summary()
    assert again.to_dict() == fit.to_dict()
    assert again.findings == fit.findings
    assert again.call.formula == fit.call.formula
    pd.testing.assert_frame_equal(again.anova(), fit.anova())
    pd.testing.assert_series_equal(again.resid, fit.resid)
    pd.testing.assert_frame_equal(again.optimizer.trace, fit.optimizer.trace)
    for factor, modes in fit.random_effects.items():
        pd.testing.assert_frame_equal(again.random_effects[factor], modes)
    new = DATA.dropna().iloc[:20]
    pd.testing.assert_series_equal(again.predict(new), fit.predict(new))
    pd.testing.assert_frame_equal(again.bootstrap(3, seed=1).replicates, fit.bootstrap(3, seed=1).replicates)
    assert again.update(reml=False).deviance == fit.update(reml=False).deviance
    mine = again.augment()
    pd.testing.assert_frame_equal(mine, fit.augment()[list(mine.columns)])


def about(path: Path) -> dict[str, Any]:
    with ZipFile(path) as file:
        return dict(json.loads(file.read("about.json")))


@pytest.mark.filterwarnings("ignore")
def test_columns_that_no_model_uses_stay_at_home(tmp_path: Path) -> None:
    path = tmp_path / "fit.mm"
    mm.lmer("y ~ age + (1 | g)", DATA.reset_index(drop=True)).save(path)
    assert about(path)["columns"] == ["y", "g", "age"]
    assert about(path)["labels of rows"] is None
    assert b"Name 17" not in path.read_bytes()
    assert list(mm.load(path).call.data.columns) == ["g", "age", "y"]
    mm.lmer("y ~ age + (1 | g)", DATA).save(path)
    assert about(path)["labels of rows"] == ["batch", "row"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["polars", "pyarrow", "mapping"])
def test_other_frames(kind: str, tmp_path: Path) -> None:
    columns = DATA.reset_index(drop=True)[["y", "g", "h", "day", "patient"]]
    data: Any = columns.to_dict("list")
    if kind == "polars":
        data = pytest.importorskip("polars").from_pandas(columns)
    elif kind == "pyarrow":
        data = pytest.importorskip("pyarrow").Table.from_pandas(columns)
    fit = mm.lmer("y ~ C(day) + (1 | g) + (1 | h)", data)
    fit.save(tmp_path / "fit")
    again = mm.load(tmp_path / "fit")
    assert type(again.call.data) is type(data)
    assert again.summary() == fit.summary()
    mine = again.augment()
    pd.testing.assert_frame_equal(mine, fit.augment()[list(mine.columns)])
    assert b"Name 17" not in (tmp_path / "fit").read_bytes()


class Thirds(SumContrasts):  # type: ignore[misc]  # formulaic has no types
    """A coding of the user's own."""


@pytest.mark.filterwarnings("ignore")
def test_a_coding_of_ones_own_is_left_out_and_the_rest_answers(tmp_path: Path) -> None:
    fit = mm.lmer("y ~ site + (1 | h)", DATA, contrasts={"site": Thirds()})
    fit.save(tmp_path / "fit")
    assert about(tmp_path / "fit")["left out"] == [f"an object of the class '{__name__}.Thirds'"]
    again = mm.load(tmp_path / "fit")
    assert again.summary() == fit.summary()
    pd.testing.assert_series_equal(again.resid, fit.resid)
    with pytest.raises(mm.MixedModelsError, match=r"needs an object of the class '.*Thirds', which the file"):
        again.predict(DATA.dropna().iloc[:2])


def test_refitted_results(tmp_path: Path) -> None:
    sleep = mm.load_dataset("sleepstudy")
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", sleep).refit(sleep["Reaction"] + 1)
    fit.save(tmp_path / "fit")
    again = mm.load(tmp_path / "fit")
    assert again.summary() == fit.summary()
    with pytest.raises(mm.InferenceError, match="update needs the data"):
        again.update(reml=False)


def test_pickles_are_read_where_they_are_trusted(tmp_path: Path) -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    save_pickle(fit, tmp_path / "old")
    with pytest.raises(mm.DataError, match="trust=True"):
        mm.load(tmp_path / "old")
    assert mm.load(tmp_path / "old", trust=True).summary() == fit.summary()
    fit.save(tmp_path / "new")
    assert mm.load(tmp_path / "new", trust=True).summary() == fit.summary()


def test_another_process_reads_it(tmp_path: Path) -> None:
    fit = mm.lmer("angle ~ recipe * temp + (1 | replicate/recipe)", mm.load_dataset("cake"))
    fit.save(tmp_path / "fit")
    code = (
        "import mixedmodels as mm, sys; fit = mm.load(sys.argv[1]);"
        "new = {'recipe': ['B'], 'temp': [200], 'replicate': [3]};"
        "print(fit.predict(new).tolist(), fit.anova()['p_value'].tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "fit"], capture_output=True, text=True, check=True)
    predicted = fit.predict({"recipe": ["B"], "temp": [200], "replicate": [3]}).tolist()
    assert done.stdout.strip() == f"{predicted} {fit.anova()['p_value'].tolist()}"


def test_dates_of_python(tmp_path: Path) -> None:
    sleep = mm.load_dataset("sleepstudy")
    start = dt.date(2020, 1, 1)
    when = [start + dt.timedelta(days=int(day)) for day in sleep["Days"]]
    fit = mm.lmer("Reaction ~ C(when) + (1 | Subject)", sleep.assign(when=when))
    fit.save(tmp_path / "fit")
    assert mm.load(tmp_path / "fit").summary() == fit.summary()


ANSWERED = {
    "coef_table": (),
    "variance_parameters": (),
    "conf_int": (),
    "tidy": (),
    "glance": (),
    "predict": (DATA.dropna().iloc[:5],),
}
"""What a fit without rows answers, with arguments."""

REFUSED = {
    **dict.fromkeys(("anova", "residuals", "r2", "icc", "check", "hat_values", "ranova", "influence"), ()),
    **dict.fromkeys(("augment", "update", "simulate", "profile", "criteria", "simulated_residuals"), ()),
    "bootstrap": (2,),
}


@pytest.mark.filterwarnings("ignore")
def test_a_fit_without_rows(fit: mm.LmmResult, tmp_path: Path) -> None:
    path = tmp_path / "fit"
    fit.save(path, data=False)
    mm.load(path).save(path)  # which cannot have them again
    again = mm.load(path)
    assert about(path)["columns"] == []
    assert "the rows of the fit" in about(path)["left out"]
    for values in (fit.state.design.y, fit.state.design.X, fit.state.design.factors[0].codes):
        assert values.tobytes()[:80] not in path.read_bytes()
    has_aliases = fit.state.n_fixed < fit.state.design.X.shape[1]  # then the rows tell what can be predicted
    for name, arguments in ANSWERED.items():
        if name == "predict" and has_aliases:
            with pytest.raises(mm.InferenceError, match="needs the rows of the fit"):
                again.predict(*arguments)
            continue
        expected, found = (getattr(each, name)(*arguments) for each in (fit, again))
        assert found.equals(expected), name
    for name in ("fe_params", "bse_fe", "theta", "cov_fe"):
        assert getattr(again, name).equals(getattr(fit, name)), name
    first = {fit.state.fixed_names[0]: 1}
    assert again.contrast(first).equals(fit.contrast(first))
    assert again.to_dict() == fit.to_dict()
    assert str(again.varcorr) == str(fit.varcorr)
    assert again.nobs == fit.nobs
    of_rows = [table for table in fit.summary().tables if table.rows[0][0] == "Standardized residuals"]
    assert [table for table in fit.summary().tables if table not in of_rows] == list(again.summary().tables)
    assert len(of_rows) == 1
    for factor, modes in fit.random_effects.items():
        pd.testing.assert_frame_equal(again.random_effects[factor], modes)
    for name, arguments in REFUSED.items():
        with pytest.raises(mm.MixedModelsError, match=r"needs the (rows|data) of the fit"):
            getattr(again, name)(*arguments)
    with pytest.raises(mm.InferenceError, match="needs the rows of the fit"):
        again.refit(np.arange(fit.nobs, dtype=float))
    for name in ("fittedvalues", "resid", "random_effects_cov"):
        with pytest.raises(mm.MixedModelsError, match="needs the rows of the fit"):
            getattr(again, name)


def test_kenward_rogers_method_without_rows(tmp_path: Path) -> None:
    fit = mm.lmer("Reaction ~ Days + (Days | Subject)", mm.load_dataset("sleepstudy"))
    fit.save(tmp_path / "fit", data=False)
    with pytest.raises(mm.InferenceError, match="needs the rows of the fit"):
        mm.load(tmp_path / "fit").coef_table("kenward-roger")
    table = fit.coef_table("kenward-roger")
    fit.save(tmp_path / "fit", data=False)
    pd.testing.assert_frame_equal(mm.load(tmp_path / "fit").coef_table("kenward-roger"), table)


def test_what_depends_on_all_rows_is_refused_without_them(tmp_path: Path) -> None:
    sleep = mm.load_dataset("sleepstudy")
    fit = mm.lmer("Reaction ~ I(Days - Days.mean()) + (1 | Subject)", sleep)
    fit.save(tmp_path / "fit", data=False)
    with pytest.raises(mm.DataError, match="depends on all rows of the data"):
        mm.load(tmp_path / "fit").predict(sleep.iloc[:3])
