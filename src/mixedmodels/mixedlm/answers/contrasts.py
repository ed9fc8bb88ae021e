"""What tests of linear hypotheses about the parameters return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mixedmodels.design.records import Floats
from mixedmodels.errors import InferenceError, nearest
from mixedmodels.mixedlm.answers.constraint_table import ConstraintTable, constraint_table
from mixedmodels.mixedlm.reading.arguments import read_alpha, read_label, read_names, shown


class ContrastResults:
    """Tests of linear hypotheses, one by one or joint.

    Attributes
    ----------
    effect
        Estimates of R b - q, (n_rows,); None for a joint test.
    sd, statistic
        Standard errors and test statistics, (n_rows,), but (1, 1) for one row, as in statsmodels.
    pvalue
        P-values, (n_rows,), or a number.
    distribution
        ``"t"``, ``"norm"``, ``"F"`` or ``"chi2"``.
    df_num, df_denom
        Degrees of freedom; for ``"chi2"`` they stand in ``df_denom``.
    """

    def __init__(
        self,
        distribution: str,
        statistic: Any,
        *,
        effect: Floats | None = None,
        sd: Floats | None = None,
        df_num: float | None = None,
        df_denom: float | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        if effect is not None and len(effect) == 1:
            statistic, sd = np.reshape(statistic, (1, 1)), np.reshape(np.asarray(sd), (1, 1))
        self.distribution, self.statistic, self.effect, self.sd = distribution, statistic, effect, sd
        self.df_num, self.df_denom = df_num, df_denom
        self.dist = getattr(stats, distribution.lower())
        self.dist_args = tuple(df for df in (df_num, df_denom) if df is not None and distribution != "norm")
        if effect is None:
            self.pvalue = np.squeeze(self.dist.sf(statistic, *self.dist_args))
        else:
            self.pvalue = np.squeeze(2 * self.dist.sf(np.abs(statistic), *self.dist_args))
        if distribution == "F":
            self.fvalue = statistic
        else:
            self.tvalue = statistic
        self.c_names = list(names) if names is not None and effect is not None else None

    def conf_int(self, alpha: float = 0.05) -> Floats:
        """Return confidence intervals of the effects, (n_rows, 2).

        Raises
        ------
        InferenceError
            For a joint test.
        """
        if self.effect is None or self.sd is None:
            raise InferenceError("A joint test has no confidence interval. Use t_test.")
        half = self.dist.ppf(1 - read_alpha(alpha) / 2, *self.dist_args) * np.ravel(self.sd)
        return np.column_stack([self.effect - half, self.effect + half])

    def summary_frame(self, xname: Sequence[str] | None = None, alpha: float = 0.05) -> pd.DataFrame:
        """Return the tests as a table: ``coef, std err, z, P>|z|, Conf. Int. Low, Conf. Int. Upp.``.

        Parameters
        ----------
        xname
            Names of the rows.
        alpha
            One less the coverage of the intervals.
        """
        letter, columns = self._letter, self._columns(alpha)
        header = ["coef", "std err", letter, f"P>|{letter}|", "Conf. Int. Low", "Conf. Int. Upp."]
        return pd.DataFrame(dict(zip(header, columns, strict=True)), index=self._row_names(xname))

    @property
    def _letter(self) -> str:
        return "t" if self.distribution == "t" else "z"

    def _columns(self, alpha: float) -> list[Floats]:
        parts = (self.effect, self.sd, self.statistic, self.pvalue, *self.conf_int(alpha).T)
        return [np.ravel(np.asarray(part, dtype=np.float64)) for part in parts]

    def _row_names(self, given: Sequence[str] | None) -> list[str]:
        return read_names("xname", given, self.c_names or [], "rows")

    def summary(
        self, xname: Sequence[str] | None = None, alpha: float = 0.05, title: str | None = None
    ) -> ConstraintTable | str:
        """Return the tests as a table, a joint test as a line, both as statsmodels prints them.

        Parameters
        ----------
        xname, alpha
            As for ``summary_frame``.
        title
            First line.
        """
        if self.effect is not None:
            heading = "Test for Constraints" if title is None else read_label("title", title)
            return constraint_table(heading, self._row_names(xname), self._columns(alpha), self._letter, alpha)
        if self.distribution == "F":
            degrees = f"df_denom={self.df_denom:.3g}, df_num={self.df_num:.3g}"
            return f"<F test: F={self.fvalue!r}, p={self.pvalue}, {degrees}>"
        return f"<Wald test (chi2): statistic={self.statistic}, p-value={self.pvalue}, df_denom={self.df_denom:.3g}>"

    def __str__(self) -> str:
        return str(self.summary())

    def __repr__(self) -> str:
        return f"{type(self)}\n{self}"


@dataclass(frozen=True)
class WaldTestResults:
    """Joint tests of terms.

    Attributes
    ----------
    table
        ``statistic, pvalue, df_constraint`` by term.
    """

    table: pd.DataFrame
    distribution: str = "chi2"

    @property
    def statistic(self) -> npt.NDArray[Any]:
        """Test statistics."""
        return self.table["statistic"].to_numpy()

    @property
    def pvalues(self) -> npt.NDArray[Any]:
        """P-values."""
        return self.table["pvalue"].to_numpy()

    @property
    def df_constraints(self) -> npt.NDArray[Any]:
        """Degrees of freedom."""
        return self.table["df_constraint"].to_numpy()

    def summary_frame(self) -> pd.DataFrame:
        """Return the tests with the distribution in the names of the columns."""
        names = {"statistic": self.distribution, "pvalue": f"P>{self.distribution}", "df_constraint": "df constraint"}
        return self.table.rename(columns=names)

    def __str__(self) -> str:
        return self.summary_frame().to_string()

    def __repr__(self) -> str:
        return f"{type(self)}\n{self}"


@dataclass(frozen=True)
class PairwiseResult:
    """Differences between the levels of a factor.

    Attributes
    ----------
    result_frame
        Their tests, with adjusted p-values.
    contrasts
        Rows of R.
    contrast_labels
        Their names, ``b-a``.
    term
        The term.
    """

    result_frame: pd.DataFrame
    contrasts: Floats
    contrast_labels: list[str]
    term: str


def pair_labels(levels: Sequence[object]) -> list[str]:
    """Return ``b-a`` for each pair of levels."""
    return [f"{levels[j]}-{levels[i]}" for i, j in combinations(range(len(levels)), 2)]


ADJUSTMENTS = {"b": "bonferroni", "s": "sidak", "h": "holm", "hs": "holm-sidak"}


def check_method(method: object) -> None:
    """An adjustment of p-values must be a known one.

    Raises
    ------
    InferenceError
        It is not.
    """
    known = [*ADJUSTMENTS.values(), "simes-hochberg", "fdr_bh", "fdr_by", "none"]
    if not isinstance(method, str) or ADJUSTMENTS.get(method, method) not in known:
        raise InferenceError(
            f"method={shown(method)} is no adjustment; there are {', '.join(known)}.{nearest(method, known)}"
        )


def adjusted_pvalues(pvalues: Floats, method: str) -> Floats:
    """Return p-values adjusted for their number.

    Parameters
    ----------
    pvalues
        (n,).
    method
        ``"bonferroni"``, ``"sidak"``, ``"holm"``, ``"holm-sidak"`` or their initials, ``"simes-hochberg"``,
        ``"fdr_bh"``, ``"fdr_by"``, or ``"none"``.

    Raises
    ------
    InferenceError
        If there is no such method.
    """
    p = np.atleast_1d(np.asarray(pvalues, dtype=np.float64))
    check_method(method)
    name, n = ADJUSTMENTS.get(method, method), len(p)
    order = np.argsort(p)
    ranked, left = p[order], n - np.arange(n)
    if name == "none":
        return p
    if name == "bonferroni":
        return np.minimum(n * p, 1)
    if name == "sidak":
        return np.asarray(-np.expm1(n * np.log1p(-p)))
    if name == "holm":
        adjusted = np.maximum.accumulate(left * ranked)
    elif name == "holm-sidak":
        adjusted = np.maximum.accumulate(-np.expm1(left * np.log1p(-ranked)))
    elif name == "simes-hochberg":
        adjusted = np.minimum.accumulate((left * ranked)[::-1])[::-1]
    else:
        factor = n / np.arange(1, n + 1) * (np.sum(1 / np.arange(1, n + 1)) if name == "fdr_by" else 1.0)
        adjusted = np.minimum.accumulate((factor * ranked)[::-1])[::-1]
    out = np.empty(n)
    out[order] = np.minimum(adjusted, 1)
    return out
