"""Training pictures with exact coefficients: `python -m tf_deep3d.synthetic OUT --count N --seed S`.

Renders random people before random backgrounds, as a camera might see them, and writes them as records. Their faces are
exactly what their coefficients say. With --from-photos it renders photos anew instead: their own skin and surroundings,
with another identity, expression, pose and light.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tf_deep3d import command_line
from tf_deep3d.command_line import counted
from tf_deep3d.errors import InputError, extra
from tf_deep3d.io import files
from tf_deep3d.io.work_folders import temporary_files

if TYPE_CHECKING:
    from tf_deep3d.data.rendered.dataset import Crew
    from tf_deep3d.data.rendered.pictures import Settings
    from tf_deep3d.face.morphable_model import MorphableModel

EXAMPLES = """
examples:
  python -m tf_deep3d.synthetic rendered --count 10000 --backgrounds photos/
  python -m tf_deep3d.synthetic rendered_sets --count 6000 --photos-each 6
  python -m tf_deep3d.synthetic rerendered --from-photos records --count 10000 --sources 3000 --show 24
                                                    photos that `prepare` made records of, each about three times
  python -m tf_deep3d.synthetic rerendered --from-photos photos/ --identities photos/lfw --count 500
                                                    photos as they are; the folders in photos/lfw are one person each
  python -m tf_deep3d.synthetic more --from-photos rerendered/fits --count 10000 --seed 1
                                                    the same photos again, without fitting them anew
  python -m tf_deep3d.synthetic rendered --count 100000 --workers 16
  python -m tf_deep3d.synthetic rendered --count 1000000 --runner=DaskRunner --dask_scheduler_file=cluster.json

With --from-photos, the same command again goes on where it was cut off. Albedo and illumination of photos are not
known: their coefficients are NaN, and the training leaves them out.

With --workers or --runner, shards are dealt to processes; Beam's own options are written --name=value, and its workers
see all files under the same paths. Photos are fitted by the command itself.

exit status: 0 if there are records, 1 if not, 2 for a wrong command line, 130 if interrupted.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options, beam_options = command_line.parsed(_parser(), arguments)
    again = "the same command goes on from here." if options.from_photos else "nothing was written."
    return command_line.run(_run, options, beam_options, interrupted=f"Interrupted; {again}")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("python -m tf_deep3d.synthetic", __doc__, EXAMPLES, allow_abbrev=False)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of records to write")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="pictures (1000)")
    parser.add_argument("--photos-each", type=int, default=1, metavar="M", help="of one person, for image sets (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random numbers (0)")
    parser.add_argument("--backgrounds", type=Path, metavar="FOLDER", help="pictures to take backgrounds from")
    parser.add_argument("--validation", type=float, default=0.05, metavar="SHARE", help="held-out share (0.05)")
    parser.add_argument("--head", type=Path, metavar="FILE", help="the head, by default the shipped")
    parser.add_argument(
        "--scanned",
        type=Path,
        metavar="FILE",
        help="scanned people, who appear, too; see porting.open_face.scanned_people",
    )
    parser.add_argument("--show", type=int, default=0, metavar="N", help="also draw N pictures, OUT/contact_sheet.*")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that render (1)")
    parser.add_argument("--runner", metavar="NAME", help="Beam runner (default: this machine)")
    parser.add_argument("--overwrite", action="store_true", help="replace the records in OUT")
    photos = parser.add_argument_group("photos rendered anew")
    photos.add_argument(
        "--from-photos", action="append", metavar="PATH", help="records of `prepare`, or photos; may be repeated"
    )
    photos.add_argument("--sources", type=int, metavar="N", help="at most so many of the photos (all)")
    photos.add_argument("--identities", action="append", default=[], metavar="PATH", help="of photos, as of `prepare`")
    photos.add_argument(
        "--held-out", type=float, metavar="SHARE", help="of the people, as `evaluate consistency` (0.1)"
    )
    return parser


@temporary_files()
def _run(options: argparse.Namespace, beam_options: list[str]) -> int:
    with command_line.quiet(), extra("train"):
        from tf_deep3d.data.rendered import pictures as rendered
        from tf_deep3d.face import head as heads
        from tf_deep3d.face import morphable_model

    if options.workers < 1:
        raise InputError(f"--workers must be positive. Received: {options.workers}")
    crew = _crew(options, beam_options) if options.runner or options.workers > 1 else None
    if options.from_photos and options.backgrounds:
        raise InputError(f"photos keep their own background. Received: --backgrounds {options.backgrounds}")
    backgrounds = rendered.find_pictures(options.backgrounds)
    settings = rendered.Settings(options.count, options.seed, options.photos_each, backgrounds, options.validation)
    model = morphable_model.load(level=heads.LEVEL)
    counts = (_photos if options.from_photos else _people)(options, settings, model, crew)
    training, validation = (counted(counts[split], noun) for split, noun in _SPLITS.items())
    print(f"wrote {options.out}: {training} and {validation}")
    return 0


_SPLITS = {"train": "training record", "validation": "validation record"}


def _crew(options: argparse.Namespace, beam_options: list[str]) -> "Crew":
    with command_line.quiet((1, 2)), extra("prepare"):
        import apache_beam  # noqa: F401  told before any work

        from tf_deep3d.data.rendered.dataset import Crew
        from tf_deep3d.data.spread import Spread

    return Crew(Spread(options.workers, options.runner, tuple(beam_options)), options.head, options.scanned)


def _people(
    options: argparse.Namespace, settings: "Settings", model: "MorphableModel", crew: "Crew | None"
) -> dict[str, int]:
    """Renders random people; returns split -> number of records."""
    from PIL import Image

    from tf_deep3d.data.rendered import dataset
    from tf_deep3d.data.rendered import pictures as rendered
    from tf_deep3d.data.rendered.people import load_head

    dataset.refuse_existing(options.out, options.overwrite)
    head = load_head(model, options.head, options.scanned)
    counts = dataset.write_dataset(options.out, settings, model, head, options.overwrite, crew)
    if options.show > 0:
        made = rendered.render_people(settings, model, head, min(options.show, options.count))
        with files.writing(options.out / "contact_sheet.png", overwrite=True) as file:
            Image.fromarray(rendered.contact_sheet(made)).save(file, "PNG")
    return counts


def _photos(
    options: argparse.Namespace, settings: "Settings", model: "MorphableModel", crew: "Crew | None"
) -> dict[str, int]:
    """Renders photos anew; returns split -> number of records."""
    with command_line.quiet(), extra("train"):
        from tf_deep3d.data import pipeline
        from tf_deep3d.data.rendered.people import load_head
        from tf_deep3d.data.rerendered import dataset
        from tf_deep3d.data.rerendered.photos import Photos
        from tf_deep3d.evaluation.protocols.consistency import HELD_OUT
        from tf_deep3d.reconstruction import regressed

    held_out = HELD_OUT if options.held_out is None else options.held_out
    chosen = Photos(tuple(options.from_photos), tuple(options.identities), options.sources, held_out)
    dataset.refuse_existing(options.out, options.overwrite)
    head, fitter = load_head(model, options.head, options.scanned), regressed.load_fitter()
    info = dataset.write_dataset(options.out, settings, chosen, model, head, fitter, crew)
    if options.show > 0:
        pipeline.show(options.out, options.show)
    rejected = sum(info["rejected"].values())
    if rejected:
        reasons = ", ".join(f"{number} {reason}" for reason, number in info["rejected"].items())
        print(f"{counted(rejected, 'photo')} left out: {reasons}")
    return info["counts"]


if __name__ == "__main__":
    sys.exit(main())
