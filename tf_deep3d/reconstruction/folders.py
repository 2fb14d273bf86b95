"""From photos to a folder for each face, with what the command says on the way."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tf_deep3d.command_line import counted
from tf_deep3d.errors import InputError, readable
from tf_deep3d.io import files
from tf_deep3d.io.files import face_folder, folder_names
from tf_deep3d.io.work_folders import claimed, sweep
from tf_deep3d.reconstructed import Reconstruction, is_finished
from tf_deep3d.reconstruction.view import INDEX, write_index

if TYPE_CHECKING:
    from tf_deep3d.reconstruction.photo import Found
    from tf_deep3d.reconstruction.reconstructor import FaceReconstructor

TOGETHER = 16  # photos that are claimed together, so that several commands can share a folder's


def write_faces(
    paths: Sequence[Path],
    out: Path,
    load: Callable[[], "FaceReconstructor"],
    all_faces: bool = False,
    overwrite: bool = False,
) -> int:
    """Reconstructs photos and writes a folder for each face; says what became of each photo.

    A photo whose folder is finished already is left alone, and so is one that another command is at work on: several
    may share the work. Over several faces with pages there is an index.html.

    Args:
      paths: photos.
      out: folder; the faces of a photo get folders in it, named after the photo.
      load: gives the `FaceReconstructor`; called if there is something to do.
      all_faces: every face of a photo, else the largest.
      overwrite: make finished faces again.

    Returns:
      The exit status: 0 if a face was written or is there already, else 1.
    """
    from tqdm import tqdm

    open_ones: list[tuple[Path, str]] = []  # (photo, its folder's name)
    there = written = failed = elsewhere = 0
    for path, name in zip(paths, folder_names(paths), strict=True):
        if overwrite or not os.path.lexists(out / name):
            open_ones.append((path, name))
        elif is_finished(out / name):
            there += 1
        else:
            failed += 1
            print(
                readable(f"{path}: {out / name} exists and is no finished face; --overwrite replaces it"),
                file=sys.stderr,
            )
    reconstructor = load() if open_ones else None
    groups = [open_ones[start : start + TOGETHER] for start in range(0, len(open_ones), TOGETHER)]
    sweep(out)  # of a command that was killed
    style = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=len(open_ones), bar_format=style, disable=None) as bar:
        for group in groups:
            with ExitStack() as claims:
                claims.enter_context(files.staying(out))
                free = [(path, name) for path, name in group if claims.enter_context(claimed(out / name))]
                mine = [(path, name) for path, name in free if overwrite or not os.path.lexists(out / name)]
                elsewhere += len(group) - len(free)
                there += len(free) - len(mine)  # another command has made them meanwhile
                bar.update(len(group) - len(mine))
                assert reconstructor is not None, "there is something to do"
                for path, folder, face in _written(mine, out, reconstructor, all_faces, overwrite, bar.update):
                    if isinstance(face, Reconstruction):
                        written += 1
                        bar.write(_summary(path, folder, face))
                    else:
                        failed += 1
                        bar.write(readable(f"{path}: {face}"), file=sys.stderr)
    said = f"{counted(written, 'face')} written to {out}"
    said += f", {failed} failed" if failed else ""
    said += f"; {counted(there, 'photo')} already there, pass --overwrite to make them again" if there else ""
    said += f"; {counted(elsewhere, 'photo')} left to another command that is at work there" if elsewhere else ""
    print(said)
    if not write_index(out):
        print(f"{out / INDEX} is another's and stays as it is", file=sys.stderr)
    return 0 if written or there else 1


def _written(
    mine: Sequence[tuple[Path, str]],
    out: Path,
    reconstructor: "FaceReconstructor",
    all_faces: bool,
    overwrite: bool,
    on_progress: Callable[[float], object],
) -> Iterator[tuple[Path, Path, Reconstruction | InputError | OSError]]:
    """Reconstructs photos, with the names of their folders, and writes them: photo, folder, and the face or why not."""

    def folder_of(found: "Found") -> Path:
        return out / face_folder(mine[found.photo][1], found.number)

    def write(found: "Found") -> None:
        if isinstance(found.face, Reconstruction):
            found.face.write(folder_of(found), overwrite, reconstructor.options.packing)

    for found in reconstructor.each([path for path, _ in mine], all_faces, on_progress, write):
        yield mine[found.photo][0], folder_of(found), found.face


def _summary(path: Path, folder: Path, face: Reconstruction) -> str:
    from tf_deep3d.texture.occlusion import told

    losses, painted = face.report["losses"], face.appearance.report
    left_out = told(painted["left_out"])
    return readable(
        f"{path.name} -> {folder}: landmarks {100 * face.landmark_error:.1f} % of the eye distance, "
        f"colours {losses['photometric']:.3f}, likeness {1 - losses['perceptual']:.2f}, "
        f"texture of {painted['size_px']} px{f', without {left_out} (--keep-everything takes all)' if left_out else ''}"
    )
