"""Measures reconstruction methods against known truth: `python -m tf_deep3d.evaluate open --out DIR`."""

import argparse
import os
import sys
from collections.abc import Sequence

from tf_deep3d import command_line
from tf_deep3d.errors import InputError, extra
from tf_deep3d.evaluation.options import MESHES, ForeignMethods, foreign_of, parser
from tf_deep3d.io.work_folders import temporary_files

PROGRAM = "python -m tf_deep3d.evaluate"
EXAMPLES = """
examples:
  python -m tf_deep3d.evaluate open --methods mean,rnet --out results          downloads nothing
  python -m tf_deep3d.evaluate open --methods mean,fit --limit 8 --out quick   8 of the pictures
  python -m tf_deep3d.evaluate open --methods rnet:0,rnet:5 --compare rnet:0 rnet:5 --out results
  python -m tf_deep3d.evaluate open --methods rnet --weights runs/mine --out mine
  python -m tf_deep3d.evaluate open --methods mean --meshes theirs=meshes/ --out results
      after the same command without --meshes the photos lie in results/pictures; reconstruct each NAME.png to
      meshes/NAME.obj with another program, and write the indices of its 68, 51 or 7 landmark vertices to
      meshes/landmarks.txt; meshes that are missing or unusable are read again the next time
  python -m tf_deep3d.evaluate aflw2000 AFLW2000/ --methods rnet --out aflw2000
  python -m tf_deep3d.evaluate now NoW_Dataset/ --methods rnet --submission --part test --out now
  python -m tf_deep3d.evaluate expressions faces/ --methods rnet:0 --out units     faces/closed, faces/open, faces/smile
  python -m tf_deep3d.evaluate scans heads/ --methods floor,mean,rnet:0 --out heads_measured   your own heads
  python -m tf_deep3d.evaluate csv mine.csv --methods mean,rnet --out mine     your own scans
  python -m tf_deep3d.evaluate sets --cnet runs/cnet --compare elementwise average --out sets
  python -m tf_deep3d.evaluate aflw2000 AFLW2000/ --methods rnet --out aflw2000 --workers 8
  python -m export.methods open --bundle phone=bundle:int8 --out results       what `python -m export` wrote

methods:
  mean     the mean face in the pose of the detected landmarks
  fit      analysis by synthesis from the mean face
  rnet     R-Net and --refine steps of the fit; rnet:N is R-Net and N steps
  floor    the face model fitted to the truth itself: hardly anything of this model is nearer (open, scans)
  average, scalar, summed, best, elementwise
           R-Net alone; the photos of a set count the same, or as C-Net says: S1 (needs --scalar), S2, S3, S4
  single   R-Net alone, the errors of a set's single photos averaged
Of several photos of one person the first three average the shapes.

Results are kept in DIR: an interrupted command goes on where it stopped, and more methods can join later. With
--workers or --runner, parts of the cases are dealt to processes; Beam's own options are written --name=value, and its
workers see all files under the same paths.

exit status: 0 if every method solved a picture, 1 if not, 2 for a wrong command line.
"""


def main(
    arguments: Sequence[str] | None = None,
    foreign: Sequence[ForeignMethods] = (MESHES,),
    program: str = PROGRAM,
    examples: str = EXAMPLES,
) -> int:
    """Runs the command; returns its exit status.

    Args:
      arguments: of the command line, None for those of the process.
      foreign: options for methods that are not this project's own.
      program: how the command is called.
      examples: text below the help.
    """
    options, beam_options = command_line.parsed(parser(program, examples, foreign), arguments)
    interrupted = "Interrupted; the same command goes on from here."
    return command_line.run(_run, options, foreign, beam_options, interrupted=interrupted)


def _check_names(wanted: Sequence[str], compare: Sequence[Sequence[str]]) -> None:
    """Raises InputError unless the methods differ and those to compare are among them."""
    if not wanted or len(set(wanted)) < len(wanted):
        raise InputError(f"the command must name different methods. Received: {', '.join(wanted) or 'none'}")
    unknown = [name for pair in compare for name in pair if name not in wanted]
    if unknown:
        raise InputError(f"--compare must name methods that are evaluated: {', '.join(wanted)}. Received: {unknown[0]}")


@temporary_files()
def _run(options: argparse.Namespace, foreign: Sequence[ForeignMethods], beam_options: Sequence[str]) -> int:
    names = None if options.methods is None else [name.strip() for name in options.methods.split(",") if name.strip()]
    others = foreign_of(options, foreign)
    other_names = [given[0] for _, given in others]
    if names is not None:
        _check_names(names + other_names, options.compare)
    if options.limit is not None and options.limit < 1:
        raise InputError(f"limit must be at least 1. Received: {options.limit}")
    if options.workers < 1:
        raise InputError(f"--workers must be positive. Received: {options.workers}")
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out, os.W_OK):
        raise PermissionError(f"cannot write to {options.out}")

    from tqdm import tqdm

    with command_line.quiet(), extra("train"):
        from tf_deep3d.evaluation import named_methods, output, result_files, session, views
    crew = None
    if options.runner or options.workers > 1:
        with command_line.quiet((1, 2)), extra("prepare"):
            import apache_beam  # noqa: F401  told before any work
        crew = session.Spread(options.workers, options.runner, tuple(beam_options))

    if names is None:
        names = named_methods.usual(options.benchmark, session.networks(options))
        _check_names(names + other_names, options.compare)
    folders = [result_files.result_folder(options.out, name) for name in names + other_names]
    if len(set(folders)) < len(folders):
        received = ", ".join(names + other_names)
        raise InputError(f"the methods' names must differ in letters and digits. Received: {received}")
    loaded = session.load(session.Asked(options, names, others))
    protocol = loaded.protocol
    if crew:
        session.deal(loaded, crew, options.overwrite)
    style = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=loaded.total, bar_format=style, disable=None) as bar:
        results = session.measure(loaded, bar.update, overwrite=options.overwrite and not crew)
    if protocol.finish:
        protocol.finish(options.out, results)
    pages = {}
    if options.views:
        pages = views.write_views(options.out, protocol, results, loaded.methods, loaded.levels[-1])
    output.write(options.out, protocol, results, options.compare, pages)
    return 0 if all(any(row["numbers"] for row in rows) for rows in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
