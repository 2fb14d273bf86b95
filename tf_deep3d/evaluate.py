"""Measures reconstruction methods against known truth: `python -m tf_deep3d.evaluate open --out DIR`."""

import argparse
import json
import os
import sys
from pathlib import Path

from tf_deep3d import console

FILES = ("results.json", "pictures.csv", "table.tex", "report.html")
EXAMPLES = """
examples:
  python -m tf_deep3d.evaluate open --methods mean,rnet --out results          downloads nothing
  python -m tf_deep3d.evaluate open --methods mean,fit --limit 8 --out quick   8 of the pictures
  python -m tf_deep3d.evaluate open --methods rnet:0,rnet:20 --compare rnet:0 rnet:20 --out results
  python -m tf_deep3d.evaluate open --methods rnet --weights runs/mine --out mine
  python -m tf_deep3d.evaluate open --methods mean --meshes theirs=meshes/ --out results
      results/pictures holds the photos; reconstruct each NAME.png to meshes/NAME.obj with another program, write the
      indices of its 68, 51 or 7 landmark vertices to meshes/landmarks.txt, and run the command again

methods:
  mean     the mean face in the pose of the detected landmarks
  fit      analysis by synthesis from the mean face
  rnet     R-Net and --refine steps of the fit; rnet:N is R-Net and N steps

Results are kept in DIR: an interrupted command goes on where it stopped, and more methods can join later.

exit status: 0 if every method solved a picture, 1 if not, 2 for a wrong command line.
"""


def main(arguments=None):
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    return console.run(_run, options, interrupted="Interrupted; the same command goes on from here.")


def _parser():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m tf_deep3d.evaluate",
        description="Measures reconstruction methods against known truth: geometry, landmarks, pose, colours.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    benchmarks = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    sub = benchmarks.add_parser(
        "open", help="rendered people and a scan that come with this package", epilog=EXAMPLES, formatter_class=raw
    )
    sub.add_argument("--methods", default="mean,fit,rnet", metavar="LIST", help="separated by commas (mean,fit,rnet)")
    sub.add_argument("--meshes", action="append", default=[], type=_named, metavar="NAME=DIR", help="see the examples")
    sub.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for pictures and results")
    sub.add_argument("--limit", type=int, metavar="N", help="evaluate N pictures, evenly spread")
    sub.add_argument("--weights", type=Path, metavar="RUN", help="folder of a training or .keras file, for R-Net")
    sub.add_argument("--refine", type=int, metavar="N", help="steps of the fit after R-Net (default: 20)")
    sub.add_argument("--model", type=Path, metavar="NPZ", help="face model (default: the open face model)")
    sub.add_argument(
        "--compare", nargs=2, action="append", default=[], metavar=("A", "B"), help="test the paired differences A - B"
    )
    sub.add_argument("--overwrite", action="store_true", help="measure again what was measured before")
    return parser


def _named(text):
    name, equals, folder = text.partition("=")
    if not (name and equals and folder):
        raise argparse.ArgumentTypeError(f"must be NAME=DIR. Received: {text}")
    return name, Path(folder)


def _run(options):
    names = [name.strip() for name in options.methods.split(",") if name.strip()]
    wanted = [*names, *(name for name, _ in options.meshes)]
    if not wanted or len(set(wanted)) < len(wanted):
        raise ValueError(f"--methods and --meshes must name different methods. Received: {', '.join(wanted) or 'none'}")
    unknown = [name for pair in options.compare for name in pair if name not in wanted]
    if unknown:
        raise ValueError(f"--compare must name methods that are evaluated: {', '.join(wanted)}. Received: {unknown[0]}")
    options.out.mkdir(parents=True, exist_ok=True)
    if not os.access(options.out, os.W_OK):
        raise PermissionError(f"cannot write to {options.out}")

    from tqdm import tqdm

    with console.quiet():
        from tf_deep3d import evaluation, evaluation_methods, open_benchmark

    folders = [evaluation.result_folder(options.out, name) for name in wanted]
    if len(set(folders)) < len(folders):
        raise ValueError(f"the methods' names must differ in letters and digits. Received: {', '.join(wanted)}")
    model, methods = _methods(names, options)
    methods += [evaluation_methods.mesh_folder(name, folder) for name, folder in options.meshes]
    benchmark = open_benchmark.load(options.limit)
    cases = evaluation.open_cases(benchmark, options.out / "pictures")
    style = "{percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
    with tqdm(total=len(benchmark.views) * len(methods), bar_format=style, disable=None) as bar:
        results = evaluation.run(benchmark.name, cases, methods, model, options.out, options.overwrite, bar.update)
    _write(options, benchmark, results)
    return 0 if all(any(row["numbers"] for row in rows) for rows in results.values()) else 1


def _methods(names, options):
    """The face model's finest level, and the `Method`s of this project."""
    from tf_deep3d import evaluation_methods, morphable_model, pipeline
    from tf_deep3d.models import recognition, rnet

    levels = morphable_model.load_levels(options.model)[::-1]
    network = weights = None
    if any(name.startswith("rnet") for name in names):
        path = options.weights or rnet.SHIPPED
        network = rnet.load_rnet(path, rnet.fingerprint(options.model))
        weights = rnet.fingerprint(path / rnet.WEIGHTS if path.is_dir() else path)
    perceptual = recognition.build_recognition() if "fit" in names else None
    models = pipeline.Models(levels, levels[0], None, perceptual, network)
    refine = pipeline.REFINE if options.refine is None else options.refine
    chosen = pipeline.Options(model=options.model, refine=refine)
    return levels[0], [evaluation_methods.own_method(name, models, chosen, weights) for name in names]


def _write(options, benchmark, results):
    """Prints the table and writes `FILES`."""
    import keras
    import numpy as np

    import tf_deep3d
    from tf_deep3d import evaluation_report as report
    from tf_deep3d.files import writing

    table = report.summaries(results)
    compared = {(first, second): report.comparison(results, first, second) for first, second in options.compare}
    total = len(benchmark.views)
    print(f"{benchmark.name}, {total} pictures; means and 95 % intervals\n\n{report.text_table(table['all'], total)}")
    for (first, second), found in compared.items():
        print(f"\n{report.comparison_text(found, first, second)}")
    versions = {"tf_deep3d": tf_deep3d.__version__, "keras": keras.__version__, "numpy": np.__version__}
    record = {
        "benchmark": benchmark.name,
        "versions": versions,
        "units": {name: measure[1] for name, measure in report.MEASURES.items()},
        "summary": {
            title: {
                method: {name: value._asdict() for name, value in row.items() if value.count}
                for method, row in section.items()
            }
            for title, section in table.items()
        },
        "comparisons": [
            {
                "methods": pair,
                "numbers": {
                    name: {"difference": each.difference._asdict(), "p_value": each.p_value}
                    for name, each in found.items()
                },
            }
            for pair, found in compared.items()
        ],
        "pictures": results,
    }
    page = report.html_report(benchmark.name, results, table, compared, _pictures(options, benchmark), versions)
    latex = "\n".join(report.latex_table(section, f"{benchmark.name}, {title}") for title, section in table.items())
    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in zip(FILES, (text, report.csv_text(results), latex, page), strict=True):
        with writing(options.out / name, overwrite=True) as file:
            file.write(content.encode())
    print(f"\n{options.out / FILES[-1]}")


def _pictures(options, benchmark):
    """What the report shows of a method's result: photo, reconstruction, error map."""
    import numpy as np
    from PIL import Image

    from tf_deep3d import evaluation, open_benchmark
    from tf_deep3d.evaluation_report import error_colors

    views = {view.name: view for view in benchmark.views}

    def pictures(method, result):
        subject = views[result["picture"]].subject
        errors, picture = evaluation.read_details(evaluation.result_folder(options.out, method), result["picture"])
        everywhere = np.full(len(subject.vertices), np.nan)
        everywhere[subject.region] = errors
        truth = open_benchmark.shaded(
            subject.vertices, subject.triangles, subject.normals, error_colors(everywhere), picture.shape[0]
        )
        with Image.open(options.out / "pictures" / f"{result['picture']}.png") as photo:
            return [np.asarray(photo.convert("RGB").resize(picture.shape[1::-1])), picture, truth]

    return pictures


if __name__ == "__main__":
    sys.exit(main())
