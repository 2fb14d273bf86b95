"""A binary glTF to look at: one page that needs nothing else, and the same page as a cell of a notebook.

The page turns the mesh, has a slider for each morph target, plays the animation, and shows a picture and numbers. All
that it needs stands in it, three.js too: it loads nothing and sends nothing. It runs in browsers of 2023 and later.
"""

import base64
import functools
import html
import re
import zlib
from collections.abc import Mapping

import numpy as np

from tf_deep3d import assets
from tf_deep3d.mesh.mesh import encode, one_line

PAGE, THREE = assets.find("viewer.html"), assets.find("three.min.js")
MARK = '<meta name="generator" content="tf_deep3d">'  # by which a page of ours is known
HEIGHT = 560  # px of a cell
_PACKING = 4  # level of gzip


def page(
    glb: bytes,
    title: str,
    facts: Mapping[str, str] | None = None,
    picture: np.ndarray | None = None,
    footer: str = "",
) -> str:
    """A page of HTML that shows a mesh.

    Args:
      glb: the bytes of a binary glTF file (`gltf.glb`).
      title: of the page; the mesh is saved under this name, too.
      facts: what else is known, name -> text.
      picture: [H, W, 3] uint8, shown beside the mesh, or None.
      footer: a last line.
    """
    image = "" if picture is None else f'<img alt="" src="data:image/jpeg;base64,{_text(encode(picture, "jpeg"))}">'
    told = ((html.escape(name), html.escape(text)) for name, text in (facts or {}).items())
    filled = {
        "TITLE": html.escape(one_line(title)),
        "FACTS": "".join(f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in told),
        "FOOT": html.escape(footer),
        "PICTURE": image,
        "THREE": _three(),
        "GLB": _packed(glb),
    }
    return re.sub("@([A-Z]+)@", lambda place: filled[place[1]], PAGE.read_text(encoding="utf-8"))


def cell(shown: str, height: int = HEIGHT) -> str:
    """A `page` as HTML for the output of a notebook's cell, in a frame of its own, `height` px high."""
    style = f"width: 100%; height: {height}px; border: 0"
    return f'<div><iframe title="3D view" style="{style}" srcdoc="{html.escape(shown)}"></iframe></div>'


@functools.cache
def _three() -> str:
    """The shipped part of three.js, packed."""
    return _packed(assets.checked(THREE).read_bytes())


def _packed(data: bytes) -> str:
    """`data` as a gzip file in base64; equal data give equal text, by every Python."""
    return _text(zlib.compress(data, _PACKING, wbits=31))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
