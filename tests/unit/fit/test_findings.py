"""What a fit noticed, in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import mixedmodels as mm
from data_loader import load
from fixed_theta import state_at
from mixedmodels.design.build import build_design
from mixedmodels.fit.findings import fit_findings, listing
from mixedmodels.fit.records import FitState
from mixedmodels.formula.parse import parse_formula

SLOPES = "Reaction ~ Days + (Days + half | Subject)"


def sleep_state(formula: str, theta: list[float], **found: object) -> FitState:
    data = load("sleepstudy")
    half = (data["Days"] > 4).astype(float)
    return state_at(build_design(parse_formula(formula), data.assign(half=half)), theta, **found)


def messages(state: FitState, kind: str) -> list[str]:
    return [finding.message for finding in state.findings if finding.kind == kind]


def test_a_clean_fit_has_no_findings() -> None:
    assert sleep_state("Reaction ~ Days + (Days | Subject)", [1, 0.1, 0.2]).findings == ()


@pytest.mark.parametrize(
    ("formula", "theta", "words"),
    [
        ("Reaction ~ Days + (1 | Subject)", [0], "the variance of Intercept in Subject is estimated as zero"),
        ("Reaction ~ Days + (Days | Subject)", [1, 0, 0], "the variance of Days in Subject is estimated as zero"),
        (
            "Reaction ~ Days + (Days | Subject)",
            [0, 0, 0],
            "the variance of Intercept in Subject is estimated as zero and "
            "the variance of Days in Subject is estimated as zero",
        ),
        (
            "Reaction ~ Days + (Days | Subject)",
            [1, 0.2, 0],
            "the correlation of Intercept and Days in Subject is estimated as 1",
        ),
        (
            "Reaction ~ Days + (Days | Subject)",
            [1, -0.2, 0],
            "the correlation of Intercept and Days in Subject is estimated as -1",
        ),
        ("Reaction ~ Days + (Days || Subject)", [1, 0], "the variance of Days in Subject is estimated as zero"),
        (
            SLOPES,
            [1, 0.1, 0.1, 0.2, 0.3, 0],
            "the effects Intercept, Days and half in Subject vary in only 2 of 3 directions",
        ),
        (
            SLOPES,
            [1, 0.2, 0.1, 0, 0, 0.5],
            "the correlation of Intercept and Days in Subject is estimated as 1",
        ),
    ],
)
def test_boundaries_in_words(formula: str, theta: list[float], words: str) -> None:
    state = sleep_state(formula, theta)
    assert state.is_singular
    assert messages(state, "singular") == [
        f"Singular fit: {words}. The estimates stand, but the data support fewer random effects than the model has."
    ]


def test_words_do_not_depend_on_the_origin_or_unit_of_a_slope() -> None:
    """An origin far off brings every correlation near -1; only the one on the boundary is named."""
    data = load("sleepstudy")
    far = data.assign(Days=1e-3 * (data["Days"] + 10_000))
    design = build_design(
        parse_formula("Reaction ~ Days + (Days | Subject) + (1 | half)"), far.assign(half=data["Days"] > 4)
    )
    T = np.array([[1, -10_000], [0, 1e3]])  # b of the far origin from b at day 0
    L = np.linalg.cholesky(T @ np.array([[1, 0.1], [0.1, 0.2]]) @ T.T)
    state = state_at(design, [L[0, 0], L[1, 0], L[1, 1], 0])
    (message,) = messages(state, "singular")
    assert "variance of Intercept in half is estimated as zero" in message
    assert "correlation" not in message


def test_aliased_columns_are_named_with_their_parts() -> None:
    data = load("sleepstudy").assign(zero=0.0)
    data["other"] = np.random.default_rng(1).normal(size=len(data))
    data["mix"] = 1e6 * (data["Days"] - 3 * data["other"])
    design = build_design(parse_formula("Reaction ~ Days + other + mix + zero + I(2 * Days) + (1 | Subject)"), data)
    (message,) = messages(state_at(design, [1.0]), "dropped_columns")
    assert message == (
        "3 fixed-effect columns were dropped: mix (a combination of Days and other), zero (all zero) "
        "and I(2 * Days) (a combination of Days)."
    )


def test_nearly_aliased_columns_are_named() -> None:
    data = load("sleepstudy")
    data["near"] = data["Days"] + 1e-9 * np.random.default_rng(1).normal(size=len(data))
    with pytest.warns(mm.RankDeficiencyWarning, match="Column near is all but a combination of the columns before"):
        fit = mm.lmer("Reaction ~ Days + near + (1 | Subject)", data)
    assert list(fit.fe_params.index) == ["Intercept", "Days", "near"]
    (finding,) = (finding for finding in fit.findings if finding.kind == "nearly_dependent_columns")
    assert finding.data == {"columns": ["near"]}


def test_no_convergence_says_what_to_do() -> None:
    state = sleep_state("Reaction ~ Days + (1 | Subject)", [0.5], status=1, gradient_norm=0.0123)
    assert messages(state, "not_converged") == [
        "Not converged: iteration limit after 3 iterations, with a largest scaled gradient of 0.012. "
        "Raise control=Control(max_iterations=...)."
    ]
    state = sleep_state("Reaction ~ Days + (1 | Subject)", [0.5], status=2)
    assert "simplify the random effects" in messages(state, "not_converged")[0]


def test_other_optima_are_told() -> None:
    state = sleep_state("Reaction ~ Days + (1 | Subject)", [1.2], other_optima=[1800.0, 1900.25])
    (message,) = messages(state, "other_optima")
    assert message.endswith("other starts ended at 1800, 1900.25.")


@pytest.mark.parametrize(("factor", "n_findings"), [(1.0, 0), (1e-9, 1), (1e9, 1)])
def test_columns_of_unlike_size(factor: float, n_findings: int) -> None:
    data = load("sleepstudy").assign(income=lambda d: factor * d["Days"])
    design = build_design(parse_formula("Reaction ~ income + (1 | Subject)"), data)
    state = state_at(design, [1.0])
    found = messages(state, "badly_scaled")
    assert len(found) == n_findings
    assert all("income" in message and "does not depend on units" in message for message in found)


def test_no_fixed_effects_no_findings() -> None:
    data = pd.DataFrame({"y": np.random.default_rng(2).normal(size=12), "g": [1, 2, 3, 4] * 3})
    design = build_design(parse_formula("y ~ 1 + (1 | g)"), data)
    optimum = state_at(design, [1.0]).optimum
    assert fit_findings(design, (), (), optimum, False)[0].kind == "dropped_columns"


def test_listing() -> None:
    assert [listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize("noise", [1e-3, 3e-6, 3e-7])
def test_a_small_residual_says_how_many_digits_are_left(noise: float) -> None:
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(10), 6)
    y = rng.normal(size=10)[g] + noise * rng.normal(size=60)
    fit = mm.lmer("y ~ 1 + (1 | g)", {"y": y, "g": g})
    exact = y.astype(np.longdouble).reshape(10, 6)
    within = float(((exact - exact.mean(axis=1, keepdims=True)) ** 2).sum() / 50)  # REML's, in a balanced design
    found = [finding.data for finding in fit.findings if finding.kind == "small_residual"]
    assert len(found) == (noise < 1e-5)
    digits = int(str(found[0]["digits"])) if found else 5
    assert abs(fit.sigma**2 / within - 1) < 10.0**-digits
