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

import numpy as np
import pandas as pd
import pytest

from mixedmodels.cli import main
from mixedmodels.datasets import list_datasets, load_dataset
from mixedmodels.inference.degrees import DDF_NAMES
from mixedmodels.lmer import lmer

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
    files = {kind: tmp_path / f"sleep.{kind}" for kind in ("csv", "csv.gz", "tsv", "tsv.gz", "parquet")}
    for sign, kind in {",": "csv", "\t": "tsv"}.items():
        data.to_csv(files[kind], index=False, sep=sign)
        files[f"{kind}.gz"].write_bytes(gzip.compress(files[kind].read_bytes()))
    data.to_parquet(files["parquet"])
    return {kind: str(path) for kind, path in files.items()}


def test_fit_prints_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "sleepstudy", SLEEP]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "1743.6" in out
    assert "Subject" in out


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "tsv.gz", "parquet"])
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


def test_contrasts(capsys: pytest.CaptureFixture[str]) -> None:
    fitted = record(capsys, "Machines", "score ~ Machine + (1 | Worker)", "--contrasts", "sum")
    assert [row["term"] for row in fitted["fixed_effects"]] == ["Intercept", "Machine[S.A]", "Machine[S.B]"]
    assert "Known are treatment, sum" in complaint(capsys, "fit", "sleepstudy", SLEEP, "--contrasts", "total")


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
    assert "are for csv and tsv files" in complaint(capsys, "compare", "sleepstudy", SLEEP, SLEEP, "--separator", ";")


def test_help_lists_every_ddf(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    shown = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert all(name in shown for name in DDF_NAMES)


def test_missing_file(sleep_files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    wrong = sleep_files["csv"].replace("sleep.csv", "slep.csv")
    line = complaint(capsys, "fit", wrong, SLEEP)
    assert line == f"mixedmodels: There is no file '{wrong}'. Did you mean 'sleep.csv'?"


def test_unknown_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "dietx", SLEEP)
    assert line.startswith(
        "mixedmodels: 'dietx' is neither a csv, csv.gz, tsv, tsv.gz or parquet file nor a shipped data set ("
    )
    assert line.endswith("Did you mean 'dietox'?")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("header.csv", b"a,b\n"),
        ("twice.csv", b"a,b,a\n1,2,3\n"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n"),
        ("wide.csv", b"a,b\n1,2,3\n1,2,3\n"),
        ("latin.csv", "näme,b\n1,2\n".encode("latin-1")),
        ("nul.csv", b"a,b\n1,\0\n"),
        ("endless.csv", b'"' + b"a" * 200_000),
        ("open.csv", b'a,b\n"1,2\n'),
        ("false.csv.gz", b"a,b\n1,2\n"),
        ("cut.csv.gz", gzip.compress(b"a,b\n1,2\n" * 1000, mtime=0)[:-20]),
        ("damaged.tsv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:12] + b"\1\2\3\4" * 9),
        ("false.parquet", b"a,b\n1,2\n"),
        ("empty.parquet", b""),
        ("cut.parquet", b"PAR1" + b"\1" * 99 + b"PAR1"),
    ],
)
def test_unreadable_file(name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    line = complaint(capsys, "fit", str(path), SLEEP)
    assert line.startswith(f"mixedmodels: '{path}' ")
    assert "\n" not in line


@pytest.mark.parametrize("name", ["folder.csv", "folder.parquet"])
def test_folder_is_not_a_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).mkdir()
    line = complaint(capsys, "fit", str(tmp_path / name), SLEEP)
    assert line == f"mixedmodels: '{tmp_path / name}' cannot be read: it is a folder."


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".csv"])
def test_names_that_no_file_can_have(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert name in complaint(capsys, "fit", name, SLEEP)


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_labels_of_groups_stay_as_they_are_written(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As numbers 1E2 and 100 are one level of eight, and the criterion is that of another model."""
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    data = pd.DataFrame({"g": g, "x": x, "y": x + rng.normal(size=8)[g] + rng.normal(size=48)})
    formulas = ["y ~ x + (1 | g)"] if command == "fit" else ["y ~ x + (1 | g)", "y ~ (1 | g)"]
    shown = []
    for labels in (list("abcdefgh"), ["100", "1E2", "10E1", "001", "01", "1", "1.0", "+1"]):
        path = tmp_path / "groups.csv"
        data.assign(g=np.array(labels)[g]).to_csv(path, index=False)
        assert main([command, str(path), *formulas]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]


def test_labels_that_are_also_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = load_dataset("sleepstudy")
    path = tmp_path / "sleep.csv"
    formula = "Reaction ~ Days + (1 | Subject) + (1 | Days)"
    data.assign(Days=data["Days"].map("{:.2f}".format)).to_csv(path, index=False)
    assert record(capsys, str(path), formula)["deviance"] == record(capsys, "sleepstudy", formula)["deviance"]
    data.assign(Days=[f"{day}.0" if i % 20 < 10 else str(day) for i, day in enumerate(data["Days"])]).to_csv(
        path, index=False
    )
    line = complaint(capsys, "fit", str(path), formula)
    assert "'Days'" in line
    assert "'0.0' and '0' are one number" in line


def test_weights_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cbpp.csv"
    load_dataset("cbpp").to_csv(path, index=False, sep=";")
    fit = record(capsys, str(path), "I(incidence / size) ~ C(period) + (1 | herd)", "--ml", "--weights", "size")
    assert fit["deviance"] == pytest.approx(-69.240645, abs=1e-6)  # lme4, reference case cbpp_weights


def test_text_of_another_country(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schlaf.csv"
    data = load_dataset("sleepstudy").rename(columns={"Days": "Tag", "Subject": "Schläfer"})
    data.to_csv(path, index=False, sep=";", decimal=",", encoding="latin-1")
    formula = "Reaction ~ Tag + (Tag | Schläfer)"
    fit = record(capsys, str(path), formula, "--decimal", ",", "--encoding", "latin-1")
    assert fit["deviance"] == pytest.approx(CRITERIA["REML"]["reml_criterion"], abs=1e-6)
    assert "line 1 is not in utf-8" in complaint(capsys, "fit", str(path), formula, "--decimal", ",")
    assert "decimal comma" in complaint(capsys, "fit", str(path), formula, "--encoding", "latin-1")
    line = complaint(capsys, "fit", str(path), formula, "--encoding", "latin-1", "--decimal", ",", "--separator", ",")
    assert "has one column only" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--decimal", ";"),
        ("--encoding", "base64"),
        ("--encoding", "utf-88"),
        ("--separator", '"'),
        ("--separator", "§"),
    ],
)
def test_layouts_that_no_file_has(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "fit", "some.csv", SLEEP, option, value)
    assert repr(value) in line
    assert "\n" not in line


def test_ending_must_say_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "data.xlsx"
    path.write_bytes(b"")
    assert "is not a csv, csv.gz, tsv, tsv.gz or parquet file" in complaint(capsys, "fit", str(path), SLEEP)


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_places_that_cannot_be_written(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused before a fit that may take long, or at least in one line."""
    for place, reason in {
        tmp_path / "nowhere" / "fit": "No such file or directory",
        tmp_path: "Is a directory",
    }.items():
        line = complaint(capsys, "fit", "sleepstudy", "no formula", option, str(place))
        assert line == f"mixedmodels: '{place}' cannot be written: {reason}"
    if Path("/dev/full").exists():
        line = complaint(capsys, "fit", "sleepstudy", SLEEP, option, "/dev/full")
        assert line == "mixedmodels: '/dev/full' cannot be written: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written() -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "mixedmodels", "datasets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "mixedmodels: The output cannot be written: No space left on device.\n"


def test_letters_that_the_terminal_has_not(tmp_path: Path) -> None:
    path = tmp_path / "schlaf.tsv"
    load_dataset("sleepstudy").rename(columns={"Subject": "Schläfer"}).to_csv(path, index=False, sep="\t")
    command = [sys.executable, "-m", "mixedmodels", "fit", str(path), "Reaction ~ Days + (1 | Schläfer)"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Schl\\xe4fer" in done.stdout


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
    assert f"{CRITERIA['ML']['minus2_loglik']:.3f}" in out


def test_compare_needs_two_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "sleepstudy", SLEEP]) == 2
    assert "needs at least two fits" in capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    ["http://localhost:1/a.csv", "https://a.b/a.csv.gz?raw=1", "s3://a/b.parquet", "file:///a.csv", "ftp://a/b.tsv",
     "memory://a.parquet", "gcs://a/sleepstudy", "zip://a.csv::http://b.c/d.zip"],
)  # fmt: skip
def test_addresses_are_not_opened(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("something was opened")

    for name in ("read_csv", "read_parquet"):
        monkeypatch.setattr(pd, name, opened)
    monkeypatch.setattr("mixedmodels.cli.read_data_file", opened)
    assert "is an address, and this command opens local files only" in complaint(capsys, "fit", address, SLEEP)


def test_names_without_slashes_are_names_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What other readers take for an address or a program is the name of a file here, and is read as one."""
    for name in ("s3:a.csv", "simplecache::a.csv", "|cat a.csv", "file:a.csv"):
        assert f"There is no file {str(tmp_path / name)!r}" in complaint(capsys, "fit", str(tmp_path / name), SLEEP)
        load_dataset("sleepstudy").to_csv(tmp_path / name, index=False)
        assert record(capsys, str(tmp_path / name), SLEEP)["nobs"] == 180


def test_pedigree_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(1)
    number = np.arange(1, 121)
    animal = np.array([f"{k:03d}" for k in number])  # labels that are not the numbers that they look like
    sides = rng.integers(0, 20, (120, 2))
    parents = [animal[both] if k > 20 else ("", "") for k, both in zip(number, sides, strict=True)]
    value = rng.standard_normal(120)
    value[20:] = value[sides[20:]].mean(axis=1) + 0.7 * value[20:]
    pedigree = pd.DataFrame(parents, columns=["sire", "dam"]).assign(animal=animal)
    data = pd.DataFrame({"animal": animal, "y": 3 * value + rng.standard_normal(120)})
    for name, frame in (("pedigree", pedigree), ("data", data)):
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    known = f"animal={tmp_path / 'pedigree.csv'}"
    found = record(capsys, str(tmp_path / "data.csv"), "y ~ 1 + (1 | animal)", "--pedigree", known)
    theirs = lmer("y ~ 1 + (1 | animal)", data, relationship={"animal": pedigree}).to_dict()
    assert found["deviance"] == theirs["deviance"]
    assert "must be FACTOR=FILE" in complaint(capsys, "fit", "sleepstudy", SLEEP, "--pedigree", "animal")
    assert "independent residuals" in complaint(capsys, "fit", "sleepstudy", SLEEP, "--pedigree", known, "--sigma", "1")
