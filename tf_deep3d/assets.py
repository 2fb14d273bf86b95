"""The files that travel with the package: `assets/`, each with a NOTICE, most with a model card."""

from pathlib import Path

FOLDER = Path(__file__).parent / "assets"


def find(name: str) -> Path:
    """The path of the asset `name`, a file of `assets/`; whoever reads it says what is missing."""
    return FOLDER / name
