"""Charts as SVG, for reports and as files."""

import html
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

_COLORS = ("#4269d0", "#efb118", "#ff725c", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e", "#6cc5b0")


class Chart(NamedTuple):
    """What one chart shows.

    Attributes:
      name: for a file.
      title: text above it.
      across, up: texts at the axes.
      series: name -> (x [n], y [n]).
      dots: draw points, not lines.
    """

    name: str
    title: str
    across: str
    up: str
    series: dict
    dots: bool = False


def draw(chart: Chart) -> str:
    """A `Chart` as SVG."""
    return curves(chart.series, chart.across, chart.up, dots=chart.dots)


def curves(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    across: str,
    up: str,
    size: tuple[int, int] = (760, 340),
    dots: bool = False,
) -> str:
    """Lines, or `dots`, of `series`, name -> (x [n], y [n]), as SVG; the axes include zero."""
    points = [np.stack(pair, 1) for pair in series.values() if len(pair[0])]
    if not points:
        return "<p>No result.</p>"
    width, height = size
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    high = np.where(low == high, 1, high)
    ticks = [_ticks(*bounds) for bounds in zip(low, high, strict=True)]
    low, high = (np.array([t[end] for t in ticks]) for end in (0, -1))

    def place(point: tuple[float, float] | np.ndarray) -> tuple[float, float]:
        x, y = (np.asarray(point) - low) / (high - low)
        return 60 + x * (width - 200), height - 45 - y * (height - 65)

    look = f"xmlns='http://www.w3.org/2000/svg' font-family='sans-serif' font-size='12' aria-label='{html.escape(up)}'"
    parts = [f"<svg {look} width='{width}' height='{height}' role='img'>"]
    for value in ticks[0]:
        x, y = place((value, low[1]))
        parts.append(f"<text x='{x:.1f}' y='{y + 18:.1f}' text-anchor='middle'>{value:g}</text>")
    for value in ticks[1]:
        x, y = place((low[0], value))
        parts.append(f"<line x1='{x:.1f}' x2='{width - 140}' y1='{y:.1f}' y2='{y:.1f}' stroke='#ddd'/>")
        parts.append(f"<text x='{x - 8:.1f}' y='{y + 4:.1f}' text-anchor='end'>{value:g}</text>")
    parts.append(f"<text x='{(width - 80) / 2}' y='{height - 6}' text-anchor='middle'>{html.escape(across)}</text>")
    parts.append(f"<text x='4' y='12'>{html.escape(up)}</text>")
    for index, (name, pair) in enumerate(series.items()):
        color = _COLORS[index % len(_COLORS)]
        places = [place(point) for point in zip(*pair, strict=True)]
        if dots:
            parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{color}' fill-opacity='0.6'/>" for x, y in places]
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f"<polyline fill='none' stroke='{color}' stroke-width='2' points='{path}'/>")
        parts.append(f"<text x='{width - 130}' y='{30 + 18 * index}' style='fill:{color}'>{html.escape(name)}</text>")
    return "".join(parts) + "</svg>"


def _ticks(low: float, high: float) -> np.ndarray:
    """Round numbers that enclose `low` and `high`."""
    span = max(high - low, 1e-9) / 5
    power = 10.0 ** math.floor(math.log10(span))
    step = min((f * power for f in (1, 2, 5, 10)), key=lambda s: abs(s - span))
    return np.arange(math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) + 1) * step
