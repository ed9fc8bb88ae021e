"""Generalised models against lme4 and PyPI's glmm: seconds of whole calls, wall and CPU, all in one run.

    python benchmarks/glmm.py [--problems cbpp,epil] [--engines ours,lme4,glmm] [--one-thread]

Every measurement is a process of its own, one after the other, with default settings; `--one-thread` gives every
package one. A call that takes longer than `--timeout` is a lower bound. The first call of a process is not counted
where it can be repeated; the median of the others is what the table shows. Results are kept in `results/glmm.json`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests" / "data"
RESULTS = HERE / "results" / "glmm.json"
ENGINES = ("ours", "lme4", "glmm")
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
ENOUGH_CALLS, ENOUGH_SECONDS, LONG_CALL = 5, 1.0, 20.0


@dataclass(frozen=True)
class Problem:
    """One row of the table.

    Attributes
    ----------
    formula, family
        As lme4 writes them; also ours.
    make
        Makes the data.
    aim
        CPU seconds of lme4 over ours, one thread each, that we want to reach.
    of_glmm
        Formula and name of the weights where glmm needs others.
    """

    formula: str
    family: str
    make: Callable[[], pd.DataFrame]
    aim: float
    of_glmm: tuple[str, str | None] | None = None


def _file(name: str, *factors: str) -> pd.DataFrame:
    data = pd.read_csv(TESTS / name, dtype=dict.fromkeys(factors, str))
    return data.astype(dict.fromkeys(factors, "category"))


def _cbpp() -> pd.DataFrame:
    data = _file("cbpp.csv", "herd", "period")
    return data.assign(healthy=data["size"] - data["incidence"], share=data["incidence"] / data["size"])


def _two_levels(data: pd.DataFrame, response: str, second: str) -> pd.DataFrame:
    return data.assign(**{response: (data[response] == second).astype(int)})


def _yes(rng: np.random.Generator, eta: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    return (rng.random(len(eta)) < 1 / (1 + np.exp(-eta))).astype(int)


def answers(n_levels: int, n_rows: int, slope_sd: float) -> pd.DataFrame:
    """Return answers of people, in the order of people, with a covariate of each answer."""
    rng = np.random.default_rng(n_levels)
    g = np.repeat(np.arange(n_levels), n_rows)
    x = rng.normal(size=len(g))
    level = rng.normal(size=(n_levels, 2)) @ np.array([[1.0, 0.3], [0.0, 0.95]]) * [0.8, slope_sd]
    return pd.DataFrame({"g": g, "x": x, "y": _yes(rng, -0.5 + 0.5 * x + level[g, 0] + level[g, 1] * x)})


def counts() -> pd.DataFrame:
    """Return counts of 4,000 sites in 200 regions, 25 rows each."""
    rng = np.random.default_rng(8)
    site = np.repeat(np.arange(4000), 25)
    region = site // 20
    x = rng.normal(size=len(site))
    eta = 0.5 + 0.3 * x + 0.5 * rng.normal(size=4000)[site] + 0.4 * rng.normal(size=200)[region]
    return pd.DataFrame({"region": region, "site": site, "x": x, "y": rng.poisson(np.exp(eta))})


def crossed() -> pd.DataFrame:
    """Return 100,000 answers of 2,000 people to 500 questions, drawn at random."""
    rng = np.random.default_rng(9)
    a, b = rng.integers(2000, size=100_000), rng.integers(500, size=100_000)
    x = rng.normal(size=len(a))
    eta = 0.4 * x + rng.normal(size=2000)[a] + 0.7 * rng.normal(size=500)[b]
    return pd.DataFrame({"a": a, "b": b, "x": x, "y": _yes(rng, eta)})


def experiment() -> pd.DataFrame:
    """Return answers of 200 people to each of 400 words: f varies within both, p between people alone."""
    rng = np.random.default_rng(10)
    subj, item = np.repeat(np.arange(200), 400), np.tile(np.arange(400), 200)
    f, p = rng.normal(size=400)[item], np.where((subj + item) % 2, 0.5, -0.5)
    by_subj, by_item = rng.normal(size=(200, 3)) * [1.0, 0.3, 0.4], rng.normal(size=(400, 2)) * [0.6, 0.3]
    eta = 1 + 0.3 * f - 0.4 * p + by_subj[subj, 0] + by_subj[subj, 1] * f + by_subj[subj, 2] * p
    eta += by_item[item, 0] + by_item[item, 1] * p
    return pd.DataFrame({"subj": subj, "item": item, "f": f, "p": p, "y": _yes(rng, eta)})


def contraception() -> pd.DataFrame:
    """Return use of contraception as 0 and 1, and the square of age."""
    data = _file("Contraception.csv", "district", "urban", "livch")
    return _two_levels(data, "use", "Y").assign(age2=data["age"] ** 2)


PROBLEMS = {
    "cbpp": Problem(
        "cbind(incidence, healthy) ~ period + (1 | herd)",
        "binomial",
        _cbpp,
        15,
        ("share ~ period + (1 | herd)", "size"),
    ),
    "epil": Problem(
        "y ~ lbase * trt + lage + V4 + (1 | subject)", "poisson", partial(_file, "epil.csv", "subject", "trt"), 20
    ),
    "contraception": Problem("use ~ age + age2 + urban + livch + (1 | district)", "binomial", contraception, 50),
    "grouseticks": Problem(
        "TICKS ~ YEAR + cHEIGHT + (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
        "poisson",
        partial(_file, "grouseticks.csv", "YEAR", "BROOD", "INDEX", "LOCATION"),
        40,
    ),
    "verbagg": Problem(
        "r2 ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)",
        "binomial",
        lambda: _two_levels(_file("VerbAgg.csv.gz", "id", "item", "Gender", "btype", "situ"), "r2", "Y"),
        80,
    ),
    "slopes": Problem("y ~ x + (x | g)", "binomial", partial(answers, 5000, 20, 0.5), 100),
    "intercepts": Problem("y ~ x + (1 | g)", "binomial", partial(answers, 100_000, 5, 0.0), 100),
    "nested": Problem("y ~ x + (1 | region) + (1 | site)", "poisson", counts, 100),
    "crossed": Problem("y ~ x + (1 | a) + (1 | b)", "binomial", crossed, 80),
    "experiment": Problem("y ~ f + p + (f + p | subj) + (p | item)", "binomial", experiment, 300),
}


def fit_ours(problem: Problem, data: pd.DataFrame) -> Any:
    """Return our fit."""
    return import_module("mixedmodels").glmer(problem.formula, data, problem.family)


def fit_glmm(problem: Problem, data: pd.DataFrame) -> Any:
    """Return that of glmm."""
    formula, weights = problem.of_glmm or (problem.formula, None)
    return import_module("glmm").fit(data, formula, problem.family, weights=None if weights is None else data[weights])


def worker(request: dict[str, Any]) -> None:
    """Print a line of JSON a call of one Python package: seconds, CPU seconds, deviance, evaluations."""
    warnings.simplefilter("ignore")
    problem, ours = PROBLEMS[request["problem"]], request["engine"] == "ours"
    fit = fit_ours if ours else fit_glmm
    data = pd.read_pickle(request["data"])
    calls: list[float] = []
    while len(calls) <= ENOUGH_CALLS and sum(calls) < (ENOUGH_SECONDS if calls[1:] else LONG_CALL):
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        found = fit(problem, data)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        calls.append(seconds)
        deviance = found.deviance if ours else -2 * found.loglik
        evaluations = found.optimizer.n_evaluations if ours else found.n_eval
        print(json.dumps([seconds, cpu, float(deviance), int(evaluations)]), flush=True)


def measure(engine: str, name: str, folder: Path, timeout: float, one_thread: bool) -> dict[str, Any]:
    """Return what the calls of one engine took, medians without the first one, or what became of them."""
    problem, data = PROBLEMS[name], folder / f"{name}.pickle"
    if not data.exists():
        frame = problem.make()
        frame.to_pickle(data)
        frame.to_csv(folder / f"{name}.csv", index=False)
        kinds = frame.dtypes.astype(str)
        (folder / f"{name}.factors").write_text("\n".join(kinds.index[kinds == "category"]) + "\n", encoding="utf-8")
    if engine == "lme4":
        limits = (str(ENOUGH_CALLS), str(ENOUGH_SECONDS), str(LONG_CALL))
        command = ["Rscript", str(HERE / "glmm.R"), str(folder / name), problem.formula, problem.family, *limits]
    else:
        request = {"engine": engine, "problem": name, "data": str(data)}
        command = [sys.executable, str(Path(__file__).resolve()), "--worker", json.dumps(request)]
    environment = {**os.environ, **(ONE_THREAD if one_thread else {})}
    record: dict[str, Any] = {"problem": name, "engine": engine, "threads": "one" if one_thread else "default"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        printed, complaint = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, complaint = process.communicate()
    calls = [json.loads(line) for line in printed.splitlines()]
    if not calls:
        late = process.returncode is not None and process.returncode < 0
        return record | {"status": f"> {timeout:.0f} s" if late else complaint.strip()[-200:]}
    warm = calls[1:] or calls
    seconds, cpu = (statistics.median(call[k] for call in warm) for k in (0, 1))
    return record | {"seconds": seconds, "cpu": cpu, "deviance": calls[-1][2], "evaluations": calls[-1][3]}


def table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a row a problem: CPU seconds, those of others over ours, and how far their optima are above ours."""
    rows = []
    for name in dict.fromkeys(record["problem"] for record in records):
        by_engine = {record["engine"]: record for record in records if record["problem"] == name}
        ours = by_engine.get("ours", {})
        row: dict[str, Any] = {"problem": name, "ours": ours.get("cpu"), "evaluations": ours.get("evaluations")}
        for engine in ENGINES[1:]:
            theirs = by_engine.get(engine, {})
            row[engine] = theirs.get("cpu", theirs.get("status"))
            if "cpu" in theirs and "cpu" in ours:
                row[f"{engine} / ours"] = theirs["cpu"] / ours["cpu"]
                row[f"{engine} above"] = theirs["deviance"] - ours["deviance"]
        rows.append({**row, "aim": PROBLEMS[name].aim})
    return pd.DataFrame(rows).set_index("problem")


def main() -> None:
    """Measure what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--problems", default=",".join(PROBLEMS))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--one-thread", action="store_true")
    parser.add_argument("--timeout", type=float, default=900.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
        return
    records = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.problems.split(","):
            for engine in options.engines.split(","):
                records.append(measure(engine, name, Path(folder), options.timeout, options.one_thread))
                options.out.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n", encoding="utf-8")
                print(records[-1], file=sys.stderr, flush=True)
    with pd.option_context("display.width", 160, "display.float_format", "{:.4g}".format):
        print(table(records).to_string())


if __name__ == "__main__":
    sys.path.remove(str(HERE))  # this file has the name of a package that it measures
    main()
