"""A scikit-learn regressor around ``lmer``, a classifier around ``glmer``, and a splitter that keeps levels whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
import pandas as pd
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from mixedmodels.errors import DataError, FormulaError, InferenceError, MixedModelsError, UnknownArgumentError
from mixedmodels.fit.call import check_evaluate
from mixedmodels.glmer import glmer
from mixedmodels.inference.wald import check_level, t_quantile
from mixedmodels.lmer import LinearMixedModel
from mixedmodels.predict.choice import used_factors
from mixedmodels.predict.predict import INTERVALS, LEVEL
from mixedmodels.predict.rows import check_new_levels

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

RESPONSES = ("y", "response_")
"""Names of the response in the model's data, the first that is no column of X, unless the formula gives it another."""
GROUPS = "groups_"
WEIGHTS = "weights_"
_NAME = re.compile(r"[\w.]+|`[^`]+`")
P = ParamSpec("P")
R = TypeVar("R")
CONTAINERS = ("default", "pandas")
ORDINAL = "ordinal"
CLASSES = ("binomial", ORDINAL)
"""Families of the classifier."""
SEPARATED = 1e-5
"""Of the loss of a row, where the walk to infinite estimates ends."""
MOST_STEPS = 50
"""Of Newton's method for logistic regression."""
TOLERANCE = 1e-8
"""Share of a row outside of what the rows of the fit span that counts as rounding."""


def _in_words(method: Callable[P, R]) -> Callable[P, R]:
    """Return a method whose refusals by scikit-learn and NumPy are errors of this package too."""

    @wraps(method)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (MixedModelsError, NotFittedError):
            raise
        except ValueError as error:
            raise DataError(str(error)) from error
        except TypeError as error:
            raise UnknownArgumentError(str(error)) from error

    return asked


class _FormulaEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """What an estimator with a formula on the columns of X has, whatever its response is."""

    formula: str | None
    evaluate: str

    def _model_data(
        self, X: Any, y: Any, groups: Any, sample_weight: Any
    ) -> tuple[pd.DataFrame, Any, str, str | None, Floats | None]:
        """Return X as a frame with groups and weights, y, the name for it, the formula's right-hand side, and weights.

        The formula is None where there are neither a formula nor groups.
        """
        left, formula = (None, None) if self.formula is None else _sides(self.formula)
        frame, y = self._frame(X, y, reset=True)
        check_consistent_length(frame, y, groups)
        names = [name for name in (left, *RESPONSES) if name is not None]
        response = next((name for name in names if name not in frame), names[-1])
        self._check_names(frame, {response: y, GROUPS: groups, WEIGHTS: sample_weight})
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weights is not None:
            frame[WEIGHTS] = weights
        if groups is not None:
            if formula is not None:
                raise FormulaError("groups= goes with formula=None; a formula names its grouping columns itself.")
            frame[GROUPS] = np.asarray(groups)
            formula = " + ".join(f"`{name}`" for name in self._columns) + f" + (1 | {GROUPS})"
        return frame, y, response, formula, weights

    def _new_data(self, X: Any, groups: Any) -> tuple[pd.DataFrame, bool]:
        """Return new data, and whether it must be predicted without groups because there are none."""
        check_is_fitted(self, "coef_")
        frame, _ = self._frame(X, None, reset=False)
        if groups is not None:
            check_consistent_length(frame, groups)
            frame[GROUPS] = np.asarray(groups)
        return frame, self.formula is None and groups is None

    @property
    def _is_pandas(self) -> bool:
        return getattr(self, "_container", "default") == "pandas"

    def set_output(self, *, transform: str | None = None) -> _FormulaEstimator:
        """Choose what predictions are returned as.

        Parameters
        ----------
        transform
            ``"default"`` (array), ``"pandas"`` (with the index of X), or None to leave it as it is.
        """
        if transform is not None and not (isinstance(transform, str) and transform in CONTAINERS):
            raise DataError(f"transform={transform!r} is not available; it must be 'default' or 'pandas'.")
        if transform is not None:
            self._container = transform
        return self

    @staticmethod
    def _check_names(frame: pd.DataFrame, given: dict[str, Any]) -> None:
        """Raise if X has a column of the name that an argument of its own gets in the model's data."""
        for name, values in given.items():
            if values is not None and name in frame:
                raise DataError(f"X has a column {name!r}, a name that the estimator needs itself. Rename that column.")

    def _frame(self, X: Any, y: Any, *, reset: bool) -> tuple[pd.DataFrame, Any]:
        """Return X as a frame with its columns' names, and y."""
        if y is None and reset:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        if self.formula is not None and hasattr(X, "columns"):
            validate_data(self, X, reset=reset, skip_check_array=True)
            frame = pd.DataFrame(X).copy() if isinstance(X, pd.DataFrame) else X.to_pandas()
            if reset:
                self._columns: list[str] = list(frame.columns)
            if y is not None:
                y = self._read_response(y)
            return frame.reset_index(drop=True), y
        checked = validate_data(
            self,
            X,
            *([y] if reset else []),
            reset=reset,
            dtype=np.float64,
            **({"y_numeric": self._numeric_response} if reset else {}),
        )
        matrix, y = checked if reset else (checked, None)
        if reset:
            self._columns = [f"x{j}" for j in range(matrix.shape[1])]
        return pd.DataFrame(matrix, columns=self._columns), y

    def _read_response(self, y: Any) -> Any:
        """Return a response that came with a frame."""
        return np.asarray(y, dtype=np.float64).ravel()

    _numeric_response = True


class MixedModelRegressor(RegressorMixin, _FormulaEstimator):  # type: ignore[misc]  # as above
    """Linear mixed-effects regression with scikit-learn's interface.

    Parameters
    ----------
    formula
        Right-hand side in lme4's language, ``"Days + (Days | Subject)"``, on the columns of a frame X; columns of an
        array are x0, x1, ... A left-hand side is a name for y, no more. None: all columns of X, numeric, with a random
        intercept of the ``groups`` given to ``fit``, or least squares if there are none.
    reml
        Restricted maximum likelihood.
    random_effects
        What ``predict`` adds for known levels: ``"conditional"``, ``"population"`` or names of grouping factors.
    new_levels
        ``"population"``: rows of unknown levels get no effect; ``"raise"``.
    evaluate
        As for ``lmer``; ``"restricted"`` for a formula that a stranger wrote.

    Attributes
    ----------
    result_
        The ``LmmResult``; None for least squares.
    coef_, intercept_
        Slopes of the fixed effects (n_columns,), and the intercept, 0.0 if there is none.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.
    """

    def __init__(
        self,
        formula: str | None = None,
        *,
        reml: bool = True,
        random_effects: Any = "conditional",
        new_levels: str = "population",
        evaluate: str = "python",
    ) -> None:
        self.formula = formula
        self.reml = reml
        self.random_effects = random_effects
        self.new_levels = new_levels
        self.evaluate = evaluate

    @_in_words
    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> MixedModelRegressor:
        """Fit the model.

        Parameters
        ----------
        X
            Frame or array, (n_rows, n_features).
        y
            Response, (n_rows,).
        groups
            Levels of the rows, for ``formula=None``.
        sample_weight
            Positive weights: Var(e_i) = sigma^2 / w_i.

        Raises
        ------
        FormulaError, DataError, InferenceError
            If the formula or the data do not make a model, or an argument of the estimator is not allowed.
        """
        frame, y, response, formula, weights = self._model_data(X, y, groups, sample_weight)
        names = list(self._columns)
        self.result_ = None
        if formula is None:
            used_factors((), self.random_effects)
            check_evaluate(self.evaluate)
            check_new_levels(self.new_levels)
            if weights is not None and weights.min() < 0:
                raise DataError(f"sample_weight must not be negative; the smallest is {weights.min():.6g}.")
            root = np.ones(len(y)) if weights is None else np.sqrt(weights)
            matrix = frame[names].to_numpy(dtype=np.float64)
            centred = matrix - np.average(matrix, axis=0, weights=root**2)  # else a far origin costs all digits
            columns = np.column_stack([np.ones(len(y)), centred])
            solution = np.linalg.lstsq(columns * root[:, None], y * root, rcond=None)[0]
            self.coef_ = solution[1:]
            self.intercept_ = float(solution[0] - (matrix - centred)[0] @ self.coef_)
            self._least_squares = _LeastSquares(matrix, root, (y - columns @ solution) * root)
            return self
        frame[response] = y
        left = response if response.isidentifier() else f"`{response}`"
        weighted = None if weights is None else WEIGHTS
        model = LinearMixedModel(f"{left} ~ {formula}", frame, weights=weighted, evaluate=self.evaluate)
        result = model.fit(reml=self.reml)
        used_factors(list(result.n_groups), self.random_effects)
        check_new_levels(self.new_levels)
        self.result_ = result
        fixed = self.result_.fe_params
        self.intercept_ = float(fixed.get("Intercept", 0.0))
        self.coef_ = fixed.drop(labels="Intercept", errors="ignore").to_numpy()
        return self

    @_in_words
    def predict(self, X: Any, groups: Any = None, *, return_std: bool = False) -> Any:
        """Return predictions, (n_rows,), as an array, or as a Series after ``set_output(transform="pandas")``.

        Parameters
        ----------
        X
            Frame or array with the columns of the fit.
        groups
            Levels of the rows, for ``formula=None``; None predicts the population.
        return_std
            Return a pair: the predictions, and the standard deviation of a new observation of weight one about each, as
            scikit-learn's Bayesian regressors do. It counts the errors of the estimates, and the effects of levels that
            are not known.

        Raises
        ------
        DataError
            If a column is missing, or a level is new and ``new_levels="raise"``.
        """
        mean, se, _, _ = self._predicted(X, groups, "prediction" if return_std else None)
        return (self._labelled(mean, X), self._labelled(se, X, "std")) if return_std else self._labelled(mean, X)

    @_in_words
    def predict_interval(
        self,
        X: Any,
        groups: Any = None,
        *,
        interval: str = "prediction",
        level: float = 0.95,
        sample_weight: Any = None,
    ) -> Any:
        """Return lower and upper limits, (n_rows, 2), as an array, or as a frame after ``set_output``.

        Parameters
        ----------
        X, groups
            As for ``predict``.
        interval
            ``"prediction"``: of a new observation; ``"confidence"``: of the mean that ``predict`` returns.
        level
            Coverage.
        sample_weight
            Weights of new observations, (n_rows,); None for one each.

        Raises
        ------
        DataError, InferenceError
            As for ``predict``; if an argument is not allowed.
        """
        if interval not in INTERVALS:
            raise InferenceError(f"interval={interval!r} is not available; it must be 'prediction' or 'confidence'.")
        _, _, lower, upper = self._predicted(X, groups, interval, level, sample_weight)
        limits = np.column_stack([lower, upper])
        if self._is_pandas:
            return pd.DataFrame(limits, index=getattr(X, "index", None), columns=["lower", "upper"])
        return limits

    def _predicted(
        self, X: Any, groups: Any, interval: str | None, level: float = LEVEL, sample_weight: Any = None
    ) -> tuple[Floats, ...]:
        """Return predictions and, with an interval, standard errors and limits, (n_rows,) each."""
        frame, is_population = self._new_data(X, groups)
        if sample_weight is not None and interval == "confidence":
            raise InferenceError("sample_weight is that of new observations; it goes with interval='prediction'.")
        weights = None
        if interval == "prediction":
            weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
            if not (weights > 0).all():
                raise InferenceError(f"sample_weight must be positive; the smallest is {weights.min():.6g}.")
        if self.result_ is None:
            matrix = frame[list(self._columns)].to_numpy(dtype=np.float64)
            mean = self.intercept_ + matrix @ self.coef_
            return self._least_squares.predicted(matrix, mean, weights, level) if interval else (mean,) * 4
        random_effects = "population" if is_population else self.random_effects
        options: dict[str, Any] = {"random_effects": random_effects, "new_levels": self.new_levels, "weights": weights}
        found = self.result_.predict(frame, interval=interval, level=level, **options)
        if isinstance(found, pd.Series):
            return (np.asarray(found),) * 4
        return tuple(np.asarray(found[name]) for name in ("mean", "se", "lower", "upper"))

    def _labelled(self, values: Floats, X: Any, name: str = "predicted") -> Any:
        return pd.Series(values, index=getattr(X, "index", None), name=name) if self._is_pandas else values


class MixedModelClassifier(ClassifierMixin, _FormulaEstimator):  # type: ignore[misc]  # as above
    """Mixed-effects logistic regression, or regression of ordered categories, with scikit-learn's interface.

    Parameters
    ----------
    formula
        As for ``MixedModelRegressor``. None: all columns of X, numeric, with a random intercept of the ``groups`` given
        to ``fit``, or logistic regression without a penalty if there are none.
    family
        ``"binomial"``, of two classes, the second of ``classes_`` a success; ``"ordinal"``, of two or more in the order
        of ``classes_``, which is that of ``numpy.unique``.
    link, n_agq
        As for ``glmer``.
    random_effects
        What chances have for known levels: ``"conditional"``, ``"population"``, ``"averaged"`` or names of grouping
        factors.
    new_levels
        Rows of unknown levels: ``"averaged"``, the mean chance over the effects of such a level; ``"population"``, that
        of an average level; ``"raise"``.
    evaluate
        As for ``lmer``.

    Attributes
    ----------
    result_
        The ``GlmmResult``; None without random effects.
    classes_
        Labels, (n_classes,).
    coef_, intercept_
        Slopes (1, n_columns), on the link scale, and the intercept, (1,), or the thresholds of ordered classes with
        their signs changed, (n_classes - 1,).
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn.
    """

    _numeric_response = False

    def __init__(
        self,
        formula: str | None = None,
        *,
        family: str = "binomial",
        link: str | None = None,
        n_agq: int = 1,
        random_effects: Any = "conditional",
        new_levels: str = "averaged",
        evaluate: str = "python",
    ) -> None:
        self.formula = formula
        self.family = family
        self.link = link
        self.n_agq = n_agq
        self.random_effects = random_effects
        self.new_levels = new_levels
        self.evaluate = evaluate

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.family == ORDINAL
        return tags

    def _read_response(self, y: Any) -> Any:
        return column_or_1d(y)

    @_in_words
    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> MixedModelClassifier:
        """Fit the model.

        Parameters
        ----------
        X
            Frame or array, (n_rows, n_features).
        y
            Classes, (n_rows,).
        groups
            Levels of the rows, for ``formula=None``.
        sample_weight
            What the log densities of the rows are times.

        Raises
        ------
        FormulaError, DataError, InferenceError
            If the formula or the data do not make a model, or an argument of the estimator is not allowed.
        """
        if self.family not in CLASSES:
            raise DataError(f"family is {self.family!r}; it must be 'binomial' or 'ordinal'.")
        frame, y, response, formula, weights = self._model_data(X, y, groups, sample_weight)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        n = len(self.classes_)
        if n < 2:
            raise DataError(f"The classifier needs two classes, and y has one class, {self.classes_.tolist()[0]!r}.")
        if n > 2 and self.family != ORDINAL:
            raise DataError(
                f"Only binary classification is supported. The type of the target is multiclass: y has {n} classes. If "
                "they are ordered, family='ordinal' has them."
            )
        self.result_ = None
        if formula is None:
            if self.family == ORDINAL or self.link not in (None, "logit"):
                raise FormulaError(
                    "Without a formula and groups it is logistic regression: leave out link and family, or pass groups."
                )
            self.intercept_, self.coef_ = _logistic(frame[self._columns].to_numpy(dtype=np.float64), codes, weights)
            return self
        frame[response] = codes
        left = response if response.isidentifier() else f"`{response}`"
        options: dict[str, Any] = {"link": self.link, "n_agq": self.n_agq, "evaluate": self.evaluate}
        weighted = None if weights is None else WEIGHTS
        result = glmer(f"{left} ~ {formula}", frame, self.family, weights=weighted, **options)
        if self.random_effects != "averaged":
            used_factors(list(result.n_groups), self.random_effects)
        fixed = result.fe_params
        self.result_ = result
        ordered = self.family == ORDINAL
        own = -result.thresholds.to_numpy() if ordered else [fixed.get("Intercept", 0.0)]
        self.intercept_ = np.asarray(own, dtype=np.float64)
        self.coef_ = np.asarray(fixed.drop(labels="Intercept", errors="ignore"), dtype=np.float64)[None]
        return self

    @_in_words
    def predict_proba(self, X: Any, groups: Any = None) -> Any:
        """Return chances of the classes, (n_rows, n_classes), as an array, or a frame after ``set_output``.

        Parameters
        ----------
        X
            Frame or array with the columns of the fit.
        groups
            Levels of the rows, for ``formula=None``; None: as rows of unknown levels.

        Raises
        ------
        DataError
            If a column is missing, or a level is new and ``new_levels="raise"``.
        """
        chances = self._chances(X, groups)
        if self._is_pandas:
            return pd.DataFrame(chances, index=getattr(X, "index", None), columns=self.classes_)
        return chances

    def _chances(self, X: Any, groups: Any) -> Floats:
        frame, without_groups = self._new_data(X, groups)
        if self.result_ is None:
            eta = self.intercept_ + frame[self._columns].to_numpy(dtype=np.float64) @ self.coef_[0]
            return np.column_stack([special.expit(-eta), special.expit(eta)])
        random_effects = self.random_effects
        if without_groups:
            random_effects = "averaged" if self.new_levels == "averaged" else "population"
            frame[GROUPS] = self.result_.state.design.factors[0].levels[0]  # which is not looked at
        found = np.asarray(self.result_.predict(frame, random_effects=random_effects, new_levels=self.new_levels))
        return found if found.ndim == 2 else np.column_stack([1 - found, found])

    @_in_words
    def predict(self, X: Any, groups: Any = None) -> Any:
        """Return the most probable class of each row, as an array, or as a Series after ``set_output``.

        Parameters
        ----------
        X, groups
            As for ``predict_proba``.

        Raises
        ------
        DataError
            As there.
        """
        chances = self._chances(X, groups)
        found = self.classes_[np.argmax(chances, axis=1)]
        return pd.Series(found, index=getattr(X, "index", None), name="predicted") if self._is_pandas else found


def _logistic(X: Floats, y: npt.NDArray[np.intp], weights: Floats | None) -> tuple[Floats, Floats]:
    """Return intercept (1,) and slopes (1, n_columns) of logistic regression, by Newton's method.

    Separated classes have no estimate; the walk ends when hardly anything is left to explain.
    """
    w: Floats = np.ones(len(y)) if weights is None else weights
    centre: Floats = np.average(X, axis=0, weights=w)
    size: Floats = np.sqrt(np.average((X - centre) ** 2, axis=0, weights=w))
    size[size == 0] = 1.0
    columns = np.column_stack([np.ones(len(y)), (X - centre) / size])
    beta = np.zeros(columns.shape[1])

    def loss(beta: Floats) -> float:
        eta = columns @ beta
        return float(w @ (np.logaddexp(0, eta) - y * eta))

    value = loss(beta)
    for _ in range(MOST_STEPS):
        p = special.expit(columns @ beta)
        gradient = columns.T @ (w * (y - p))
        hessian = (columns * (w * p * (1 - p))[:, None]).T @ columns
        step = np.asarray(np.linalg.lstsq(hessian, gradient, rcond=None)[0], dtype=np.float64)
        while not (moved := loss(beta + step)) <= value and np.abs(step).max() > TOLERANCE:
            step *= 0.5
        if value - moved < TOLERANCE**2 * max(value, 1.0) or moved < SEPARATED * w.sum():
            break
        beta += step
        value = moved
    slopes = beta[1:] / size
    return np.array([beta[0] - centre @ slopes]), slopes[None]


class _LeastSquares:
    """What the errors of predictions by least squares need.

    Parameters
    ----------
    X
        Columns without the intercept, (n_rows, n_columns).
    root
        Roots of the weights, (n_rows,).
    residuals
        Times these roots, (n_rows,).
    """

    def __init__(self, X: Floats, root: Floats, residuals: Floats) -> None:
        self.centre = np.average(X, axis=0, weights=root**2)
        self.size = np.sqrt(np.mean((X - self.centre) ** 2, axis=0))
        self.size[self.size == 0] = 1.0
        _, s, Vt = np.linalg.svd(self._about_centre(X) * root[:, None], full_matrices=False)
        kept = s > s[0] * max(X.shape) * np.finfo(np.float64).eps
        self.directions, self.spreads, self.others = Vt[kept], s[kept], Vt[~kept]
        self.df = int(np.count_nonzero(root)) - int(kept.sum())
        self.variance = float(residuals @ residuals) / self.df if self.df > 0 else np.nan

    def _about_centre(self, X: Floats) -> Floats:
        return np.column_stack([np.ones(len(X)), (X - self.centre) / self.size])

    def predicted(self, X: Floats, mean: Floats, weights: Floats | None, level: float) -> tuple[Floats, ...]:
        """Return means, standard errors and limits by Student's t; nan where the fit cannot tell, (n_rows,) each."""
        check_level(level)
        rows = self._about_centre(X)
        share = np.sum((rows @ self.directions.T / self.spreads) ** 2, axis=1)
        share[np.abs(rows @ self.others.T).sum(axis=1) > TOLERANCE * np.abs(rows).sum(axis=1)] = np.nan
        if weights is not None:
            share += 1.0 / weights
        se = np.sqrt(self.variance * share)
        half = t_quantile(np.full(len(X), float(self.df)), 0.5 + level / 2) * se
        return mean, se, mean - half, mean + half


def _sides(formula: str) -> tuple[str | None, str]:
    """Return the name left of the tilde, None if there is none, and what stands right of it.

    Raises
    ------
    FormulaError
        If more than a name stands left of it, which would be lost.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"formula is of type {type(formula).__name__!r}; it must be a text, such as 'x + (x | g)'.")
    left, _, right = formula.rpartition("~")
    if left.strip() and not _NAME.fullmatch(left.strip()):
        raise FormulaError(
            f"The left-hand side {left.strip()!r} is not used: fit gets the response as y. Leave it out, and pass y "
            "transformed, or put the regressor into sklearn.compose.TransformedTargetRegressor(regressor, func=..., "
            "inverse_func=...)."
        )
    return left.strip().strip("`") or None, right


class LevelFold:
    """Folds that keep all rows of a level together: what a new subject or school is predicted like.

    Parameters
    ----------
    by
        Column of X that holds the levels.
    n_splits
        Folds.
    """

    def __init__(self, by: str, n_splits: int = 5) -> None:
        self.by, self.n_splits = by, n_splits

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups
            Not looked at; scikit-learn passes them.
        """
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Any, Any]]:
        """Yield positions of training and test rows.

        Parameters
        ----------
        X
            Frame with the column ``by``.
        y, groups
            Not looked at; scikit-learn passes them.

        Raises
        ------
        DataError
            If X has no such column, or fewer levels than folds.
        """
        if not isinstance(self.by, str) or not hasattr(X, "columns") or self.by not in X.columns:
            raise DataError(f"LevelFold needs a frame with the column {self.by!r}.")
        if not isinstance(self.n_splits, int | np.integer) or self.n_splits < 2:
            raise DataError(f"n_splits is {self.n_splits!r}; it must be a whole number, at least 2.")
        codes = pd.factorize(np.asarray(X[self.by]))[0]
        if codes.max(initial=-1) + 1 < self.n_splits:
            raise DataError(
                f"Column {self.by!r} has {codes.max(initial=-1) + 1} levels, fewer than {self.n_splits} folds."
            )
        yield from GroupKFold(self.n_splits).split(codes, groups=codes)
