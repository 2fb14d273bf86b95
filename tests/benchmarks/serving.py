"""A thousand requests at once, bad ones among them, over gRPC and REST.

    python -m tests.benchmarks.serving BUNDLE [--requests 1000] [--clients 32] [--door rest]

TensorFlow Serving is in no package registry: the server here is `tests.serving`, in a process of its own, which runs
the SavedModel by TensorFlow's C++ loader and answers in the official messages, as TensorFlow Serving does. Its door is
Python, so that its speed is a lower bound. What is proven is that a bad request spoils no good one, though the graph
joins the pictures of many clients, and that the server goes on.
"""

import argparse
import collections
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from export import client
from tests.exported import encode, smooth_pictures

SEED = 0
LARGE = 50_000_000  # bytes
_SERVE = """
import resource, sys
from tests import serving
with getattr(serving, sys.argv[1])(sys.argv[2]) as address:
    print(address, flush=True)
    sys.stdin.read()
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="folder that `python -m export` wrote")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32, help="requests at the same time")
    parser.add_argument("--door", choices=["grpc", "rest"], action="append", help="(both)")
    options = parser.parse_args()
    for door in options.door or ("grpc", "rest"):
        server = f"{door}_server"
        command = [sys.executable, "-c", _SERVE, server, str(options.bundle / "saved_model" / "1")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            address = process.stdout.readline().strip()
            report = _ask(address, options)
            peak, seconds = process.communicate("")[0].split()
        status = f"the server's peak of memory {peak} MiB, CPU {float(seconds):.0f} s, exit status {process.returncode}"
        print(f"{server}: {report}; {status}\n", flush=True)


def _ask(address, options):
    """Sends the requests and prints what came back; returns a line on speed and on the answers' truth."""
    kinds = _kinds()
    names = np.random.default_rng(SEED).choice(list(kinds), options.requests, p=[share for share, *_ in kinds.values()])
    client.TIMEOUT = 600
    truth = client.predict(address, *kinds["good"][1:])["identity"]

    def ask(name):
        start = time.perf_counter()
        try:
            answer = client.predict(address, *kinds[name][1:])
        except client.ServerError as error:
            return name, "refused: " + re.search(r": (\w+)", str(error))[1], 0.0
        text = answer["error"][0] if "error" in answer else ""
        if text:
            return name, f"answered: {(text.decode() if isinstance(text, bytes) else text)[:60]}", 0.0
        right = np.allclose(answer["identity"], truth, atol=1e-5)
        return name, "right" if right else "WRONG", 1e3 * (time.perf_counter() - start)

    begin = time.perf_counter()
    with ThreadPoolExecutor(options.clients) as pool:
        outcomes = list(pool.map(ask, names))
    spent = time.perf_counter() - begin
    after = ask("good")[1]
    for (name, outcome), count in sorted(collections.Counter(each[:2] for each in outcomes).items()):
        print(f"{count:>6}  {name:20} {outcome}")
    times = [each[2] for each in outcomes if each[2]]
    middle, slow = np.percentile(times, [50, 99])
    return (
        f"{len(outcomes)} requests, {options.clients} at a time, in {spent:.0f} s; good ones p50 {middle:.0f} ms, "
        f"p99 {slow:.0f} ms; a good one afterwards: {after}"
    )


def _kinds():
    """Name -> (share, signature, inputs)."""
    picture = encode(smooth_pictures(1)[0])
    return {
        "good": (0.8, "serving_default", {"image_bytes": [picture]}),
        "not an image": (0.05, "serving_default", {"image_bytes": [b"<html>no picture</html>"]}),
        "damaged": (0.04, "serving_default", {"image_bytes": [picture[: len(picture) // 2]]}),
        "50 MB": (0.02, "serving_default", {"image_bytes": [b"\xff\xd8\xff" + bytes(LARGE)]}),
        "wrong shape": (0.03, "coefficients", {"images": np.zeros((1, 100, 100, 3), np.float32)}),
        "wrong rank": (0.02, "coefficients", {"images": np.zeros((224, 224, 3), np.float32)}),
        "wrong type": (0.02, "coefficients", {"images": [b"text"]}),
        "unknown signature": (0.02, "nothing", {"images": np.zeros((1,), np.float32)}),
    }


if __name__ == "__main__":
    main()
