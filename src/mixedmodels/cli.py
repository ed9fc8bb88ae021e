"""The command line: ``mixedmodels fit DATA FORMULA``, ``mmrm``, ``compare`` and ``datasets``."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from functools import reduce
from importlib.metadata import version
from operator import or_
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from mixedmodels.compare import compare
from mixedmodels.covariance.relationship import PEDIGREE
from mixedmodels.data_file import AS_FOUND, FOR_TEXT, KINDS, Layout, is_data_file, read_data_file
from mixedmodels.datasets import list_datasets, load_dataset
from mixedmodels.design.functions import CODINGS
from mixedmodels.design.zero_part import zero_formula
from mixedmodels.errors import DataError, MixedModelsError, MixedModelsWarning, nearest
from mixedmodels.families.named import BY_NAME
from mixedmodels.formula.labels import NO_USES, Uses, column_uses
from mixedmodels.formula.parse import parse_correlated_formula, parse_formula, parse_marginal_formula
from mixedmodels.formula.terms import Formula
from mixedmodels.glmer import glmer
from mixedmodels.inference.degrees import DDF_NAMES, MARGINAL_NAMES
from mixedmodels.lmer import lmer
from mixedmodels.mmrm import mmrm
from mixedmodels.plot.canvas import load as load_matplotlib

_BAD_INPUT = 2
_NO_SEPARATORS = '"\r\n\0'


class _Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(_BAD_INPUT, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of one command: 0, or 2 after one clear line about bad input."""
    options = _parser().parse_args(arguments)
    try:
        _print(options.command(options))
    except MixedModelsError as error:
        print(f"mixedmodels: {error}", file=sys.stderr)
        return _BAD_INPUT
    return 0


def _print(output: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of the data may have letters that a terminal has not
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(output, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter must not flush again
        if not isinstance(error, BrokenPipeError):  # else the reader, such as head, has seen enough
            raise DataError(f"The output cannot be written: {error.strerror}.") from error


def read_data(source: str, uses: Uses = NO_USES, layout: Layout = AS_FOUND) -> pd.DataFrame:
    """Return the rows of a data file or of a shipped data set.

    Parameters
    ----------
    source
        Path of a csv, tsv or parquet file, told by its ending, or a name that ``list_datasets`` knows.
    uses, layout
        As for ``read_data_file``.

    Raises
    ------
    DataError
        If there is no such file or data set, the file cannot be read, or it is not a local one.
    """
    if "://" in source:
        raise DataError(f"{source!r} is an address, and this command opens local files only. Save its data to a file.")
    if is_data_file(source):
        return read_data_file(source, uses, layout)
    if layout != AS_FOUND:
        raise DataError(f"{FOR_TEXT}, and {source!r} is none. Leave them out.")
    names = list(list_datasets()["name"])
    if source in names:
        return load_dataset(source)
    if os.path.exists(source):
        raise DataError(f"{source!r} is not a {KINDS}: the ending of its name must say which.")
    raise DataError(
        f"{source!r} is neither a {KINDS} nor a shipped data set ({', '.join(names)}).{nearest(source, names)}"
    )


def _read(options: argparse.Namespace, formulas: Sequence[Formula]) -> pd.DataFrame:
    """Return the data of a command, columns as its formulas use them."""
    uses = reduce(or_, map(column_uses, formulas))
    if options.weights is not None:
        uses |= Uses(values=frozenset({options.weights}))
    return read_data(options.data, uses, Layout(options.separator, options.encoding, options.decimal))


def _with_zeros(options: argparse.Namespace, formulas: list[Formula]) -> list[Formula]:
    """Return formulas, with that of the chance of a zero behind them where there is one."""
    if options.zero_inflation is None:
        return formulas
    return [*formulas, zero_formula(options.zero_inflation, formulas[0])]


def _fit(options: argparse.Namespace) -> str:
    _check_report(options)
    _check_place(options.json)
    formula = parse_formula(options.formula) if not _on_residuals(options) else _correlated(options)
    data = _read(options, _with_zeros(options, [formula]))
    if options.pedigree is not None and (options.family is not None or _on_residuals(options)):
        raise DataError("--pedigree is for linear models with independent residuals; leave the other flags out")
    if _on_residuals(options):
        return _fit_correlated(options, data)
    if options.family is not None:
        return _fit_generalized(options, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)  # the summary and the JSON carry the same findings
        fit = lmer(options.formula, data, relationship=_relationship(options), **_fitting(options))
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
        raise _unwritable(options.json, error.strerror) from error
    return str(summary)


def _relationship(options: argparse.Namespace) -> dict[str, pd.DataFrame] | None:
    """Return the pedigree of a grouping factor, labels as they are written."""
    if options.pedigree is None:
        return None
    name, given, path = options.pedigree.partition("=")
    if not (name and given and path):
        raise DataError(f"--pedigree {options.pedigree!r} must be FACTOR=FILE, such as animal=pedigree.csv")
    layout = Layout(options.separator, options.encoding, options.decimal)
    return {name: read_data_file(path, Uses(labels=frozenset(PEDIGREE)), layout)}


def _on_residuals(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``lmer`` on residuals that are given."""
    given = {name: getattr(options, name) for name in ("residual", "variance", "sigma")}
    return {name: value for name, value in given.items() if value is not None}


def _correlated(options: argparse.Namespace) -> Formula:
    return parse_correlated_formula(options.formula, options.residual, options.variance)


def _fit_correlated(options: argparse.Namespace, data: pd.DataFrame) -> str:
    for name in ("json", "family"):
        if getattr(options, name) is not None:
            raise DataError(f"--{name} is for models with independent residuals; with {_flags(options)} there is none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)
        fit = lmer(options.formula, data, **_fitting(options), **_on_residuals(options))
    if options.report is not None:
        fit.report(options.report, ddf=options.ddf)
    return str(fit.summary(ddf=options.ddf))


def _flags(options: argparse.Namespace) -> str:
    return ", ".join(f"--{name}" for name in _on_residuals(options))


def _fit_generalized(options: argparse.Namespace, data: pd.DataFrame) -> str:
    if options.json is not None:
        raise DataError("--json is for linear models; with --family there are the summary and --report")
    if options.ddf != DDF_NAMES[0]:
        raise DataError("--ddf is for linear models; tests of generalised ones are normal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)
        fit = glmer(options.formula, data, **_generalized(options))
    if options.report is not None:
        fit.report(options.report)
    return str(fit.summary())


def _generalized(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``glmer``."""
    if options.ml:
        raise DataError("--ml is for linear models; generalised ones are always fitted by maximum likelihood")
    rest = {name: value for name, value in _fitting(options).items() if name != "reml"}
    n_agq = 1 if options.n_agq is None else options.n_agq
    own = {"family": options.family, "link": options.link, "n_agq": n_agq, "zero_inflation": options.zero_inflation}
    return {**own, **rest}


def _fitting(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``lmer`` that all commands take."""
    if options.link is not None and options.family is None:
        raise DataError("--link goes with --family, such as --family binomial --link probit")
    if options.n_agq is not None and options.family is None:
        raise DataError("--n-agq goes with --family, such as --family binomial --n-agq 15")
    if options.zero_inflation is not None and options.family is None:
        raise DataError('--zero-inflation goes with --family, such as --family poisson --zero-inflation "~ 1"')
    return {
        "reml": not options.ml,
        "weights": options.weights,
        "contrasts": options.contrasts,
        "evaluate": "restricted" if options.no_python else "python",
    }


def _check_report(options: argparse.Namespace) -> None:
    """Refuse a report that cannot be drawn or written before the fit takes its time."""
    _check_place(options.report)
    if options.report is not None:
        load_matplotlib("figure")  # or say that it is missing


def _check_place(path: str | None) -> None:
    """Refuse a place for output before the fit takes its time, if nothing can be written there.

    Raises
    ------
    DataError
        If it is a folder, or not in one, or may not be written.
    """
    if path is None or path == "-":
        return
    place = Path(path)
    if place.is_dir():
        raise _unwritable(path, os.strerror(errno.EISDIR))
    if not place.parent.is_dir():
        raise _unwritable(path, os.strerror(errno.ENOENT))
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise _unwritable(path, os.strerror(errno.EACCES))


def _unwritable(path: str, reason: str | None) -> DataError:
    return DataError(f"{path!r} cannot be written: {reason}")


def _compare(options: argparse.Namespace) -> str:
    data = _read(options, _with_zeros(options, [parse_formula(formula) for formula in options.formulas]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)
        if options.family is not None:
            return repr(compare(*[glmer(formula, data, **_generalized(options)) for formula in options.formulas]))
        fits = [lmer(formula, data, **_fitting(options)) for formula in options.formulas]
    return repr(compare(*fits))


def _mmrm(options: argparse.Namespace) -> str:
    _check_report(options)
    data = _read(options, [parse_marginal_formula(options.formula)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MixedModelsWarning)  # the summary carries the same findings
        fit = mmrm(options.formula, data, ddf=options.ddf, **_fitting(options))
    if options.report is not None:
        fit.report(options.report)
    return str(fit.summary())


def _datasets(options: argparse.Namespace) -> str:
    lines = [("name", "rows", "columns", "licence", "design")]
    lines += list_datasets()[list(lines[0])].astype(str).itertuples(index=False, name=None)
    return "\n".join("{:<10}  {:>5}  {:>7}  {:<10}  {}".format(*line) for line in lines)


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--report", metavar="FILE", help="write one HTML page with tables, checks and plots to FILE")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mixedmodels", description="Linear mixed-effects models from lme4 formulas.")
    parser.add_argument("--version", action="version", version=f"mixedmodels {version('mixedmodels')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser(
        "fit", help="fit a model and print its summary", description="Fit a model and print its summary."
    )
    fit.add_argument("data", metavar="DATA", help=f"a {KINDS}, or the name of a shipped data set")
    fit.add_argument("formula", metavar="FORMULA", help='such as "Weight ~ Time + (Time | Pig)"')
    _add_fitting(fit)
    fit.add_argument(
        "--ddf",
        default="satterthwaite",
        help=f"degrees of freedom of the tests, or a cluster-robust covariance: {', '.join(DDF_NAMES)} "
        "(default: %(default)s)",
    )
    fit.add_argument("--residual", metavar="KIND", help='how residuals are correlated, such as "ar1(visit | id)"')
    fit.add_argument("--variance", metavar="KIND", help='standard deviations of residuals, such as "ident(sex)"')
    fit.add_argument("--sigma", metavar="SD", type=float, help="known residual standard deviation of weight one")
    fit.add_argument(
        "--pedigree",
        metavar="FACTOR=FILE",
        help="relate the levels of a grouping factor by a pedigree, a file with the columns animal, sire, dam",
    )
    _add_layout(fit)
    fit.add_argument("--json", metavar="FILE", help="write everything to FILE; - prints it instead of the summary")
    _add_report(fit)
    fit.set_defaults(command=_fit)

    trial = commands.add_parser(
        "mmrm",
        help="fit a mixed model for repeated measures and print its summary",
        description="Fit a model whose residuals are correlated within subjects and print its summary.",
    )
    trial.add_argument("data", metavar="DATA", help="as for fit")
    trial.add_argument("formula", metavar="FORMULA", help='such as "change ~ arm * visit + us(visit | patient)"')
    _add_fitting(trial)
    trial.add_argument(
        "--ddf",
        default="satterthwaite",
        help=f"degrees of freedom of the tests: {', '.join(MARGINAL_NAMES)} (default: %(default)s)",
    )
    _add_layout(trial)
    _add_report(trial)
    trial.set_defaults(command=_mmrm)

    comparison = commands.add_parser(
        "compare",
        help="compare models of the same rows",
        description="Fit models to the same rows and print criteria and likelihood-ratio tests.",
    )
    comparison.add_argument("data", metavar="DATA", help="as for fit")
    comparison.add_argument("formulas", metavar="FORMULA", nargs="+", help="two formulas or more")
    _add_fitting(comparison)
    _add_layout(comparison)
    comparison.set_defaults(command=_compare)

    datasets = commands.add_parser(
        "datasets", help="list the shipped data sets", description="List the shipped data sets."
    )
    datasets.set_defaults(command=_datasets)
    return parser


def _add_fitting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ml", action="store_true", help="maximum likelihood instead of REML")
    parser.add_argument(
        "--family", metavar="NAME", help=f"fit a generalised model, by maximum likelihood: {', '.join(BY_NAME)}"
    )
    parser.add_argument(
        "--n-agq",
        type=int,
        metavar="N",
        help="nodes of the quadrature of a generalised model (default: 1, Laplace's approximation)",
    )
    parser.add_argument("--link", metavar="NAME", help="link of the family (default: its usual one)")
    parser.add_argument(
        "--zero-inflation",
        metavar="FORMULA",
        help='fixed effects on the chance of a zero of its own, such as "~ 1 + x", for counts and hurdle families',
    )
    parser.add_argument("--weights", metavar="COL", help="column of weights: Var(e) = sigma^2 / weight")
    parser.add_argument(
        "--contrasts",
        metavar="CODING",
        help=f"coding of all categories: {', '.join(CODINGS)} (default: treatment); tests of terms do not depend on it",
    )


def _add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--separator",
        metavar="SIGN",
        type=_separator,
        help="between the fields of a csv or tsv file, such as ';' or tab (default: tab in tsv files, in others comma, "
        "semicolon or tab, by the header)",
    )
    parser.add_argument("--decimal", metavar="SIGN", type=_decimal, help="before decimals: . (default) or ,")
    parser.add_argument(
        "--no-python",
        action="store_true",
        help="refuse formulas with anything but names, numbers, operators and listed functions; without it, "
        "expressions in a formula are run as Python, so that whoever writes the formula can run any program",
    )
    parser.add_argument("--encoding", metavar="NAME", type=_encoding, help="such as latin-1 or utf-16 (default: utf-8)")


def _separator(text: str) -> str:
    sign = "\t" if text in {"tab", "\\t"} else text
    if len(sign) != 1 or not sign.isascii() or sign in _NO_SEPARATORS:
        raise argparse.ArgumentTypeError(f"{text!r} is not one sign that separates fields, such as ';' or tab")
    return sign


def _decimal(text: str) -> str:
    if text not in {".", ","}:
        raise argparse.ArgumentTypeError(f"{text!r} is neither . nor ,")
    return text


def _encoding(text: str) -> str:
    try:
        "a".encode(text)
    except (LookupError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no known encoding, such as utf-8 or latin-1") from error
    return text


if __name__ == "__main__":
    sys.exit(main())
