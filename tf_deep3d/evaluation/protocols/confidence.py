"""When C-Net trusts a photo: its confidence by yaw, coefficient by coefficient, and when photos are spoiled.

Two parts: members of the face model, rendered at known yaw; and photos, each clean and spoiled in steps. Who gives no
photos gets frontal pictures of the members. Figure 11 of Deng et al. 2019 shows that coefficients which move depth get
relatively more confidence from profiles.

Letters: K identity coefficients.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import spearmanr

from tf_deep3d.detection import detector
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import charts, open_benchmark
from tf_deep3d.evaluation.benchmark import Case, open_case
from tf_deep3d.evaluation.measuring import Measurement, Prediction
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.protocols.sets import drawn_members
from tf_deep3d.evaluation.protocols.spoiled import Box, box_of, spoil, title
from tf_deep3d.evaluation.report import Results, Row
from tf_deep3d.evaluation.result_files import read_details, result_folder
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io import photos
from tf_deep3d.io.files import folder_names, writing

VERSION = 1
SEED = 6151
FIRST_SEED = 300  # of the pictures of a member
MEMBERS, PHOTOS = 8, 100
YAWS = tuple(range(-80, 81, 10))  # degrees
FRONTAL, PROFILE = 20, 60  # degrees of yaw up to and from which a picture counts so
LEVELS = {"blur": (2, 4, 8), "occluded": (15, 30, 45), "light": (40, 15, 6)}
CLEAN = "clean"
FACE = 130  # px, the widest face of a photo's picture: that of the rendered ones
ROOM = 0.8  # of the face's width that is kept around it


def confidence(
    model: MorphableModel, data: str | Path | None = None, members: int = MEMBERS, photos_used: int = PHOTOS
) -> Protocol:
    """The protocol.

    Args:
      model: `MorphableModel`, for what its coefficients move.
      data: photo, folder of photos or of such folders, or None.
      members: number of rendered people.
      photos_used: number of photos, evenly spread over those that are given.

    Raises:
      photos.PhotoError, FileNotFoundError, InputError: if there is no photo, or a number is below 1.
    """
    if min(members, photos_used) < 1:
        raise InputError(f"the numbers of members and photos must be at least 1. Received: {members}, {photos_used}")
    steps = [(CLEAN, 0), *((kind, level) for kind, levels in LEVELS.items() for level in levels)]
    shown = None if data is None else _photos_in(data)
    turned = [
        view
        for number, who in drawn_members(members)
        for view in open_benchmark.views_at(
            number, who, {f"{who.name}_yaw{yaw:+03d}": (0.0, yaw, 0.0) for yaw in YAWS}, FIRST_SEED
        )
    ]
    if shown is None:
        shown = [view for view in turned if view.angles[1] == 0]
        names = [view.name for view in shown]
    else:
        shown = [shown[i] for i in np.linspace(0, len(shown) - 1, min(photos_used, len(shown))).round().astype(int)]
        names = folder_names(shown)
    entries = [(None, view, None) for view in turned]
    entries += [(name, one, step) for name, one in zip(names, shown, strict=True) for step in steps]
    boxes = {}

    def make(entry: tuple[Any, Any, Any], pictures: Path) -> Case:
        name, what, step = entry
        if step is None:
            path = open_case(what, pictures).photos[0]
            angles = tuple(what.angles.tolist())
            return Case(path.stem, what.subject.name, angles, (path,), _nothing, (f"yaw {what.angles[1]:g} degrees",))
        if data is None:
            path, box, number = open_case(what, pictures).photos[0], box_of(what.landmarks), what.seed[1]
        else:
            if name not in boxes:
                boxes.clear()
                boxes[name] = _portrait(what, pictures / f"{name}.png")
            (path, box), number = boxes[name], names.index(name)
        kind, level = step
        spoiled = path if kind == CLEAN else spoil(path, box, kind, level, (SEED, number, level), pictures)
        section = "photo as it is" if kind == CLEAN else f"photo, {title(kind, level)}"
        return Case(f"photo_{name}_{kind}{level}", f"photo_{name}", None, (spoiled,), _nothing, (section,))

    what = (
        f"{len(shown)} photos of {Path(data).resolve().name}"
        if data is not None
        else f"{len(shown)} rendered portraits"
    )
    remark = f"{members} members of the face model at yaws of {YAWS[0]} to {YAWS[-1]} degrees; {what}, also spoiled."
    return Protocol(
        f"confidence {VERSION}.{open_benchmark.RENDERING}, {members} members, {what}", entries, make, remark, detail=1,
        recognition=False, brief=("confidence", "confidence_change"), finish=compare,
        charts=lambda folder, results: figures(folder, results, model),
    )  # fmt: skip


def _photos_in(data: str | Path) -> list[Path]:
    """The photos in a folder and the folders in it, or the one photo."""
    if not Path(data).is_dir():
        return photos.find_photos([data])
    found = sorted(path for path in Path(data).rglob("*") if path.suffix.lower() in photos.SUFFIXES)
    if not found:
        raise FileNotFoundError(f"photos are expected in {data} or the folders in it. Received: none")
    return found


def _nothing(prediction: Prediction) -> Measurement:
    """There is no truth but the pose."""
    if prediction.confidence is None:
        raise InputError("the method gives no confidence. Received: a shape only")
    return Measurement({}, np.zeros(0))


def _portrait(photo: Path, path: Path) -> tuple[Path, Box]:
    """Cuts out the largest face of a photo, no larger than `FACE`: (path of the picture, the face's box in it).

    Raises:
      photos.PhotoError, InputError: if the photo cannot be read or shows no face.
    """
    image = photos.read_photo(photo)
    found = detector.nearest(image)
    if found is None:
        raise InputError(f"no face found. Received: {photo}")
    box = np.array(box_of(found.landmarks68))
    width = box[2] - box[0]
    low = np.maximum(np.floor(box[:2] - ROOM * width), 0).astype(int)
    high = np.minimum(np.ceil(box[2:] + ROOM * width), image.shape[1::-1]).astype(int)
    part = Image.fromarray(image[low[1] : high[1], low[0] : high[0]])
    factor = min(FACE / width, 1.0)
    if not path.is_file():
        size = [max(round(side * factor), 1) for side in part.size]
        with writing(path, overwrite=True) as file:
            part.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0).save(file, "png")
    return path, tuple(((box - np.tile(low, 2)) * factor).tolist())


def compare(folder: Path, results: Results) -> None:
    """Adds to the photos' results how much the confidence differs from that of the clean photo, as a share of it."""
    for rows in results.values():
        clean = {row["group"]: row["numbers"]["confidence"] for row in rows if _is_clean(row) and row["numbers"]}
        for row in rows:
            if row["numbers"] and row["group"] in clean and not _is_clean(row):
                row["numbers"]["confidence_change"] = row["numbers"]["confidence"] / clean[row["group"]] - 1


def _is_clean(row: Row) -> bool:
    return row["picture"].endswith(f"_{CLEAN}0")


def depth_influence(model: MorphableModel) -> tuple[np.ndarray, np.ndarray]:
    """How far one standard deviation of each coefficient moves the skin, root mean square.

    Returns:
      ([K] dm along the view of a frontal photo, [K] dm in all).
    """
    basis = model.identity_basis.reshape(len(model.identity_basis), -1, 3)[:, model.regions["skin"] > 0.5]
    moved = basis - basis.mean(1, keepdims=True)  # a shift of the whole face is none
    return np.sqrt((moved[..., 2] ** 2).mean(1)), np.sqrt((moved**2).sum(2).mean(1))


def figures(folder: Path, results: Results, model: MorphableModel) -> list[charts.Chart]:
    """Confidence by yaw; and of each coefficient from profiles against frontal pictures, beside its share of depth."""
    by_yaw, dots = {}, {}
    depth, whole = depth_influence(model)
    title = "Confidence from profiles over that from frontal pictures, each coefficient"
    for method, rows in results.items():
        rows = [row for row in rows if row["angles"] and row["numbers"]]
        if not rows:
            continue
        yaws = np.array([row["angles"][1] for row in rows])
        details = [read_details(result_folder(folder, method), row["picture"]) for row in rows]
        kept = np.stack([each.confidence for each in details if each.confidence is not None])
        known = np.unique(yaws)
        by_yaw[method] = (known, np.array([100 * kept[yaws == yaw].mean() for yaw in known]))
        frontal, profile = kept[np.abs(yaws) <= FRONTAL], kept[np.abs(yaws) >= PROFILE]
        if kept.shape[1] == len(depth) and len(frontal) and len(profile):
            ratio = profile.mean(0) / frontal.mean(0)
            found: Any = spearmanr(depth / whole, ratio)
            dots[f"{method}"] = (100 * depth / whole, 100 * ratio)
            title += f"; {method}: Spearman {found.statistic:+.2f}, p = {found.pvalue:.3f}"
    across = "share of what the coefficient moves that is depth, %"
    return [
        charts.Chart("confidence_yaw", "Mean confidence against yaw", "yaw, degrees", "mean confidence, %", by_yaw),
        charts.Chart("confidence_depth", title, across, "profile over frontal, %", dots, dots=True),
    ]
