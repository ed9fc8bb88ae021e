"""Tables as a document of Word."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from mixedmodels.display.table import MINUS
from mixedmodels.errors import MixedModelsError, pip_install
from mixedmodels.fit.whole_file import write_whole
from mixedmodels.texts.layout import INDENT, n_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.display.table import Table

SIZE = 9
"""Of letters in tables, in points."""

LETTER = 6.0
"""Width of a letter in points; of a digit in a wide font."""

PADDING = 13.0
"""Left and right of the texts of a column, in points."""

LEAST_LABEL = 90.0
"""Width of the column of labels at least, in points."""

MARGIN = 54.0
"""Left and right of the page, in points."""


def write_docx(
    path: str | PathLike[str], heading: str, formula: str, tables: Sequence[Table], notes: Sequence[str]
) -> None:
    """Write the parts of a summary to a docx file.

    Parameters
    ----------
    path
        Where to; the ending ``.docx`` is usual.
    heading, formula
        Its first lines; the formula may be empty.
    tables
        Its tables.
    notes
        Sentences below them.

    Raises
    ------
    MixedModelsError
        If python-docx is not installed, or the file cannot be written.
    """
    try:
        from docx import Document  # noqa: PLC0415  # an extra that only Word documents need
    except ImportError as error:
        raise MixedModelsError(
            f"Word documents need python-docx, which is not installed. Install it with: {pip_install('python-docx')}"
        ) from error
    document = Document()
    _set_page(document, max(map(_least_width, tables), default=0.0))
    _paragraph(document, heading, bold=True)
    if formula:
        _paragraph(document, formula)
    for table in tables:
        if table.title:
            _paragraph(document, table.title, bold=True)
        _add_table(document, table)
        _paragraph(document, "")
    for note in notes:
        _paragraph(document, note)
    write_whole(path, document.save)


def _paragraph(document: Any, text: str, bold: bool = False) -> None:
    document.add_paragraph().add_run(text).bold = bold


def _add_table(document: Any, table: Table) -> None:
    """Add a table of three rules, whose numbers are never broken and whose labels have the room that is left."""
    from docx.enum.table import WD_TABLE_ALIGNMENT  # noqa: PLC0415  # an extra that only Word documents need
    from docx.shared import Pt  # noqa: PLC0415  # an extra that only Word documents need

    rows = _lines(table)
    made = document.add_table(len(rows), len(table.alignment))
    made.autofit, made.alignment = False, WD_TABLE_ALIGNMENT.LEFT
    widths = _widths(rows, _room(document))
    for column, width in zip(made.columns, widths, strict=True):
        column.width = Pt(width)
    for cells, texts in zip(made.rows, rows, strict=True):
        for cell, text, side, width in zip(cells.cells, texts, table.alignment, widths, strict=True):
            cell.width = Pt(width)
            _write(cell.paragraphs[0], text, side, width)
    if rows:
        _rule(made.rows[0], "top")
        _rule(made.rows[-1], "bottom")
    if table.header and table.rows:
        _rule(made.rows[0], "bottom")
        _repeat(made.rows[0])


def _set_page(document: Any, least_width: float) -> None:
    """Set the margins, and the page across where its tables need that."""
    from docx.enum.section import WD_ORIENTATION  # noqa: PLC0415  # an extra that only Word documents need
    from docx.shared import Pt  # noqa: PLC0415  # an extra that only Word documents need

    page = document.sections[0]
    page.left_margin = page.right_margin = Pt(MARGIN)
    if least_width > _room(document):
        page.orientation = WD_ORIENTATION.LANDSCAPE
        page.page_width, page.page_height = page.page_height, page.page_width


def _room(document: Any) -> float:
    """Return the width between the margins, in points."""
    from docx.shared import Pt  # noqa: PLC0415  # an extra that only Word documents need

    page = document.sections[0]
    return float((page.page_width - page.left_margin - page.right_margin) / Pt(1))


def _least_width(table: Table) -> float:
    """Return the width that a table takes where long labels go on below, in points."""
    return sum(_widths(_lines(table), 0.0))


def _lines(table: Table) -> list[tuple[str, ...]]:
    return [*([table.header] if table.header else []), *table.rows]


def _widths(rows: Sequence[Sequence[str]], room: float) -> list[float]:
    """Return the width of each column in points: what its texts take, the labels no more than is left."""
    first, *others = [max(map(n_columns, column)) * LETTER + PADDING for column in zip(*rows, strict=True)]
    return [min(first, max(room - sum(others), LEAST_LABEL)), *others]


def _write(paragraph: Any, text: str, side: str, width: float) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH  # noqa: PLC0415  # an extra that only Word documents need
    from docx.shared import Pt  # noqa: PLC0415  # an extra that only Word documents need

    layout = paragraph.paragraph_format
    layout.space_before, layout.space_after = Pt(1), Pt(1)
    shown = text.strip()
    if side != "l":
        paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        behind = len(text) - len(text.rstrip()) if shown else 0  # room for stars and brackets of other rows
        shown = MINUS.sub("\u2212", shown).replace(" ", "\u00a0") + "\u2007" * behind
    elif text.startswith(INDENT):
        layout.left_indent = Pt(SIZE)
    if side == "l" and n_columns(shown) * LETTER + PADDING > width:
        shown = shown.replace(":", ":\u200b")  # where a long name may go on below
    paragraph.add_run(shown).font.size = Pt(SIZE)


def _rule(row: Any, side: str) -> None:
    """Draw a line above or below a row."""
    for cell in row.cells:
        properties = cell._tc.get_or_add_tcPr()  # python-docx has no borders
        borders = properties.find(_qualified("w:tcBorders"))
        if borders is None:
            borders = _element("w:tcBorders")
            properties.append(borders)
        borders.append(_element(f"w:{side}", val="single", sz="6", space="0", color="auto"))


def _repeat(row: Any) -> None:
    """Show a row again on each page that the table goes on to."""
    row._tr.get_or_add_trPr().append(_element("w:tblHeader", val="true"))


def _element(name: str, **attributes: str) -> Any:
    from docx.oxml import OxmlElement  # noqa: PLC0415  # an extra that only Word documents need

    element = OxmlElement(name)
    for key, value in attributes.items():
        element.set(_qualified(f"w:{key}"), value)
    return element


def _qualified(name: str) -> str:
    """Return the name of an element or attribute with its namespace."""
    from docx.oxml.ns import qn  # noqa: PLC0415  # an extra that only Word documents need

    return str(qn(name))
