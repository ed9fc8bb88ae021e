"""Power of a design by simulation: responses drawn from a fit, for more or fewer levels, refitted and tested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from mixedmodels.errors import InferenceError, MixedModelsError, nearest
from mixedmodels.fit.fit import fit_problem
from mixedmodels.inference.wald import check_level, coef_table
from mixedmodels.predict.simulate import simulate, with_fixed_effects

if TYPE_CHECKING:
    from mixedmodels.result import LmmResult


def power(
    fit: LmmResult,
    effect: str,
    *,
    n: int = 500,
    vary: Mapping[str, Sequence[int]] | None = None,
    size: float | None = None,
    alpha: float = 0.05,
    ddf: str = "satterthwaite",
    seed: int | None = None,
    level: float = 0.95,
    progress: bool = False,
) -> pd.DataFrame:
    """Return the power to find a fixed effect, by the numbers of levels of a grouping factor.

    Every simulated response is fitted anew and tested as in ``coef_table``. More levels are copies of the data's
    levels, taken in turn, with their rows; fewer are the first ones.

    Parameters
    ----------
    fit
        A fit (of a pilot, say) whose parameters are taken as true; it must hold its data.
    effect
        Name of a fixed effect.
    n
        Simulations a size.
    vary
        One column of the data that is a grouping factor, and the numbers of its levels; None for the design as it is.
    size
        True value of the effect; None for the estimate. Zero gives the rate of false alarms.
    alpha
        Level of the test.
    ddf
        As for ``coef_table``.
    seed
        Of the random numbers.
    level
        Coverage of the intervals of power (Clopper and Pearson 1934).
    progress
        Show a progress bar if tqdm is installed.

    Returns
    -------
    pandas.DataFrame
        By size: ``n_obs, power, lower, upper``, ``type_s`` (share of significant estimates with the wrong sign),
        ``type_m`` (mean exaggeration of significant estimates; Gelman and Carlin 2014), ``n_failed``, ``n_singular``.

    Raises
    ------
    InferenceError
        If there is no such effect or column, or an argument is not allowed.
    """
    state = fit.state
    if effect not in state.fixed_names:
        raise InferenceError(
            f"There is no fixed effect {effect!r}; there are {', '.join(state.fixed_names)}."
            f"{nearest(effect, state.fixed_names)}"
        )
    if not isinstance(n, int | np.integer) or n < 1:
        raise InferenceError(f"n is {n!r}; the number of simulations must be a positive integer.")
    check_level(1 - alpha)
    check_level(level)
    truth = float(state.beta[state.fixed_names.index(effect)]) if size is None else float(size)
    source = with_fixed_effects(state, {effect: truth})
    seeds = iter(np.random.SeedSequence(seed).spawn(1 if vary is None else sum(map(len, vary.values()))))
    rows = {}
    for label, design_fit in _designs(fit, vary):
        draws = simulate(
            source,
            int(n),
            seed=int(next(seeds).generate_state(1)[0]),
            data=None if vary is None else design_fit.call.data,
        )
        rows[label] = _row(design_fit, draws, effect, truth, alpha=alpha, ddf=ddf, level=level, progress=progress)
    name = "levels" if vary is None else f"levels of {next(iter(vary))}"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(name)


def _designs(fit: LmmResult, vary: Mapping[str, Sequence[int]] | None) -> Iterator[tuple[Any, Any]]:
    if vary is None:
        yield "as it is", fit
        return
    if len(vary) != 1:
        raise InferenceError(f"vary holds {len(vary)} columns; it must hold one, such as {{'Subject': [20, 40]}}.")
    if fit.call is None:
        raise InferenceError(
            "power needs the data of the fit, which this result does not hold. Fit the model with lmer."
        )
    ((column, sizes),) = vary.items()
    data = pd.DataFrame(cast("Any", fit.call.data))
    names = {v for f in fit.state.design.recipe.factors for v in f.grouping.variables}
    if column not in names:
        known = ", ".join(sorted(names))
        raise InferenceError(
            f"{column!r} is not a grouping column of this model; there are {known}.{nearest(column, names)}"
        )
    for count in sizes:
        if not isinstance(count, int | np.integer) or count < 2:
            raise InferenceError(f"vary asks for {count!r} levels of {column!r}; it must be an integer of at least 2.")
        yield count, fit.update(data=_with_levels(data, column, int(count)))


def _with_levels(data: pd.DataFrame, column: str, count: int) -> pd.DataFrame:
    codes, labels = pd.factorize(data[column])
    parts = []
    for k in range(count):
        part = data[codes == k % len(labels)].copy()
        copy = k // len(labels)
        part[column] = str(labels[k % len(labels)]) + (f" copy {copy}" if copy else "")
        parts.append(part)
    joined: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return joined


def _row(fit: Any, draws: Any, effect: str, truth: float, **options: Any) -> dict[str, float]:
    estimates, significant, failed, singular = [], [], 0, 0
    for y in _shown(draws.T, options["progress"]):
        try:
            state = fit_problem(fit.state.problem.with_response(y), reml=fit.state.reml, control=fit.state.control)
            table = coef_table(state, options["ddf"])
        except MixedModelsError:
            failed += 1
            continue
        singular += state.is_singular
        estimates.append(table.loc[effect, "estimate"])
        significant.append(table.loc[effect, "p_value"] < options["alpha"])
    found, n = int(np.sum(significant)), len(estimates)
    if n == 0:
        raise InferenceError("No simulated response could be fitted; look at the fit first with fit.check().")
    tail = 0.5 - options["level"] / 2
    lower = float(betaincinv(found, n - found + 1, tail)) if found else 0.0
    upper = float(betaincinv(found + 1, n - found, 1 - tail)) if found < n else 1.0
    own = np.array(estimates)[np.array(significant, dtype=bool)]
    known = truth != 0 and found > 0
    return {
        "n_obs": fit.nobs,
        "power": found / n,
        "lower": lower,
        "upper": upper,
        "type_s": float(np.mean(np.sign(own) != np.sign(truth))) if known else np.nan,
        "type_m": float(np.mean(np.abs(own)) / abs(truth)) if known else np.nan,
        "n_failed": failed,
        "n_singular": singular,
    }


def _shown(items: Any, progress: bool) -> Any:
    if not progress:
        return items
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415  # optional
    except ImportError:
        return items
    return tqdm(items, desc="power", unit="fit", leave=False)
