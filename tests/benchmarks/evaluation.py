"""Speed and memory of the evaluation: photos per second of each protocol, and the peak of the memory.

    python -m tests.benchmarks.evaluation [--cases 24] [--method rnet:0] [--data micc=FLORENCE --data now=NOW]

Every row is a process that evaluates so many cases, and a second one that evaluates twice as many: bounded
memory shows in peaks that hardly differ. Start-up is excluded; making the pictures, detection, the method, alignment
and error maps are not. `--data` adds data sets that you have; `pts` and `csv` are pictures of the open benchmark.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tf_deep3d.face.camera import MILLIMETRES

OWN = ("open", "sets", "robustness", "fairness")

_WORK = """
import json, resource, sys, tempfile, time
from pathlib import Path
from tf_deep3d import command_line
with command_line.quiet():
    from tf_deep3d.evaluation import benchmark, named_methods
    from tf_deep3d.evaluation.protocols import loading
    from tf_deep3d.face import morphable_model
    name, data, method, limit = sys.argv[1:]
    levels = morphable_model.load_levels()
    protocol = loading.load(name, data or None, levels[-1], {}, int(limit))
    (made,) = named_methods.load([method], levels, detail=protocol.detail)
    hooks = benchmark.Hooks(describe=named_methods.descriptor() if protocol.recognition else None)
with tempfile.TemporaryDirectory() as out, command_line.quiet():
    count = 0
    def counted():
        global count
        for case in protocol.cases(Path(out) / "pictures"):
            count += len(case.photos)
            yield case
    start, spent = time.perf_counter(), time.process_time()
    benchmark.run(protocol.name, counted(), [made], levels[-1], Path(out), hooks=hooks)
    start, spent = time.perf_counter() - start, time.process_time() - spent
print(json.dumps({"photos": count, "seconds": start, "cpu": spent,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--method", default="rnet:0")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH")
    options = parser.parse_args()
    given = dict(each.split("=", 1) for each in options.data)
    print(
        f"{'protocol':15}{'photos':>8}{'photos/s':>10}{'CPU s a photo':>15}{'peak, MB':>10}{'with twice the cases':>22}"
    )
    with tempfile.TemporaryDirectory() as folder:
        listed = dict.fromkeys(OWN, "") | written(Path(folder), 2 * options.cases) | given
        for name, data in listed.items():
            half, whole = (measure(name, data, options.method, cases) for cases in (options.cases, 2 * options.cases))
            row = f"{half['photos'] / half['seconds']:10.2f}{half['cpu'] / half['photos']:15.2f}"
            print(f"{name:15}{half['photos']:8}{row}{half['peak']:10.0f}{whole['peak']:22.0f}", flush=True)


def measure(name, data, method, cases):
    """Photos, seconds, CPU seconds and the peak in MB of one process."""
    command = [sys.executable, "-c", _WORK, name, str(data), method, str(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def written(folder, count):
    """Pictures of the open benchmark in the layouts of `pts` and `csv`: name -> path."""
    from PIL import Image

    from tf_deep3d.evaluation import open_benchmark

    rows = ["photos,scan,landmarks,group"]
    for view in open_benchmark.load(limit=count).views:
        who = view.subject
        folder.joinpath("pts").mkdir(exist_ok=True)
        photo = folder / "pts" / f"{view.name}.png"
        Image.fromarray(open_benchmark.picture(view)).save(photo)
        points = "\n".join(f"{x} {y}" for x, y in view.landmarks + 0.5)
        photo.with_suffix(".pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
        scan = folder / f"{who.name}.obj"
        if not scan.exists():
            lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in who.vertices * MILLIMETRES]
            scan.write_text("\n".join([*lines, *(f"f {a} {b} {c}" for a, b, c in who.triangles + 1)]))
            marks = "\n".join(f"{x} {y} {z}" for x, y, z in who.landmarks * MILLIMETRES)
            scan.with_suffix(".txt").write_text(marks)
        rows.append(f"pts/{photo.name},{scan.name},{who.name}.txt,{who.name}")
    (folder / "list.csv").write_text("\n".join(rows))
    return {"pts": folder / "pts", "csv": folder / "list.csv"}


if __name__ == "__main__":
    main()
