"""Output files and folders that are whole or not there, and names of files by place and by content."""

import hashlib
import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path


def refuse_existing(*paths):
    """Raises FileExistsError if any of `paths` exists."""
    for path in paths:
        if os.path.lexists(path):
            raise FileExistsError(f"Pass overwrite to replace an existing file. Received: {path}")


def refuse_foreign(folder, mark):
    """Raises FileExistsError unless `folder` may be replaced: it is not there, is empty, or holds a file `mark`, by
    which a folder of ours is known."""
    folder = Path(folder)
    if os.path.lexists(folder) and not (folder / mark).is_file() and not (folder.is_dir() and not os.listdir(folder)):
        raise FileExistsError(f"only a folder with a {mark} can be overwritten. Received: {folder}")


@contextmanager
def writing(path, overwrite=False):
    """Opens a temporary file beside `path` that takes its name when the block ends well, and vanishes otherwise.

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
    temporary = path.parent / f".{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing_folder(folder, overwrite=False):
    """Makes a temporary folder beside `folder` that takes its name when the block ends well, and vanishes otherwise.

    Args:
      folder: to create, with the folders above it.
      overwrite: replace an existing folder.

    Yields:
      `Path` of the temporary folder.

    Raises:
      FileExistsError: if the folder exists and `overwrite` is false.
    """
    folder = Path(folder)
    if not overwrite:
        refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name[:40]}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        _move_into_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move_into_place(temporary, folder):
    """Renames `temporary` to `folder`; an existing folder steps aside first and is removed last."""
    if folder.exists():
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name[:40]}.") as aside:
            folder.rename(Path(aside) / "old")
            temporary.rename(folder)
    else:
        temporary.rename(folder)


def sha256(path):
    """SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_names(paths):
    """A folder name for each file: the file's name without suffix, with it where two would collide, then numbered.

    Args:
      paths: files.

    Returns:
      Names in the same order, all different, also on file systems that ignore case.
    """
    stems = [path.stem.casefold() for path in paths]
    taken = set()
    bases = (path.stem if stems.count(stem) == 1 else path.name for path, stem in zip(paths, stems, strict=True))
    return [free_name(base, taken) for base in bases]


def free_name(base, taken):
    """`base`, numbered if it is in the set `taken` already, to which it is added."""
    name, number = base, 2
    while name.casefold() in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name.casefold())
    return name
