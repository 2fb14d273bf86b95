"""The files that travel with the package: `assets/`, each with a NOTICE, most with a model card."""

import hashlib
from functools import cache
from pathlib import Path

from tf_deep3d.errors import InputError

FOLDER = Path(__file__).parent / "assets"
SUMS = "SHA256SUMS"  # of all that is loaded, as `sha256sum` writes and checks it


class AssetError(InputError):
    """A file of `assets/` is not the one that was shipped; the message says which."""


def find(name: str) -> Path:
    """The path of the asset `name`, a file of `assets/`; whoever reads it says what is missing."""
    return FOLDER / name


@cache
def checked(path: Path) -> Path:
    """`path`, of a file that is about to be read: if it is an asset, its contents must be those that were shipped.

    Each is hashed once in a process; all of them, 48 MB, take 30 ms.

    Raises:
      AssetError: if they are others, or nobody knows them.
    """
    if path.parent == FOLDER and path.is_file():
        with path.open("rb") as file:
            received = hashlib.file_digest(file, "sha256").hexdigest()
        if (expected := sums().get(path.name)) != received:
            raise AssetError(f"{path} must have the SHA-256 {expected}. Received: {received}")
    return path


def sums() -> dict[str, str]:
    """Name -> SHA-256, in hex, of the assets as they were shipped."""
    lines = (FOLDER / SUMS).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
