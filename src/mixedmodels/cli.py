"""The command line: ``mixedmodels fit DATA FORMULA``, ``mixedmodels compare`` and ``mixedmodels datasets``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pandas as pd

from mixedmodels.compare import compare
from mixedmodels.datasets import list_datasets, load_dataset
from mixedmodels.errors import DataError, MixedModelsError, MixedModelsWarning, nearest
from mixedmodels.inference.degrees import DDF_NAMES
from mixedmodels.lmer import lmer

_BAD_INPUT = 2
_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")  # not "None", which real factors have as a level


class _Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of one command: 0, or 2 after one clear line about bad input."""
    options = _parser().parse_args(arguments)
    try:
        output: str = options.command(options)
    except MixedModelsError as error:
        print(f"mixedmodels: {error}", file=sys.stderr)
        return _BAD_INPUT
    try:
        print(output, flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough; the interpreter must not flush again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def read_data(source: str, separator: str | None = None) -> pd.DataFrame:
    """Return the rows of a csv, csv.gz or parquet file, or of a shipped data set.

    Parameters
    ----------
    source
        Path of a file, told by its ending, or a name that ``list_datasets`` knows. In a csv file, empty fields, ``NA``,
        ``N/A``, ``NaN`` and ``null`` are missing, and columns of digits are numbers.
    separator
        Sign between the fields of a csv file; None for a comma, semicolon or tab, whichever its header has.

    Raises
    ------
    DataError
        If there is no such file or data set, or the file cannot be read or has one column only.
    """
    kind = source.lower().removesuffix(".gz")
    if separator is not None and not kind.endswith(".csv"):
        raise DataError(f"--separator is for csv files, and {source!r} is none. Leave it out.")
    if not kind.endswith((".csv", ".parquet")):
        return _read_shipped(source)
    try:
        if kind.endswith(".parquet"):
            return pd.read_parquet(source)
        sign = separator or _guess_separator(source)
        data = pd.read_csv(source, sep=sign, keep_default_na=False, na_values=_MISSING, low_memory=False)
    except FileNotFoundError as error:
        siblings = [path.name for path in Path(source).parent.glob("*")]
        raise DataError(f"There is no file {source!r}.{nearest(Path(source).name, siblings)}") from error
    except ImportError as error:
        raise DataError(f"{source!r} cannot be read: parquet files need pyarrow (pip install pyarrow).") from error
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{source!r} cannot be read: {reason}") from error
    if data.shape[1] == 1:
        raise DataError(
            f"{source!r} has one column only, {data.columns[0]!r}, if {sign!r} is between its fields. "
            "If another sign is, name it with --separator."
        )
    return data


def _guess_separator(source: str) -> str:
    """Return the semicolon or tab in a header without commas, else a comma."""
    names = pd.read_csv(source, nrows=0).columns
    return next((sign for sign in (";", "\t") if len(names) == 1 and sign in str(names[0])), ",")


def _read_shipped(name: str) -> pd.DataFrame:
    names = list(list_datasets()["name"])
    if name in names:
        return load_dataset(name)
    if Path(name).exists():
        raise DataError(f"{name!r} is not a csv, csv.gz or parquet file: the ending of its name must say which.")
    raise DataError(
        f"{name!r} is neither a csv, csv.gz or parquet file nor a shipped data set ({', '.join(names)})."
        f"{nearest(name, names)}"
    )


def _fit(options: argparse.Namespace) -> str:
    data = read_data(options.data, options.separator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)  # the summary and the JSON carry the same findings
        fit = lmer(options.formula, data, reml=not options.ml, weights=options.weights)
    summary = fit.summary(ddf=options.ddf)
    if options.report is not None:
        fit.report(options.report, ddf=options.ddf)
    if options.json is None:
        return str(summary)
    record = json.dumps(fit.to_dict(ddf=options.ddf), indent=2, allow_nan=False)
    if options.json == "-":
        return record
    try:
        Path(options.json).write_text(record + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{options.json!r} cannot be written: {error.strerror}") from error
    return str(summary)


def _compare(options: argparse.Namespace) -> str:
    data = read_data(options.data, options.separator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)
        fits = [lmer(formula, data, reml=not options.ml, weights=options.weights) for formula in options.formulas]
    return repr(compare(*fits))


def _datasets(options: argparse.Namespace) -> str:
    lines = [("name", "rows", "columns", "licence", "design")]
    lines += list_datasets()[list(lines[0])].astype(str).itertuples(index=False, name=None)
    return "\n".join("{:<10}  {:>5}  {:>7}  {:<10}  {}".format(*line) for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mixedmodels", description="Linear mixed-effects models from lme4 formulas.")
    parser.add_argument("--version", action="version", version=f"mixedmodels {version('mixedmodels')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit", help="fit a model and print its summary", description="Fit a model and print its summary."
    )
    fit.add_argument("data", metavar="DATA", help="a csv, csv.gz or parquet file, or the name of a shipped data set")
    fit.add_argument("formula", metavar="FORMULA", help='such as "Weight ~ Time + (Time | Pig)"')
    fit.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    fit.add_argument(
        "--ddf",
        default="satterthwaite",
        help=f"degrees of freedom of the tests, or a cluster-robust covariance: {', '.join(DDF_NAMES)} "
        "(default: %(default)s)",
    )
    fit.add_argument("--weights", metavar="COL", help="column of weights: Var(e) = sigma^2 / weight")
    _add_separator(fit)
    fit.add_argument("--json", metavar="FILE", help="write everything to FILE; - prints it instead of the summary")
    fit.add_argument("--report", metavar="FILE", help="write one HTML page with tables, checks and plots to FILE")
    fit.set_defaults(command=_fit)

    comparison = commands.add_parser(
        "compare",
        help="compare models of the same rows",
        description="Fit models to the same rows and print criteria and likelihood-ratio tests.",
    )
    comparison.add_argument("data", metavar="DATA", help="as for fit")
    comparison.add_argument("formulas", metavar="FORMULA", nargs="+", help="two formulas or more")
    comparison.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    comparison.add_argument("--weights", metavar="COL", help="column of weights: Var(e) = sigma^2 / weight")
    _add_separator(comparison)
    comparison.set_defaults(command=_compare)

    datasets = commands.add_parser(
        "datasets", help="list the shipped data sets", description="List the shipped data sets."
    )
    datasets.set_defaults(command=_datasets)
    return parser


def _add_separator(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--separator",
        metavar="SIGN",
        type=_sign,
        help="between the fields of a csv file, such as ';' or tab (default: comma, semicolon or tab, by its header)",
    )


def _sign(text: str) -> str:
    sign = "\t" if text in {"tab", "\\t"} else text
    if len(sign) != 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not one sign, such as ';' or tab")
    return sign


if __name__ == "__main__":
    sys.exit(main())
