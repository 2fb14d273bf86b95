"""Hidden folders in which output comes to be, and which the next run removes if their process has ended.

.0123456789abcdef.part/   beside the file or folder to be
    lock                  locked by the process at work: the system lets go of it when that ends, however it ends; it
                          comes first and goes last
    new                   what is written
    old/NAME              the folder that it replaces, until it is in place
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_NAME = re.compile(r"\.[0-9a-f]{16}\.part")
_TRIES, _PAUSE = 5, 0.01  # of a claim, and s between them: a sweep holds a lock for a moment, too
_swept: set[Path] = set()


@contextmanager
def work_folder(parent: Path) -> Generator[Path]:
    """Makes a hidden folder in `parent`, which vanishes with all in it when the block ends; the first of a process in
    `parent` removes what dead ones left there.

    Raises:
      OSError: if it cannot be made.
    """
    if (known := parent.absolute()) not in _swept:
        _swept.add(known)
        sweep(parent)
    folder = _named(parent, secrets.token_hex(8))
    while (descriptor := _hold(folder)) is None:
        folder = _named(parent, secrets.token_hex(8))
    try:
        yield folder
    finally:
        _remove(folder, descriptor)


@contextmanager
def temporary_files() -> Generator[Path]:
    """Makes a `work_folder` among the temporary files, in which this process makes its own until the block ends, those
    of libraries too: TensorFlow leaves a file for each function that it traces, Keras a folder, when they are killed.

    Raises:
      OSError: if it cannot be made.
    """
    before = tempfile.tempdir
    with work_folder(Path(tempfile.gettempdir())) as folder:
        tempfile.tempdir = str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before


def check_there(folder: Path) -> None:
    """Raises FileNotFoundError if a `work_folder` was removed, even if its path is there again: writers make
    the folders that are missing, and what was in them is lost."""
    if not (folder / "lock").exists():
        raise FileNotFoundError(f"the folder has vanished while it was written to. Received: {folder.parent}")


@contextmanager
def claimed(path: str | os.PathLike[str]) -> Generator[bool]:
    """Says whether the work at `path` is ours alone until the block ends; of all processes and threads one gets true.

    It keeps two commands from making the same thing: who gets true looks whether `path` is there by now, and makes it.

    Args:
      path: file or folder to be made, in a folder that exists.

    Raises:
      OSError: if nothing can be written there.
    """
    path = Path(path)
    folder = _named(path.parent, hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16])
    for _ in range(_TRIES):
        if (descriptor := _hold(folder)) is not None:
            break
        time.sleep(_PAUSE)
    else:
        yield False
        return
    try:
        yield True
    finally:
        _remove(folder, descriptor)


def sweep(*parents: str | os.PathLike[str]) -> int:
    """Removes hidden folders of ours in `parents` whose process has ended; those of a living one, and what cannot be
    removed, stay. Folders that are not there are passed over.

    Returns:
      How many stay.
    """
    stay = 0
    for parent in map(Path, parents):
        try:
            found = [entry.name for entry in os.scandir(parent) if _NAME.fullmatch(entry.name)]
        except OSError:
            continue
        for name in found:
            _sweep_one(parent / name)
            stay += (parent / name).exists()
    return stay


def is_held(folder: Path) -> bool:
    """Whether the process that made a hidden folder is still at work in it, as far as another one can know."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    except OSError:  # no locks on this file system
        return True
    finally:
        os.close(descriptor)


def _sweep_one(folder: Path) -> None:
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:  # its process is just beginning, or ended then, or the folder lost its lock
        with contextlib.suppress(OSError):
            if any(folder.iterdir()) and (descriptor := _hold(folder)) is not None:
                _remove(folder, descriptor)
            else:
                folder.rmdir()
        return
    except OSError:
        return
    try:
        free = _lock(descriptor)
    except OSError:  # no locks on this file system: nobody knows who lives
        free = False
    if free:
        _remove(folder, descriptor)
    else:
        os.close(descriptor)


def _named(parent: Path, token: str) -> Path:
    return parent / f".{token}.part"


def _hold(folder: Path) -> int | None:
    """Makes `folder`, or takes over that of a dead process, and locks it; the lock's descriptor, None if another holds
    it."""
    descriptor = None
    try:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
        try:
            mine = _lock(descriptor)
        except OSError:  # no locks on this file system: nothing will be swept, either
            mine = True
        if mine and (folder / "lock").exists():
            return descriptor
        os.close(descriptor)
    except FileNotFoundError:  # swept meanwhile, or there is no folder to make it in
        if not folder.parent.exists():
            raise
    except BaseException:  # a signal
        if descriptor is not None:
            os.close(descriptor)
        _sweep_one(folder)
        raise
    return None


def _lock(descriptor: int) -> bool:
    """Locks an open file if nobody else has; OSError where the file system knows no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _remove(folder: Path, descriptor: int) -> None:
    """Removes `folder`; what had stepped aside in it goes back where nothing has taken its place."""
    if sys.platform == "win32":  # where open files cannot be removed
        os.close(descriptor)
    try:
        _clear(folder)
    except BaseException:  # a signal, which comes once
        _clear(folder)
        raise
    finally:
        if sys.platform != "win32":
            os.close(descriptor)


def _clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for old in (folder / "old").iterdir():
            if not os.path.lexists(folder.parent / old.name):
                old.rename(folder.parent / old.name)
    for name in ("new", "old"):  # the lock last: it says whose the rest is while it goes
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
