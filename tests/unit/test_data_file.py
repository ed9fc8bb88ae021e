"""Rows of data files: every field below its name, every label as it is written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import mixedmodels as mm
from mixedmodels.data_file import Layout, read_data_file
from mixedmodels.formula.labels import Uses

GROUP = Uses(labels=frozenset("g"), values=frozenset("xy"))


def read(folder: Path, text: str, uses: Uses = GROUP, layout: Layout | None = None) -> pd.DataFrame:
    """Return what is read from a csv file of some text."""
    path = folder / "some.csv"
    path.write_bytes(text.encode((layout and layout.encoding) or "utf-8"))
    return read_data_file(str(path), uses, layout or Layout())


def test_missing_values_and_digits(tmp_path: Path) -> None:
    data = read(tmp_path, 'y,g,x\n1.5,None,1\nNA,308,\nnan,"NA",3\nN/A,a,null\n')
    assert data["y"].isna().tolist() == [False, True, True, True]
    assert data["g"].fillna("missing").tolist() == ["None", "308", "missing", "a"]
    assert pd.api.types.is_numeric_dtype(data["x"])
    assert data["x"].isna().tolist() == [False, True, False, True]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_separator_is_that_of_the_header(sign: str, tmp_path: Path) -> None:
    text = mm.load_dataset("sleepstudy").to_csv(index=False, sep=sign)
    assert list(read(tmp_path, text)) == ["Reaction", "Days", "Subject"]


@pytest.mark.parametrize(
    ("labels", "read_as"),
    [
        (["1", "2", "10"], [1, 2, 10]),
        (["0.5", "1.0", "2.5"], [0.5, 1.0, 2.5]),
        (["1", "2", ""], [1, 2, None]),
        ([" 1", "2 ", "10"], [1, 2, 10]),
        (["001", "01", "1"], ["001", "01", "1"]),
        (["01", "02", "03"], ["01", "02", "03"]),
        (["1E2", "100", "10E1"], ["1E2", "100", "10E1"]),
        (["1", "1.0", "+1"], ["1", "1.0", "+1"]),
        (["-0", "0", "0.0"], ["-0", "0", "0.0"]),
        (["9007199254740993", "9007199254740992", "1"], ["9007199254740993", "9007199254740992", "1"]),
        (["inf", "1", "2"], ["inf", "1", "2"]),
        (["True", "TRUE", "true"], ["True", "TRUE", "true"]),
        (["1_0", "10", "٣"], ["1_0", "10", "٣"]),
        (["a", "1", "NA"], ["a", "1", None]),
    ],
)
def test_labels_are_text_unless_written_as_their_numbers(
    labels: list[str], read_as: list[object], tmp_path: Path
) -> None:
    data = read(tmp_path, "g,x\n" + "".join(f"{label},1\n" for label in labels))
    found = [None if pd.isna(label) else label for label in data["g"]]
    assert found == read_as
    assert [type(label) is str for label in found] == [type(label) is str for label in read_as]


def test_columns_that_the_formula_computes_with_are_numbers(tmp_path: Path) -> None:
    both = Uses(labels=frozenset("g"), values=frozenset("g"))
    assert read(tmp_path, "g,x\n0.00,1\n1.00,1\n01.5,1\n", both)["g"].tolist() == [0.0, 1.0, 1.5]
    assert read(tmp_path, "g;x\n0,50;1\n1,00;1\n", both, Layout(decimal=","))["g"].tolist() == [0.5, 1.0]
    assert read(tmp_path, "g,x\na,1\n1,1\n", both)["g"].tolist() == ["a", "1"]
    with pytest.raises(mm.DataError, match="'01' and '1' are one number"):
        read(tmp_path, "g,x\n01,1\n1,1\n2,1\n", both)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ("1,2,3,4\n5,6,7,8\n", "line 2 has 4 fields, but the header has 3"),
        ("1,2,3\n5,6,7,8\n", "line 3 has 4 fields"),
        ("1,2,3,\n5,6,7,8\n", "line 3 has 4 fields"),
        ("1,2,3,4\n5,6,7\n", "line 2 has 4 fields"),
        ("\n1,2,3\n\n5,6,7,8,9\n", "line 5 has 5 fields"),
        ('"1\n",2,3\n5,6,7,8\n', "line 4 has 4 fields"),
        ("a,1,2,3\na,5,6,7\n", "line 2 has 4 fields"),
        ("a,1,2,3\nb,5,6,7\n", "line 2 has 4 fields"),
        ("1,2,3\n5,6,7,\n", "line 3 has 4 fields, but the header has 3"),
        ("1,2,3,\n5,6,7\n", "line 2 has 4 fields, but the header has 3"),
        ("1,2,3,\n5,6,7,,\n", "line 2 has 4 fields, but the header has 3"),
        ('1,2,3\n5,"6,7\n8,9,1\n', "a quotation mark opens in line 3 and none closes it"),
    ],
)
def test_rows_with_more_fields_than_the_header_are_refused(rows: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(mm.DataError, match=place):
        read(tmp_path, "g,x,y\n" + rows)


@pytest.mark.parametrize("extra", [",", ",,", ", ,"])
def test_empty_fields_at_the_end_of_all_rows_are_dropped(extra: str, tmp_path: Path) -> None:
    data = read(tmp_path, f"g,x,y\na,2,3{extra}\nb,6,7{extra}\n")
    assert data.to_dict("list") == {"g": ["a", "b"], "x": [2, 6], "y": [3, 7]}


def test_fields_left_out_at_the_end_of_a_row_are_missing(tmp_path: Path) -> None:
    assert read(tmp_path, "g,x,y\na,2\nb,6,7\n")["y"].isna().tolist() == [True, False]


def test_row_names_of_r_are_left_out(tmp_path: Path) -> None:
    """As ``write.table(data, sep=",")`` writes them; ``read.csv`` refuses row names that are not all different."""
    data = read(tmp_path, '"g","x","y"\n"1","01",2,3\n"2","1",6,7\n')
    assert data.to_dict("list") == {"g": ["01", "1"], "x": [2, 6], "y": [3, 7]}
    with pytest.raises(mm.DataError, match="line 2 has 4 fields"):
        read(tmp_path, '"g","x","y"\n"1","a",2,3\n"1","b",6,7\n')
    with pytest.raises(mm.DataError, match="line 2 has 4 fields"):
        read(tmp_path, '"g","x","y"\n"1","a",2,3\n"2","b",6\n')


@pytest.mark.parametrize(("name", "encoding"), [("utf-16", "utf-16"), (None, "utf-8-sig"), ("cp1252", "cp1252")])
def test_encodings(name: str | None, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes("größe,g\n1,ä\n2,ö\n".encode(encoding))
    data = read_data_file(str(path), GROUP, Layout(encoding=name))
    assert data.to_dict("list") == {"größe": [1, 2], "g": ["ä", "ö"]}


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes("g,y\na,1\nä,2\n".encode("latin-1"))
    with pytest.raises(mm.DataError, match="line 3 is not in utf-8; --encoding names another, such as latin-1"):
        read_data_file(str(path))
    path.write_bytes("g,y\na,1\nä,2\n".encode("utf-16"))
    with pytest.raises(mm.DataError, match="line 1 is not in utf-8; --encoding names another, such as utf-16"):
        read_data_file(str(path))


def test_numbers_with_a_decimal_comma_are_not_labels(tmp_path: Path) -> None:
    text = "g;x;y;other\na;1,5;2;1,5\nb;2;3;2,5\n"
    with pytest.raises(mm.DataError, match=r"Column 'x' of .* holds '1,5'.*--decimal , "):
        read(tmp_path, text)
    assert read(tmp_path, text, layout=Layout(decimal=","))["x"].tolist() == [1.5, 2.0]
    assert read(tmp_path, text, layout=Layout(decimal="."))["x"].tolist() == ["1,5", "2"]
    assert read(tmp_path, text, Uses(labels=frozenset("gx")))["x"].tolist() == ["1,5", "2"]


def test_a_decimal_comma_may_stand_in_quotes_between_commas(tmp_path: Path) -> None:
    text = 'g,x\na,"1,5"\nb,"2,25"\n'
    with pytest.raises(mm.DataError, match=r"holds '1,5'.*--decimal , "):
        read(tmp_path, text)
    assert read(tmp_path, text, layout=Layout(decimal=","))["x"].tolist() == [1.5, 2.25]
    with pytest.raises(mm.DataError, match="line 2 has 3 fields, but the header has 2"):
        read(tmp_path, text.replace('"', ""), layout=Layout(decimal=","))


@pytest.mark.parametrize("odd", ["1.234,5", "3,2 kg", "-"])
def test_most_numbers_with_a_decimal_comma_are_enough(odd: str, tmp_path: Path) -> None:
    with pytest.raises(mm.DataError, match=r"Column 'x' of .* holds '1,5'.*--decimal , "):
        read(tmp_path, f"g;x\na;{odd}\na;1,5\nb; 2,5\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "only empty lines"),
        ("g,x\n", "no rows below its header"),
        ("g,x,g\n1,2,3\n", "two columns called 'g'"),
        ("g,x\na,1\n\0,2\n", "line 3 has a NUL character"),
        ("g\n1\n", "one column only"),
    ],
)
def test_what_no_data_file_holds(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(mm.DataError, match=message):
        read(tmp_path, text)
