"""Teeth and gums of our own making, on the dental arches of the base mesh.

The base mesh has a plain band for each row of teeth. Where the two bands meet runs the arch; along it stand 14 teeth a
row, with the mean widths, heights and depths of human crowns, in a gum each. Lengths here are decimetres of the base
mesh; u points from the gum to the edge of the teeth.

Letters: P points.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tf_deep3d.porting.open_face import geometry
from tf_deep3d.porting.open_face.sources import Sources

# mm: central and lateral incisor, canine, two premolars, two molars (Ash and Nelson, "Wheeler's Dental Anatomy", 2003)
_WIDTHS = {"upper": (8.5, 6.5, 7.5, 7.0, 7.0, 10.0, 9.0), "lower": (5.0, 5.5, 7.0, 7.0, 7.0, 11.0, 10.5)}
_HEIGHTS = {"upper": (10.5, 9.0, 10.0, 8.5, 8.5, 7.5, 7.0), "lower": (9.0, 9.5, 11.0, 8.5, 8.0, 7.5, 7.0)}
_DEPTHS = {"upper": (7.0, 6.0, 8.0, 9.0, 9.0, 11.0, 11.0), "lower": (6.0, 6.5, 7.5, 7.5, 8.0, 10.5, 10.0)}
_OVERBITE = (2.4, 2.2, 1.8, 0.5, 0.0, 0.0, 0.0)  # mm, by which an upper tooth covers the lower row
_INSET = {"upper": 0.010, "lower": 0.034}  # dm, of the outer sides from the arch: the upper row bites in front
_AROUND = 12  # points of a ring around a tooth
_RISE = np.array([-0.45, 0.0, 0.3, 0.6, 0.82, 0.95])  # rings, share of the crown's height
_BULGE = np.array([0.62, 0.80, 0.96, 1.0, 0.97, 0.84])  # width of a ring, share of the tooth's
_WEDGE = np.array([0.75, 0.95, 0.85, 0.62, 0.42, 0.28])  # depth of an incisor's ring, share of the tooth's
_BLOCK = np.array([0.75, 0.92, 1.0, 1.0, 0.95, 0.74])  # of a premolar's or molar's
_GUM_DEPTH, _GUM_AROUND, _GUM_STEP = 0.085, 12, 0.012  # dm: height of the gum, points of its section, its stations
_PAPILLA = 0.020  # dm, how far the gum rises between two teeth


class Row(NamedTuple):
    """One row of teeth in its gum: closed surfaces.

    Attributes:
      points: [P, 3] dm, on the base mesh.
      triangles: [T, 3] int, counter-clockwise seen from outside.
      gum: [P] bool, the gum's points.
      neck: [P] in [0, 1], 0 at the edge of a tooth, 1 where it meets the gum.
      along: [P] in [0, 1], from the middle to the last molar.
    """

    points: np.ndarray
    triangles: np.ndarray
    gum: np.ndarray
    neck: np.ndarray
    along: np.ndarray


def arch(sources: Sources) -> np.ndarray:
    """The line on which the two rows meet, from the middle to the person's left: [K, 3] dm on the base mesh."""
    bands = [sources.vertices[np.unique(sources.quads[f"helper-{row}-teeth"])] for row in ("upper", "lower")]
    distance = np.linalg.norm(bands[0][:, None] - bands[1][None], axis=2).min(1)
    meeting = bands[0][(distance < 0.02) & (bands[0][:, 0] > -1e-6)]
    return meeting[np.argsort(-meeting[:, 2])]


def row(sources: Sources, which: str, scale: float) -> Row:
    """The upper or lower `Row`.

    Args:
      sources: `Sources`.
      which: "upper" or "lower".
      scale: size of people over that of the base mesh.
    """
    line = arch(sources)
    up = np.array([0.0, -1.0 if which == "upper" else 1.0, 0.0])
    unit = 0.01 / scale  # dm of the base mesh in a mm of people
    widths, heights, depths = (unit * np.array(each[which]) for each in (_WIDTHS, _HEIGHTS, _DEPTHS))
    edges = np.concatenate([[0], np.cumsum(widths)])
    level = unit * np.array(_OVERBITE) / 2  # half of it below the arch, half above
    bottoms = level - heights
    parts = []
    for side in (1, -1):
        for index in range(len(widths)):
            center = side * (edges[index] + edges[index + 1]) / 2
            frame = _frame(line, center, up)
            inset = _INSET[which]
            local, triangles, neck = _tooth(index, widths[index], heights[index], depths[index])
            local = local - [0, inset, 0] + [0, 0, bottoms[index]]
            parts.append((frame[0] + local @ frame[1], triangles, False, neck, abs(center) / edges[-1]))
    parts.append(_gum(line, up, edges, bottoms, depths, _INSET[which]))
    points, triangles, gum, neck, along = [], [], [], [], []
    for at, corners, is_gum, depth, where in parts:
        outside = _outward(at, corners)
        triangles.append(outside + sum(map(len, points)))
        points.append(at)
        gum.append(np.full(len(at), is_gum))
        neck.append(np.broadcast_to(depth, len(at)))
        along.append(np.broadcast_to(where, len(at)))
    return Row(*(np.concatenate(each) for each in (points, triangles, gum, neck, along)))


def _frame(line: np.ndarray, s: float, up: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arch at arc length `s` (negative to the right): (place [3], axes [3, 3]: along, outward, up)."""
    place, ahead = _at(line, s), _at(line, s + 0.01) - _at(line, s - 0.01)
    along = ahead / np.linalg.norm(ahead)
    outward = np.array([-along[2], 0.0, along[0]])
    outward /= np.linalg.norm(outward)
    return place, np.stack([along, outward, up])


def _at(line: np.ndarray, s: float) -> np.ndarray:
    """The point of the symmetric arch at arc length `s`: [3]."""
    both = np.concatenate([line[:0:-1] * [-1, 1, 1], line])
    steps = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(both, axis=0), axis=1))])
    steps -= steps[len(line) - 1]
    smooth = np.linspace(-0.06, 0.06, 9)  # the line's corners are rounded
    wanted = np.clip(s + smooth, steps[0], steps[-1])
    mean = np.array([np.interp(wanted, steps, axis).mean() for axis in both.T])
    return mean + (s - np.mean(wanted)) * (both[-1] - both[-2]) / (steps[-1] - steps[-2]) * [np.sign(s), 1, 1]


def _tooth(index: int, width: float, height: float, depth: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One tooth in its frame (along, outward, up), its outer side at outward 0 and its neck at up 0.

    Returns:
      (points [P, 3], triangles [T, 3], neck [P]).
    """
    angle = 2 * np.pi * (np.arange(_AROUND) + 0.5) / _AROUND
    x, y = (np.sign(value) * np.abs(value) ** 0.75 for value in (np.cos(angle), np.sin(angle)))  # a rounded square
    x, y = x / x.max(), y / y.max()
    thick = _WEDGE if index < 3 else _BLOCK
    rings = []
    for rise, wide, deep in zip(_RISE, _BULGE, thick, strict=True):
        half = depth * deep / 2
        lean = 0.006 * (1 - rise)
        rings.append(
            np.stack([0.98 * width / 2 * wide * x, half * y - half + lean, np.full(_AROUND, rise * height)], 1)
        )
    tip = {2: 1.08}.get(index, 0.985 if index < 2 else 0.90)
    top = np.array([[0, rings[-1][:, 1].mean(), tip * height]])
    root = np.array([[0, rings[0][:, 1].mean(), _RISE[0] * height]])
    points = np.concatenate([*rings, top, root])
    cells = np.arange(len(_RISE) * _AROUND).reshape(len(_RISE), _AROUND)
    quads = np.concatenate([geometry.strip(a, b, closed=True) for a, b in pairwise(cells)])
    fans = [_fan(cells[-1], cells.size), _fan(cells[0][::-1], cells.size + 1)]
    neck = 1 - np.clip(points[:, 2] / height, 0, 1)
    return points, np.concatenate([_halves(quads), *fans]), neck


def _gum(
    line: np.ndarray, up: np.ndarray, edges: np.ndarray, bottoms: np.ndarray, depths: np.ndarray, inset: float
) -> tuple[np.ndarray, np.ndarray, bool, float, np.ndarray]:
    """The gum of a row, a closed bar along the arch: (points, triangles, True, 1.0, along [P])."""
    end = edges[-1] + 0.02
    stations = np.linspace(-end, end, 2 * round(end / _GUM_STEP) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    angle = 2 * np.pi * np.arange(_GUM_AROUND) / _GUM_AROUND
    section = np.stack([np.sin(angle), np.cos(angle)], 1)  # outward, up
    rings = []
    for s in stations:
        frame = _frame(line, s, up)
        nearest = np.abs(edges - abs(s)).min()
        papilla = _PAPILLA * np.exp(-((nearest / 0.012) ** 2)) * (1 + section[:, 1]) / 2
        rim = np.interp(abs(s), middles, bottoms) + papilla
        depth = np.interp(abs(s), middles, depths)
        half = depth / 2 + 0.008
        outward = -inset - depth / 2 + 0.004 + half * np.sign(section[:, 0]) * np.abs(section[:, 0]) ** 0.8
        crown = np.maximum(section[:, 1], 0) ** 0.7
        height = np.where(section[:, 1] > 0, rim - 0.035 * (1 - crown), rim - 0.035 + _GUM_DEPTH * section[:, 1])
        rings.append(frame[0] + np.stack([0 * outward, outward, height], 1) @ frame[1])
    points = np.concatenate([*rings, [rings[0].mean(0), rings[-1].mean(0)]])
    cells = np.arange(len(stations) * _GUM_AROUND).reshape(len(stations), _GUM_AROUND)
    quads = np.concatenate([geometry.strip(a, b, closed=True) for a, b in pairwise(cells)])
    fans = [_fan(cells[0][::-1], cells.size), _fan(cells[-1], cells.size + 1)]
    along = np.append(np.repeat(np.abs(stations), _GUM_AROUND), [end, end]) / edges[-1]
    return points, np.concatenate([_halves(quads), *fans]), True, 1.0, np.clip(along, 0, 1)


def _fan(loop: np.ndarray, center: int) -> np.ndarray:
    """Triangles between a closed loop of points [L] and a center."""
    return np.stack([loop, np.roll(loop, -1), np.full(len(loop), center)], 1)


def _halves(quads: np.ndarray) -> np.ndarray:
    """Two triangles a quad: [2 F, 3]."""
    return quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)


def _outward(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The triangles of a closed surface, turned so that its volume is positive."""
    a, b, c = points[triangles].swapaxes(0, 1)
    return triangles if np.einsum("ij,ij->", a, np.cross(b, c)) > 0 else triangles[:, ::-1]
