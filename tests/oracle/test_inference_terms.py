"""What the engine hands to inference, against dense formulas with n x n matrices and against differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from mixedmodels import _engine
from mixedmodels.fit.fixed_root import Basis, FixedRoot
from oracle import dense_engine
from oracle.problems import Arrays, random_arrays, shapes, thetas

Floats = npt.NDArray[np.float64]

IDS = {"ids": lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else str(value)}
SHAPES = pytest.mark.parametrize(("grouping", "effects"), shapes()[::6], **IDS)
PATHS = pytest.mark.parametrize("dense", [True, False])


def engine_and_twin(arrays: Arrays, dense: bool) -> tuple[_engine.Model, dense_engine.Model, Floats]:
    theta = thetas(arrays, np.random.default_rng(3))["ordinary"]
    return _engine.Model(**arrays.arguments(dense=dense)), dense_engine.Model(**arrays.arguments()), theta


def root_of_fixed(ours: _engine.Model, theta: Floats) -> Floats:
    """K of the fixed columns as given, (n_fixed, n_fixed)."""
    mean, to_basis, beta, root = ours.fixed_root(theta)
    basis = Basis(np.zeros(len(mean), dtype=np.int64), mean, to_basis)
    return FixedRoot(basis, beta, root).whiten(np.eye(len(mean)))


def close(ours: Floats, twin: Floats, rtol: float) -> None:
    np.testing.assert_allclose(ours, twin, rtol=rtol, atol=rtol * max(1e-300, float(np.abs(twin).max(initial=0.0))))


def directions(ours: _engine.Model, twin: dense_engine.Model, theta: Floats) -> list[Floats]:
    """dV0 / dS~_i: Z T (e_row e_column' + its mirror) T'Z'."""
    out = []
    factors = list(twin.factors(theta))
    for factor, row, column in ours.parameters:
        Z, Lambda, _ = factors[factor]
        E = np.zeros_like(Lambda)
        E[row, column] = E[column, row] = 1.0
        T = ours.basis()[factor]
        out.append(Z @ np.kron(np.eye(Z.shape[1] // len(E)), T @ E @ T.T) @ Z.T)
    return out


@SHAPES
@PATHS
def test_kenward_roger_terms(grouping: str, effects: tuple[str, ...], dense: bool) -> None:
    arrays = random_arrays(grouping, effects, weighted=len(effects) == 2)
    ours, twin, theta = engine_and_twin(arrays, dense)
    S, p_hat, q_hat, trace_1, trace_2 = ours.kenward_roger(theta)
    K = root_of_fixed(ours, theta)
    at = twin.evaluate(theta, True)
    G = directions(ours, twin, theta)
    close(K @ K.T, at.XtVinvX_inv, 1e-9)
    VXK = at.V_inv @ twin.X @ K
    P0 = at.V_inv - VXK @ VXK.T
    close(p_hat, np.array([VXK.T @ g @ VXK for g in G]), 1e-9)
    close(q_hat, np.array([[VXK.T @ g @ at.V_inv @ h @ VXK for h in G] for g in G]), 1e-9)
    close(trace_1, np.array([np.trace(P0 @ g) for g in G]), 1e-9)
    close(trace_2, np.array([[np.sum((P0 @ g) * (P0 @ h).T) for h in G] for g in G]), 2e-5)
    V0 = np.diag(1 / twin.weights) + sum(s * g for s, g in zip(S, G, strict=True))
    close(V0, twin.covariance(theta), 1e-9)


@SHAPES
@pytest.mark.parametrize("kind", ["half zero", "zero", "zero diagonal", "one of many"])
def test_kenward_roger_terms_of_a_singular_covariance(grouping: str, effects: tuple[str, ...], kind: str) -> None:
    arrays = random_arrays(grouping, effects, seed=1)
    ours, twin, _ = engine_and_twin(arrays, True)
    singular = thetas(arrays, np.random.default_rng(1)) | {"one of many": np.eye(arrays.n_theta)[0] * 1.6}
    theta = singular[kind]
    trace_2 = ours.kenward_roger(theta)[4]
    at = twin.evaluate(theta, True)
    G = directions(ours, twin, theta)
    VX = at.V_inv @ twin.X
    P0 = at.V_inv - VX @ at.XtVinvX_inv @ VX.T
    expected = np.array([[np.sum((P0 @ g) * (P0 @ h).T) for h in G] for g in G])
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(trace_2 / scale, expected / scale, rtol=0, atol=5e-5)


@SHAPES
@PATHS
@pytest.mark.parametrize("reml", [True, False])
def test_information(grouping: str, effects: tuple[str, ...], dense: bool, reml: bool) -> None:
    arrays = random_arrays(grouping, effects, seed=4)
    ours, twin, theta = engine_and_twin(arrays, dense)
    n, p = twin.X.shape
    dof = n - p if reml else n
    start, hessian, sensitivity = ours.information(theta, reml)
    K = root_of_fixed(ours, theta)
    np.testing.assert_allclose(ours.to_user(start), theta_with_positive_diagonal(ours, theta), rtol=1e-9, atol=1e-9)

    def gradient(point: Floats) -> Floats:
        """Of log|V0| + r'V0^-1r / sigma^2 + 2 dof log sigma + [REML], by the engine's coordinates and the twin's y."""
        deviance, s2, slope, _, s2_slope, _ = ours.evaluate(point[:-1], reml)
        assert deviance == pytest.approx(twin.deviance(ours.to_user(point[:-1]), reml), rel=1e-9)
        ratio = s2 / np.exp(2 * point[-1])
        return np.append(slope + dof * (ratio - 1) * s2_slope / s2, 2 * dof * (1 - ratio))

    at = np.append(start, 0.5 * np.log(ours.evaluate(start, reml)[1]))
    steps = np.eye(len(at)) * 1e-4
    close(hessian, np.array([(gradient(at + h) - gradient(at - h)) / 2e-4 for h in steps]), 1e-5)
    s2_bend = np.array(
        [(ours.evaluate(start + h, reml)[4] - ours.evaluate(start - h, reml)[4]) / 2e-5 for h in steps[:-1, :-1] / 10]
    )
    close(ours.evaluate(start, reml)[5], s2_bend, 1e-6)
    for s, h in zip(sensitivity, np.eye(len(start)) * 1e-5, strict=True):
        up, down = (twin.evaluate(ours.to_user(start + sign * h), reml).XtVinvX_inv for sign in (1, -1))
        scale = np.abs(K @ K.T).max()
        np.testing.assert_allclose(K @ s @ K.T / scale, (up - down) / 2e-5 / scale, rtol=1e-6, atol=1e-7)


@SHAPES
@PATHS
@pytest.mark.parametrize("weighted", [False, True])
def test_bases_give_back_estimates_and_covariance(
    grouping: str, effects: tuple[str, ...], dense: bool, weighted: bool
) -> None:
    arrays = random_arrays(grouping, effects, seed=4, weighted=weighted)
    ours, twin, theta = engine_and_twin(arrays, dense)
    expected = twin.evaluate(theta, True)
    mean, to_basis, beta, K = ours.fixed_root(theta)
    rows = (np.eye(len(mean)) - np.eye(len(mean))[:, :1] * mean) @ to_basis
    XtVinvX_inv = expected.XtVinvX_inv
    size = np.sqrt(np.diag(XtVinvX_inv))
    scale = np.outer(size, size)
    np.testing.assert_allclose(rows @ K @ K.T @ rows.T / scale, XtVinvX_inv / scale, rtol=0, atol=1e-9)
    twin_beta, _, _, twin_b = twin.solve(theta, True)
    np.testing.assert_allclose(rows @ beta, twin_beta, rtol=1e-8, atol=1e-8)

    same_beta, modes = ours.solve_in_bases(ours.to_engine(theta))
    np.testing.assert_allclose(same_beta, beta, rtol=1e-12)
    for (first, mean, T), b, twin_modes, whole in zip(ours.effect_bases(), modes, twin_b, ours.basis(), strict=True):
        unit = np.eye(len(mean))
        np.testing.assert_allclose((unit - unit[:, first] * mean) @ T, whole, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(b @ whole.T, twin_modes, rtol=1e-7, atol=1e-8)
    in_engine = ours.fixed_root(ours.to_engine(theta), True)
    np.testing.assert_allclose(in_engine[3], K, rtol=1e-9, atol=1e-12)


def theta_with_positive_diagonal(model: _engine.Model, theta: Floats) -> Floats:
    return model.to_user(model.to_engine(theta))


@SHAPES
@PATHS
def test_prediction_variances_solve_hendersons_equations(grouping: str, effects: tuple[str, ...], dense: bool) -> None:
    arrays = random_arrays(grouping, effects, seed=5, weighted=True)
    ours, twin, theta = engine_and_twin(arrays, dense)
    rng = np.random.default_rng(6)
    rows = 130
    x = rng.normal(size=(rows, twin.X.shape[1]))
    codes = [rng.integers(-1, levels, rows).astype(np.int32) for levels in arrays.n_levels]
    Z = [None if z is None else rng.normal(size=(rows, z.shape[1])) for z in arrays.Z]
    found = ours.quadratic_forms(theta, x, codes, Z)

    factors = list(twin.factors(theta))
    D = [np.kron(np.eye(z.shape[1] // len(lam)), lam @ lam.T) for z, lam, _ in factors]
    z_all = np.hstack([z for z, _, _ in factors])
    d_all = np.zeros((z_all.shape[1],) * 2)
    new, first = np.zeros((rows, z_all.shape[1])), 0
    for d, c, z in zip(D, codes, Z, strict=True):
        d_all[first : first + len(d), first : first + len(d)] = d
        columns = np.ones((rows, 1)) if z is None else z
        for i in np.flatnonzero(c >= 0):
            place = first + c[i] * columns.shape[1]
            new[i, place : place + columns.shape[1]] = columns[i]
        first += len(d)
    at = twin.evaluate(theta, False)
    VX = at.V_inv @ twin.X
    P0 = at.V_inv - VX @ at.XtVinvX_inv @ VX.T
    random = d_all - d_all @ z_all.T @ P0 @ z_all @ d_all
    across = -at.XtVinvX_inv @ VX.T @ z_all @ d_all
    expected = np.einsum("ij,jk,ik->i", x, at.XtVinvX_inv, x) + np.einsum("ij,jk,ik->i", new, random, new)
    expected += 2 * np.einsum("ij,jk,ik->i", x, across, new)
    close(found, expected, 1e-8)


@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (1, 2), (2, 2)])
@PATHS
def test_prediction_variances_of_many_rows_are_those_of_few(sizes: tuple[int, int], dense: bool) -> None:
    """Many rows look S^-1 up at pairs of levels that met in the data; few rows and pairs that never met are solved."""
    rng = np.random.default_rng(9)
    n, n_levels = 2000, (300, 400)
    first = rng.permutation(np.arange(n) % n_levels[0])
    codes = (first.astype(np.int32), ((first * 9 // 7 + rng.integers(0, 4, n)) % n_levels[1]).astype(np.int32))
    Z = tuple(rng.normal(size=(n, size)) for size in sizes)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    arrays = Arrays(rng.normal(size=n), X, None, codes, n_levels, Z, tuple((size,) for size in sizes))
    ours = _engine.Model(**arrays.arguments(dense=dense))
    theta = rng.normal(size=ours.n_theta)
    new = [codes[0].copy(), np.where(rng.random(n) < 0.3, rng.integers(-1, n_levels[1], n), codes[1]).astype(np.int32)]
    together = ours.quadratic_forms(theta, X, new, Z)
    parts = np.array_split(np.arange(n), 10)  # 200 rows each, fewer than columns of the rest
    apart = [ours.quadratic_forms(theta, X[i], [c[i] for c in new], [z[i] for z in Z]) for i in parts]
    np.testing.assert_allclose(together, np.concatenate(apart), rtol=1e-10)


@SHAPES
def test_many_refits_are_single_refits(grouping: str, effects: tuple[str, ...]) -> None:
    arrays = random_arrays(grouping, effects, weighted=True)
    model = _engine.Model(**arrays.arguments())
    rows = (arrays.X, arrays.weights, arrays.codes, arrays.Z)
    Y = arrays.y + np.random.default_rng(7).normal(size=(5, len(arrays.y)))
    Y[2, 0] = np.nan
    beta, std_errors, sigma, theta, deviance, status, singular = model.refit_many(Y, *rows, True, None)
    assert status[2] == -1
    assert np.isnan(beta[2]).all()
    for k in (0, 1, 3, 4):
        single = model.with_response(Y[k], *rows)
        best = single.minimize(True, None, 200, 0)
        assert deviance[k] == pytest.approx(best.deviance, abs=1e-7)
        assert singular[k] == best.singular
        b, unscaled, s, _ = single.solve(theta[k], True)
        np.testing.assert_allclose(beta[k], b, rtol=1e-9)
        np.testing.assert_allclose(std_errors[k], s * np.sqrt(np.diag(unscaled)), rtol=1e-9)
        assert sigma[k] == pytest.approx(s, rel=1e-9)


@pytest.mark.parametrize("reml", [True, False])
@PATHS
def test_a_tied_block_is_a_diagonal_one_with_equal_elements(reml: bool, dense: bool) -> None:
    arrays = random_arrays("crossed_holes", ("triple", "pair"))
    tied = replace(arrays, blocks=((1, -2), (2,)))
    apart = replace(arrays, blocks=((1, 1, 1), (2,)))
    ours, twin = (_engine.Model(**a.arguments(dense=dense)) for a in (tied, apart))
    assert ours.n_theta == 5
    theta = np.array([0.7, 0.4, 0.9, -0.3, 0.5])
    spread = theta[[0, 1, 1, 2, 3, 4]]
    assert ours.deviance(theta, reml) == pytest.approx(twin.deviance(spread, reml), rel=1e-12)
    slope = twin.gradient(spread, reml)
    np.testing.assert_allclose(ours.gradient(theta, reml), [slope[0], slope[1] + slope[2], *slope[3:]], rtol=1e-9)
    np.testing.assert_allclose(ours.to_user(ours.to_engine(theta)), theta, rtol=1e-12)
    best = ours.minimize(reml, None, 200, 0)
    assert best.status == 0
    assert best.deviance <= min(ours.deviance(best.theta * (1 + h), reml) for h in (0.01, -0.01)) + 1e-9
    assert best.deviance >= twin.minimize(reml, None, 200, 0).deviance - 1e-7
