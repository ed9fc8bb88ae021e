"""Time our package, lme4 and the Python peers on the benchmark problems, and print the table.

Every measurement is a process of its own, one after the other. Linux only (memory is read from /proc). See README.md
beside this file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from engines import ENGINES
from problems import PROBLEMS, Problem, cached_data
from report import table

HERE = Path(__file__).resolve().parent
sys.path.remove(str(HERE))  # glmm.py has the name of a package
RESULTS = HERE / "results"
ENGINE_NAMES = ("ours", "lme4", *(name for name in ENGINES if name != "ours"))
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
LOADING_SECONDS = 600
OUT_OF_MEMORY = ("MemoryError", "cannot allocate", "Cannot allocate", "memory exhausted", "out of memory")
SETTINGS = ("timeout", "seconds", "calls", "long_call", "memory_limit")
R_FACTS = """
suppressPackageStartupMessages(library(lme4)); s <- sessionInfo()
cat(jsonlite::toJSON(list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4")),
    BLAS = s$BLAS, LAPACK = s$LAPACK), auto_unbox = TRUE))
"""


def versions() -> dict[str, str]:
    """Versions of everything that takes part; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in [engine.distribution for engine in ENGINES.values()] + ["numpy", "scipy", "pandas"]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if shutil.which("Rscript"):
        answer = subprocess.run(["Rscript", "-e", R_FACTS], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            found |= json.loads(answer.stdout)
    return found


def machine() -> dict[str, Any]:
    """The computer, as far as times depend on it."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    return {
        "processor": next(line.split(":")[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "threads": {name: os.environ.get(name, "default") for name in THREAD_VARIABLES},
    }


def unavailable(engine: str, problem: Problem) -> str | None:
    """Why there is nothing to measure; None if there is."""
    if engine == "lme4":
        return None if shutil.which("Rscript") else "not installed"
    if importlib.util.find_spec(ENGINES[engine].module.split(".")[0]) is None:
        return "not installed"
    return ENGINES[engine].cannot(problem)


def _lines(process: subprocess.Popen[str], patience: float) -> Iterator[dict[str, Any]]:
    """What the worker says, line by line; TimeoutError if it is silent for longer than it may be."""
    lines: queue.Queue[str | None] = queue.Queue()

    def forward() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=forward, daemon=True).start()
    limit: float = LOADING_SECONDS
    while True:
        try:
            line = lines.get(timeout=limit)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        limit = patience
        yield json.loads(line)


def measure(engine: str, problem: Problem, options: argparse.Namespace) -> dict[str, Any]:
    """Times, criterion and memory of one engine on one problem, or why there are none."""
    record: dict[str, Any] = {"problem": problem.name, "engine": engine, "load": os.getloadavg()[0]}
    reason = unavailable(engine, problem)
    if reason is not None:
        return record | {"status": "absent", "message": reason}

    parquet, text = cached_data(problem, options.cache)
    request = {"enough_seconds": options.seconds, "enough_calls": options.calls, "long_call": options.long_call}
    if engine == "lme4":
        categories = [field.name for field in pq.read_schema(parquet) if pa.types.is_dictionary(field.type)]
        request |= {"csv": str(text), "formula": problem.formula, "categories": categories}
        command = ["Rscript", str(HERE / "lme4.R"), json.dumps(request)]
    else:
        request |= {"engine": engine, "problem": problem.name, "parquet": str(parquet)}
        command = [sys.executable, str(HERE / "worker.py"), json.dumps(request)]

    calls: list[float] = []
    timed_out = False
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        limit = options.memory_limit * 2**30
        psutil.Process(process.pid).rlimit(psutil.RLIMIT_AS, (limit, limit))
        try:
            for line in _lines(process, options.timeout):
                if line.pop("event") == "call":
                    calls.append(round(line.pop("seconds"), 7))
                record |= line
        except TimeoutError:
            timed_out = True
            record["memory_peak"] = _peak_mb(process.pid)
            process.kill()
        process.wait()
        errors.seek(0)
        complaint = errors.read().strip()

    record["calls"] = calls
    if "criterion" in record:
        # The first call meets cold caches and lazy imports; it stands alone where it is too long to repeat.
        return record | {"status": "fitted", "cold": calls[0], "seconds": statistics.median(calls[1:] or calls)}
    if timed_out:
        return record | {"status": "timeout", "seconds": options.timeout}
    if process.returncode == -signal.SIGKILL or any(words in complaint for words in OUT_OF_MEMORY):
        return record | {"status": "memory", "message": f"more than {options.memory_limit} GB"}
    return record | {"status": "error", "message": complaint[-500:]}


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def run(options: argparse.Namespace) -> Path:
    """Measure all that was asked for; the file is complete after each measurement."""
    started = datetime.now(UTC)
    out = options.out or RESULTS / f"{started:%Y%m%d-%H%M%S}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    measurements: list[dict[str, Any]] = []
    facts = {
        "run": f"{started:%Y%m%d-%H%M%S}",
        "note": options.note,
        "machine": machine(),
        "versions": versions(),
        "settings": {name: getattr(options, name) for name in SETTINGS},
        "problems": [_description(problem) for problem in PROBLEMS if problem.name in options.problems],
    }
    for problem in PROBLEMS:
        for engine in ENGINE_NAMES:
            if problem.name not in options.problems or engine not in options.engines:
                continue
            measurements.append(measure(engine, problem, options))
            _write(out, facts, measurements)
            print(_progress(measurements[-1]), file=sys.stderr, flush=True)
    return out


def _write(out: Path, facts: dict[str, Any], measurements: Sequence[dict[str, Any]]) -> None:
    """One JSON object, a line for each measurement."""
    head = json.dumps(facts, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(measurement) for measurement in measurements)
    out.write_text(f'{head},\n "measurements": [\n  {lines}\n ]\n}}\n', encoding="utf-8")


def _description(problem: Problem) -> dict[str, Any]:
    names = ("name", "title", "formula", "n_theta", "aim")
    return {name: value for name, value in asdict(problem).items() if name in names}


def _progress(record: dict[str, Any]) -> str:
    told = f"{record['seconds']:.4g} s" if "seconds" in record else (record["message"].splitlines() or [""])[-1]
    return f"{record['problem']:15s} {record['engine']:12s} {record['status']:8s} {told}"


def _names(allowed: Sequence[str], text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(allowed)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(allowed)}")
    return names


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    problem_names = [problem.name for problem in PROBLEMS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=lambda text: _names(problem_names, text), default=problem_names)
    parser.add_argument("--engines", type=lambda text: _names(ENGINE_NAMES, text), default=list(ENGINE_NAMES))
    parser.add_argument("--timeout", type=float, default=900, help="seconds a single call may take")
    parser.add_argument("--seconds", type=float, default=1, help="repeat calls until they add up to this")
    parser.add_argument("--calls", type=int, default=3, help="and are at least so many")
    parser.add_argument("--long-call", type=float, default=60, help="do not repeat a call that took longer")
    parser.add_argument("--memory-limit", type=int, default=16, help="GB of address space of a worker")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="folder of the data, written on first use")
    parser.add_argument("--out", type=Path, help="file of the results; default: results/<date-time>.json")
    parser.add_argument("--note", default="", help="a remark kept with the results")
    parser.add_argument(
        "--report",
        type=Path,
        nargs="?",
        const=RESULTS,
        help="only print the table of a stored run (default: the latest)",
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Run or report, as asked."""
    options = parse()
    source = options.report or run(options)
    if source.is_dir():
        source = max(source.glob("*.json"))
    print(table(json.loads(source.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
