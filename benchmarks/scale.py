"""Large problems: seconds, CPU seconds and peak memory of each, in a process of its own.

``python benchmarks/scale.py`` runs all, ``python benchmarks/scale.py genes`` some. Aims stand beside the problems.
``parquet`` has 20 million rows; ``parquet100m``, which is not among all, 100 million.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from lookalikes import film_ratings

import mixedmodels as mm
from mixedmodels.design.open_rows import open_rows
from mixedmodels.fit.streamed import streamed_problem
from mixedmodels.formula.parse import parse_formula

SALES = {
    "slopes": "y ~ x1 + x2 + (x1 | a)",
    "crossed": "y ~ x1 + x2 + (1 | a) + (1 | b)",
}
"""Models of the rows in parquet files."""


def genes() -> dict[str, float]:
    """Fit 20,000 responses on 400 rows of 100 groups: aims 2 s with `(1 | g)`, 10 s with `(x | g)`, on two cores."""
    rng = np.random.default_rng(3)
    groups, rows, responses = 100, 400, 20_000
    g = np.sort(np.concatenate([np.repeat(np.arange(groups), 2), rng.integers(groups, size=rows - 2 * groups)]))
    data = pd.DataFrame({"x": rng.standard_normal(rows), "f": rng.integers(0, 2, rows), "g": g})
    Y = rng.standard_normal((rows, responses))
    Y += rng.uniform(0, 1, responses) * rng.standard_normal((groups, responses))[g]
    seconds = {"intercepts": _seconds(lambda: mm.lmer_many("~ x + f + (1 | g)", data, Y, progress=False))}
    Y += rng.uniform(0, 1, responses) * rng.standard_normal((groups, responses))[g] * data["x"].to_numpy()[:, None]
    return {**seconds, "slopes": _seconds(lambda: mm.lmer_many("~ x + f + (x | g)", data, Y, progress=False))}


def absorb() -> dict[str, float]:
    """Fit 1,000,000 rows with 100,000 levels fixed or random and 500 random ones: aim 1.5 times the random fit."""
    rng = np.random.default_rng(5)
    n, n_firms, n_workers = 1_000_000, 100_000, 500
    firm = np.concatenate([np.arange(n_firms), rng.integers(n_firms, size=n - n_firms)])
    worker, x = rng.integers(n_workers, size=n), rng.standard_normal(n)
    y = 0.5 * x + 2 * rng.normal(size=n_firms)[firm] + 0.3 * rng.normal(size=n_workers)[worker] + rng.standard_normal(n)
    data = pd.DataFrame({"y": y, "x": x, "firm": firm, "worker": worker})
    return {
        "random": _seconds(lambda: mm.lmer("y ~ x + (1 | firm) + (1 | worker)", data)),
        "fixed": _seconds(lambda: mm.lmer("y ~ x + fe(firm) + (1 | worker)", data)),
        "fixed, ML": _seconds(lambda: mm.lmer("y ~ x + fe(firm) + (1 | worker)", data, reml=False)),
    }


def movielens() -> dict[str, float]:
    """Fit 1,000,000 ratings by sampling and exactly: aims theta to 1e-3 of its error, -2 log L to 2 of its own."""
    data, formula = film_ratings(), "rating ~ 1 + (1 | user) + (1 | movie)"
    fits = {}
    seconds = {}
    for method in ("sampled", "exact"):
        began = time.process_time()
        fits[method] = mm.lmer(formula, data, reml=False, method=method)
        seconds[f"{method}, cpu"] = round(time.process_time() - began, 2)
    error = next(finding.data["std_error"] for finding in fits["sampled"].findings if finding.kind == "sampled")
    spread = fits["exact"].variance_parameters()
    moved = fits["sampled"].variance_parameters()["estimate"] - spread["estimate"]
    return {
        **seconds,
        "difference of -2 log L": fits["sampled"].deviance - fits["exact"].deviance,
        "its stated error": error,
        "largest change of a standard deviation, over its error": float((moved / spread["std_error"]).abs().max()),
    }


def parquet(n_rows: int = 20_000_000) -> dict[str, float]:
    """Form products of rows in 20 files, none held whole: aims 3 times the seconds of reading, 2 GB for 100 million."""
    out: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        _write_sales(Path(folder), n_rows)
        for part in ("reading", *SALES):
            command = [sys.executable, __file__, "--sales", part, folder]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            out |= {f"{part}, {what}": value for what, value in said.items()}
    for part in SALES:
        out[f"{part}, cpu over reading"] = round(out[f"{part}, cpu"] / out["reading, cpu"], 1)
    return out


def parquet100m() -> dict[str, float]:
    """Form those of 100 million rows."""
    return parquet(100_000_000)


def _write_sales(folder: Path, n_rows: int, n_files: int = 20) -> None:
    """Write rows with 50,000 and 500 levels, a year and a number of two decimals, a file at a time."""
    n_a, n_b = 50_000, 500
    rng = np.random.default_rng(100)
    by_a, slope, by_b = rng.normal(0, 2, n_a), rng.normal(0, 0.1, n_a), rng.normal(0, 1, n_b)
    for k in range(n_files):
        rng, n = np.random.default_rng([100, k]), n_rows // n_files
        a, b = rng.integers(n_a, size=n, dtype=np.int32), rng.integers(n_b, size=n, dtype=np.int32)
        x1 = rng.integers(1990, 2021, size=n).astype(np.int16)
        x2 = np.round(rng.standard_normal(n, dtype=np.float32), 2)
        y = 1000 + by_a[a] + by_b[b] + (0.3 + slope[a]) * (x1 - 2005) - 0.7 * x2 + 3 * rng.standard_normal(n)
        table = pa.table({"y": y.astype(np.float32), "x1": x1, "x2": x2, "a": a, "b": b})
        pq.write_table(
            table,
            folder / f"{k:02d}.parquet",
            row_group_size=500_000,
            compression="zstd",
            use_dictionary=["x1", "x2", "a", "b"],
        )


def _one_of_sales(part: str, folder: str) -> None:
    """Read the files, or form the products of a model of them, in this process."""
    formula, rows = parse_formula(SALES.get(part, SALES["slopes"])), open_rows(f"{folder}/*.parquet")
    wall, cpu = time.perf_counter(), time.process_time()
    if part == "reading":
        for path in sorted(Path(folder).glob("*.parquet")):
            for _ in pq.ParquetFile(path).iter_batches(batch_size=2**18):
                pass
    else:
        streamed_problem(formula, rows)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"wall": round(wall, 2), "cpu": round(cpu, 2), "peak GB": round(peak, 2)}))


def _large(name: str, share: float, n_files: int = 0) -> dict[str, float]:
    """Fit many ratings by sampling, on all cores: a frame, or files that are read in parts."""
    with tempfile.TemporaryDirectory() as folder:
        if n_files:
            subprocess.run([sys.executable, __file__, "--files", name, str(share), str(n_files), folder], check=True)
            return _sampled(f"{folder}/*.parquet")
        with np.load(_cached(name, share)) as columns:
            data = pd.DataFrame(dict(columns))
        return _sampled(data)


def _sampled(data: pd.DataFrame | str) -> dict[str, float]:
    began, cpu = time.perf_counter(), time.process_time()
    fit = mm.lmer("rating ~ 1 + (1 | user) + (1 | movie)", data, reml=False, method="sampled", progress=False)
    seconds = {"wall": round(time.perf_counter() - began, 2), "cpu": round(time.process_time() - cpu, 2)}
    error = next(finding.data["std_error"] for finding in fit.findings if finding.kind == "sampled")
    return {**seconds, "rows": fit.nobs, "-2 log L": fit.deviance, "its stated error": error}


def movielens32() -> dict[str, float]:
    """Fit 32 million ratings of 200,948 users: aims 120 s on two cores, 2.5 GB, an error of 0.01."""
    return _large("movielens32", 1.0)


def movielens32_files() -> dict[str, float]:
    """Fit the same from 16 parquet files."""
    return _large("movielens32", 1.0, 16)


def movielens10() -> dict[str, float]:
    """Fit the ratings of 5 in 16 of these users: aim 25 s on two cores, 1 GB."""
    return _large("movielens10", 5 / 16)


def _write_ratings(name: str, share: float, n_files: int, folder: Path) -> None:
    """Write ratings in some order to files, in this process."""
    with np.load(_cached(name, share)) as columns:
        data = dict(columns)
    order = np.random.default_rng(0).permutation(len(data["rating"]))
    for k, rows in enumerate(np.array_split(order, n_files)):
        pq.write_table(pa.table({name: values[rows] for name, values in data.items()}), folder / f"{k:02d}.parquet")


def _cached(name: str, share: float) -> Path:
    """Where ratings are kept; they are made by a process of their own, whose memory is no part of a fit's."""
    path = Path(__file__).parent / ".cache" / f"{name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        made = f"np.savez({str(path)!r}, **{{k: v.to_numpy() for k, v in many_ratings({share}).items()}})"
        code = f"import numpy as np; from many_ratings import many_ratings; {made}"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
    return path


PROBLEMS: dict[str, Callable[[], dict[str, float]]] = {
    "genes": genes,
    "absorb": absorb,
    "movielens": movielens,
    "movielens10": movielens10,
    "movielens32": movielens32,
    "movielens32_files": movielens32_files,
    "parquet": parquet,
}


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return round(time.perf_counter() - began, 2)


def main(names: list[str]) -> None:
    """Run problems, each in a process of its own, or one in this process after ``--here``."""
    if names[:1] == ["--sales"]:
        _one_of_sales(*names[1:])
        return
    if names[:1] == ["--files"]:
        _write_ratings(names[1], float(names[2]), int(names[3]), Path(names[4]))
        return
    if names[:1] == ["--here"]:
        seconds = {**PROBLEMS, "parquet100m": parquet100m}[names[1]]()
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu, peak = round(used.ru_utime + used.ru_stime, 2), round(used.ru_maxrss / 1e6, 3)
        print(json.dumps({"problem": names[1], "seconds": seconds, "cpu seconds, data included": cpu, "peak GB": peak}))
        return
    for name in names or PROBLEMS:
        subprocess.run([sys.executable, __file__, "--here", name], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
