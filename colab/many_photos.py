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
# # Many photos of one person
#
# Several photos make one face: each photo tells some numbers of the shape better than others, and C-Net, the confidence
# network of Deng et al. 2019, says which. This notebook shows its confidences, and compares its element-wise weighing
# (S4 in the paper) with the plain average.
#
# Run all cells. `UPLOAD = True` asks for photos of yours, all of one person. Else the photos are of a rendered person,
# whose true shape is known: then the errors are in millimetres.

# %%
# Installs tf_deep3d where it is missing, without replacing anything that is there. Nothing needs a restart.
import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

EXTRAS = "demo"
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
UPLOAD = False  # @param {"type":"boolean"}
# or a folder of photos that are there already
FOLDER = ""  # @param {"type":"string"}
# photos of the rendered person
COUNT = 6  # @param {"type":"integer"}
# which rendered person
PERSON = 3  # @param {"type":"integer"}
# level of detail: 0 is the coarsest, -1 the finest
LEVEL = -1  # @param {"type":"integer"}
# folder of the results
OUT = "faces"  # @param {"type":"string"}

# %% [markdown]
# ## The photos

# %%
import numpy as np
from IPython.display import HTML, display
from PIL import Image

import tf_deep3d as d3d
from tf_deep3d.data.rendered import people
from tf_deep3d.data.rendered import pictures as rendered
from tf_deep3d.face import head as heads
from tf_deep3d.io import photos
from tf_deep3d.rendering import pictures

try:
    from google.colab import files as colab
except ImportError:
    colab = None  # not in Colab

truth = None  # identity coefficients, where they are known
if UPLOAD and colab is not None:
    FOLDER = "photos"
    Path(FOLDER).mkdir(exist_ok=True)
    for name, content in colab.upload().items():
        Path(FOLDER, name).write_bytes(content)
if not FOLDER:
    FOLDER = "rendered"
    Path(FOLDER).mkdir(exist_ok=True)
    model = d3d.MorphableModel.from_preset("open_face", level=heads.LEVEL)
    asked = rendered.Settings(COUNT, seed=PERSON, photos_each=COUNT, validation=0)
    for number, record in enumerate(rendered.render_people(asked, model, people.load_head(model), COUNT)):
        Image.fromarray(record["image"]).save(Path(FOLDER, f"{number}.png"))
        truth = model.layout().split(record["coefficients"][None]).identity[0]
paths = photos.find_photos([FOLDER])
small = [np.asarray(Image.open(path).convert("RGB").resize((160, 160))) for path in paths]
Image.fromarray(pictures.contact_sheet(small, 6))

# %% [markdown]
# ## One face
#
# Photos without a face, or of another person, are left out and named.

# %%
reconstructor = d3d.FaceReconstructor.from_preset("mobilenet", level=LEVEL)
weighed = reconstructor.fuse(paths, strategy="elementwise", keep_outliers=truth is not None)
average = reconstructor.fuse(paths, strategy="average", keep_outliers=truth is not None)
folder = Path(OUT, Path(FOLDER).name)
outcome = weighed.write(folder, overwrite=True)
print(outcome.summary())
for name, reason in outcome.left_out():
    print(f"{name}: {reason}")

# %% [markdown]
# ## Whom C-Net trusts
#
# A row a photo, a column for each number of the identity: how much the photo counts in it.

# %%
confidence = Image.open(folder / "confidence.png")
confidence.thumbnail((1000, 1400))
display(confidence)

# %% [markdown]
# ## Element-wise against averaging

# %%
from tf_deep3d import face as faces
from tf_deep3d.evaluation.registration import similarity_from_landmarks
from tf_deep3d.face.camera import MILLIMETRES

model = reconstructor.models.written
inner = model.regions["inner_face"]


def shape(identity):
    """The inner face [N, 3] in mm of identity coefficients."""
    return MILLIMETRES * faces.neutral_shape(model, np.asarray(identity)[None])[0][inner]


def distance(one, other):
    """Root mean square distance in mm of the same vertices of two shapes, one of them moved and scaled to fit."""
    moved = similarity_from_landmarks(one, other).apply(one)
    return float(np.sqrt(((moved - other) ** 2).sum(1).mean()))


both = {"element-wise (S4)": weighed, "average": average}
if truth is None:
    first, second = (shape(fused.coefficients.identity[0]) for fused in both.values())
    print(
        f"the two faces differ by {distance(first, second):.2f} mm; without the true shape nobody knows which is better"
    )
else:
    alone = [distance(shape(each.coefficients.identity[0]), shape(truth)) for each in weighed.album.sightings]
    print(f"single photos: {np.mean(alone):.2f} mm from the true shape, the best {min(alone):.2f} mm")
    for name, fused in both.items():
        print(f"{name}: {distance(shape(fused.coefficients.identity[0]), shape(truth)):.2f} mm from the true shape")
    print(f"mean face: {distance(shape(np.zeros_like(truth)), shape(truth)):.2f} mm")

# %% [markdown]
# ## In 3D

# %%
from tf_deep3d.reconstruction import viewer

display(HTML(viewer.cell((folder / "view.html").read_text(encoding="utf-8"))))

# %% [markdown]
# ## Take it with you

# %%
if colab is None:
    print(f"{folder / 'face.glb'}, and {folder / 'view.html'} to look at")
else:
    colab.download(str(folder / "face.glb"))
