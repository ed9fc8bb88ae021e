"""Frames that print well: what is shown, what stays with them, and that no digit of the values is lost."""

from __future__ import annotations

import io
import math
import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from display.cases import FRAMES
from mixedmodels.texts.frame_texts import frame_texts, label_texts
from mixedmodels.texts.noted_frame import NotedFrame, show_notes

SLEEP = mm.lmer("Reaction ~ Days + (Days | Subject)", load("sleepstudy"))
CAKE = mm.lmer("angle ~ recipe * temperature + (1 | replicate / recipe)", load("cake"))
NOTE = "recipe interacts with temperature: averages over temperature may mislead."


EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture(scope="module", params=FRAMES)
def frame(request: pytest.FixtureRequest) -> NotedFrame:
    return show_notes(FRAMES[request.param]())


@pytest.mark.parametrize("width", [80, 100, 140])
def test_text(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    texts = "\n\n".join(f"# {name}\n{show_notes(make())!r}" for name, make in FRAMES.items())
    assert f"{texts}\n" == (EXPECTED / str(width) / "frames.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_lines_fit_and_nothing_is_broken_or_lost(
    frame: NotedFrame, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = repr(frame).splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    names = [*map(str, frame.columns), *(text for texts in label_texts(frame.index) for text in texts)]
    numbers = [text for column in frame_texts(frame) for text in column if " " not in text]
    for text in (*names, *numbers):
        assert any(re.search(rf"(?<!\S){re.escape(text)}(?!\S)", line) for line in lines), text
    labels = {text for text in label_texts(frame.index)[-1] if text}
    assert not [line for line in lines if line.strip() in labels and len(line.strip()) <= width / 5]


def test_numbers_are_the_values(frame: NotedFrame) -> None:
    for column, texts in zip(frame.columns, frame_texts(frame), strict=True):
        for value, text in zip(frame[column], texts, strict=True):
            if text in ("-", "inf") or not isinstance(value, float):
                continue
            mantissa, _, exponent = text.removeprefix("<").partition("e")
            unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
            assert abs(float(text.removeprefix("<")) - value) <= (unit if text.startswith("<") else 0.5000001 * unit)


def cells(text: str, label: str) -> list[str]:
    """Return the texts in the row of that label."""
    return next(line.removeprefix(label).split() for line in text.splitlines() if line.startswith(f"{label} "))


def test_a_table_prints_the_digits_of_the_summary() -> None:
    printed = cells(repr(SLEEP.coef_table()), "Days")
    assert printed == cells(SLEEP.summary(), "Days")
    assert printed[4] == "<0.001"


@pytest.mark.parametrize(
    ("column", "values", "texts"),
    [
        ("p_value", [0.0006, 0.00099, 0.001, 0.04], ["<0.001", "<0.001", "0.001", "0.040"]),
        ("p_boundary", [math.nan, 1.0], ["-", "1.000"]),
        ("p_income", [0.0006, 2.0], ["0.0006", "2.0000"]),
        ("statistic", [3.14159, -0.001], ["3.14", "0.00"]),
        ("df", [17.0, math.inf], ["17", "inf"]),
        ("df", [17.04, 3.0], ["17.0", "3.0"]),
        ("df", [0.00012, 0.0034], ["0.00012", "0.00340"]),
        ("aic", [1755.62827, 1.0], ["1755.628", "1.000"]),
        ("value", [0.00123, 0.4], ["0.00123", "0.40000"]),
        ("ratio", [0.123456, 0.98], ["0.1235", "0.9800"]),
        ("ratio", [0.25, 0.5], ["0.25", "0.50"]),
        ("n", [180, 12], ["180", "12"]),
        ("far", [1e-12, 3e12], ["1.000e-12", "3.000e+12"]),
        ("ok", [True, False], ["True", "False"]),
        ("word", ["two words", None], ["two words", "-"]),
        ("whole", pd.array([3, None], dtype="Int64"), ["3", "-"]),
    ],
)
def test_columns_are_known_by_name_and_size(column: str, values: list[object], texts: list[str]) -> None:
    frame = show_notes(pd.DataFrame({column: values}))
    assert [line.strip() for line in frame.to_string(index=False).splitlines()] == [column, *texts]


def test_decimals_are_those_of_the_standard_errors() -> None:
    frame = pd.DataFrame({"estimate": [251.40510, 10.46728], "std_error": [6.82455, 1.545789]})
    assert show_notes(frame).to_string(index=False).split()[2:] == ["251.405", "6.825", "10.467", "1.546"]
    interval = pd.DataFrame({"lower": [237.00654, -math.inf], "upper": [265.80366, 1.0]})
    assert show_notes(interval).to_string(index=False).split()[2:] == ["237.007", "265.804", "-inf", "1.000"]
    unknown = frame.assign(std_error=[math.nan, 1.545789])
    assert show_notes(unknown).to_string(index=False).split()[2:] == ["251.4", "-", "10.467", "1.546"]


def test_rounded_numbers_get_no_more_decimals_than_they_have() -> None:
    table = SLEEP.coef_table().round(1)
    assert cells(repr(table), "Intercept")[:2] == ["251.4", "6.8"]
    tests = CAKE.coef_table()["p_value"].round(2).tolist()
    shown = [text for line in repr(CAKE.coef_table().round(2)).splitlines() for text in line.split()]
    assert {f"{p:.2f}" for p in tests if p >= 0.001} <= set(shown)


def test_values_keep_all_digits_and_are_a_data_frame() -> None:
    table = SLEEP.coef_table()
    assert isinstance(table, pd.DataFrame)
    assert table.loc["Days", "estimate"] == SLEEP.fe_params["Days"]
    written = pd.read_csv(io.StringIO(table.to_csv()), index_col="term", dtype=str)
    np.testing.assert_array_equal(written.map(float), table)


def test_notes_stay_with_what_is_made_from_a_table(tmp_path: Path) -> None:
    table = CAKE.margins("recipe")
    made = [
        table.round(2),
        table[["estimate", "df"]],
        table.iloc[:2, :3],
        table.loc[["A"]],
        table.sort_values("estimate"),
        table[table["estimate"] > 32],
        table.assign(twice=2 * table["estimate"]),
        table.reset_index(),
        table.rename(columns={"df": "dof"}),
        table.copy(),
    ]
    for frame in made:
        assert NOTE in frame.attrs["notes"]
        assert NOTE in repr(frame)
        assert NOTE in frame._repr_html_()
    assert NOTE in table["estimate"].attrs["notes"]
    table.round(3).to_csv(tmp_path / "means.csv")
    assert NOTE in table.attrs["notes"]


def test_notes_are_kept_by_files_that_keep_attrs(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = CAKE.margins("recipe")
    table.to_parquet(tmp_path / "means.parquet")
    again = pd.read_parquet(tmp_path / "means.parquet")
    assert list(again.attrs["notes"]) == list(table.attrs["notes"])
    assert repr(show_notes(again)) == repr(table)


def test_what_pandas_is_asked_for_is_pandas_own() -> None:
    table = SLEEP.coef_table()
    plain = pd.DataFrame(table)
    assert table.to_string(float_format="%.9f") == plain.to_string(float_format="%.9f")
    assert table.to_html(float_format="%.9f") == plain.to_html(float_format="%.9f")
    assert repr(table.iloc[:0]).startswith(repr(plain.iloc[:0]))
    wide = table.assign(more=1.0)
    wide.columns = pd.MultiIndex.from_product([["a", "b"], list("wxyz")])
    assert wide.to_string() == pd.DataFrame(wide).to_string()


def test_text_goes_where_it_is_wanted(tmp_path: Path) -> None:
    table = SLEEP.coef_table()
    buffer = io.StringIO()
    assert table.to_string(buffer) is None  # pandas' own
    assert table.to_string(buf=tmp_path / "table.txt") is None
    assert (tmp_path / "table.txt").read_text(encoding="utf-8") == table.to_string()


def test_html_shows_the_digits_of_the_text_and_nothing_cut() -> None:
    html = SLEEP.criteria()._repr_html_()
    assert "1755.628" in html
    assert "effective parameters of the fitted values, fixed and random and the estimated theta, and sigma" in html
    texts = [unescape(text) for text in re.findall(r"<td>(.*?)</td>", SLEEP.coef_table().to_html())]
    assert texts == [text for term in ("Intercept", "Days") for text in cells(repr(SLEEP.coef_table()), term)]


def test_long_tables_are_shown_without_their_middle() -> None:
    frame = show_notes(pd.DataFrame({"x": np.arange(100.0) / 8}))
    lines = repr(frame).splitlines()
    assert lines[-1] == "[100 rows x 1 columns]"
    assert lines[31].strip() == "..."
    assert [lines[1].split()[0], lines[30].split()[0], lines[32].split()[0], lines[-2].split()[0]] == [
        "0", "29", "70", "99",
    ]  # fmt: skip
    assert len(frame.to_string().splitlines()) == 101


def test_repeated_labels_are_blank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = repr(CAKE.margins("recipe", by="temperature", pairwise=True)).splitlines()
    assert lines[0].split()[:2] == ["temperature", "contrast"]
    assert [line.split()[0] for line in lines[1:5]] == ["175", "A", "B", "185"]


def test_frames_of_frames_stay_what_they_are() -> None:
    table = SLEEP.coef_table()
    assert isinstance(table.T, NotedFrame)
    both = pd.concat([table, table])
    assert repr(both).count("Days ") == 2
    assert isinstance(pd.concat({"a": table, "b": table}), pd.DataFrame)


def test_names_with_line_ends_take_one_line() -> None:
    table = mm.compare(SLEEP, SLEEP.update("~ . - Days"), names=["with\nDays", "without\tit"])
    lines = repr(table).splitlines()
    assert sum(line.startswith(("with\\nDays", "without\\tit")) for line in lines) == 4  # rows and notes
    assert len({len(line) for line in lines[1:3]}) == 1
    frame = show_notes(pd.DataFrame({"a\rb": ["x\ny"]}, index=pd.Index(["p\x1bq"], name="i\nj")))
    assert repr(frame).splitlines() == ["i\\nj    a\\rb", "p\\x1bq  x\\ny"]


def test_what_records_hold_prints_like_other_tables() -> None:
    boot, profile = SLEEP.bootstrap(4, seed=1, progress=False), SLEEP.profile("sigma", progress=False)
    influence = SLEEP.influence(by="Subject", method="one-step", progress=False)
    robust, simulated = SLEEP.cov_fe_robust(), SLEEP.simulated_residuals(20, seed=1)
    shown = [
        (boot, boot.summary()), (profile, profile.conf_int()), (robust, robust.to_frame()),
        (simulated, simulated.tests), (None, boot.conf_int()), (None, influence.fe_params),
        (None, influence.dfbetas), (None, mm.list_datasets()),
    ]  # fmt: skip
    for record, table in shown:
        assert isinstance(table, NotedFrame)
        assert record is None or repr(record).endswith(repr(table))
