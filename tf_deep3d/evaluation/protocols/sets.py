"""Table 5 of Deng et al. 2019 in the open: sets of photos of one person with known neutral shape.

Twenty poses of a grid, pitch x yaw to 80 degrees, of the open benchmark's people who make no face, of its scan, and of
members of the face model. The sets are all photos of a person, and a few of them as in a training; then the same sets
with some of their photos spoiled. Every picture has its own light; the scan keeps the light that it was scanned in.

Letters: M photos of a set.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.errors import InputError
from tf_deep3d.evaluation import model_people, open_benchmark
from tf_deep3d.evaluation.benchmark import Case, open_case
from tf_deep3d.evaluation.measuring import Measurement, Prediction, measure_view, remembering
from tf_deep3d.evaluation.protocols import Protocol
from tf_deep3d.evaluation.protocols.spoiled import box_of, spoil, title
from tf_deep3d.face import morphable_model

VERSION = 3
SEED = 2290
FIRST_SEED = 100  # of the pictures of a subject; those of the open benchmark are lower
SMALL, DRAWS = 5, 2  # photos of a small set, as in a training; draws of them for each person
SPOILED = (1, 2, 4)  # photos of a set
SPOILS = {"blurred": ("blur", 4.0), "occluded": ("occluded", 35.0)}  # as in `spoiled`
MEMBERS = 5


class PhotoSet(NamedTuple):
    """Photos of a set.

    Attributes:
      subject: number of the subject.
      chosen: numbers of the subject's pictures.
      kind: how the first `spoiled` of them are spoiled, a name in `SPOILS`, or "".
      spoiled: see above.
      draw: number of the draw.
    """

    subject: int
    chosen: tuple
    kind: str = ""
    spoiled: int = 0
    draw: int = 0

    @property
    def title(self) -> str:
        """What sets of this kind are called."""
        return f"{len(self.chosen)} photos" + (f", {self.spoiled} {self.kind}" if self.spoiled else "")


def sets(members: int = MEMBERS) -> Protocol:
    """The open sets.

    Args:
      members: number of people of the face model, besides those of the open benchmark.

    Returns:
      `Protocol`; its cases are sets of photos, and its name changes with the people.

    Raises:
      open_benchmark.BenchmarkError, InputError: see `open_benchmark.load`.
    """
    subjects = people(members)
    views = [
        open_benchmark.views_at(number, who, open_benchmark.grid(who.name), FIRST_SEED) for number, who in subjects
    ]
    entries = [each for i in range(len(subjects)) for each in _sets_of(i, subjects[i][0], len(views[i]))]
    remembered = remembering()

    def make(entry: PhotoSet, pictures: Path) -> Case:
        shown = [views[entry.subject][i] for i in entry.chosen]
        who = shown[0].subject
        paths = [_photo(view, pictures, entry.kind if i < entry.spoiled else "") for i, view in enumerate(shown)]
        kind = f"_{entry.spoiled}{entry.kind}" * bool(entry.spoiled)
        name = f"{who.name}_{len(paths):02d}{kind}_draw{entry.draw}"

        def measure(prediction: Prediction) -> Measurement:
            given = prediction._replace(landmarks=None, angles=None, albedo=None)
            found = remembered(who.name, given, lambda: measure_view(shown[0], given))
            return found._replace(picture=None) if entry.spoiled else found

        sections = (entry.title,) if entry.spoiled else (entry.title, f"{entry.title}, {_kind(who)}")
        return Case(name, who.name, None, tuple(paths), measure, sections, neutral=True)

    count = sum(who.name.startswith(model_people.KIND) for _, who in subjects)
    remark = (
        f"{len(subjects)} subjects, of whom {count} are members of the face model; poses of pitch "
        f"{open_benchmark.GRID_PITCHES} x yaw {open_benchmark.GRID_YAWS}. Spoiled photos: "
        f"{', '.join(title(*each) for each in SPOILS.values())}."
    )
    return Protocol(
        f"open sets {VERSION}.{open_benchmark.RENDERING}, {count} members", entries, make, remark, detail=1,
        recognition=False, brief=("plane_rmse",),
    )  # fmt: skip


def people(members: int) -> list[tuple[int, open_benchmark.Subject]]:
    """Subjects without expression: the open benchmark's, and members of the face model.

    Returns:
      [(number for the seeds, `open_benchmark.Subject`)].
    """
    known = {view.subject.name: view.subject for view in open_benchmark.load().views}
    found = [(number, who) for number, who in enumerate(known.values()) if not who.expressive]
    return found + drawn_members(members)


def drawn_members(count: int) -> list[tuple[int, open_benchmark.Subject]]:
    """The first members of the face model, as of `people`.

    Raises:
      InputError: for a negative number.
    """
    if count < 0:
        raise InputError(f"the number of members must not be negative. Received: {count}")
    if not count:
        return []
    model = morphable_model.load(level=1)
    drawn = model_people.subjects(model, rendered_people.load_head(model), count)
    return [(model_people.FIRST + number, who) for number, who in enumerate(drawn)]


def _kind(who: open_benchmark.Subject) -> str:
    return "scan" if who.lit else "members" if who.name.startswith(model_people.KIND) else "people"


def _sets_of(subject: int, number: int, count: int) -> Iterator[PhotoSet]:
    """The sets of a subject with `count` pictures."""
    rng = rendered_people.generator(SEED, number)
    for size, draws in ((count, 1), (SMALL, DRAWS)):
        for draw in range(draws):
            chosen = tuple(rng.permutation(count)[:size].tolist())
            yield PhotoSet(subject, chosen, draw=draw)
            for kind in SPOILS:
                for spoiled in SPOILED:
                    yield PhotoSet(subject, chosen, kind, spoiled, draw)


def _photo(view: open_benchmark.View, folder: Path, kind: str) -> Path:
    """Path of a view's picture, spoiled as `SPOILS` says."""
    clean = open_case(view, folder).photos[0]
    if not kind:
        return clean
    return spoil(clean, box_of(view.landmarks), *SPOILS[kind], (SEED, *view.seed[1:]), folder)
