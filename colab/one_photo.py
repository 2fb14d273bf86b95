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
# # One photo
#
# A photo becomes a textured 3D face with the 52 ARKit expressions: in a minute or two, without a GPU. You can turn it
# below, move its expression, and save it as GLB for Blender, Unity or a browser.
#
# Run all cells. `UPLOAD = True` asks for a photo of yours; else it is a public-domain photo that scikit-image carries.
# The photo stays on the machine that runs this notebook.

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
# or the path of a photo that is there already
PHOTO = ""  # @param {"type":"string"}
# also a whole head with ears, teeth and tongue
HEAD = True  # @param {"type":"boolean"}
# level of detail: 0 is the coarsest, -1 the finest
LEVEL = -1  # @param {"type":"integer"}
# steps of the fit after the network; 0 is fastest
REFINE = 20  # @param {"type":"integer"}
# folder of the results
OUT = "faces"  # @param {"type":"string"}

# %% [markdown]
# ## The photo

# %%
from IPython.display import HTML, FileLink, display
from PIL import Image

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
shown = Image.open(PHOTO).convert("RGB")
shown.thumbnail((400, 400))
display(shown)

# %% [markdown]
# ## The face
#
# R-Net regresses the face, a few steps of gradient descent refine it. What the command `deep3d-reconstruct` writes
# lies in a folder afterwards: OBJ, PLY and GLB, a texture, an overlay, the numbers, and a page to look at it.

# %%
import tf_deep3d as d3d

reconstructor = d3d.FaceReconstructor.from_preset("mobilenet", level=LEVEL, refine=REFINE, head=HEAD)
found = reconstructor.reconstruct(PHOTO)
if not found:
    raise SystemExit(f"No face was found in {PHOTO}: try one that shows a face larger and more from the front.")
face = found[0]
folder = Path(OUT, Path(PHOTO).stem)
face.write(folder, overwrite=True)
sorted(path.name for path in folder.iterdir())

# %% [markdown]
# Photo, overlay, shape, albedo, normals and depth; the landmarks that were detected are green, those of the mesh red.

# %%
overlay = Image.fromarray(face.appearance.pictures["overlay.png"])
overlay.thumbnail((1100, 1100))
display(overlay)

# %% [markdown]
# ## In 3D
#
# Drag to turn it, scroll to come nearer, and move the sliders. The cell holds all that it needs: it works offline, and
# sends nothing. Opened from a file: `view.html` in the same folder.

# %%
from tf_deep3d.reconstruction import viewer

display(HTML(viewer.cell((folder / "view.html").read_text(encoding="utf-8"))))

# %% [markdown]
# ## Numbers
#
# The pose in degrees, the strongest ARKit units of the photo, and landmarks in px of the photo. All coefficients are in
# `coefficients.json`.

# %%
print(*(f"{name}: {value:.1f}" for name, value in face.pose._asdict().items()), sep="\n")
print(
    *(f"{name}: {weight:.2f}" for name, weight in sorted(face.arkit.items(), key=lambda unit: -unit[1])[:8]), sep="\n"
)
print("nose tip, px of the photo:", face.landmarks[30].round(1))
print(f"landmarks off by {100 * face.landmark_error:.1f} % of the eye distance")

# %% [markdown]
# ## Take it with you

# %%
for name in ["face.glb", *(["head.glb"] if HEAD else [])]:
    if colab is None:
        display(FileLink(folder / name))
    else:
        colab.download(str(folder / name))
