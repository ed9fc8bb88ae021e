"""The command line: what it prints, what it writes, and its one line on bad input."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mixedmodels.cli import main, read_data
from mixedmodels.datasets import list_datasets, load_dataset
from mixedmodels.errors import DataError
from mixedmodels.inference.degrees import DDF_NAMES

SLEEP = "Reaction ~ Days + (Days | Subject)"
CRITERIA = json.loads(
    (Path(__file__).parents[1] / "reference" / "lmm" / "sleepstudy_slope.json").read_text(encoding="utf-8")
)["fits"]


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return what ``fit ... --json -`` prints, read as strict JSON."""
    assert main(["fit", *arguments, "--json", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    read: dict[str, Any] = json.loads(out, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    return read


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the line that a refused command prints, and check that it has status 2 and prints nothing else."""
    try:
        status: object = main(arguments)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("mixedmodels")
    return err.strip()


@pytest.fixture
def sleep_files(tmp_path: Path) -> dict[str, str]:
    """Return sleepstudy as files of each kind."""
    data = load_dataset("sleepstudy")
    plain = tmp_path / "sleep.csv"
    data.to_csv(plain, index=False)
    zipped = tmp_path / "sleep.csv.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    parquet = tmp_path / "sleep.parquet"
    data.to_parquet(parquet)
    return {"csv": str(plain), "csv.gz": str(zipped), "parquet": str(parquet)}


def test_fit_prints_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "sleepstudy", SLEEP]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "1743.6" in out
    assert "Subject" in out


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_every_kind_of_file_gives_the_same_fit(
    kind: str, sleep_files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fit = record(capsys, sleep_files[kind], SLEEP)
    assert fit["deviance"] == pytest.approx(CRITERIA["REML"]["reml_criterion"], abs=1e-6)


def test_ml(capsys: pytest.CaptureFixture[str]) -> None:
    fit = record(capsys, "sleepstudy", SLEEP, "--ml")
    assert fit["reml"] is False
    assert fit["deviance"] == pytest.approx(CRITERIA["ML"]["deviance"], abs=1e-6)


def test_json_file_goes_with_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fit.json"
    assert main(["fit", "sleepstudy", SLEEP, "--json", str(path)]) == 0
    assert "Subject" in capsys.readouterr().out
    assert json.loads(path.read_text(encoding="utf-8")) == record(capsys, "sleepstudy", SLEEP)


def test_weights(capsys: pytest.CaptureFixture[str]) -> None:
    plain = record(capsys, "cbpp", "I(incidence / size) ~ period + (1 | herd)", "--ml")
    weighted = record(capsys, "cbpp", "I(incidence / size) ~ period + (1 | herd)", "--ml", "--weights", "size")
    assert weighted["deviance"] == pytest.approx(-69.240645, abs=1e-6)  # lme4, reference case cbpp_weights
    assert plain["deviance"] != weighted["deviance"]


def test_findings_are_told_once_and_not_as_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    fit = record(capsys, "Dyestuff2", "Yield ~ 1 + (1 | Batch)")
    assert [finding["kind"] for finding in fit["findings"]] == ["singular"]


def test_datasets_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *list_datasets()["name"]]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"mixedmodels {version('mixedmodels')}\n"


@pytest.mark.parametrize("module", ["mixedmodels", "mixedmodels.cli"])
def test_runs_as_a_module(module: str) -> None:
    command = [sys.executable, "-m", module, "fit", "nowhere.csv", SLEEP]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("mixedmodels: There is no file 'nowhere.csv'.")


def test_reader_that_stops_early_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mixedmodels", "datasets"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_csv_missing_values_and_digits(tmp_path: Path) -> None:
    path = tmp_path / "odd.csv"
    path.write_text('y,g,x\n1.5,None,1\nNA,308,\nnan,"NA",3\nN/A,a,null\n')
    data = read_data(str(path))
    assert data["y"].isna().tolist() == [False, True, True, True]
    assert data["g"].fillna("missing").tolist() == ["None", "308", "missing", "a"]
    assert pd.api.types.is_numeric_dtype(data["x"])
    assert data["x"].isna().tolist() == [False, True, False, True]


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_separator_is_that_of_the_header(sign: str, tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    load_dataset("sleepstudy").to_csv(path, index=False, sep=sign)
    assert list(read_data(str(path))) == list(load_dataset("sleepstudy"))


def test_separator_can_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sign, name in (("|", "|"), ("\t", "tab"), ("\t", "\\t")):
        path = tmp_path / "bars.csv"
        load_dataset("sleepstudy").to_csv(path, index=False, sep=sign)
        fit = record(capsys, str(path), SLEEP, "--separator", name)
        assert fit["deviance"] == pytest.approx(CRITERIA["REML"]["reml_criterion"], abs=1e-6)
    load_dataset("sleepstudy").to_csv(path, index=False, sep="|")
    line = complaint(capsys, "fit", str(path), SLEEP)
    assert "has one column only, 'Reaction|Days|Subject'" in line
    assert line.endswith("name it with --separator.")
    assert "'||' is not one sign" in complaint(capsys, "fit", str(path), SLEEP, "--separator", "||")
    assert "is for csv files" in complaint(capsys, "compare", "sleepstudy", SLEEP, SLEEP, "--separator", ";")


def test_help_lists_every_ddf(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert all(name in shown for name in DDF_NAMES)


def test_csv_integers_stay_integers(sleep_files: dict[str, str]) -> None:
    assert read_data(sleep_files["csv"])["Subject"].dtype == "int64"


def test_missing_file(sleep_files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    wrong = sleep_files["csv"].replace("sleep.csv", "slep.csv")
    line = complaint(capsys, "fit", wrong, SLEEP)
    assert line == f"mixedmodels: There is no file '{wrong}'. Did you mean 'sleep.csv'?"


def test_unknown_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "dietx", SLEEP)
    assert line.startswith("mixedmodels: 'dietx' is neither a csv, csv.gz or parquet file nor a shipped data set (")
    assert line.endswith("Did you mean 'dietox'?")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n"),
        ("latin.csv", "näme,b\n1,2\n".encode("latin-1")),
        ("false.csv.gz", b"a,b\n1,2\n"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-20]),
        ("false.parquet", b"a,b\n1,2\n"),
    ],
)
def test_unreadable_file(name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    line = complaint(capsys, "fit", str(path), SLEEP)
    assert line.startswith(f"mixedmodels: '{path}' cannot be read: ")
    assert "\n" not in line


def test_folder_is_not_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_data(str(folder))


def test_ending_must_say_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.xlsx"
    path.write_bytes(b"")
    assert "is not a csv, csv.gz or parquet file" in complaint(capsys, "fit", str(path), SLEEP)


def test_json_path_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "sleepstudy", SLEEP, "--json", str(tmp_path / "nowhere" / "fit.json"))
    assert "cannot be written: No such file or directory" in line


def test_formula_error_shows_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "sleepstudy", "Reaction ~ Days + (Days | Subject")
    assert line.splitlines()[-1].strip() == "^"


def test_unknown_column_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'Reaction'?" in complaint(capsys, "fit", "sleepstudy", "Reacton ~ Days + (Days | Subject)")
    assert "Days" in complaint(capsys, "fit", "sleepstudy", SLEEP, "--weights", "Dayss")


@pytest.mark.parametrize(
    "arguments",
    [[], ["fit"], ["fit", "sleepstudy"], ["fti", "sleepstudy", SLEEP], ["fit", "sleepstudy", SLEEP, "--fast"]],
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, *arguments)
    assert line.endswith("--help)")
    assert "\n" not in line


def test_unknown_ddf(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "sleepstudy", SLEEP, "--ddf", "normall")
    assert "normall" in line
    assert all(name in line for name in ("satterthwaite", "kenward-roger", "residual"))


def test_all_four_ddf(capsys: pytest.CaptureFixture[str]) -> None:
    for ddf, word in {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward", "residual": "residual"}.items():
        assert main(["fit", "sleepstudy", SLEEP, "--ddf", ddf]) == 0
        assert word in capsys.readouterr().out
    assert "REML" in complaint(capsys, "fit", "sleepstudy", SLEEP, "--ml", "--ddf", "kenward-roger")


def test_compare(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sleepstudy", "Reaction ~ 1 + (Days | Subject)", SLEEP]) == 0
    out, err = capsys.readouterr()
    assert "p_value" in out
    assert "Fitted anew by ML" in out
    assert not err
    assert f"{CRITERIA['ML']['minus2_loglik']:.6f}" in out


def test_compare_needs_two_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sleepstudy", SLEEP]) == 2
    assert "needs at least two fits" in capsys.readouterr().err
