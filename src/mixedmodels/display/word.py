"""Tables as a document of Word."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from mixedmodels.display.layout import INDENT
from mixedmodels.errors import MixedModelsError, pip_install
from mixedmodels.fit.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mixedmodels.display.table import Table


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
    from docx.enum.text import WD_ALIGN_PARAGRAPH  # noqa: PLC0415  # an extra that only Word documents need
    from docx.shared import Pt  # noqa: PLC0415  # an extra that only Word documents need

    rows = [*([table.header] if table.header else []), *table.rows]
    made = document.add_table(len(rows), len(table.alignment), style="Light List" if table.header else None)
    for cells, texts in zip(made.rows, rows, strict=True):
        for cell, text, side in zip(cells.cells, texts, table.alignment, strict=True):
            paragraph = cell.paragraphs[0]
            paragraph.add_run(text.strip())
            paragraph.paragraph_format.space_after = Pt(0)
            if side != "l":
                paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
            elif text.startswith(INDENT):
                paragraph.paragraph_format.left_indent = Pt(9)
