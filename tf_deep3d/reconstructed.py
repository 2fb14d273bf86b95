"""One face of one photo, as every runtime returns it: in memory, and as a folder of files.

Needs NumPy and Pillow only, so that code which works with a `Reconstruction` moves to the device unchanged.

Letters: V vertices, T triangles, K identity coefficients, S side of the texture in px.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tf_deep3d.detection.alignment import Crop
from tf_deep3d.detection.detector import Detection
from tf_deep3d.errors import readable
from tf_deep3d.face import blendshapes, expression, lips
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import angles_of, rotation_matrix
from tf_deep3d.face.head import Head
from tf_deep3d.face.landmarks import nme
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.face.reconstruction import Face, at_landmarks
from tf_deep3d.io.files import writing_folder
from tf_deep3d.mesh import face_files, head_files
from tf_deep3d.mesh.mesh import PNG_LEVEL, Mesh, to_uint8

NUMBERS = "coefficients.json"  # the file by which a folder of a finished face is known


class Pose(NamedTuple):
    """How a head is turned: R = Rz(roll) Ry(yaw) Rx(pitch), about x to the picture's right, y up, z to the camera.

    Attributes:
      pitch_degrees: in (-180, 180], positive where the nose points down.
      yaw_degrees: in [-90, 90], positive where the nose points to the picture's right.
      roll_degrees: in (-180, 180], positive where the head leans counter-clockwise in the picture.
    """

    pitch_degrees: float
    yaw_degrees: float
    roll_degrees: float


class Appearance(NamedTuple):
    """What needs a renderer.

    Attributes:
      textures: name in `face_files.TEXTURES` -> [S, S, 3] RGB in [0, 1], in the model's texture coordinates.
      shown: name of the texture that the meshes show.
      pictures: file name -> [H, W, 3] uint8, to judge the face by.
      pages: file name -> HTML, to look at the face.
      report: of the textures, as data for JSON.
    """

    textures: Mapping[str, np.ndarray] = {}
    shown: str = "photo"
    pictures: Mapping[str, np.ndarray] = {}
    pages: Mapping[str, str] = {}
    report: Mapping[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """One face of one photo.

    Attributes:
      photo: name of the photo; "" for one without a file.
      model: the `MorphableModel` at the level of detail of the mesh.
      coefficients: `Coefficients` of this one face, B = 1.
      face: `Face` of them, B = 1: posed and lit, in world coordinates (dm), in the camera of the aligned photo.
      detected: `Detection`, px of the photo.
      crop: `Crop`, the aligned photo; its transform maps px of the photo to px of the aligned photo.
      confidence: [K] of C-Net, larger where the photo tells more of that identity coefficient; or None.
      units: `blendshapes.Units` of the model, or None for a model without named units.
      report: how the face was made, as data for JSON: "method", "losses" (name -> number), "versions".
      paint: function of the reconstruction that makes its `Appearance` when that is first asked for; None where there
        is no renderer.
      head: the `Head` around the model, to be written too, or None.
      camera: that saw the aligned photo: the photo's own where its focal length is known.
    """

    photo: str
    model: MorphableModel
    coefficients: Coefficients
    face: Face
    detected: Detection
    crop: Crop
    confidence: np.ndarray | None = None
    units: blendshapes.Units | None = None
    report: Mapping[str, Any] = field(default_factory=dict[str, Any])
    paint: "Callable[[Reconstruction], Appearance] | None" = None
    head: Head | None = None
    camera: Camera = field(default_factory=Camera)

    @cached_property
    def mesh(self) -> Mesh:
        """The face with its expression, unposed, facing +z: `Mesh` with vertices [V, 3] in dm, triangles [T, 3],
        normals, texture coordinates, and the albedo [V, 3] as colours of the vertices."""
        shown = face_files.meshes(self.model, self.coefficients, closed=self.lips_closed)[0]
        return shown._replace(colors=np.clip(self.face.albedo[0], 0, 1))

    @property
    def landmarks(self) -> np.ndarray:
        """The mesh's 68 landmarks [68, 2] (iBUG), px of the photo. The jaw's are the visible contour, as detectors see
        it, in a model that has a `jaw_line` beside it."""
        return self.crop.transform.inverse().apply(self.face.landmarks[0])

    @property
    def jaw_line(self) -> np.ndarray | None:
        """The mesh's 17 jaw points [17, 2] along the edge of the jaw, as in 300W-LP and AFLW2000-3D, px of the photo;
        None for a model that does not know them."""
        if "jaw17" not in self.model.landmarks:
            return None
        points = at_landmarks(self.model.landmarks["jaw17"], self.face.vertices)
        return self.crop.transform.inverse().apply(to_pixels(self.camera, points)[0][0])

    @cached_property
    def arkit(self) -> dict[str, float]:
        """Weights in [0, 1] of ARKit's units by name, such as "jawOpen"; empty for a model without named units.

        They follow the detected landmarks (`face.expression`), or the expression's coefficients where the model does
        not know where dense landmarks lie.
        """
        if self.units is None:
            return {}
        if expression.shows_units(self.model):
            pixels = self.crop.transform.apply(self.detected.landmarks478[:, :2])
            frame = expression.Frame(pixels, self.coefficients.angles[0], self.coefficients.translation[0])
            weights = expression.of_photo(self.model.blendshape_names, frame, self.camera)
        else:
            weights = blendshapes.weights(self.units, self.coefficients.expression)[0][0]
        return dict(zip(self.units.names, weights.tolist(), strict=True))

    @cached_property
    def lips_closed(self) -> bool:
        """Whether the photo shows closed lips; those of the written meshes meet then (`face.lips`)."""
        points = self.crop.transform.apply(self.detected.landmarks478[:, :2])
        scale = self.camera.focal / (self.camera.distance - float(self.coefficients.translation[0, 2]))
        return lips.shown_closed(self.crop.image, points, scale)

    @property
    def pose(self) -> Pose:
        """How the head is turned in the photo, whichever way its crop was set upright."""
        return self._pose(self.crop.transform.rotation)

    @property
    def crop_pose(self) -> Pose:
        """How the head is turned in the aligned photo; where it is there says `coefficients.translation`, in dm."""
        return self._pose(0.0)

    def _pose(self, roll: float) -> Pose:
        """How the head is turned in a picture that is the aligned one, turned counter-clockwise by `roll` radians."""
        turn = rotation_matrix(np.array([[0.0, 0.0, roll]])) @ rotation_matrix(self.coefficients.angles)
        return Pose(*np.degrees(angles_of(turn)[0]).tolist())

    @property
    def landmark_error(self) -> float:
        """Distance of the mesh's inner landmarks from the detected ones over the eye distance (`landmarks.nme`)."""
        detected = self.crop.transform.apply(self.detected.landmarks68)
        return float(nme(self.face.landmarks, detected[None])[0])

    @cached_property
    def appearance(self) -> Appearance:
        """The texture, the pictures and the pages; none on the device."""
        return Appearance() if self.paint is None else self.paint(self)

    @property
    def texture(self) -> np.ndarray | None:
        """The texture [S, S, 3] RGB in [0, 1] that the meshes show, in the model's texture coordinates; None on the
        device."""
        return self.appearance.textures.get(self.appearance.shown)

    def numbers(self) -> dict[str, Any]:
        """The face in numbers that JSON can hold: angles in degrees say so, lengths are px of the photo or dm."""
        transform = self.crop.transform
        return {
            "photo": self.photo,
            "box": face_files.numbers(self.detected.box),
            "coefficients": {name: face_files.numbers(group[0]) for name, group in self.coefficients._asdict().items()},
            "pose": self.pose._asdict(),
            "crop_pose": self.crop_pose._asdict(),
            "arkit": {name: round(weight, 6) for name, weight in self.arkit.items()},
            "camera": {
                "size_px": self.camera.width,
                "focal_px": self.camera.focal,
                "center_px": list(self.camera.center),
                "distance_dm": self.camera.distance,
            },
            "crop_from_photo": {
                "scale": transform.scale,
                "rotation_radians": transform.rotation,
                "translation_px": list(transform.translation),
                "share_outside_photo": float(self.crop.outside),
            },
            "landmarks68_photo_px": face_files.numbers(self.landmarks),
            **({} if self.jaw_line is None else {"jaw_line17_photo_px": face_files.numbers(self.jaw_line)}),
            "detected_landmarks68_photo_px": face_files.numbers(self.detected.landmarks68),
            "landmark_error": self.landmark_error,
            "model": {"name": self.model.name, "level": self.model.level, "licence": self.model.licence},
            **self.report,
        }

    def write(self, folder: str | os.PathLike[str], overwrite: bool = False, packing: str = "compact") -> None:
        """Writes the face into `folder`, which appears whole or not at all: what the commands write.

        OBJ and PLY have the photo's expression, GLB is the neutral face with the model's blendshapes and the photo's
        expression as morph targets, coefficients.json has the `numbers`. OBJ and GLB have a texture where there is one,
        and the other textures lie beside it;
        else the vertices have colours: shaded ones in the OBJ, the albedo in the GLB and always in the PLY. With a
        `head`, head.glb is the same neutral person as a closed head.

        Args:
          folder: to create, with the folders above it; its name becomes that of the meshes.
          overwrite: replace an existing folder.
          packing: of the GLB files: "compact", or "plain" for readers without KHR_mesh_quantization (`mesh.gltf`).

        Raises:
          FileExistsError: if the folder exists and `overwrite` is false.
          OSError: if it cannot be written.
        """
        shaded = np.clip(self.face.colors[0], 0, 1)
        with writing_folder(folder, overwrite) as temporary:
            name = readable(Path(folder).name)
            kind = self.appearance.shown
            style = face_files.Style(packing, kind, self.numbers()["arkit"], self.lips_closed)
            face_files.write_meshes(temporary, name, self.model, self.coefficients, self.texture, shaded, style)
            write_other_textures(temporary, self.appearance.textures, kind)
            if self.head is not None:
                head_files.write_head(temporary, name, self.head, self.coefficients, self.texture, style)
            for file_name, picture in self.appearance.pictures.items():
                write_picture(temporary / file_name, picture)
            for file_name, page in self.appearance.pages.items():
                (temporary / file_name).write_text(page, encoding="utf-8")
            painted = {"texture": dict(self.appearance.report)} if self.appearance.report else {}
            face_files.write_json(temporary / NUMBERS, self.numbers() | painted)


def write_other_textures(folder: Path, textures: Mapping[str, np.ndarray], shown: str) -> None:
    """Writes the `Appearance.textures` beside that which the meshes show."""
    for kind, image in textures.items():
        if kind != shown:
            write_picture(folder / face_files.TEXTURES[kind], to_uint8(image))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Writes a picture [H, W, 3] uint8 as PNG."""
    Image.fromarray(picture).save(path, compress_level=PNG_LEVEL)


def is_finished(folder: Path) -> bool:
    """Whether `folder` holds a face that was written before."""
    return (folder / NUMBERS).is_file()
