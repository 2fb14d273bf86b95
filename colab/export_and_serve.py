# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Export and serve
#
# The networks leave the workshop: TFLite files for phones, in four precisions, each compared with Keras; a runtime that
# needs NumPy, Pillow and LiteRT only; and a SavedModel for TensorFlow Serving, asked over REST or gRPC.

# %%
# Installs tf_deep3d where it is missing, without replacing anything that is there. Nothing needs a restart.
import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

EXTRAS = "demo,export"
SOURCE = ""  # where it comes from: git+https://.., a wheel, or a folder; empty for the checkout around this notebook


def install(extras):
    checkout = Path.cwd().parent if Path.cwd().name == "colab" else Path.cwd()
    held = sorted({f"{package.name}=={package.version}" for package in distributions()})
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "held.txt").write_text("\n".join(held))
        wanted = f"tf_deep3d[{extras}] @ {SOURCE or checkout.as_uri()}"
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", f"{folder}/held.txt", wanted], check=True)
    importlib.invalidate_caches()


if importlib.util.find_spec("tf_deep3d") is None:
    install(EXTRAS)

# %% tags=["parameters"]
# folder of a training; empty for the shipped networks
RUN = ""  # @param {"type":"string"}
# of the TFLite files
QUANTIZE = "float32,float16,dynamic,int8"  # @param {"type":"string"}
# folder of photos, or of records, to choose the ranges of int8 and to compare by; empty for rendered people
CALIBRATION = ""  # @param {"type":"string"}
UPLOAD = False  # @param {"type":"boolean"}
# or the path of a photo that is there already
PHOTO = ""  # @param {"type":"string"}
# of a TensorFlow Serving that has the bundle: http://HOST:8501, or HOST:8500 for gRPC
ADDRESS = ""  # @param {"type":"string"}

# %% [markdown]
# ## The bundle
#
# One folder with all that production takes. Every file is compared with Keras on faces that chose no range of int8, and
# refused if it differs by more than its bound.

# %%
import json

from IPython.display import HTML, display

from export import __main__ as export

if not Path("bundle").exists():
    run, calibration = [RUN] if RUN else [], ["--calibration", CALIBRATION] if CALIBRATION else []
    if export.main([*run, "bundle", "--quantize", QUANTIZE, *calibration]):
        raise SystemExit("It failed, see above.")
manifest = json.loads(Path("bundle", "manifest.json").read_text(encoding="utf-8"))

# %% [markdown]
# ## Sizes and errors

# %%
rows = [("file", "MB", "ms, one thread", "shape, mean mm from Keras", "landmarks, mean px from Keras")]
for entry in manifest["networks"]:
    size, time_ms = manifest["files"][entry["file"]]["bytes"] / 1e6, entry["latency_ms"]["1"]
    shape, points = (entry["parity"][name]["mean"] for name in ("shape_mm", "landmark_px"))
    rows.append((entry["file"], f"{size:.1f}", f"{time_ms:.1f}", f"{shape:.4f}", f"{points:.4f}"))
lines = (f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
display(HTML(f"<table>{''.join(lines)}</table>"))

# %% [markdown]
# ## On the device
#
# The same code runs on a phone or a small computer: from a photo to a mesh with ARKit weights, without TensorFlow.

# %%
import time

from PIL import Image

from export import device

try:
    from google.colab import files as colab
except ImportError:
    colab = None  # not in Colab

if UPLOAD and colab is not None:
    PHOTO = next(iter(colab.upload()), "")
if not PHOTO:
    from skimage import data

    PHOTO = "astronaut.png"
    Image.fromarray(data.astronaut()).save(PHOTO)

runtime = device.load("bundle")
runtime.reconstruct(PHOTO)  # the first photo pays for what later ones find ready
begin = time.perf_counter()
(face,) = runtime.reconstruct(PHOTO)
print(f"{1000 * (time.perf_counter() - begin):.0f} ms from the photo to the mesh, one thread")
print({name: round(weight, 2) for name, weight in sorted(face.arkit.items(), key=lambda unit: -unit[1])[:5]})
face.write("device_face", overwrite=True)

# %% [markdown]
# ## In 3D
#
# What the device wrote: without a renderer the vertices have the colours of the albedo.

# %%
from tf_deep3d.reconstruction import viewer

display(HTML(viewer.cell(viewer.page(Path("device_face", "face.glb").read_bytes(), "on the device"))))

# %% [markdown]
# ## On a server
#
# TensorFlow Serving answers by the SavedModel: `serving_default` takes JPEG or PNG files of aligned faces, `face` makes
# meshes of coefficients, `aggregate` fuses photos of one person. With an address the bundle's client asks it, over REST
# or gRPC:
#
# ```bash
# docker run -p 8501:8501 -p 8500:8500 -v "$PWD/bundle/saved_model:/models/face" -e MODEL_NAME=face tensorflow/serving
# ```
#
# Hosted notebooks run no server. Without an address the same signatures are called in this process: the same graph and
# the same inputs, without the network in between.

# %%
import numpy as np

from export import client

picture = client.align(PHOTO, "bundle")  # the bytes of a PNG: what goes over the wire
if ADDRESS:
    answered, errors = client.reconstruct(ADDRESS, [picture])
    mesh = client.predict(ADDRESS, "face", {name: answered[name] for name in client.GROUPS})
    print("asked", ADDRESS)
else:
    import tensorflow as tf

    signatures = tf.saved_model.load("bundle/saved_model/1").signatures
    answer = signatures["serving_default"](image_bytes=tf.constant([picture]))
    answered = {name: value.numpy() for name, value in answer.items()}
    errors = [text.decode() for text in answered.pop("error")]
    asked = {name: tf.constant(answered[name]) for name in client.GROUPS}
    mesh = {name: value.numpy() for name, value in signatures["face"](**asked).items()}
    print("called the loaded signatures; no server was asked")
assert errors == [""], errors
apart = np.abs(answered["identity"][0] - face.coefficients.identity[0])
print(f"mesh of {mesh['vertices'].shape[1]} vertices; identity differs from the device's by {apart.max():.3f} at most")
