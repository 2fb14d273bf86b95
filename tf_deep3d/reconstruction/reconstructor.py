"""The front door of the library: a photo becomes a face, an album becomes one face, in memory."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_deep3d.io.photos import Photo
from tf_deep3d.models import presets
from tf_deep3d.reconstructed import Reconstruction
from tf_deep3d.reconstruction import photo
from tf_deep3d.reconstruction.album import album
from tf_deep3d.reconstruction.album.results import FusedFace
from tf_deep3d.reconstruction.portraits import NoFaceError


@dataclass(frozen=True, eq=False)
class FaceReconstructor:
    """All that is loaded to reconstruct faces: R-Net, C-Net and the face model, with what is derived from it.

        reconstructor = FaceReconstructor.from_preset("mobilenet")
        (face,) = reconstructor.reconstruct("me.jpg")
        face.mesh.vertices, face.landmarks, face.arkit["jawOpen"], face.pose
        face.write("faces/me")

    Attributes:
      options: how faces are found.
      models: what is loaded.
    """

    options: photo.Options
    models: photo.Models

    @classmethod
    def from_preset(
        cls,
        preset: str | Path = presets.DEFAULT,
        model: str | Path | None = None,
        level: int = -1,
        method: str = "rnet",
        refine: int = photo.REFINE,
        head: bool = False,
        view: bool = True,
        **further: Any,
    ) -> "FaceReconstructor":
        """Loads networks and a face model that belong together.

        Args:
          preset: name of shipped networks, "mobilenet"; a `.keras` file of R-Net; or the folder of a training.
          model: path of a face model, by default the open face model.
          level: level of detail of the meshes, from 0, the coarsest, or from -1, the finest.
          method: "rnet", or "fit" to search from the mean face without R-Net, which is slower.
          refine: Gauss-Newton steps after R-Net, 0 for R-Net alone.
          head: load the whole head, which is then written with each face.
          view: write view.html with each face, a page to look at it.
          **further: `packing`, `texture`, `keep_everything` and `focal` of `photo.Options`.

        Raises:
          FileNotFoundError: if there is no such preset or file.
          InputError: if a file is unusable, networks and face model do not belong together, or a number is out of
            range.
        """
        options = photo.Options(
            preset=preset, model=model, level=level, method=method, refine=refine, head=head, view=view, **further
        )
        return cls(options, photo.load_models(options))

    def reconstruct(self, photos: Photo | Sequence[Photo], all_faces: bool = False) -> list[Reconstruction]:
        """Reconstructs the faces of a photo, or of several.

        Args:
          photos: path, bytes of a file, or [H, W, 3] RGB, uint8 or float in [0, 1]; or a list of them.
          all_faces: every face of a photo, else the largest.

        Returns:
          List of `Reconstruction`, in the order of the photos, the largest face of a photo first; a photo without a
          face adds none.

        Raises:
          InputError, OSError: for the first photo that cannot be read; see `each` for those that should go on.
        """
        if isinstance(photos, str | os.PathLike | bytes | np.ndarray):
            photos = [photos]
        found: list[Reconstruction] = []
        for _, _, face in self.each(photos, all_faces):
            if isinstance(face, Reconstruction):
                found.append(face)
            elif not isinstance(face, NoFaceError):
                raise face
        return found

    def each(
        self,
        photos: Sequence[Photo],
        all_faces: bool = False,
        on_progress: Callable[[float], object] | None = None,
        finish: Callable[[photo.Found], object] | None = None,
    ) -> Iterator[photo.Found]:
        """Reconstructs the faces of many photos on all cores; one that fails is an error in the place of its face.

        Args:
          photos: paths, bytes of files, or arrays [H, W, 3].
          all_faces: every face of a photo, else the largest.
          on_progress: called with the share of one photo's work that was done.
          finish: called with each `Found` in the thread that made it, e.g. to write it; an InputError or OSError
            that it raises takes the place of the face.

        Yields:
          `Found`: index of the photo, number of the face in it from 1, and the `Reconstruction` or an error, in the
          order of the photos.
        """
        return photo.reconstruct_photos(photos, self.options, self.models, all_faces, on_progress, finish)

    def fuse(
        self,
        photos: Sequence[Photo],
        strategy: str | None = None,
        keep_outliers: bool = False,
        refine: int = 0,
        on_progress: Callable[[str, int, int], object] | None = None,
    ) -> FusedFace:
        """Makes one face of photos of one person.

        Args:
          photos: paths, bytes of files, or arrays [H, W, 3].
          strategy: how the photos are weighed, "elementwise", "average", "summed", "best" or "scalar"; by default
            the first where a C-Net serves it, else the second.
          keep_outliers: fuse photos that look like another person, too.
          refine: steps of gradient descent on all photos together.
          on_progress: called with (name of the stage, steps done, steps in all).

        Returns:
          `FusedFace`.

        Raises:
          NoFaceError: if no photo shows a face.
          InputError: for a strategy without its C-Net, or a fit that diverged.
        """
        settings = album.AlbumSettings(strategy, keep_outliers, refine)
        person = album.assemble(photos, settings, self.options, self.models, on_progress)
        return FusedFace(person, self.options, self.models)
