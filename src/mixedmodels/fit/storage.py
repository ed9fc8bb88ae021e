"""Results as files: records of numbers, texts and arrays, which run nothing when they are read."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from os import PathLike
from typing import IO, Any

from formulaic.formula import OrderingMethod, SimpleFormula
from formulaic.materializers import ClusterBy, NAAction
from formulaic.materializers.base import EncodedTermStructure
from formulaic.materializers.types import EvaluatedFactor, ScopedFactor, ScopedTerm
from formulaic.model_spec import ModelSpec
from formulaic.parser.types import Factor, Term
from formulaic.transforms.contrasts import ContrastsState, CustomContrasts
from formulaic.utils.sentinels import Sentinel

from mixedmodels.covariance.correlation import Visits
from mixedmodels.covariance.relationship import Relationship
from mixedmodels.design.absorbed import Absorbed, AbsorbedFactor
from mixedmodels.design.coding import MatrixCoding
from mixedmodels.design.design import Design
from mixedmodels.design.evaluation import MatrixRecipe, Memory
from mixedmodels.design.frame import Column
from mixedmodels.design.functions import CODINGS
from mixedmodels.design.grouping import Grouping
from mixedmodels.design.known_residual import KnownResidual
from mixedmodels.design.labels import LevelTexts
from mixedmodels.design.probe import Probe, ProbedMatrix
from mixedmodels.design.recipe import DesignRecipe, FactorRecipe
from mixedmodels.design.records import EffectTerm, Finding, RandomFactor
from mixedmodels.design.residual_rows import ResidualRows, VarianceColumn
from mixedmodels.design.stand_in import StandIn
from mixedmodels.design.zero_part import ZeroPart
from mixedmodels.errors import DataError
from mixedmodels.families.family import Family
from mixedmodels.families.named import BY_NAME
from mixedmodels.fit.archive import is_archive, read_archive, write_archive
from mixedmodels.fit.call import Call, RelatedCall
from mixedmodels.fit.chains import ChainProblem
from mixedmodels.fit.control import Control
from mixedmodels.fit.correlated import CorrelatedProblem
from mixedmodels.fit.correlated_call import CorrelatedCall
from mixedmodels.fit.correlated_fit import CorrelatedState
from mixedmodels.fit.coupled import CoupledProblem
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from mixedmodels.fit.generalized import GeneralizedProblem, GlmmState
from mixedmodels.fit.generalized_call import GeneralizedCall
from mixedmodels.fit.information import CovarianceDerivatives, Identification, Information
from mixedmodels.fit.marginal import MarginalProblem
from mixedmodels.fit.marginal_fit import MarginalState
from mixedmodels.fit.plain_values import Kept, Packer, Table, Unpacker
from mixedmodels.fit.problem import Problem
from mixedmodels.fit.records import FitState, Optimum
from mixedmodels.fit.rowless import RowlessFit, restored
from mixedmodels.fit.sampled_fit import MonteCarlo, SampledProblem, SampledState
from mixedmodels.fit.structured_fit import StructuredState
from mixedmodels.fit.undetermined import Undetermined
from mixedmodels.fit.whole_file import read_whole, write_whole
from mixedmodels.formula.terms import Formula, RandomTerm, ResidualTerm, VarianceTerm

MAGIC = b"mixedmodels "
"""Begins the line at the end of a pickle that says which version wrote it."""


def _problem(design: Design, n_threads: int, seconds: dict[str, float]) -> Problem:
    problem = Problem(design, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _sampled_problem(design: Design, n_threads: int, seconds: dict[str, float]) -> SampledProblem:
    problem = SampledProblem(design, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _marginal_problem(design: Design, n_threads: int, seconds: dict[str, float]) -> MarginalProblem:
    problem = MarginalProblem(design, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _generalized_problem(  # noqa: PLR0917  # what is kept, in its order
    design: Design,
    family: Family,
    n_agq: int,
    n_threads: int,
    seconds: dict[str, float],
    zeros: ZeroPart | None = None,
) -> GeneralizedProblem:
    problem = GeneralizedProblem(design, family, zeros, n_agq=n_agq, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _correlated_problem(
    design: Design, n_threads: int, seconds: dict[str, float], known_sigma: float | None
) -> CorrelatedProblem:
    problem = CorrelatedProblem(design, sigma=known_sigma, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _coupled_problem(
    design: Design, n_threads: int, seconds: dict[str, float], known_sigma: float | None
) -> CoupledProblem:
    problem = CoupledProblem(design, sigma=known_sigma, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _chain_problem(
    design: Design, n_threads: int, seconds: dict[str, float], known_sigma: float | None
) -> ChainProblem:
    problem = ChainProblem(design, sigma=known_sigma, n_threads=n_threads)
    problem.seconds = seconds
    return problem


def _factor(expr: str, eval_method: Factor.EvalMethod, kind: Factor.Kind) -> Factor:
    return Factor(expr, eval_method=eval_method, kind=kind)


def _evaluated(factor: Factor) -> EvaluatedFactor:
    return EvaluatedFactor(factor, None)


def _formula(_SimpleFormula__terms: list[Term], ordering: OrderingMethod) -> SimpleFormula:
    return SimpleFormula(_SimpleFormula__terms, _ordering=ordering)


DESIGNS = (
    *(Formula, RandomTerm, Finding, RandomFactor, Column, Grouping, Memory, MatrixRecipe, FactorRecipe, DesignRecipe),
    *(
        ProbedMatrix,
        Probe,
        Design,
        ResidualTerm,
        ResidualRows,
        Visits,
        LevelTexts,
        VarianceTerm,
        VarianceColumn,
        EffectTerm,
    ),
    *(ProbedMatrix, Probe, StandIn, Design, Absorbed, AbsorbedFactor, Relationship, ZeroPart, KnownResidual),
)
FITS = (
    Control,
    Optimum,
    FitState,
    StructuredState,
    MonteCarlo,
    SampledState,
    MarginalState,
    GlmmState,
    Call,
    RelatedCall,
    GeneralizedCall,
    *BY_NAME.values(),
    CorrelatedState,
    CorrelatedCall,
    Basis,
    FixedRoot,
    Information,
    Identification,
    CovarianceDerivatives,
    Undetermined,
)
FORMULAIC = (ModelSpec, ContrastsState, *CODINGS.values())
NAMES = (OrderingMethod, ClusterBy, NAAction, Factor.EvalMethod, Factor.Kind, Sentinel)
KEPT = (
    *map(Kept, (*DESIGNS, *FITS, *FORMULAIC, *NAMES)),
    Kept(Problem, ("design", "n_threads", "seconds"), _problem),
    Kept(SampledProblem, ("design", "n_threads", "seconds"), _sampled_problem),
    Kept(MarginalProblem, ("design", "n_threads", "seconds"), _marginal_problem),
    Kept(GeneralizedProblem, ("design", "family", "n_agq", "n_threads", "seconds", "zeros"), _generalized_problem),
    Kept(CorrelatedProblem, ("design", "n_threads", "seconds", "known_sigma"), _correlated_problem),
    Kept(ChainProblem, ("design", "n_threads", "seconds", "known_sigma"), _chain_problem),
    Kept(CoupledProblem, ("design", "n_threads", "seconds", "known_sigma"), _coupled_problem),
    Kept(RowlessFit, make=restored),
    Kept(MatrixCoding, ("matrix", "names")),
    Kept(CustomContrasts, ("contrasts", "names")),
    Kept(EncodedTermStructure, EncodedTermStructure._fields, EncodedTermStructure),
    Kept(EvaluatedFactor, ("factor",), _evaluated),  # its values are those of other rows
    Kept(ScopedFactor, ("factor", "reduced")),
    Kept(ScopedTerm, ("factors", "scale")),
    Kept(Factor, ("expr", "eval_method", "kind"), _factor),
    Kept(Term, ("factors", "origin"), Term),  # it remembers a hash, which is another one in another process
    Kept(SimpleFormula, ("_SimpleFormula__terms", "ordering"), _formula),
)
"""What results are made of, up to the fit."""


def about(design: Design) -> dict[str, Any]:
    """Return what the reader of a file is to know of the data in it."""
    labels = None if design.labels is None else [str(name) for name in design.labels.names]
    return {"formula": design.formula.text, "columns": list(design.used_columns), "labels of rows": labels}


def save_records(
    path: str | PathLike[str], kind: str, value: object, more: Iterable[Kept], about: Mapping[str, Any]
) -> None:
    """Write a record to a file; what it holds that is none, such as a function of the user's, is left out by name.

    Parameters
    ----------
    path
        The file.
    kind
        What the record is.
    value
        The record.
    more
        Classes beside those of fits.
    about
        What a reader of the file is to know first.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    packer = Packer(Table((*KEPT, *more)))
    content = packer.pack(value)
    missing = sorted(set(packer.left_out))
    write_archive(path, {"kind": kind, **about, "left out": missing}, content, packer.arrays)


def load_records(path: str | PathLike[str], kinds: Collection[str], more: Iterable[Kept]) -> Any:
    """Return the record in a file that `save_records` wrote. Nothing in the file is run.

    Parameters
    ----------
    path
        The file.
    kinds
        What the record may be.
    more
        As it was saved with.

    Raises
    ------
    DataError
        If the file cannot be read, is damaged, or holds something else.
    """
    data, name = read_whole(path), str(path)
    if not is_archive(data):
        raise DataError(_no_result(data, name))
    about, content, arrays = read_archive(data, name)
    kind = about.get("kind")
    if kind not in kinds:
        raise DataError(f"{name!r} holds a {kind}, not a {' or a '.join(kinds)}.")
    try:
        return Unpacker(Table((*KEPT, *more)), arrays).unpack(content)
    except Exception as error:  # of any kind, where the records are those of another version, or forged
        writers = ", ".join(f"{package} {number}" for package, number in about["written by"].items())
        raise DataError(f"{name!r} cannot be read as a {kind}: {error}. It was written by {writers}.") from error


def _no_result(data: bytes, name: str) -> str:
    if not _looks_pickled(data):
        return f"{name!r} is not a result saved by mixedmodels."
    return (
        f"{name!r} is a pickle, as mixedmodels 0.1 and the statsmodels door write them. Reading one can run any "
        "program: if you trust whoever wrote it, mixedmodels.load(path, trust=True) reads it."
    )


# Pickles: what the statsmodels door writes, and what version 0.1 wrote for all fits


def save_pickle(result: object, path: str | PathLike[str] | IO[bytes]) -> None:
    """Write a pickle, which ``pickle.load`` reads too, then one line that says which version wrote it.

    Parameters
    ----------
    result
        What to keep.
    path
        The file, or one that is open.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    trailer = json.dumps({"format": 1, "version": version("mixedmodels")})

    def write(file: IO[bytes]) -> None:
        pickle.dump(result, file, protocol=pickle.HIGHEST_PROTOCOL)
        file.write(b"\n" + MAGIC + trailer.encode() + b"\n")

    if isinstance(path, str | PathLike):
        write_whole(path, write)
    else:
        write(path)


def load_pickle(path: str | PathLike[str] | IO[bytes]) -> Any:
    """Return what a pickle holds that `save_pickle` wrote; this can run any program that whoever wrote it put there.

    Parameters
    ----------
    path
        The file, or one that is open.

    Raises
    ------
    DataError
        If the file cannot be read, is no such pickle, or is damaged.
    """
    data, name = read_whole(path) if isinstance(path, str | PathLike) else path.read(), str(path)
    pickled, _, line = data.removesuffix(b"\n").rpartition(b"\n")
    if not line.startswith(MAGIC):
        raise DataError(f"{name!r} is not a result saved by mixedmodels.")
    try:
        return pickle.loads(pickled)
    except Exception as error:  # whatever a damaged pickle, or one of other classes, runs into
        raise DataError(f"{name!r} cannot be read as a result: {type(error).__name__}: {error}.") from error


def is_pickle(path: str | PathLike[str]) -> bool:
    """Return whether a file is a pickle.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    return _looks_pickled(read_whole(path))


def _looks_pickled(data: bytes) -> bool:
    return data.startswith(b"\x80")
