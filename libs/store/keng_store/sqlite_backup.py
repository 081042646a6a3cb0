"""Backup and restore of the SQLite file.

A backup is one moment of the database, copied by SQLite's own backup call while readings go on being written. It is
made under another name, compared with that moment by counts, checked page by page, and only then given its name.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from keng_contracts.errors import Problem
from keng_store.sqlite_schema import APPLICATION_ID, SCHEMA

#: How long the start of a backup waits for another's lock.
BUSY_TIMEOUT_S = 10.0

#: What SQLite keeps beside a file, by the ends of their names.
_BESIDE = ("-wal", "-shm", "-journal")


class Contents(NamedTuple):
    """What a file holds."""

    series: int
    readings: int
    rollups: int


def backup(source: Path, target: Path) -> Contents:
    """Copy the database at ``source`` to the new file ``target``, whoever is writing to it; what the copy holds.

    Raises Problem, and leaves no ``target``, if that is there already, if there is no room, or if the copy is
    not whole.
    """
    if target.exists():
        raise Problem("is there already", where=str(target), todo="name a new file, or move that one away")
    with _made(target) as partial:
        return _copy(source, partial)


def restore(source: Path, target: Path) -> Contents:
    """Put the backup ``source`` in the place of the database ``target``; what it holds.

    The backup is checked and copied before anything is touched. A database that is there stays beside it, with
    ``.before-restore`` at the end of its name. Raises Problem if somebody is using it.
    """
    with _made(target) as partial:
        held = _copy(source, partial)
        _move_away(target)
    return held


@contextlib.contextmanager
def _made(target: Path) -> Iterator[Path]:
    """A name to make ``target`` under, which it gets at the end, durably."""
    partial = target.with_name(f".{target.name}.partial")
    _remove(partial)  # what a killed backup left
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise Problem(f"can't be written ({error.strerror})", where=str(target), todo="check the folder") from None
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    for suffix in ("", *_BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _copy(source: Path, partial: Path) -> Contents:
    with closing(_open(source, "ro")) as db, closing(_open(partial, "rwc")) as copy:
        try:
            db.execute("BEGIN")  # the counts and the copy are of one moment
            expected = _contents(db, source)
            db.backup(copy, pages=-1)
            db.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, with nothing beside it
            verdict = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            raise Problem(
                f"can't be copied ({error})", where=str(source), todo="check the file, and the room on the disk"
            ) from None
        if verdict != "ok":
            raise Problem(f"is damaged ({verdict.splitlines()[-1]})", where=str(source), todo="use an older backup")
        held = _contents(copy, partial)
    if held != expected:
        raise Problem(f"the copy holds {held}, the database {expected}", where=str(source), todo="try again")
    return held


def _contents(db: sqlite3.Connection, path: Path) -> Contents:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise Problem("is no database of readings", where=str(path), todo="name the store's file or its backup")
    if version > len(SCHEMA):
        raise Problem("was written by a newer version", where=str(path), todo="update this machine")
    tables = ("series", "reading", *(("rollup",) if version > 1 else ()))
    counts = [db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
    return Contents(*counts, *([] if version > 1 else [0]))


def _move_away(target: Path) -> None:
    """Give a database another name, and what lies beside it: SQLite would take an old -wal or -journal for the new
    file's own. The file itself keeps this name too, until the new one takes it: a kill leaves one of them here.
    """
    endings = chain([""], (f"-{number}" for number in count(2)))
    names = (target.with_name(f"{target.name}.before-restore{ending}") for ending in endings)
    aside = next(name for name in names if not name.exists())  # what an earlier restore put aside stays
    if target.exists():
        with closing(_open(target, "rw")) as db:
            try:
                # Empties and removes the -wal; fails while anybody else has the file open.
                db.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    raise Problem(
                        "is in use", where=str(target), todo="stop the services that use it (keng-ingest, keng-console)"
                    ) from None
                raise Problem(
                    f"can't be moved away ({error})", where=str(target), todo="check owner and mode"
                ) from None
            except sqlite3.DatabaseError:
                pass  # damaged: that is why a backup is put back
    for suffix in _BESIDE:
        path = target.with_name(target.name + suffix)
        if path.exists():
            path.replace(aside.with_name(aside.name + suffix))
    if target.exists():
        try:
            aside.hardlink_to(target)
        except OSError:  # a file system that knows no second names
            target.replace(aside)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
    except sqlite3.Error as error:
        raise Problem(f"can't be opened ({error})", where=str(path), todo="check the name, owner and mode") from None
