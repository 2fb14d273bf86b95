"""Output files and folders that are whole or not there, and names of files by place and by content."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tf_deep3d.io.work_folders import check_there, sweep, work_folder

_NUMBERED = re.compile(r"-(face|photo)\d+$", re.IGNORECASE)  # the endings of `folder_names` and `face_folder`


def refuse_existing(*paths: str | os.PathLike[str]) -> None:
    """Raises FileExistsError if any of `paths` exists; the message names the flag of the commands. What a process that
    was killed when all was there left beside it goes."""
    for path in paths:
        if os.path.lexists(path):
            sweep(Path(path).parent)
            raise FileExistsError(f"--overwrite is needed to replace what exists. Received: {path}")


def refuse_foreign(folder: str | os.PathLike[str], mark: str) -> None:
    """Raises FileExistsError unless `folder` may be replaced: it is not there, is empty, or holds a file `mark`, by
    which a folder of ours is known."""
    folder = Path(folder)
    if os.path.lexists(folder) and not (folder / mark).is_file() and not (folder.is_dir() and not os.listdir(folder)):
        raise FileExistsError(f"only a folder with a {mark} can be overwritten. Received: {folder}")


@contextmanager
def writing(path: str | os.PathLike[str], overwrite: bool = False) -> Generator[BinaryIO]:
    """Opens a new file in a hidden folder beside `path`, which takes its name when the block ends well, and vanishes
    otherwise; if the process is killed, with the next run that writes there (`work_folders`).

    Args:
      path: file to write; its folder is created.
      overwrite: replace an existing file.

    Yields:
      A binary file object.

    Raises:
      FileExistsError: if the file exists and `overwrite` is false.
    """
    path = Path(path)
    if not overwrite:
        refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(path.parent) as work:
        with open(work / "new", "xb") as file:
            yield file
        check_there(work)
        os.replace(work / "new", path)


@contextmanager
def writing_folder(folder: str | os.PathLike[str], overwrite: bool = False) -> Generator[Path]:
    """Makes a new folder in a hidden one beside `folder`, which takes its name when the block ends well, and vanishes
    otherwise; see `writing`.

    Args:
      folder: to create, with the folders above it.
      overwrite: replace an existing folder.

    Yields:
      `Path` of the new folder.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
    """
    folder = Path(folder)
    if not overwrite:
        refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with work_folder(folder.parent) as work:
        (work / "new").mkdir()
        yield work / "new"
        check_there(work)
        if folder.exists():  # steps aside first and is removed last
            (work / "old").mkdir()
            folder.rename(work / "old" / folder.name)
        (work / "new").rename(folder)


@contextmanager
def staying(folder: str | os.PathLike[str]) -> Generator[None]:
    """Raises FileNotFoundError at the end of the block if `folder` was removed meanwhile, even if it is there again:
    what was written into it is lost."""
    before = os.stat(folder)
    yield
    if not (os.path.isdir(folder) and os.path.samestat(before, os.stat(folder))):
        raise FileNotFoundError(f"the folder has vanished while it was written to. Received: {folder}")


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_names(photos: Sequence[Path]) -> list[str]:
    """The folder of results for each photo.

    It is called like the file without its suffix; with it where two would share the name, or the name ends like a
    number of ours. A further photo of the same file name gets "-photo2", and so on; a further face of a photo,
    "-face2" (`face_folder`). So no name means two things: me-face2 is always the second face of me.jpg.

    Args:
      photos: files.

    Returns:
      Names in the same order, all different, also on file systems that ignore case, and from all of `face_folder`.
    """
    stems = Counter(photo.stem.casefold() for photo in photos)
    seen: Counter[str] = Counter()
    names: list[str] = []
    for photo in photos:
        free = stems[photo.stem.casefold()] == 1 and not _NUMBERED.search(photo.stem)
        name = photo.stem if free else photo.name
        seen[name.casefold()] += 1
        first = seen[name.casefold()] == 1 and not _NUMBERED.search(name)
        names.append(name if first else f"{name}-photo{seen[name.casefold()]}")
    return names


def face_folder(name: str, number: int) -> str:
    """The folder of the `number`-th face, from 1, of the photo whose folder `folder_names` calls `name`."""
    return name if number == 1 else f"{name}-face{number}"
