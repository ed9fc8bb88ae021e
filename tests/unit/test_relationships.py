"""Known covariances among levels against dense matrices, published numbers, and what they must agree on."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import sparse

import mixedmodels as mm
from mixedmodels.covariance.relationship import Relationship, read_relationship
from mixedmodels.fit.call import RelatedCall, build_problem
from mixedmodels.inference.degrees import approximation
from oracle.dense_marginal import deviance, difference, kenward_roger

Floats = npt.NDArray[np.float64]


def pedigree(n: int = 60, seed: int = 1) -> pd.DataFrame:
    """Return animals with parents among those before them, relatives among these."""
    rng = np.random.default_rng(seed)
    parents = [rng.integers(0, max(i, 1), 2) + 1 if i > 8 else np.zeros(2, dtype=int) for i in range(n)]
    frame = pd.DataFrame(parents, columns=["sire", "dam"]).assign(animal=np.arange(1, n + 1))
    frame.loc[frame.index % 7 == 3, "dam"] = 0
    return frame


def tabular(frame: pd.DataFrame) -> Floats:
    """Return A by the tabular method (Emik and Terrill 1949)."""
    n = len(frame)
    A = np.zeros((n + 1, n + 1))  # the last stands for what is not known
    for i, (s, d) in enumerate(frame[["sire", "dam"]].to_numpy() - 1):
        A[i, :i] = A[:i, i] = 0.5 * (A[s, :i] + A[d, :i])
        A[i, i] = 1.0 + (0.5 * A[s, d] if s >= 0 and d >= 0 else 0.0)
    return A[:n, :n]


def dense(known: Relationship) -> Floats:
    """Return A^-1."""
    lower = sparse.csc_matrix((known.values, known.rows, known.starts)).toarray()
    return np.asarray(lower + np.tril(lower, -1).T)


def data(n: int = 60) -> pd.DataFrame:
    """Return records of some animals, two of most."""
    rng = np.random.default_rng(3)
    animal = np.concatenate([np.arange(11, n + 1), np.arange(15, n - 5)])
    x = rng.standard_normal(len(animal))
    A = tabular(pedigree(n))
    b = np.linalg.cholesky(A) @ rng.standard_normal((n, 2))
    y = 1 + x + b[animal - 1, 0] + 0.5 * x * b[animal - 1, 1] + rng.standard_normal(len(animal))
    return pd.DataFrame({"y": y, "x": x, "animal": animal, "pe": animal, "herd": rng.integers(0, 5, len(animal))})


def test_inverse_and_inbreeding_of_a_pedigree() -> None:
    frame = pedigree()
    A = tabular(frame)
    assert np.diag(A).max() > 1.1  # inbred
    for order in (np.arange(60), np.random.default_rng(5).permutation(60)):
        known = read_relationship(frame.iloc[order], "animal")
        places = known.levels.astype(int).to_numpy() - 1
        np.testing.assert_allclose(dense(known) @ A[np.ix_(places, places)], np.eye(60), atol=1e-10)
        assert known.log_det == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-10)


FORMULAS = ["y ~ x + (1 | animal)", "y ~ x + (x | animal) + (1 | herd)", "y ~ x + (1 | animal) + (1 | pe)"]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("formula", FORMULAS)
def test_criterion_gradient_information_and_modes(formula: str, reml: bool) -> None:
    A, rows = tabular(pedigree()), data()
    problem = build_problem(RelatedCall(formula, rows, relationship={"animal": pedigree()}))
    design, k = problem.design, problem.model.n_theta
    theta = 0.7 + 0.2 * np.cos(np.arange(k))

    def covariance(at: Floats) -> Floats:
        V, used = np.eye(len(rows)), 0
        for factor in design.factors:
            L = np.zeros((factor.n_effects,) * 2)
            column, row = np.triu_indices(factor.n_effects)
            L[row, column] = at[used : used + len(row)]
            used += len(row)
            Z = np.ones((len(rows), 1)) if factor.Z is None else factor.Z
            among = A[np.ix_(factor.codes, factor.codes)]
            if factor.name != "animal":
                among = 1.0 * (factor.codes[:, None] == factor.codes)
            V += among * (Z @ L @ L.T @ Z.T)
        return V

    def profiled(at: Floats) -> Floats:
        V = covariance(at)
        K = np.linalg.inv(V)
        beta = np.linalg.solve(design.X.T @ K @ design.X, design.X.T @ K @ design.y)
        r = design.y - design.X @ beta
        return np.array(deviance(design.y, design.X, V * (r @ K @ r) / (len(r) - 2 * reml), reml))

    assert problem.deviance(theta, reml) == pytest.approx(float(profiled(theta)), rel=1e-11)
    np.testing.assert_allclose(problem.gradient(theta, reml), difference(profiled, theta, 1e-3), rtol=1e-6, atol=1e-6)
    inner = problem.model.to_engine(theta)
    _, _, gradient, curvature, _, _ = problem.model.evaluate(inner, reml)

    def of_inner(at: Floats) -> Floats:
        return profiled(problem.model.to_user(at))

    V, X, y = covariance(theta), design.X, design.y
    K = np.linalg.inv(V)
    P = K - K @ X @ np.linalg.solve(X.T @ K @ X, X.T @ K)
    Py = P @ y
    dof = len(y) - 2 * reml
    s2 = y @ Py / dof

    def inner_covariance(at: Floats) -> Floats:
        return covariance(problem.model.to_user(at))

    first = difference(inner_covariance, inner, 1e-3)
    second = difference(lambda at: difference(inner_covariance, at, 3e-3), inner, 3e-3)
    moved = first @ Py
    average = moved @ P @ moved.T / s2 - np.outer(moved @ Py, moved @ Py) / (s2**2 * dof)
    bend = np.einsum("ijab,ab->ij", second, (P if reml else K) - np.outer(Py, Py) / s2)
    np.testing.assert_allclose(gradient, difference(of_inner, inner, 1e-3), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(curvature, average + bend, atol=1e-6 * np.abs(curvature).max())
    beta, _, sigma, b = problem.solve(theta, reml)
    assert sigma**2 == pytest.approx(s2)
    animal = [factor.name for factor in design.factors].index("animal")
    factor = design.factors[animal]
    if factor.n_effects == 1:
        at = sum(f.n_theta for f in design.factors[:animal])
        expected = theta[at] ** 2 * A[:, factor.codes] @ K @ (y - X @ beta)  # animals without records too
        np.testing.assert_allclose(b[animal][:, 0], expected, rtol=1e-8, atol=1e-9)


def test_kenward_roger_and_satterthwaite() -> None:
    A, rows = tabular(pedigree()), data()
    fit = mm.lmer("y ~ x + (1 | animal)", rows, relationship={"animal": pedigree()})
    Z = np.eye(60)[rows["animal"] - 1]
    G = np.array([np.eye(len(rows)), Z @ A @ Z.T])
    gamma = np.array([fit.sigma**2, fit.varcorr["animal"].iloc[0, 0]])
    V = np.tensordot(gamma, G, 1)
    theirs, _ = kenward_roger(fit.state.design.X, V, G, np.zeros((2, 2, *V.shape)))
    ours = approximation(fit.state, "kenward-roger").covariance
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    def value(at: Floats) -> Floats:
        return np.array(deviance(rows["y"].to_numpy(), fit.state.design.X, np.tensordot(np.exp(at), G, 1), True))

    def fixed(at: Floats) -> Floats:
        X = fit.state.design.X
        return np.diag(np.linalg.inv(X.T @ np.linalg.solve(np.tensordot(np.exp(at), G, 1), X)))

    at = np.log(gamma)
    hessian = difference(lambda x: difference(value, x, 3e-3), at, 3e-3)
    slopes = difference(fixed, at, 1e-3)
    df = 2 * fixed(at) ** 2 / np.einsum("ij,ik,kj->j", slopes, 2 * np.linalg.inv(hessian), slopes)
    np.testing.assert_allclose(fit.coef_table()["df"], df, rtol=1e-4)


def test_the_same_relationship_in_every_form() -> None:
    frame, rows = pedigree(), data()
    labels = np.arange(1, 61)
    A = pd.DataFrame(tabular(frame), index=labels, columns=labels)
    inverse = sparse.csc_matrix(np.linalg.inv(A.to_numpy()))
    fits = [
        mm.lmer("y ~ x + (1 | animal)", rows, relationship={"animal": known}) for known in (frame, A, (inverse, labels))
    ]
    for other in fits[1:]:
        assert other.deviance == pytest.approx(fits[0].deviance, abs=1e-8)
        np.testing.assert_allclose(other.bse_fe, fits[0].bse_fe, rtol=1e-6)
    identity = pd.DataFrame(np.eye(60), index=labels, columns=labels)
    ours = mm.lmer("y ~ x + (1 | animal)", rows, relationship={"animal": identity})
    plain = mm.lmer("y ~ x + (1 | animal)", rows)
    assert ours.deviance == pytest.approx(plain.deviance, abs=1e-9)
    np.testing.assert_allclose(ours.coef_table(), plain.coef_table(), rtol=1e-5)


def test_mrode_example_3_1() -> None:
    # Mrode (2005), Linear Models for the Prediction of Animal Breeding Values: variance ratio 2
    frame = pd.DataFrame({"animal": range(1, 9), "sire": [0, 0, 0, 1, 3, 1, 4, 3], "dam": [0, 0, 0, 0, 2, 2, 5, 6]})
    rows = pd.DataFrame({"y": [4.5, 2.9, 3.9, 3.5, 5.0], "sex": list("mffmm"), "animal": [4, 5, 6, 7, 8]})
    problem = build_problem(RelatedCall("y ~ 0 + sex + (1 | animal)", rows, relationship={"animal": frame}))
    beta, _, _, (b,) = problem.solve(np.array([np.sqrt(0.5)]), True)
    np.testing.assert_allclose(beta[::-1], [4.358, 3.404], atol=1e-3)
    np.testing.assert_allclose(b[:, 0], [0.098, -0.019, -0.041, -0.009, -0.186, 0.177, -0.249, 0.183], atol=1e-3)


def test_animals_without_records_are_predicted_and_files_keep_the_relationship(tmp_path: Path) -> None:
    fit = mm.lmer("y ~ x + (1 | animal)", data(), relationship={"animal": pedigree()})
    assert len(fit.random_effects["animal"]) == 60
    new = pd.DataFrame({"x": [0.0], "animal": [2]})
    assert float(fit.predict(new).iloc[0]) == pytest.approx(fit.fe_params["Intercept"] + fit.state.b[0][1, 0])
    fit.save(tmp_path / "fit")
    loaded = mm.load(tmp_path / "fit")
    assert str(loaded.summary()) == str(fit.summary())
    assert loaded.refit(fit.state.design.y).deviance == pytest.approx(fit.deviance, abs=1e-8)


def test_animals_left_out_stay_in_the_pedigree() -> None:
    frame, rows = pedigree(), data()
    formula, known = "y ~ x + (1 | animal) + (1 | herd)", {"animal": frame}
    fit = mm.lmer(formula, rows, relationship=known)
    found, step = fit.influence("animal", progress=False), fit.influence("animal", "one-step", progress=False)
    by_row = fit.influence(method="one-step")
    assert list(found.fe_params.index) == [str(a) for a in sorted(rows["animal"].unique())]
    theta = fit.theta.to_numpy()
    Z, H = np.eye(60)[rows["animal"] - 1], np.eye(5)[rows["herd"]]
    V = np.eye(len(rows)) + theta[0] ** 2 * Z @ tabular(frame) @ Z.T + theta[1] ** 2 * H @ H.T

    def beta(keep: npt.NDArray[np.bool_]) -> Floats:
        X, y, W = fit.state.design.X[keep], fit.state.design.y[keep], np.linalg.inv(V[np.ix_(keep, keep)])
        return np.asarray(np.linalg.solve(X.T @ W @ X, X.T @ W @ y))

    for animal in (12, 20, 60):
        rest = mm.lmer(formula, rows[rows["animal"] != animal], relationship=known)
        ours = found.fe_params.loc[str(animal)]
        np.testing.assert_allclose((ours - rest.fe_params) / rest.bse_fe, 0, atol=1e-5)
        np.testing.assert_allclose(step.fe_params.loc[str(animal)], beta(rows["animal"] != animal), rtol=1e-8)
    for row in (0, 40):
        np.testing.assert_allclose(by_row.fe_params.loc[row], beta(rows.index != row), rtol=1e-8)


@pytest.mark.parametrize("kind", ["pedigree", "covariance", "inverse"])
def test_draws_have_the_covariance_of_relatives(kind: str) -> None:
    """x = R z is linear in z, so R R' from unit vectors must be A itself."""
    frame = pedigree()
    if kind == "pedigree":
        frame = frame.sample(frac=1, random_state=2)  # children before their parents
    A = pd.DataFrame(tabular(pedigree()), index=range(1, 61), columns=range(1, 61))
    known = {"pedigree": frame, "covariance": A, "inverse": (sparse.csc_matrix(np.linalg.inv(A)), A.index)}[kind]
    found = read_relationship(known, "animal")
    R = found.correlated(np.eye(60))
    order = [int(level) - 1 for level in found.levels]
    np.testing.assert_allclose(R @ R.T, A.to_numpy()[np.ix_(order, order)], atol=1e-10)


def test_simulations_and_bootstraps_are_of_relatives() -> None:
    frame, rows = pedigree(), data()
    fit = mm.lmer("y ~ x + (1 | animal) + (1 | herd)", rows, relationship={"animal": frame})
    Y = fit.simulate(4000, seed=3)
    Z, H = np.eye(60)[rows["animal"] - 1], np.eye(5)[rows["herd"]]
    s2, theta = fit.sigma**2, fit.theta.to_numpy()
    V = s2 * (np.eye(len(rows)) + theta[0] ** 2 * Z @ tabular(frame) @ Z.T + theta[1] ** 2 * H @ H.T)
    found = np.cov(Y)
    error = np.sqrt((V**2 + np.outer(np.diag(V), np.diag(V))) / 4000)
    assert np.abs((found - V) / error).max() < 5.5
    assert np.sqrt(np.mean(((found - V) / error) ** 2)) == pytest.approx(1, abs=0.1)
    alone = mm.lmer("y ~ x + (1 | animal)", rows, relationship={"animal": frame})
    np.testing.assert_allclose(alone.simulate(2, seed=1, data=rows), alone.simulate(2, seed=1), rtol=1e-12)
    for kind in ("residual", "cases"):
        with pytest.raises(mm.InferenceError, match=f"kind='{kind}' is not available"):
            fit.bootstrap(2, seed=1, kind=kind, progress=False)
    with pytest.raises(mm.DataError, match="levels of 'animal' that its relationship has not"):
        fit.simulate(1, seed=1, data=rows.head(3).assign(animal=999))
    boot = fit.bootstrap(4, seed=2, progress=False)
    again = fit.refit(fit._replicated().draw("parametric")(np.random.default_rng(5)))
    by_engine = fit._replicated().refits(again.state.design.y[None])
    np.testing.assert_allclose(by_engine.values[0][:2], again.fe_params, rtol=1e-6)
    assert boot.replicates.notna().all(axis=None)
    assert not boot.replicates.duplicated().any()


def test_the_spelling_with_the_matrix_in_the_formula(tmp_path: Path) -> None:
    frame, rows = pedigree(), data()
    ours = mm.lmer("y ~ x + propto(1  | animal, ped) + (1 | herd)", rows, relationship={"ped": frame})
    theirs = mm.lmer("y ~ x + (1 | animal) + (1 | herd)", rows, relationship={"animal": frame})
    assert ours.deviance == theirs.deviance
    pd.testing.assert_frame_equal(ours.random_effects["animal"], theirs.random_effects["animal"])
    pd.testing.assert_frame_equal(ours.variance_parameters(), theirs.variance_parameters())
    ours.save(tmp_path / "fit.mm")
    assert mm.load(tmp_path / "fit.mm").deviance == ours.deviance
    slim = ours.update(". ~ . - propto(1 | animal, ped)")
    assert slim.deviance == mm.lmer("y ~ x + (1 | herd)", rows).deviance
    assert ours.update(". ~ . - x").deviance == theirs.update(". ~ . - x").deviance

    two = rows.assign(dam=rows["animal"] % 20 + 1)
    A = pd.DataFrame(tabular(frame), index=frame["animal"], columns=frame["animal"])
    both = mm.lmer("y ~ x + propto(1 | animal, A) + propto(1 | dam, A)", two, relationship={"A": A})
    apart = mm.lmer("y ~ x + (1 | animal) + (1 | dam)", two, relationship={"animal": A, "dam": A})
    assert both.deviance == apart.deviance


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("propto(1 | animal, B)", "names the relationship 'B', which is not given"),
        ("propto(1 | animal)", r"propto\(1 \| animal, A\) has one bar, and behind a comma the name"),
        ("propto(1 | animal, A, 3)", "behind a comma the name"),
        ("propto(0 + animal | herd, A)", r"Write propto\(1 \| animal, ...\)"),
        ("propto(x | animal, A)", r"Write \(x \| g\) with relationship="),
        ("propto(1 | herd / animal, A)", "takes one grouping factor"),
        ("propto(1 | animal, A) + (1 | animal)", "column of their own, a copy of 'animal'"),
        ("(1 | animal) + propto(1 | animal, A)", "column of their own, a copy of 'animal'"),
        ("propto(1 | herd:animal, A)", "no grouping factor .* of one column"),
        ("(1 | animal)", "'A', which is no grouping factor"),
    ],
)
def test_what_the_spelling_with_the_matrix_is_not(term: str, message: str) -> None:
    with pytest.raises(mm.MixedModelsError, match=message):
        mm.lmer(f"y ~ x + {term}", data(), relationship={"A": pedigree()})


def test_only_lmer_relates_levels(tmp_path: Path) -> None:
    formula, rows = "y ~ x + propto(1 | animal, A)", data()
    rows.to_csv(tmp_path / "rows.csv", index=False)
    for fit in (
        lambda: mm.glmer(formula, rows.assign(y=rows["y"] > 1), family="binomial"),
        lambda: mm.lmer(formula, rows, variance="ident(herd)"),
        lambda: mm.lmer(formula, tmp_path / "rows.csv"),
        lambda: mm.lmer_many(formula.removeprefix("y"), rows, rows[["y"]]),
    ):
        with pytest.raises(mm.MixedModelsError, match="propto"):
            fit()


def test_what_cannot_be_is_said() -> None:
    frame, rows = pedigree(), data()

    def fit(formula: str = "y ~ x + (1 | animal)", **known: object) -> mm.LmmResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return mm.lmer(formula, rows, relationship=known)

    with pytest.raises(mm.DataError, match="level '60', which its relationship has not"):
        fit(animal=frame[frame["animal"] < 60])
    with pytest.raises(mm.DesignError, match="'anima', which is no grouping factor"):
        fit(anima=frame)
    with pytest.raises(mm.DataError, match="'3' is there twice"):
        fit(animal=pd.concat([frame, frame[2:3]]))
    with pytest.raises(mm.DataError, match="among its own ancestors"):
        fit(animal=frame.assign(sire=frame["sire"].where(frame["animal"] > 2, 3 - frame["animal"])))
    with pytest.raises(mm.DataError, match="not positive definite"):
        fit(animal=pd.DataFrame(np.ones((60, 60)), index=range(1, 61), columns=range(1, 61)))
    with pytest.raises(mm.DataError, match="must be a pedigree"):
        fit(animal="pedigree.csv")
    with pytest.raises(mm.FitError, match="does not go with residual"):
        mm.lmer("y ~ x + (1 | animal)", rows, relationship={"animal": frame}, residual="ar1(x | herd)")
    related = fit(animal=frame)
    for ask in (
        related.cov_fe_robust,
        lambda: related.residuals("cholesky"),
        related.profile,
        related.ranova,
    ):
        with pytest.raises(mm.InferenceError, match="not there for models with relationship="):
            ask()
