"""One measurement of one Python engine in a process of its own; prints one JSON object a line.

``python worker.py '{"engine": ..., "problem": ..., "parquet": ..., ...}'``, called by run.py. Packages are imported and
data are read before the clock starts; then whole calls, from formula to result.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from engines import ENGINES
from problems import find_problem

STATUS = Path("/proc/self/status")


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def memory_mb(field: str) -> float:
    """A memory field of this process in MB."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def reset_peak() -> None:
    """Let the peak memory count from here, so that reading the data is not in it."""
    Path("/proc/self/clear_refs").write_text("5")


sys.path.remove(str(Path(__file__).resolve().parent))  # glmm.py there has the name of a package


def main(request: dict[str, Any]) -> None:
    warnings.simplefilter("ignore")
    problem, engine = find_problem(request["problem"]), ENGINES[request["engine"]]
    importlib.import_module(engine.module)
    data = pd.read_parquet(request["parquet"])

    def timed() -> tuple[Any, float, float]:
        cpu, started = time.process_time(), time.perf_counter()
        fit = engine.fit(problem, data)
        return fit, time.perf_counter() - started, time.process_time() - cpu

    # as timeit does: a collection before each call would time how fast caches fill again
    gc.collect()
    gc.disable()
    reset_peak()
    say(event="ready", memory_before=memory_mb("VmRSS"))
    fit, first, cpu = timed()
    say(event="call", seconds=first, cpu_seconds=cpu, memory_peak=memory_mb("VmHWM"))
    say(event="result", **asdict(engine.read(fit)))
    times: list[float] = []
    while first <= request["long_call"] and (
        len(times) < request["enough_calls"] or sum(times) < request["enough_seconds"]
    ):
        del fit
        fit, seconds, _ = timed()
        times.append(seconds)
        say(event="call", seconds=seconds)
    # Again, because the split of a warm call is the one that belongs to the median.
    say(event="result", **asdict(engine.read(fit)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
