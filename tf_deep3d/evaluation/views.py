"""Pages to turn the faces that a report shows: views/METHOD/CASE.html, for its best and worst cases.

Nothing of a mesh is kept while measuring; the few methods and cases that are shown are asked once more.

Letters: V vertices.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tf_deep3d.evaluation import benchmark, result_files
from tf_deep3d.evaluation.measuring import Prediction
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.report import MEASURES, Results, Row, extremes, shown_measures, summaries
from tf_deep3d.face import geometry
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io.files import writing
from tf_deep3d.mesh import gltf
from tf_deep3d.mesh.mesh import Mesh
from tf_deep3d.reconstruction import viewer

FOLDER = "views"
SIDE = 2.0  # dm, height that a face is shown at, whatever its unit


def write_views(
    out: Path, protocol: Protocol, results: Results, methods: Sequence[benchmark.Method], model: MorphableModel
) -> dict[tuple[str, str], str]:
    """Writes the pages of the cases that the report shows.

    Args:
      out: folder of the evaluation.
      protocol: `Protocol`.
      results: of `benchmark.run`.
      methods: those of the results.
      model: `MorphableModel`, for the alignment.

    Returns:
      (method, name of the case) -> path of its page below `out`.
    """
    measures = shown_measures(summaries(results)["all"])
    if not measures:
        return {}
    wanted = {
        name: {i for chosen in kinds.values() for i in chosen} for name, kinds in extremes(results, measures[0]).items()
    }
    pages: dict[tuple[str, str], str] = {}
    for number, case in enumerate(protocol.cases(result_files.picture_folder(out, protocol.name))):
        asked = [method for method in methods if number in wanted[method.name] and not case.unusable]
        portraits = benchmark.portraits(case, model, {}) if any(method.detects for method in asked) else ()
        for method in asked:
            (answer,) = method.run([case._replace(portraits=portraits)])
            found = answer[0] if isinstance(answer, list) else answer
            if isinstance(found, Prediction):
                place = result_files.result_folder(out, method.name).name
                path = f"{FOLDER}/{place}/{case.name}.html"
                with writing(out / path, overwrite=True) as file:
                    file.write(view(found, results[method.name][number]).encode())
                pages[method.name, case.name] = path
    return pages


def view(prediction: Prediction, row: Row) -> str:
    """The page of a prediction and of its numbers."""
    vertices = np.asarray(prediction.vertices, np.float64)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices = (vertices - (low + high) / 2) * (SIDE / max(float(high[1] - low[1]), 1e-9))
    triangles = np.asarray(prediction.triangles, np.int32)
    around = geometry.corners_around(triangles, len(vertices))
    normals = geometry.vertex_normals(vertices[None], triangles, around)[0]
    colors = np.full(vertices.shape, 0.8) if prediction.albedo is None else np.clip(prediction.albedo, 0, 1)
    mesh = Mesh(vertices.astype(np.float32), triangles, normals.astype(np.float32), colors=colors)
    return viewer.page(gltf.glb(gltf.build(mesh, name=row["picture"])), row["picture"], facts(row["numbers"] or {}))


def facts(numbers: Mapping[str, float]) -> dict[str, str]:
    """Measured numbers as text, by their titles."""
    known = ((MEASURES[name], value) for name, value in numbers.items() if name in MEASURES)
    return {title: f"{value * factor:.{digits}f} {unit}" for (title, unit, factor, digits), value in known}
