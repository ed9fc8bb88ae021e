"""A table in its four forms."""

from __future__ import annotations

from mixedmodels.display.table import Table

TABLE = Table("Costs", ("", "Price", "Note"), (("a_b", "-1.5", "50 % | all"), ("c:d", "10", "<none> & *")), "lnl")


def test_text() -> None:
    assert str(TABLE).splitlines() == [
        "Costs",
        "     Price  Note",
        "----------------------",
        "a_b   -1.5  50 % | all",
        "c:d   10    <none> & *",
    ]


def test_text_without_header_has_no_rules() -> None:
    assert str(Table("", (), (("n", "180"), ("AIC", "7.5")), "lr")) == "n    180\nAIC  7.5"


def test_html_escapes() -> None:
    text = TABLE.to_html()
    assert text == TABLE._repr_html_()
    assert "&lt;none&gt; &amp; *" in text
    assert '<td style="text-align: right">-1.5</td>' in text


def test_latex_escapes() -> None:
    assert TABLE.to_latex().splitlines() == [
        r"\begin{tabular}{lrl}",
        r"\toprule",
        r" & Price & Note \\",
        r"\midrule",
        r"a\_b & $-1.5$ & 50 \% \textbar{} all \\",
        r"c:d & 10 & \textless{}none\textgreater{} \& * \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown_escapes() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "|  | Price | Note |",
        "| :-- | --: | :-- |",
        r"| a_b | -1.5 | 50 % \| all |",
        r"| c:d | 10 | &lt;none> & \* |",
    ]


def test_marks_of_markdown_are_escaped() -> None:
    table = Table("", ("*h*", ""), (("_a_ b_c", "`x` $1$ ~y~"), ("[t](u)", "&amp; \\\\")), "ll")
    assert table.to_markdown().splitlines() == [
        r"| \*h\* |  |",
        "| :-- | :-- |",
        r"| \_a\_ b_c | \`x\` \$1\$ \~y\~ |",
        r"| [t\](u) | \&amp; \\\\ |",
    ]


def test_names_stay_on_their_line() -> None:
    table = Table("", ("a\nb", "c"), (("d\r\ne", "\x1b[31m\u2028"),), "ll")
    for text in (str(table), table.to_markdown(), table.to_latex()):
        assert not {"\r", "\x1b", "\u2028"} & set(text)
    assert str(table).splitlines()[0].split() == [r"a\nb", "c"]
    assert str(table).splitlines()[2].split() == [r"d\r\ne", r"\x1b[31m\u2028"]
