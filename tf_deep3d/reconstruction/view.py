"""view.html of a result, and index.html over many: pages to look at, without a viewer, a server or a connection.

The mesh of a page is smaller than the written one: it has a coarser level of detail.
"""

import html
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

import tf_deep3d
from tf_deep3d.errors import readable
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.head import Head
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io.files import writing
from tf_deep3d.mesh import face_files, gltf, head_files
from tf_deep3d.mesh.accessors import Gltf
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction import viewer

VIEW, INDEX = "view.html", "index.html"
LEVEL = 1  # of detail at most
STRONGEST = 5  # units that are told in numbers
PICTURES = ("overlay.png", "confidence.png")  # of a result, the first of which stands for it in the index

_STYLE = """
  :root { color-scheme: light dark }
  body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5em auto; max-width: 1200px; padding: 0 1em }
  ul { list-style: none; padding: 0; display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, 14em) }
  a { display: block; color: inherit; overflow-wrap: anywhere }
  span { display: block; overflow: hidden; height: 7em; border-radius: 6px } img { height: 100% }
"""


def shown_level(levels: Sequence[MorphableModel], level: int) -> MorphableModel:
    """The level of detail of a page: `LEVEL`, or the written one, `level`, where that is coarser."""
    return levels[min(level % len(levels), LEVEL)]


def face_page(found: Reconstruction, shown: MorphableModel, texture: np.ndarray, picture: np.ndarray) -> str:
    """The page of a face, or of its head.

    Args:
      found: the face.
      shown: its model at the level of detail to show.
      texture: [S, S, 3].
      picture: [H, W, 3] uint8, to show beside it.
    """
    losses: Mapping[str, float] = found.report.get("losses", {})
    units = sorted(found.arkit.items(), key=lambda unit: -unit[1])[:STRONGEST]
    facts = {
        "head": "pitch {:+.0f}°, yaw {:+.0f}°, roll {:+.0f}°".format(*found.pose),
        "landmarks": f"{100 * found.landmark_error:.1f} % of the eye distance from those detected",
        "expression": ", ".join(f"{name} {weight:.2f}" for name, weight in units if weight > 0),
        **{name: f"{value:.3f}" for name, value in losses.items()},
    }
    title = Path(found.photo).stem or "face"
    style = face_files.Style(closed=found.lips_closed)
    file = still(shown, found.coefficients, texture, title, found.head, style)
    return page(file, title, shown, facts, picture)


def still(
    model: MorphableModel,
    coefficients: Coefficients,
    texture: np.ndarray,
    title: str,
    head: Head | None = None,
    style: face_files.Style = face_files.USUAL,
) -> Gltf:
    """The glTF of a page: a face, or its head where there is one; arguments as of `face_files.build`."""
    if head is not None:
        return head_files.build(head, coefficients, texture, title, model.licence, style)
    return face_files.build(model, coefficients, texture, title, style)


def page(
    file: Gltf,
    title: str,
    model: MorphableModel,
    facts: Mapping[str, str],
    picture: np.ndarray | None = None,
) -> str:
    """A `viewer.page` that says what made it.

    Args:
      file: the glTF.
      title: of the page.
      model: the face model.
      facts: name -> text; empty ones are left out.
      picture: [H, W, 3] uint8, or None.
    """
    told = {name: text for name, text in facts.items() if text}
    told["face model"] = f"{model.name} ({model.licence})"
    footer = f"tf_deep3d {tf_deep3d.__version__}. The written meshes have all their detail; this page loads nothing."
    return viewer.page(gltf.glb(file), title, told, picture, footer)


def write_index(folder: Path) -> bool:
    """Writes index.html over the results in `folder` that have a page, if these are several.

    Args:
      folder: of the folders of results.

    Returns:
      Whether it could be written: a file of that name that is not ours stays.
    """
    results = sorted(view.parent for view in folder.glob(f"*/{VIEW}"))
    if len(results) < 2:
        return True
    path = folder / INDEX
    if path.exists() and viewer.MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return False
    title = html.escape(f"{len(results)} faces")
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n{viewer.MARK}\n<title>{title}</title>\n'
    body = f"<style>{_STYLE}</style>\n<h1>{title}</h1>\n<ul>\n{''.join(map(_entry, results))}</ul>\n</html>\n"
    with writing(path, overwrite=True) as file:
        file.write((head + body).encode())
    return True


def _entry(folder: Path) -> str:
    """A result in the index: a link with a picture."""
    place = urllib.parse.quote(os.fsencode(folder.name))
    pictures = [name for name in PICTURES if (folder / name).is_file()]
    image = f'<img alt="" loading="lazy" src="{place}/{pictures[0]}">' if pictures else ""
    return f'<li><a href="{place}/{VIEW}"><span>{image}</span>{html.escape(readable(folder.name))}</a></li>\n'
