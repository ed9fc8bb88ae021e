"""Do fits of tiny data sets end at the best optimum? Each by default, and from eight random starts.

``python benchmarks/many_starts.py`` takes 1,000 data sets of 4 to 12 groups with 2 to 6 rows each, families and models
in turn; one in five is near separation or has groups with few successes or counts. ``--seed 17`` shows one of them,
``--first 1000`` takes another thousand. Aim: no default more than 1e-6 above the best, and none that is no optimum
where a start finds one. An optimum is where a run converged and the criterion has the same value when evaluated anew.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import mixedmodels as mm
from mixedmodels.errors import MixedModelsError
from mixedmodels.fit.generalized import GeneralizedProblem, GlmmState, fit_generalized

Floats = NDArray[np.float64]

FAMILIES = (
    *("binomial", "poisson", "negative_binomial", "gamma", "beta", "ordinal"),
    *("zero_inflated_poisson", "zero_inflated_negative_binomial"),
)
MODELS = ("y ~ x + (1 | g)", "y ~ x + (x | g)")
N_SETS, N_STARTS = 1_000, 8
ABOVE = 1e-6
TOLD = ("not_converged", "separated", "huge_effects", "no_curvature", "other_optima", "no_excess_zeros")
"""Findings that are counted."""


@dataclass(frozen=True)
class Outcome:
    """What became of one data set: where the default ended, and the lowest of the starts that are optima."""

    seed: int
    family: str
    model: str
    extreme: bool
    default: float
    status: str
    is_optimum: bool
    optimum: float | None
    n_lower: int
    n_failed: int
    findings: tuple[str, ...]
    refusal: str = ""

    @property
    def above(self) -> float:
        """How far the default ends above the lowest optimum; no distance where starts found none."""
        return 0.0 if self.optimum is None else self.default - self.optimum

    @property
    def is_missed(self) -> bool:
        """Whether a start found an optimum that the default did not: a lower one, or one at all."""
        return self.optimum is not None and (self.above > ABOVE or not self.is_optimum)


def tiny_data(seed: int) -> tuple[pd.DataFrame, str, str, bool]:
    """Return a data set, its family and model, and whether it was made extreme."""
    rng = np.random.default_rng([15, seed])
    family, model = FAMILIES[seed % len(FAMILIES)], MODELS[seed // len(FAMILIES) % len(MODELS)]
    extreme, balanced = rng.random() < 0.2, rng.random() < 0.5
    n_groups = rng.integers(4, 13)
    sizes = np.full(n_groups, rng.integers(2, 7)) if balanced else rng.integers(2, 7, n_groups)
    g = np.repeat(np.arange(n_groups), sizes)
    x = rng.normal(size=len(g))
    sd = rng.choice([0.0, 0.3, 1.0, 2.0], 2)
    slope = rng.normal() + (4 if extreme else 0)
    eta = (
        0.5 * rng.normal() + slope * x + sd[0] * rng.normal(size=n_groups)[g] + sd[1] * rng.normal(size=n_groups)[g] * x
    )
    if extreme and family not in ("gamma", "beta"):
        eta[g < n_groups // 2] -= 4
    return pd.DataFrame({"y": _responses(family, eta, rng), "x": x, "g": g}), family, model, extreme


def _responses(family: str, eta: Floats, rng: np.random.Generator) -> Floats:
    n, mean, chance = len(eta), np.exp(np.clip(eta, -6, 4)), 1 / (1 + np.exp(-eta))
    match family:
        case "binomial":
            return (rng.random(n) < chance).astype(int)
        case "gamma":
            return mean * rng.gamma(2, 0.5, n)
        case "beta":
            return rng.beta(5 * chance + 0.1, 5 * (1 - chance) + 0.1).clip(1e-6, 1 - 1e-6)
        case "ordinal":
            return 1 + (np.array([-1, 0.5])[None, :] < (eta + rng.logistic(size=n))[:, None]).sum(axis=1)
    if "negative" in family:
        mean = mean * rng.gamma(2, 0.5, n)
    return rng.poisson(mean) * (rng.random(n) > (0.3 if "zero" in family else 0))


def problem_of(seed: int) -> GeneralizedProblem:
    """Return the criterion of a data set."""
    data, family, model, _ = tiny_data(seed)
    inflated = family.startswith("zero_inflated_")
    own = {"zero_inflation": "~ 1"} if inflated else {}
    return mm.GeneralizedLinearMixedModel(model, data, family.removeprefix("zero_inflated_"), **own).problem


def random_start(fit: GlmmState, rng: np.random.Generator) -> Floats:
    """Return psi with standard deviations of 0.05 to 3, and everything else about where no data would put it."""
    n_theta = len(fit.theta)
    psi = rng.normal(size=len(fit.psi))
    psi[:n_theta] = np.exp(rng.uniform(np.log(0.05), np.log(3), n_theta))
    if n_theta > 1:
        psi[1] *= rng.choice([-1, 1])
    if fit.family.name == "ordinal":
        psi[fit.phi_in_psi] = np.abs(psi[fit.phi_in_psi]) + 0.2
    return psi


def is_optimum(problem: GeneralizedProblem, fit: GlmmState) -> bool:
    """Return whether a fit ended where the criterion is stationary, and is the same when evaluated anew."""
    try:
        anew = problem.deviance(fit.psi)
    except MixedModelsError:
        return False
    return fit.optimum.converged and abs(anew - fit.optimum.deviance) < ABOVE


def outcome(seed: int) -> Outcome:
    """Return what became of a data set."""
    _, family, model, extreme = tiny_data(seed)
    told = seed, family, model, extreme
    try:
        problem = problem_of(seed)
        fit = fit_generalized(problem)
    except MixedModelsError as error:
        return Outcome(*told, np.nan, "refused", False, None, 0, 0, (), f"{type(error).__name__}: {error}")
    rng, others, n_failed = np.random.default_rng([16, seed]), [], 0
    for _ in range(N_STARTS):
        try:
            others.append(fit_generalized(problem, start=random_start(fit, rng)))
        except MixedModelsError:
            n_failed += 1
    default = fit.optimum.deviance
    optima = [other.optimum.deviance for other in others if is_optimum(problem, other)]
    n_lower = sum(end < default - ABOVE for end in optima)
    findings = tuple(finding.kind for finding in fit.findings if finding.kind in TOLD)
    ended = default, fit.optimum.status, is_optimum(problem, fit)
    return Outcome(*told, *ended, min(optima, default=None), n_lower, n_failed, findings)


def is_notable(o: Outcome) -> bool:
    """Return whether an optimum was missed, or not found by the default."""
    return o.is_missed or not o.is_optimum


def report(outcomes: list[Outcome]) -> None:
    """Print the counts by family and model, and what was missed."""
    print("| family | model | data sets | missed | above by at most | no optimum anywhere | " + " | ".join(TOLD) + " |")
    print("| --- " * (6 + len(TOLD)) + "|")
    for family in FAMILIES:
        for model in MODELS:
            own = [o for o in outcomes if (o.family, o.model) == (family, model) and not o.refusal]
            told = Counter(kind for o in own for kind in set(o.findings))
            n_missed, n_none = sum(o.is_missed for o in own), sum(not o.is_optimum and o.optimum is None for o in own)
            largest = max((o.above for o in own), default=0.0)
            cells = (len(own), n_missed, f"{largest:.1e}", n_none, *(told[kind] for kind in TOLD))
            print(f"| {family} | `{model[8:]}` |", " | ".join(map(str, cells)), "|")
    n_failed, n_refused = sum(o.n_failed for o in outcomes), sum(bool(o.refusal) for o in outcomes)
    print(f"{n_failed} starts could not be evaluated, {n_refused} data sets were refused")
    for o in sorted(outcomes, key=lambda o: -o.above):
        if is_notable(o):
            best = "no optimum" if o.optimum is None else f"optimum {o.optimum:.9g} ({o.n_lower} lower)"
            told = ", ".join(o.findings) or "no findings"
            print(f"seed {o.seed}, {o.family} {o.model[8:]}: {o.default:.9g}, {o.status}; {best}; {told}")


def main() -> None:
    """Fit, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=N_SETS)
    parser.add_argument("--first", type=int, default=0, help="number of the first data set")
    parser.add_argument("--seed", type=int, help="show one data set")
    parser.add_argument("--out", type=Path, help="JSON file for what is notable, a line each")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    seeds = range(asked.first, asked.first + asked.sets) if asked.seed is None else [asked.seed]
    outcomes = [outcome(seed) for seed in seeds]
    if asked.out is not None:
        lines = [json.dumps(asdict(o)) for o in outcomes if is_notable(o)]
        asked.out.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    report(outcomes)


if __name__ == "__main__":
    main()
