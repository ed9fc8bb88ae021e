"""The layout of statsmodels' summaries: facts above coefficients, both as wide as the wider."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mixedmodels.design.records import Floats
from mixedmodels.display.table import to_latex_text


def facts_frame(facts: Sequence[tuple[str, object]]) -> pd.DataFrame:
    """Return names and values in two pairs of columns: the first half left, the second right."""
    texts = [(name, _fact(name, value)) for name, value in facts]
    if len(texts) % 2:
        texts.append(("", ""))
    half = len(texts) // 2
    return pd.DataFrame([(*left, *right) for left, right in zip(texts[:half], texts[half:], strict=True)])


def _fact(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}" if name.startswith("Mean") else f"{value:.4f}"
    return str(value)


def coefficient_frame(values: Floats, names: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Return numbers with three decimals, empty where there is none.

    Parameters
    ----------
    values
        (n_params, n_columns).
    names, columns
        Of rows and columns.
    """
    texts = [[f"{v:.3f}" if np.isfinite(v) else "" for v in row] for row in values]
    return pd.DataFrame(texts, index=list(names), columns=list(columns), dtype=object)


@dataclass(frozen=True)
class MixedLMSummary:
    """A summary as text, HTML and LaTeX.

    Attributes
    ----------
    title
        First line.
    tables
        The facts, and the coefficients, as DataFrames of texts.
    """

    title: str
    tables: tuple[pd.DataFrame, pd.DataFrame]

    def as_text(self) -> str:
        """Return the summary as text."""
        facts, coefficients = self.tables
        first = [[str(cell) for cell in row] for row in facts.to_numpy()]
        second = [[str(name), *map(str, row)] for name, row in zip(coefficients.index, coefficients.to_numpy())]
        header = ["", *map(str, coefficients.columns)]
        # One space between columns is widened alike in all gaps, and what is left goes to the first column.
        widths = [_widths(first), _widths([header, *second])]
        lengths = [sum(w) + len(w) - 1 for w in widths]
        total = max(lengths)
        gaps, pads = [], []
        for length, table in zip(lengths, self.tables, strict=True):
            n_gaps = max(table.shape[1] - 1, 1)
            gap = (total - length) // n_gaps
            gaps.append(gap)
            pads.append(total - length - n_gaps * gap)
        widths[0][0] += pads[0]
        # The second table's names are a column of their own, so it has one gap more than it was measured with.
        widths[1][0] += pads[1]
        facts_lines = [_join(row, widths[0], gaps[0] + 1, "l" * 4) for row in first]
        sides = "l" + "r" * len(coefficients.columns)
        names = _join(header, widths[1], gaps[1] + 1, "l" + "c" * len(coefficients.columns))
        body = [_join(row, widths[1], gaps[1] + 1, sides) for row in second]
        width = len(names)
        rule = "=" * total
        lines = [rule, *facts_lines, "-" * width, names, "-" * width, *body, rule]
        title = " " * int(total / 2 - len(self.title) / 2) + self.title if len(self.title) < total else self.title
        return "\n".join([title, *lines, ""])

    def as_html(self) -> str:
        """Return the summary as HTML."""
        facts, coefficients = self.tables
        first = "\n".join("<tr>" + "".join(_cell(c, "left") for c in row) + "</tr>" for row in facts.to_numpy())
        head = "<tr><th></th>" + "".join(f"<th>{html.escape(str(c))}</th>" for c in coefficients.columns) + "</tr>"
        body = "\n".join(
            f"<tr><th>{html.escape(str(name))}</th>" + "".join(_cell(c, "right") for c in row) + "</tr>"
            for name, row in zip(coefficients.index, coefficients.to_numpy(), strict=True)
        )
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return (
            f'<table class="simpletable">{caption}\n{first}\n</table>\n'
            f'<table class="simpletable">\n{head}\n{body}\n</table><br/>\n'
        )

    def as_latex(self, label: str = "") -> str:
        """Return the summary as a LaTeX table.

        Parameters
        ----------
        label
            To refer to it by.
        """
        facts, coefficients = self.tables
        first = [" & ".join(to_latex_text(str(c)) for c in row) + r" \\" for row in facts.to_numpy()]
        head = " & ".join(["", *(to_latex_text(str(c)) for c in coefficients.columns)]) + r" \\"
        body = [
            " & ".join(to_latex_text(str(c)) for c in (name, *row)) + r" \\"
            for name, row in zip(coefficients.index, coefficients.to_numpy(), strict=True)
        ]
        columns = "l" + "r" * len(coefficients.columns)
        return "\n".join(
            [
                r"\begin{table}",
                rf"\caption{{{to_latex_text(self.title)}}}",
                rf"\label{{{label}}}",
                r"\begin{tabular}{llll}", r"\hline", *first, r"\hline", r"\end{tabular}", "",
                rf"\begin{{tabular}}{{{columns}}}", r"\hline", head, r"\hline", *body, r"\hline",
                r"\end{tabular}",
                r"\end{table}",
            ]  # fmt: skip
        )

    def __str__(self) -> str:
        return self.as_text()

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()

    def _repr_latex_(self) -> str:
        return self.as_latex()


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _join(cells: Sequence[str], widths: Sequence[int], gap: int, sides: str) -> str:
    padded = [
        {"l": cell.ljust(width), "r": cell.rjust(width), "c": _centred(cell, width)}[side]
        for cell, width, side in zip(cells, widths, sides, strict=True)
    ]
    return (" " * gap).join(padded)


def _centred(text: str, width: int) -> str:
    return text.center(width)


def _cell(text: object, side: str) -> str:
    return f'<td style="text-align: {side}">{html.escape(str(text))}</td>'
