"""Long work, made in blocks: counted while it goes on, kept in a file, and handed over when it ends early.

The numbers of a block follow from the task and the block's place alone, so that work goes on from a file with those of
a run that nothing interrupted. What a file holds of them is a record of the method's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mixedmodels.errors import DataError, InferenceError, hand_over
from mixedmodels.fit.checkpoint import Checkpoint
from mixedmodels.fit.fingerprint import fingerprint
from mixedmodels.fit.plain_values import Kept
from mixedmodels.fit.progress import progress_bar
from mixedmodels.fit.whole_file import check_place

if TYPE_CHECKING:
    from mixedmodels.fit.records import FixedFit

R = TypeVar("R")


@dataclass(frozen=True)
class Task:
    """What work is done for.

    Attributes
    ----------
    kind
        What the work is.
    asked
        The arguments that its numbers depend on.
    formula, fit
        Of its fit, and the fingerprint; empty where there are many.
    """

    kind: str
    asked: dict[str, Any]
    formula: str
    fit: str

    @classmethod
    def of(cls, kind: str, asked: Mapping[str, Any], state: FixedFit | None) -> Task:
        """Return the task of a fit, or of many."""
        if state is None:
            return cls(kind, dict(asked), "", "")
        return cls(kind, dict(asked), state.design.formula.text, fingerprint(state))


@dataclass(frozen=True)
class Work:
    """What a file holds: the task, and the record of what is done, whose ``notes`` say what is missing."""

    task: Task
    done: Any


KEPT = (Kept(Task), Kept(Work))
"""How files keep work, but for what is done."""


def write_work(path: str | PathLike[str], work: Work, records: Iterable[Kept]) -> None:
    """Write work to a file; one that is there is replaced when the new one is whole.

    Parameters
    ----------
    path
        The file.
    work
        What it is to hold.
    records
        How files keep what is done.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    task = work.task
    about = {"formula": task.formula, "asked": task.asked, "notes": list(work.done.notes)}
    from mixedmodels.fit.storage import save_records  # noqa: PLC0415  # little work is kept in files

    save_records(path, task.kind, work, (*KEPT, *records), about)


class WorkFile:
    """A file that keeps what is done of a task while it goes on.

    Parameters
    ----------
    path
        The file, which may be there; None keeps nothing.
    kind
        What the work is.
    records
        How files keep what is done.

    Raises
    ------
    DataError
        If the file cannot be read or, later, written, is damaged, or holds something else.
    """

    def __init__(self, path: str | PathLike[str] | None, kind: str, records: Iterable[Kept]) -> None:
        self.path, self.kind, self.records = path, kind, tuple(records)
        self.task: Task | None = None
        self.found: Work | None = None
        if path is None:
            return
        check_place(path)
        if Path(path).exists():
            from mixedmodels.fit.storage import load_records  # noqa: PLC0415  # as above

            self.found = load_records(path, (kind,), (*KEPT, *self.records))

    def seed(self, given: int | None) -> int | None:
        """Return the seed that was given, or else that of the file."""
        return self.found.task.asked["seed"] if given is None and self.found is not None else given

    def take_up(self, asked: Mapping[str, Any], state: FixedFit | None) -> Any:
        """Return the record of what is done of a task; None if it is nothing.

        Parameters
        ----------
        asked
            The arguments that its numbers depend on.
        state
            Its fit; None where there are many, which the method compares.

        Raises
        ------
        InferenceError
            If the file holds work of another task.
        """
        return None if self.path is None else self.go_on(Task.of(self.kind, asked, state))

    def go_on(self, task: Task) -> Any:
        """Return the record of what is done of a task; None if it is nothing.

        Parameters
        ----------
        task
            What is to be done.

        Raises
        ------
        InferenceError
            If the file holds work of another task.
        """
        self.task = task
        if self.found is None:
            return None
        before = self.found.task
        for name, value in task.asked.items():
            if before.asked[name] != value:
                raise self.of_another(f"with {name}={before.asked[name]!r}, not {value!r}.")
        if before.fit != task.fit:
            raise self.of_another("of another fit: its model, data or parameters differ.")
        return self.found.done

    def of_another(self, difference: str) -> InferenceError:
        """Return the complaint that the file holds work of another task."""
        return InferenceError(
            f"{str(self.path)!r} holds a {self.kind} {difference} Give another path, or remove the file."
        )

    def keep(self, done: object) -> None:
        """Write what is done, if there is a file to keep it.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        if self.path is not None and self.task is not None:
            write_work(self.path, Work(self.task, done), self.records)


def carry_out(
    blocks: Iterable[int],
    total: int,
    label: str,
    *,
    unit: str = "fit",
    shown: bool,
    made: Callable[[], R | None],
    keep: Callable[[], object] | None = None,
) -> R:
    """Return what all blocks made. What ends them early is raised again, with what was made until then as ``partial``.

    Parameters
    ----------
    blocks
        Does one block after the other, and yields how much it was.
    total
        How much there is to do.
    label, unit
        What is done, and what is counted.
    shown
        Whether to show how far it is.
    made
        Returns what was made until now, None if it is nothing.
    keep
        Writes that to a file; None keeps nothing.

    Raises
    ------
    DataError
        If what was made cannot be written: at the first time, and at the end. In between it is tried again later.
    """
    checkpoint = Checkpoint(keep)
    try:
        with progress_bar(total, label, unit, shown) as advance:
            for size in blocks:
                advance(size)
                checkpoint.offer()
        checkpoint.keep()
    except BaseException as error:
        partial = made()
        hand_over(error, partial)
        if partial is not None and not isinstance(error, DataError):
            try:
                checkpoint.keep()
            except DataError as unwritten:
                error.add_note(str(unwritten))
        raise
    return cast("R", made())
