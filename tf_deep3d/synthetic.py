"""Training pictures with exact coefficients: `python -m tf_deep3d.synthetic OUT --count N --seed S`.

Renders random people before random backgrounds, as a camera might see them, and writes them as records. Their faces are
exactly what their coefficients say.
"""

import argparse
import sys
from pathlib import Path

from tf_deep3d import command_line


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command_line.run(_run, _parser().parse_args(arguments), interrupted="Interrupted; nothing was written.")


def _parser() -> argparse.ArgumentParser:
    parser = command_line.parser("python -m tf_deep3d.synthetic", __doc__)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of records to write")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="pictures (1000)")
    parser.add_argument("--photos-each", type=int, default=1, metavar="M", help="of one person, for image sets (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the random numbers (0)")
    parser.add_argument("--backgrounds", type=Path, metavar="FOLDER", help="pictures to take backgrounds from")
    parser.add_argument("--validation", type=float, default=0.05, metavar="SHARE", help="held-out share (0.05)")
    parser.add_argument("--head", type=Path, metavar="FILE", help="the head, by default the shipped")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="also draw N pictures, OUT/contact_sheet.png")
    parser.add_argument("--overwrite", action="store_true", help="replace the records in OUT")
    return parser


def _run(options: argparse.Namespace) -> int:
    with command_line.quiet():
        from PIL import Image

        from tf_deep3d.data.rendered import pictures as rendered
        from tf_deep3d.data.rendered.people import load_head
        from tf_deep3d.face import head as heads
        from tf_deep3d.face import morphable_model

    rendered.refuse_existing(options.out, options.overwrite)
    backgrounds = rendered.find_pictures(options.backgrounds)
    settings = rendered.Settings(options.count, options.seed, options.photos_each, backgrounds, options.validation)
    model = morphable_model.load(level=heads.LEVEL)
    head = load_head(model, options.head)
    counts = rendered.write_dataset(options.out, settings, model, head, options.overwrite)
    if options.show > 0:
        made = rendered.render_people(settings, model, head, min(options.show, options.count))
        Image.fromarray(rendered.contact_sheet(made)).save(options.out / "contact_sheet.png")
    counted = command_line.counted(counts["validation"], "validation record")
    print(f"wrote {options.out}: {command_line.counted(counts['train'], 'training record')} and {counted}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
