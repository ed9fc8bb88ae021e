"""Times of inference beside lmerTest, pbkrtest and lme4.

    python benchmarks/inference.py [--timeout 120] [--tasks kr_insteval,...] [--out results/inference.json]

Each task is one measurement of ours in this process and one of R's in a process of its own with a time limit
(``inference.R``); the fit is made before the clock starts. A task is repeated until it adds up to a second, at most
twenty times; the median counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import mixedmodels as mm

HERE = Path(__file__).parent
SLEEPSTUDY = "Reaction ~ Days + (Days | Subject)"
INSTEVAL = "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)"


@dataclass(frozen=True)
class Task:
    """A measurement: label, data set, formula and what is timed."""

    label: str
    data: str
    formula: str
    run: Callable[[mm.LmmResult], object]


TASKS = {
    "summary_sleepstudy": Task(
        "Satterthwaite summary, sleepstudy", "sleepstudy", SLEEPSTUDY, lambda fit: str(fit.summary())
    ),
    "summary_insteval": Task("Satterthwaite summary, InstEval", "InstEval", INSTEVAL, lambda fit: str(fit.summary())),
    "kr_sleepstudy": Task(
        "Kenward-Roger table, sleepstudy", "sleepstudy", SLEEPSTUDY, lambda fit: fit.coef_table("kenward-roger")
    ),
    "kr_insteval": Task(
        "Kenward-Roger table, InstEval", "InstEval", INSTEVAL, lambda fit: fit.coef_table("kenward-roger")
    ),
    "profile_sleepstudy": Task(
        "profile intervals, sleepstudy", "sleepstudy", SLEEPSTUDY, lambda fit: fit.conf_int(method="profile")
    ),
    "bootstrap_sleepstudy": Task(
        "1,000 parametric bootstraps, sleepstudy",
        "sleepstudy",
        SLEEPSTUDY,
        lambda fit: fit.bootstrap(1000, seed=1, progress=False),
    ),
    "profile_insteval": Task(
        "profile intervals, InstEval", "InstEval", INSTEVAL, lambda fit: fit.conf_int(method="profile")
    ),
    "robust_sleepstudy": Task("CR2 table, sleepstudy", "sleepstudy", SLEEPSTUDY, lambda fit: fit.coef_table("CR2")),
}


def fresh(fit: mm.LmmResult) -> mm.LmmResult:
    """Return the fit without anything kept from earlier questions."""
    state = fit.state
    for name in ("information", "covariance_derivatives"):
        state.__dict__.pop(name, None)
    return fit


def ours(task: Task) -> float:
    """Return the seconds of our measurement."""
    fit = mm.lmer(task.formula, mm.load_dataset(task.data))
    seconds: list[float] = []
    while not seconds or (sum(seconds) < 1 and len(seconds) < 20):
        fresh(fit)
        began = time.perf_counter()
        task.run(fit)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def theirs(name: str, task: Task, data: Path, timeout: float) -> float | str:
    """Return the seconds of R's measurement, or why there is none."""
    command = ["Rscript", str(HERE / "inference.R"), name, str(data), task.formula]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"> {timeout:.0f}"
    except FileNotFoundError:
        return "no R"
    if done.returncode:
        reason = [line for line in done.stderr.splitlines() if line.strip()]
        return "out of memory" if "alloc" in done.stderr else f"failed: {reason[-1][:120] if reason else 'killed'}"
    return float(done.stdout.split()[-1])


def main() -> None:
    """Run the tasks and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--timeout", type=float, default=120)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "inference.json")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    results = []
    print("| task | ours | R | R/ours |\n| --- | --- | --- | --- |", flush=True)
    for name in options.tasks.split(","):
        task = TASKS[name]
        data = options.cache / f"{task.data}.csv"
        mm.load_dataset(task.data).to_csv(data, index=False)
        load = os.getloadavg()[0]
        a, b = ours(task), theirs(name, task, data, options.timeout)
        bound = options.timeout / a if isinstance(b, str) and b.startswith(">") else None
        ratio = f"{b / a:.0f}x" if isinstance(b, float) else f"> {bound:.0f}x" if bound else "-"
        shown = f"{b:.3g}" if isinstance(b, float) else b
        print(f"| {task.label} | {a:.3g} | {shown} | {ratio} |", flush=True)
        results.append({"task": name, "label": task.label, "ours": a, "r": b, "load": load})
    record = {"machine": platform.processor(), "cores": os.cpu_count(), "timeout": options.timeout, "tasks": results}
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
