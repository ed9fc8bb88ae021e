"""Robust covariances: their names, their tables, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm

SLEEP = mm.load_dataset("sleepstudy")
FIT = mm.lmer("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_names_and_objects_are_the_same_method() -> None:
    named = FIT.coef_table("robust")
    for ddf in (
        "CR2",
        FIT.cov_fe_robust(),
        FIT.cov_fe_robust("CR2", "Subject"),
        FIT.cov_fe_robust(cluster=SLEEP.Subject),
    ):
        pd.testing.assert_frame_equal(FIT.coef_table(ddf), named)
    assert FIT.coef_table("CR3").loc["Days", "std_error"] > named.loc["Days", "std_error"]


def test_the_covariance_and_every_table() -> None:
    robust = FIT.cov_fe_robust()
    frame = robust.to_frame()
    assert list(frame.index) == list(frame.columns) == ["Intercept", "Days"]
    np.testing.assert_allclose(FIT.coef_table(robust)["std_error"], np.sqrt(np.diag(frame)))
    assert (robust.kind, robust.cluster, robust.n_clusters) == ("CR2", "Subject", 18)
    assert "cluster-robust (CR2, 18 clusters: Subject)" in str(FIT.summary(robust))
    assert FIT.anova(ddf=robust).loc["Days", "den_df"] == pytest.approx(17)
    assert pickle.loads(pickle.dumps(robust)).kind == "CR2"


def test_rows_that_were_dropped() -> None:
    gaps = SLEEP.astype({"Reaction": float})
    gaps.loc[3, "Reaction"] = np.nan
    with pytest.warns(mm.DroppedRowsWarning):
        fit = mm.lmer("Reaction ~ Days + (Days | Subject)", gaps)
    a, b = fit.cov_fe_robust(cluster=gaps["Subject"]), fit.cov_fe_robust(cluster=gaps["Subject"].drop(3))
    np.testing.assert_array_equal(a.covariance, b.covariance)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "CR4"}, "kind='CR4' is not available; it must be one of"),
        ({"cluster": "Subjct"}, "neither a grouping factor nor a column.*Did you mean 'Subject'"),
        ({"cluster": [1, 2]}, r"cluster has shape \(2,\); the model was fitted to 180 of 180 rows"),
        ({"cluster": "Days"}, "Level 308 of Subject has rows in several clusters"),
        ({"cluster": np.zeros(180)}, "There is one cluster only"),
        ({"cluster": np.where(np.arange(180) == 7, np.nan, 1.0)}, "have a missing value at row 7"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(mm.InferenceError, match=message.replace("Level 308", "Level '?308'?")):
        FIT.cov_fe_robust(**arguments)


def test_crossed_factors_are_refused() -> None:
    fit = mm.lmer("diameter ~ 1 + (1 | plate) + (1 | sample)", mm.load_dataset("Penicillin"))
    with pytest.raises(mm.InferenceError, match=r"of plate has rows in several clusters.*crossed"):
        fit.coef_table("robust")


def test_too_few_clusters_for_a_joint_test() -> None:
    fit = mm.lmer("score ~ Machine + (1 | Worker)", mm.load_dataset("Machines"))
    few = np.asarray(fit.state.design.factors[0].codes) // 3
    robust = fit.cov_fe_robust(cluster=few)
    with pytest.raises(mm.InferenceError, match=r"2 clusters \(as given\) are too few for a robust joint test of 2"):
        fit.contrast(["Machine[T.B]", "Machine[T.C]"], ddf=robust, joint=True)


def test_no_memory_of_rows_squared() -> None:
    """A hundred thousand rows in two hundred clusters: a cluster costs its effects, not its rows."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(200), 500)
    data = pd.DataFrame({"g": g, "x": rng.normal(size=len(g)), "y": rng.normal(size=len(g))})
    data["y"] += rng.normal(size=200)[g] + rng.normal(size=200)[g] * data["x"]
    table = mm.lmer("y ~ x + (x | g)", data).coef_table("CR2")
    assert 100 < table.loc["x", "df"] < 200


def test_a_covariance_of_another_fit_is_refused() -> None:
    data = mm.load_dataset("sleepstudy")
    covariance = mm.lmer("Reaction ~ Days + (1 | Subject)", data).cov_fe_robust()
    other = mm.lmer("Reaction ~ Days + (Days | Subject)", data)
    for ask in (other.coef_table, other.anova, other.summary):
        with pytest.raises(mm.InferenceError, match="covariance of another fit"):
            ask(ddf=covariance)
