"""A thousand requests at once, bad ones among them, by gRPC.

    python -m tests.benchmarks.serving BUNDLE [--requests 1000] [--clients 32]

There is no TensorFlow Serving in any package registry: the server here is `tests.serving`, in a process of its own,
which answers by the same SavedModel in the same messages. Its speed is not that of TensorFlow Serving. What is proven
is that a bad request spoils no good one, and that the server goes on.
"""

import argparse
import collections
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tests.exported import encode, smooth_pictures
from tests.serving import UNLIMITED

SEED = 0
LARGE = 50_000_000  # bytes
_SERVE = """
import resource, sys
from tests.serving import grpc_server
with grpc_server(sys.argv[1]) as address:
    print(address, flush=True)
    sys.stdin.read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, help="folder that `python -m export` wrote")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=32, help="requests at the same time")
    options = parser.parse_args()
    folder = options.bundle / "saved_model" / "1"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", _SERVE, str(folder)], **pipes) as server:
        address = server.stdout.readline().strip()
        report = _ask(address, options)
        peak = server.communicate("")[0].strip()
    print(f"\n{report}; peak of the server's memory {peak} MiB; its exit status {server.returncode}")


def _ask(address, options):
    """Sends the requests and prints what came back; returns a line on speed and on the answers' truth."""
    kinds = _kinds()
    names = np.random.default_rng(SEED).choice(list(kinds), options.requests, p=[share for share, _ in kinds.values()])
    with grpc.insecure_channel(address, UNLIMITED) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        truth = tf.make_ndarray(stub.Predict(kinds["good"][1], 300).outputs["identity"])

        def ask(name):
            start = time.perf_counter()
            try:
                answer = stub.Predict(kinds[name][1], 600)
            except grpc.RpcError as error:
                return name, error.code().name, 0.0
            text = tf.make_ndarray(answer.outputs["error"])[0].decode() if "error" in answer.outputs else ""
            if text:
                return name, f"answered: {text[:60]}", 0.0
            right = np.allclose(tf.make_ndarray(answer.outputs["identity"]), truth, atol=1e-5)
            return name, "right" if right else "WRONG", 1e3 * (time.perf_counter() - start)

        begin = time.perf_counter()
        with ThreadPoolExecutor(options.clients) as pool:
            outcomes = list(pool.map(ask, names))
        spent = time.perf_counter() - begin
        after = ask("good")[1]
    for (name, outcome), count in sorted(collections.Counter(each[:2] for each in outcomes).items()):
        print(f"{count:>6}  {name:20} {outcome}")
    times = [each[2] for each in outcomes if each[2]]
    return (
        f"{len(outcomes)} requests of {options.clients} clients in {spent:.0f} s, good ones {np.median(times):.0f} ms, "
        f"99 % {np.percentile(times, 99):.0f} ms; a good one afterwards: {after}"
    )


def _kinds():
    """Name -> (share, request)."""
    picture = encode(smooth_pictures(1)[0])
    return {
        "good": (0.8, _request("serving_default", image_bytes=[picture])),
        "not an image": (0.05, _request("serving_default", image_bytes=[b"<html>no picture</html>"])),
        "damaged": (0.04, _request("serving_default", image_bytes=[picture[: len(picture) // 2]])),
        "50 MB": (0.02, _request("serving_default", image_bytes=[b"\xff\xd8\xff" + bytes(LARGE)])),
        "wrong shape": (0.03, _request("coefficients", images=np.zeros((1, 100, 100, 3), np.float32))),
        "wrong rank": (0.02, _request("coefficients", images=np.zeros((224, 224, 3), np.float32))),
        "wrong type": (0.02, _request("coefficients", images=["text"])),
        "unknown signature": (0.02, _request("nothing", images=np.zeros((1,), np.float32))),
    }


def _request(signature, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "face", signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


if __name__ == "__main__":
    main()
