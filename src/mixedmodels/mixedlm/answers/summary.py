"""The summary in the layout that statsmodels documents: a block of facts, a table of coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from mixedmodels.design.records import Floats
from mixedmodels.mixedlm.reading.arguments import read_alpha, read_label, read_names

TITLE = "Mixed Linear Model Regression Results"


@dataclass
class MixedLMSummary:
    """A printable summary.

    Attributes
    ----------
    title
        First line.
    tables
        The facts, (6, 4), and the coefficients, both frames of text.
    extra_txt
        Notes below the tables.
    """

    title: str
    tables: list[pd.DataFrame]
    extra_txt: list[str] = field(default_factory=list)

    def add_text(self, string: str) -> None:
        """Append a note, wrapped to the width of the tables where it is printed."""
        self.extra_txt.append(read_label("string", string))

    def add_title(self, title: str | None = None, results: object = None) -> None:
        """Set the title.

        Parameters
        ----------
        title
            The title; None names the model of ``results``, or leaves the title out.
        results
            A fit.
        """
        if title is None:
            title = "" if results is None else "Results: MixedLM"
        self.title = read_label("title", title)

    def as_text(self) -> str:
        """Return plain text: all tables as wide as the widest, columns padded alike, the rest in the first one."""
        facts, coefficients = self.tables
        blocks = [
            _Block(facts.to_numpy(dtype=str).tolist(), "<", header=None),
            _Block(
                [
                    [str(name), *row]
                    for name, row in zip(coefficients.index, coefficients.to_numpy(dtype=str).tolist(), strict=True)
                ],
                ">",
                header=["", *map(str, coefficients.columns)],
            ),
        ]
        widest = max(block.width for block in blocks)
        heavy, light = "=" * widest, "-" * widest
        first, second = (block.lines(widest) for block in blocks)
        title = " " * int(widest / 2 - len(self.title) / 2) + self.title
        notes = "\n".join("\n".join(wrap(note, widest)) for note in self.extra_txt)
        return "\n".join([title, heavy, *first, light, second[0], light, *second[1:], heavy, notes])

    def as_html(self) -> str:
        """Return HTML, names and numbers escaped."""
        facts, coefficients = self.tables
        rows = "".join(f"<tr>{''.join(f'<td>{escape(str(c))}</td>' for c in row)}</tr>" for row in facts.to_numpy())
        head = "".join(f"<th>{escape(str(c))}</th>" for c in ["", *coefficients.columns])
        body = "".join(
            f"<tr><th>{escape(str(name))}</th>{''.join(f'<td>{escape(str(c))}</td>' for c in row)}</tr>"
            for name, row in zip(coefficients.index, coefficients.to_numpy(), strict=True)
        )
        caption = f"<caption>{escape(self.title)}</caption>"
        return (
            f'<table class="simpletable">{caption}{rows}</table>\n'
            f'<table class="simpletable"><tr>{head}</tr>{body}</table>'
            + "".join(f"<br/>\n{escape(note)}" for note in self.extra_txt)
        )

    def as_latex(self, label: str = "") -> str:
        r"""Return a LaTeX table of facts and one of coefficients.

        Parameters
        ----------
        label
            What ``\ref`` names it by; empty for none.
        """
        facts, coefficients = self.tables
        label = read_label("label", label)
        reference = rf"\label{{{label}}}" if label else ""
        parts = [rf"\begin{{table}}\caption{{{_latex(self.title)}}}{reference}", r"\begin{tabular}{llll}", r"\hline"]
        parts += [" & ".join(map(_latex, row)) + r" \\" for row in facts.to_numpy(dtype=str)]
        parts += [r"\hline", r"\end{tabular}", "", rf"\begin{{tabular}}{{l{'r' * coefficients.shape[1]}}}", r"\hline"]
        parts += [" & ".join(["", *(_latex(str(c)) for c in coefficients.columns)]) + r" \\", r"\hline"]
        for name, row in zip(coefficients.index, coefficients.to_numpy(dtype=str), strict=True):
            parts.append(" & ".join([_latex(str(name)), *map(_latex, row)]) + r" \\")
        notes = [r"\bigskip", *(_latex(note) + r" \newline" for note in self.extra_txt)] if self.extra_txt else []
        return "\n".join([*parts, r"\hline", r"\end{tabular}", r"\end{table}", *notes, ""])

    def __str__(self) -> str:
        return self.as_text()

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()

    def _repr_latex_(self) -> str:
        return self.as_latex()


class _Block:
    """Rows of text; the first column is to the left, the others as told, headers centred."""

    def __init__(self, rows: list[list[str]], align: str, header: list[str] | None) -> None:
        self.rows, self.align, self.header = rows, align, header
        columns = zip(*([header] if header else []), *rows, strict=True)
        self.widths = [max(map(len, column)) for column in columns]

    @property
    def width(self) -> int:
        """Characters a line with single spaces between columns."""
        return sum(self.widths) + len(self.widths) - 1

    def lines(self, width: int) -> list[str]:
        """Return the lines at a width."""
        n_gaps = max(len(self.widths) - (2 if self.header else 1), 1)
        pad = (width - self.width) // n_gaps
        gap = " " * (pad + 1)
        n_joints = len(self.widths) - 1
        first = width - sum(self.widths[1:]) - n_joints * len(gap)
        out = []
        if self.header:
            cells = [h.center(w) for h, w in zip(self.header[1:], self.widths[1:], strict=True)]
            out.append(gap.join([" " * first, *cells]))
        for row in self.rows:
            cells = [f"{cell:{self.align}{w}}" for cell, w in zip(row[1:], self.widths[1:], strict=True)]
            out.append(gap.join([f"{row[0]:<{first}}", *cells]))
        return out


@dataclass(frozen=True)
class Facts:
    """What a summary tells of a fit.

    Attributes
    ----------
    names
        Of all parameters.
    response
        Name of the response.
    group_sizes
        Rows of each group.
    method, scale, llf, converged
        ``"REML"`` or ``"ML"``, residual variance, log-likelihood, and whether the fit converged.
    fixed, fixed_se
        Fixed effects and standard errors, (k_fe,).
    natural, natural_se
        Covariances in natural units and standard errors, (k_re2 + k_vc,).
    notes
        Below the tables.
    """

    names: Sequence[str]
    response: str
    group_sizes: npt.NDArray[np.intp]
    method: str
    scale: float
    llf: float
    converged: bool
    fixed: Floats
    fixed_se: Floats
    natural: Floats
    natural_se: Floats
    notes: tuple[str, ...] = ()


def summarize(
    facts: Facts,
    yname: str | None,
    xname_fe: Sequence[str] | None,
    xname_re: Sequence[str] | None,
    *,
    title: str | None,
    alpha: float,
) -> MixedLMSummary:
    """Return the summary of a fit; variances and covariances in natural units with their standard errors.

    Parameters
    ----------
    facts
        What the summary tells.
    yname
        Name of the response; None for the model's.
    xname_fe, xname_re
        Names of the fixed effects and of the covariance parameters; None for the model's.
    title
        First line; None for the usual one.
    alpha
        One less the coverage of the intervals.

    Raises
    ------
    InferenceError
        If there are more or fewer names than parameters.
    """
    alpha, k_fe = read_alpha(alpha), len(facts.fixed)
    fixed = read_names("xname_fe", xname_fe, facts.names[:k_fe], "parameters")
    others = read_names("xname_re", xname_re, facts.names[k_fe:], "parameters")
    sizes = facts.group_sizes
    left = [
        ("Model:", "MixedLM"),
        ("No. Observations:", str(sizes.sum())),
        ("No. Groups:", str(len(sizes))),
        ("Min. group size:", f"{sizes.min():.0f}"),
        ("Max. group size:", f"{sizes.max():.0f}"),
        ("Mean group size:", f"{sizes.mean():.1f}"),
    ]
    right = [
        ("Dependent Variable:", facts.response if yname is None else read_label("yname", yname)),
        ("Method:", facts.method),
        ("Scale:", f"{facts.scale:.4f}"),
        ("Log-Likelihood:", f"{facts.llf:.4f}"),
        ("Converged:", "Yes" if facts.converged else "No"),
        ("", ""),
    ]
    head = pd.DataFrame([[*a, *b] for a, b in zip(left, right, strict=True)], dtype=object)
    estimate, se = facts.fixed, facts.fixed_se
    with np.errstate(divide="ignore", invalid="ignore"):
        z = estimate / se
    half = -special.ndtri(alpha / 2) * se
    columns = [estimate, se, z, 2 * special.ndtr(-np.abs(z)), estimate - half, estimate + half]
    rows = [[f"{value:.3f}" for value in row] for row in zip(*columns, strict=True)]
    for value, error in zip(facts.natural, facts.natural_se, strict=True):
        rows.append([f"{value:.3f}", f"{error:.3f}" if np.isfinite(error) else "", "", "", "", ""])
    header = ["Coef.", "Std.Err.", "z", "P>|z|", f"[{alpha / 2:.4g}", f"{1 - alpha / 2:.4g}]"]
    coefficients = pd.DataFrame(rows, index=[*fixed, *others], columns=header, dtype=object)
    heading = TITLE if title is None else read_label("title", title)
    return MixedLMSummary(heading, [head, coefficients], list(facts.notes))


def _latex(text: str) -> str:
    for character in "&%$#_{}":
        text = text.replace(character, "\\" + character)
    return text.replace("|", r"\textbar{}").replace("~", r"\textasciitilde{}")
