"""Contrasts as R users give them: matrices, and other reference levels."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.errors import DataError

OATS = mm.load_dataset("Oats")
FORMULA = "yield ~ nitro*Variety + (1 | Block/Variety)"
MATRIX = pd.DataFrame(
    {"MvG": [-1, 1, 0], "VvGM": [-0.5, -0.5, 1]}, index=["Golden Rain", "Marvellous", "Victory"], dtype=float
)


@pytest.mark.parametrize(
    ("matrix", "names"),
    [
        (MATRIX, ["MvG", "VvGM"]),
        (MATRIX.iloc[[2, 0, 1]], ["MvG", "VvGM"]),
        (MATRIX.reset_index(drop=True), ["MvG", "VvGM"]),
        (MATRIX.to_dict("list"), ["MvG", "VvGM"]),
        (MATRIX.to_numpy(), ["1", "2"]),
        (MATRIX.to_numpy().tolist(), ["1", "2"]),
    ],
)
def test_matrices(matrix: Any, names: list[str]) -> None:
    fit = mm.lmer(FORMULA, OATS, contrasts={"Variety": matrix})
    assert list(fit.fe_params.index[2:4]) == [f"Variety[{name}]" for name in names]
    # lme4 1.1-31 and lmerTest 3.1-3 with contrasts = list(Variety = matrix)
    estimates = [81.8722222, 73.6666667, 4.2583333, -8.5722222, -5.3750000, 7.4166667]
    errors = [6.9510107, 6.8465318, 4.3423352, 5.0140967, 8.3852548, 9.6824582]
    assert fit.fe_params.tolist() == pytest.approx(estimates, rel=1e-7)
    assert fit.bse_fe.tolist() == pytest.approx(errors, rel=1e-5)
    assert fit.deviance == pytest.approx(567.6316465, rel=1e-9)
    assert fit.anova()["f_value"].tolist() == pytest.approx([115.77126, 1.94225, 0.49881], rel=1e-5)
    again = pickle.loads(pickle.dumps(fit))
    np.testing.assert_array_equal(again.predict(OATS[:4]), fit.predict(OATS[:4]))


def test_levels_have_a_column_each_where_there_is_no_intercept() -> None:
    fit = mm.lmer("yield ~ 0 + Variety + Variety:nitro + (1 | Block/Variety)", OATS, contrasts={"Variety": MATRIX})
    # lme4 1.1-31
    assert fit.deviance == pytest.approx(563.2371973, rel=1e-9)
    means = [81.90000, 90.41667, 73.30000, 75.33333, 64.58333, 81.08333]
    assert fit.fe_params.tolist() == pytest.approx(means, rel=1e-6)


def test_levels_that_no_row_has_need_no_row() -> None:
    two = OATS[OATS["Variety"] != "Marvellous"]
    fit = mm.lmer("yield ~ Variety + (1 | Block)", two, contrasts={"Variety": [[-1], [1]]})
    means = two.groupby("Variety", observed=True)["yield"].mean()
    assert fit.fe_params["Variety[1]"] == pytest.approx(np.diff(means).item() / 2)


@pytest.mark.parametrize("coding", ["treatment('Victory')", "Treatment('Victory')", "contr.treatment('Victory')"])
def test_another_reference_level(coding: str) -> None:
    fit = mm.lmer("yield ~ Variety + (1 | Block)", OATS, contrasts={"Variety": coding})
    # lme4 1.1-31 with contr.treatment(3, base = 3)
    assert fit.fe_params.tolist() == pytest.approx([97.625000, 6.875000, 12.166667], rel=1e-7)
    assert list(fit.fe_params.index[1:]) == ["Variety[T.Golden Rain]", "Variety[T.Marvellous]"]


@pytest.mark.parametrize(
    ("coding", "says"),
    [
        (MATRIX.iloc[:2], "rows of the contrasts of 'Variety' are called 'Golden Rain', 'Marvellous', but its levels"),
        (MATRIX.rename(index={"Victory": "Vic"}), "called 'Golden Rain', 'Marvellous', 'Vic', but its levels are"),
        (MATRIX.to_numpy()[:, :1], r"have shape \(3, 1\); they must be finite numbers in 3 rows, one for each"),
        (MATRIX.assign(MvG=np.nan), "must be finite numbers"),
        ({"a": [1, 2]}, r"have shape \(2, 1\)"),
        ({"a": [1, 2, 3], "b": [1, 2]}, "must be one of .* or a matrix of 3 rows, the levels, and 2 columns"),
        ("treatment('Vic')", "The reference level 'Vic' of 'Variety' is none of its levels: .* Did you mean 'Victory'"),
        ("treatment(2)", "The reference level 2 of 'Variety' is none of its levels: 'Golden Rain'"),
        ("log(x)", "The contrast 'log\\(x\\)' of 'Variety' is unknown"),
    ],
)
def test_contrasts_that_cannot_be_used(coding: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mm.lmer(FORMULA, OATS, contrasts={"Variety": coding})


def test_contrasts_leave_with_their_column() -> None:
    data = OATS.assign(nf=OATS["nitro"].astype(str))
    fit = mm.lmer("yield ~ Variety*nf + (1 | Block/Variety)", data, contrasts={"Variety": "sum", "nf": "sum"})
    reduced = fit.update(". ~ . - nf - Variety:nf")
    meant = mm.lmer("yield ~ Variety + (1 | Block/Variety)", data, contrasts={"Variety": "sum"})
    assert reduced.fe_params.to_dict() == meant.fe_params.to_dict()
    assert reduced.update(". ~ 1 + (1 | Block)").fe_params.index.tolist() == ["Intercept"]
    rest = mm.lmer("yield ~ . + (1 | Block)", data[["yield", "Variety", "nf", "Block"]], contrasts={"nf": "sum"})
    assert rest.update(". ~ . - nf").fe_params.index.tolist()[1:] == ["Variety[T.Marvellous]", "Variety[T.Victory]"]
    with pytest.raises(DataError, match="contrasts names 'nf'"):
        fit.update(". ~ Variety + (1 | Block)", contrasts={"nf": "sum"})


CODED = OATS.assign(
    k=np.arange(len(OATS)) % 3, late=np.arange(len(OATS)) % 5 > 2, word=np.resize(list("pqqpqpp"), len(OATS))
)
EVERYWHERE = "yield ~ Variety * C(k) + late + I(nitro > 0.3) + word + (1 | Block)"


def test_one_coding_for_all_categories() -> None:
    """Columns, C(...), conditions and booleans alike: the columns of each factor sum to zero over its levels."""
    fit = mm.lmer(EVERYWHERE, CODED, contrasts="sum")
    names = [name for name in fit.fe_params.index if name != "Intercept"]
    assert names
    assert all("[S." in part for name in names for part in name.split(":"))
    X = pd.DataFrame(fit.state.design.X, columns=fit.state.design.x_names)
    last = CODED["k"] == 2
    assert (X.loc[last, ["C(k)[S.0]", "C(k)[S.1]"]] == -1).all().all()
    assert (X.loc[CODED["late"], "late[S.False]"] == -1).all()


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
def test_one_coding_is_that_of_each_column() -> None:
    whole = mm.lmer("yield ~ Variety * word + (0 + word | Block)", CODED, contrasts="helmert", reml=False)
    each = mm.lmer(
        "yield ~ Variety * word + (0 + word | Block)", CODED, contrasts=dict.fromkeys(["Variety", "word"], "helmert"),
        reml=False,
    )  # fmt: skip
    assert whole.fe_params.to_dict() == each.fe_params.to_dict()
    assert whole.theta.to_dict() == each.theta.to_dict()


def test_a_coding_of_its_own_stays() -> None:
    names = mm.lmer("yield ~ C(k, treatment(2)) + Variety + (1 | Block)", CODED, contrasts="sum").fe_params.index
    assert list(names) == ["Intercept", "C(k, treatment(2))[T.0]", "C(k, treatment(2))[T.1]", "Variety[S.Golden Rain]",
                           "Variety[S.Marvellous]"]  # fmt: skip


@pytest.mark.filterwarnings("ignore::mixedmodels.MixedModelsWarning")
@pytest.mark.parametrize("coding", ["sum", "helmert", "treatment('q')"])
def test_answers_do_not_depend_on_the_coding(coding: str, tmp_path: Path) -> None:
    formula = "yield ~ word * nitro + (1 | Block)" if "'" in coding else EVERYWHERE
    plain, fit = mm.lmer(formula, CODED, reml=False), mm.lmer(formula, CODED, reml=False, contrasts=coding)
    assert fit.deviance == pytest.approx(plain.deviance, abs=1e-7)
    for type_ in (1, 2, 3):
        pd.testing.assert_frame_equal(fit.anova(type_), plain.anova(type_), rtol=1e-5)
    new = CODED.iloc[[5, 17, 40, 3]]
    np.testing.assert_allclose(fit.predict(new), plain.predict(new), rtol=1e-6)
    fit.save(tmp_path / "fit")
    np.testing.assert_array_equal(mm.load(tmp_path / "fit").predict(new), fit.predict(new))
    assert fit.update(". ~ word + (1 | Block)").fe_params.index[1] == mm.lmer(
        "yield ~ word + (1 | Block)", CODED, contrasts=coding
    ).fe_params.index[1]  # fmt: skip


@pytest.mark.parametrize("coding", ["sums", "", "log(x)", 3, ["sum"], np.eye(3)])
def test_a_coding_of_all_that_is_none(coding: Any) -> None:
    with pytest.raises(DataError, match="contrast"):
        mm.lmer(FORMULA, OATS, contrasts=coding)


def test_a_restricted_coding_of_all() -> None:
    with pytest.raises(mm.FormulaError, match="no listed function"):
        mm.lmer(FORMULA, OATS, contrasts="__import__('os').getcwd()", evaluate="restricted")
