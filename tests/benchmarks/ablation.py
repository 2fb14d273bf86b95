"""What each loss of R-Net's training is good for, at small scale: trainings that differ in their losses alone.

    python -m tests.benchmarks.ablation RECORDS [RECORDS ...] --out DIR [--steps 250] [--batch 8] [--level 0] [--seed 0]

Every training has the same start, the same records in the same order, and the same regularisation (prior, flatness of
the albedo, whiteness of the light); the supervised terms are off, as in the paper. Then `evaluate open` measures each
of them, without refinement, on rendered people that no training has seen. An interrupted command goes on where it
stopped. Prints the table and the paired differences from all losses together.
"""

import argparse
import sys
from pathlib import Path

from tf_deep3d import command_line

CONFIG = Path(__file__).parents[2] / "configs" / "rnet_mobilenet.yaml"
ALL = "all"
OFF = {  # a training -> the losses that it does without
    ALL: (),
    "image": ("perceptual",),
    "perceptual + landmark": ("photometric",),
    "landmark": ("photometric", "perceptual"),
    "perceptual": ("photometric", "landmark"),
    "photometric": ("landmark", "perceptual"),
}


def recipe(options, without):
    """The arguments of `train` for a training without some losses."""
    warmup, every = max(options.steps // 10, 1), max(options.steps // 10, 1)
    changes = {
        "data.records": f"[{', '.join(repr(str(folder)) for folder in options.records)}]",
        "data.shares": "[]",
        "data.batch": options.batch,
        "data.validation": 64,
        "level": options.level,
        "seed": options.seed,
        "steps": options.steps,
        "log_every": every,
        "validate_every": options.steps,
        "save_every": every,
        "optimization.learning_rate": 3e-4,  # for a small batch
        "optimization.warmup": warmup,
        "optimization.ema": 0.9,  # a longer memory would still hold the start
        "loss.shape": 0,
        "loss.albedo": 0,
        **{f"loss.{name}": 0 for name in without},
    }
    return [str(CONFIG), *(word for key, value in changes.items() for word in ("--set", f"{key}={value}"))]


def measure(trained, out, limit):
    """Method -> results of `evaluation.run`: the mean face and every training of `trained`, name -> folder."""
    from tf_deep3d.evaluation import benchmark as evaluation
    from tf_deep3d.evaluation import methods as evaluation_methods
    from tf_deep3d.evaluation import open_benchmark, result_files
    from tf_deep3d.face import morphable_model
    from tf_deep3d.models import regression, rnet
    from tf_deep3d.reconstruction import photo

    levels = morphable_model.load_levels()
    models = photo.Models(levels, levels[-1], None)
    chosen = photo.Options()
    methods = [evaluation_methods.own_method("mean", models, chosen)]
    for name, folder in trained.items():
        network = models._replace(regressor=regression.trained(rnet.load_rnet(folder)))
        weights = rnet.fingerprint(folder / rnet.WEIGHTS)
        methods.append(evaluation_methods.own_method("rnet:0", network, chosen, weights)._replace(name=name))
    benchmark = open_benchmark.load(limit)
    pictures = result_files.picture_folder(out, benchmark.name)
    cases = [evaluation.open_case(view, pictures) for view in benchmark.views]
    return evaluation.run(benchmark.name, cases, methods, levels[-1], out, overwrite=True)


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="pictures of the benchmark (all)")
    parser.add_argument("--only", nargs="+", choices=list(OFF), default=list(OFF), help="some of the trainings")
    options = parser.parse_args(arguments)
    with command_line.quiet():
        from tf_deep3d import train
        from tf_deep3d.evaluation import report

    trained = {}
    for name in options.only:
        trained[name] = options.out / name.replace(" + ", "_")
        if status := train.main([*recipe(options, OFF[name]), "--run", str(trained[name])]):
            return status
    results = measure(trained, options.out / "evaluation", options.limit)
    print(report.text_table(report.summaries(results)["all"], len(results["mean"])))
    for name in results:
        if ALL in results and name != ALL:
            print(f"\n{report.comparison_text(report.comparison(results, name, ALL), name, ALL)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
