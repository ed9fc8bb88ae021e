"""The rows of a data file: csv, tsv or parquet, read so that no field moves and no label becomes another."""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.errors import ParserError, ParserWarning

from mixedmodels.errors import DataError, nearest, pip_install
from mixedmodels.formula.labels import NO_USES, Uses

ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
KINDS = "csv, csv.gz, tsv, tsv.gz or parquet file"
FOR_TEXT = "--separator, --encoding and --decimal are for csv and tsv files"

_MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null")  # not "None", which real factors have as a level
_HEAD = 1_000_000
"""Characters that hold the header of any file."""
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?\s*")
_LARGEST_EXACT = 2**53
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Layout:
    """How a text file is written; None where it is not said.

    Attributes
    ----------
    separator
        Sign between fields. None: a tab in tsv files, else a comma, semicolon or tab, whichever the header has.
    encoding
        Name of the encoding; None: UTF-8.
    decimal
        Sign before decimals; None: the point.
    """

    separator: str | None = None
    encoding: str | None = None
    decimal: str | None = None


AS_FOUND = Layout()
"""Nothing is said of the text: its separator is found by the header."""


@dataclass(frozen=True)
class _Text:
    """A text file in memory.

    Attributes
    ----------
    path
        Its path, for messages.
    text
        All of it.
    sign
        Between fields.
    header
        Names of the columns; empty where there is none.
    """

    path: str
    text: str
    sign: str
    header: list[str]


def is_data_file(name: str) -> bool:
    """Return whether a name has the ending of a data file."""
    return name.lower().endswith(ENDINGS)


def read_data_file(path: str, uses: Uses = NO_USES, layout: Layout = AS_FOUND) -> pd.DataFrame:
    """Return the rows of a csv, tsv or parquet file, the first two also compressed, told by its ending.

    In text, empty fields, ``NA``, ``N/A``, ``NaN`` and ``null`` are missing, and columns of digits are numbers. Labels
    stay what is written, ``001`` and ``1`` are two; where all are written as the numbers themselves are, they are
    numbers, which have an order. Extra fields are dropped where all rows have them, and empty, as are row names as R
    writes them, in quotes and all different.

    Parameters
    ----------
    path
        Where the file is.
    uses
        What is made of the columns.
    layout
        How the text is written.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read, or not without moving fields or merging labels.
    """
    is_text = not path.lower().endswith(".parquet")
    if not is_text and layout != AS_FOUND:
        raise DataError(f"{FOR_TEXT}, and {path!r} is none.")
    content = _read_bytes(path)
    if not content:
        raise _unreadable(path, "it is empty")
    if is_text:
        data = _read_text(_open_text(path, content, layout), uses, layout.decimal)
    else:
        data = _read_parquet(path, content)
    if not len(data):
        raise DataError(f"{path!r} has no rows{' below its header' if is_text else ''}.")
    return data


def _unreadable(path: str, reason: str) -> DataError:
    return DataError(f"{path!r} cannot be read: {reason.rstrip('.')}.")


def _read_bytes(path: str) -> bytes:
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if path.lower().endswith(".gz") else content
    except FileNotFoundError as error:
        siblings = [each.name for each in Path(path).parent.glob("*")]
        raise DataError(f"There is no file {path!r}.{nearest(Path(path).name, siblings)}") from error
    except IsADirectoryError as error:
        raise _unreadable(path, "it is a folder") from error
    except EOFError as error:
        raise _unreadable(path, "it is cut off: the end of the compressed data is missing") from error
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except zlib.error as error:
        raise _unreadable(path, "its compressed data are damaged") from error


def _read_parquet(path: str, content: bytes) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(content))
    except ImportError as error:
        raise _unreadable(path, f"parquet files need pyarrow; install it with: {pip_install('pyarrow')}") from error
    # what pyarrow and pandas raise for damaged files, found by damaging each part of one
    except (ArithmeticError, LookupError, NotImplementedError, OSError, TypeError, ValueError) as error:
        raise _unreadable(path, f"it is no parquet file, or damaged ({_first_line(error)})") from error


def _first_line(error: Exception | None) -> str:
    return str(error).strip().partition("\n")[0].removeprefix("Error tokenizing data. C error: ").rstrip(".")


def _open_text(path: str, content: bytes, layout: Layout) -> _Text:
    """Return the text of a file and its header."""
    text = _decode(path, content, layout.encoding).removeprefix("\ufeff")
    place = text.find("\0")
    if place >= 0:
        raise _unreadable(
            path,
            f"line {_line(text, place)} has a NUL character, which no text has; "
            "the file is damaged, or --encoding must name another encoding, such as utf-16",
        )
    is_tsv = path.lower().endswith((".tsv", ".tsv.gz"))
    try:
        sign = layout.separator or ("\t" if is_tsv else _guess_separator(text))
        header = _header(text, sign)
    except csv.Error as error:
        raise _unreadable(path, f"its header has no end ({error})") from error
    if not header:
        raise _unreadable(path, "it has no header, only empty lines")
    if len(header) == 1:
        raise DataError(
            f"{path!r} has one column only, {header[0]!r}, if {sign!r} is between its fields. "
            "If another sign is, name it with --separator."
        )
    twice = [name for i, name in enumerate(header) if name and name in header[:i]]
    if twice:
        raise DataError(f"{path!r} has two columns called {twice[0]!r}. Give each column its own name.")
    return _Text(path, text, sign, header)


def _decode(path: str, content: bytes, encoding: str | None) -> str:
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        name = encoding or "utf-8"
        others = "utf-16" if content.startswith(_UTF_16) else "latin-1 or cp1252"
        reason = f"line {_line(content, error.start)} is not in {name}; --encoding names another, such as {others}"
        raise _unreadable(path, reason) from error


def _line(text: str | bytes, place: int) -> int:
    """Return the number of the line, from 1, that a place of a text is in."""
    newline = b"\n" if isinstance(text, bytes) else "\n"
    return text.count(newline, 0, place) + 1  # type: ignore[arg-type]  # both of one kind


def _guess_separator(text: str) -> str:
    """Return the semicolon or tab in a header without commas, else a comma."""
    names = _header(text, ",")
    return next((sign for sign in (";", "\t") if len(names) == 1 and sign in names[0]), ",")


def _header(text: str, sign: str) -> list[str]:
    """Return the fields of the first line that is not empty."""
    return next((row for row in csv.reader(io.StringIO(text[:_HEAD], newline=""), delimiter=sign) if row), [])


def _read_text(file: _Text, uses: Uses, decimal: str | None) -> pd.DataFrame:
    """Return the rows of a text file, each field below its name."""
    labels = uses.labels.intersection(file.header)
    data = _each_field_in_its_column(file, labels, decimal)
    if decimal is None:
        _check_decimals(file.path, data, uses)
    for name in labels:
        data[name] = _labels(file.path, data[name], decimal, is_value=name in uses.values)
    return data


def _each_field_in_its_column(file: _Text, labels: frozenset[str], decimal: str | None) -> pd.DataFrame:
    """Return the rows, once it is known that none has more fields than the header."""
    trouble: Exception | None = None
    with warnings.catch_warnings():
        if not _is_wider_at_once(file):
            warnings.simplefilter("error", ParserWarning)
            try:
                return _parse(file, labels, decimal)
            except (ParserError, ParserWarning) as error:
                trouble = error
            except ValueError as error:
                raise _unreadable(file.path, _first_line(error)) from error
        has_names = _check_fields(file, trouble)
        warnings.simplefilter("ignore", ParserWarning)
        return _parse(file, labels, decimal, has_names)


def _parse(file: _Text, labels: frozenset[str], decimal: str | None, has_names: bool = False) -> pd.DataFrame:
    data = pd.read_csv(
        io.BytesIO(file.text.encode()),  # faster than text
        sep=file.sign,
        decimal=decimal or ".",
        dtype=dict.fromkeys(labels, "str"),
        index_col=None if has_names else False,
        keep_default_na=False,
        na_values=_MISSING,
        low_memory=False,
    )
    return data.reset_index(drop=True)


def _is_wider_at_once(file: _Text) -> bool:
    """Return whether the first row has more fields than the header, which pandas takes for empty, or has no end."""
    rows = filter(None, csv.reader(io.StringIO(file.text[:_HEAD], newline=""), delimiter=file.sign))
    try:
        next(rows)
        return len(next(rows, ())) > len(file.header)
    except csv.Error:
        return True


def _check_fields(file: _Text, trouble: Exception | None) -> bool:
    """Return whether rows begin with a name as R writes it, once it is known that other extra fields are empty.

    Raises
    ------
    DataError
        If a row has more fields than the header, but not empty ones as all rows, or ``trouble`` has another reason.
    """
    n = len(file.header)
    lines = io.StringIO(file.text, newline="")
    reader = csv.reader(lines, delimiter=file.sign)
    first: set[str] = set()
    widths: set[int] = set()
    n_rows, began, wider, too_long = 0, 1, None, None
    try:
        next(row for row in reader if row)
        ended = reader.line_num
        for row in reader:
            began, ended = ended + 1, reader.line_num
            if not row:
                continue
            n_rows += 1
            first.add(row[0])
            widths.add(len(row))
            if len(row) > n:
                wider = wider or (ended, len(row))
                too_long = too_long or ((ended, len(row)) if any(field.strip() for field in row[n:]) else None)
    except csv.Error as error:
        raise _unreadable(file.path, f"line {reader.line_num}: {error}") from error
    if "EOF inside string" in str(trouble):
        raise _unreadable(file.path, f"a quotation mark opens in line {began} and none closes it") from trouble
    if too_long is None and len(widths) == 1 and not isinstance(trouble, ParserError):
        return False
    if widths == {n + 1} and len(first) == n_rows and _begins_with_quotes(file.text):
        return True
    if wider is None:
        raise _unreadable(file.path, _first_line(trouble)) from trouble
    line, found = too_long or wider
    raise DataError(
        f"{file.path!r} cannot be read: line {line} has {found} fields, but the header has {n}. "
        "Name every column, or take out the fields without a name."
    )


def _begins_with_quotes(text: str) -> bool:
    """Return whether the first two lines begin with a quoted field, as in files that R writes."""
    header, _, row = text.lstrip().partition("\n")
    return header.startswith('"') and row.startswith('"')


def _check_decimals(path: str, data: pd.DataFrame, uses: Uses) -> None:
    """Refuse numbers with a decimal comma, which would else be labels.

    Raises
    ------
    DataError
        A column whose values are used holds them.
    """
    for name in uses.values.intersection(data.columns) - uses.labels:
        if pd.api.types.is_numeric_dtype(data[name]):
            continue
        texts = data[name].dropna().unique()
        numbers = [text for text in texts if _DECIMAL_COMMA.fullmatch(str(text))]
        comma = next((text for text in numbers if "," in str(text)), None)
        if comma is not None and len(numbers) > len(texts) / 2:
            raise DataError(
                f"Column {name!r} of {path!r} holds {comma!r}. If these are numbers with a decimal comma, add "
                "--decimal , and if they are labels, --decimal . to say so."
            )


def _labels(path: str, texts: pd.Series, decimal: str | None, *, is_value: bool) -> pd.Series:
    """Return a column of labels as they are written, or as numbers where each is written as its number is.

    Raises
    ------
    DataError
        If the formula needs the numbers too, and two labels are one number.
    """
    plain = texts.str.strip() if decimal is None else texts.str.strip().str.replace(decimal, ".")
    written = plain.dropna().unique()
    numbers = pd.to_numeric(pd.Series(written, dtype=object), errors="coerce")
    if numbers.isna().any() or not (np.abs(numbers) < _LARGEST_EXACT).all():
        return texts
    if numbers.is_unique and (is_value or all(map(_is_plain, written, numbers))):
        return pd.to_numeric(plain)
    if not is_value:
        return texts
    same = numbers[numbers.duplicated(keep=False)].iloc[0]
    one, other = [text for text, number in zip(written, numbers, strict=True) if number == same][:2]
    raise DataError(
        f"Column {texts.name!r} of {path!r} is used as labels and as numbers, but its labels {one!r} and {other!r} are "
        f"one number. Write C({texts.name}) where they are labels, or make a column of each."
    )


def _is_plain(text: str, number: float) -> bool:
    """Return whether a text is how its number is written: 7, 7.0 or 0.5, but not 007, 5E-1 or +7."""
    return text in {repr(float(number)), repr(float(number)).removesuffix(".0")}
