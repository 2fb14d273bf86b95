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
# # Train R-Net and C-Net
#
# R-Net regresses a face from a photo, C-Net says how much to trust it. Both learn here from rendered people, whose
# faces are known exactly, and from photos of yours, which need no labels: the face is rendered again, and compared with
# the photo. This is the method of Deng et al. 2019.
#
# The settings are small, so that everything can be seen in minutes: it goes on from the shipped weights. For a training
# that is worth its name take a GPU and the numbers in `configs/rnet_mobilenet.yaml`. The run lies in a folder, on your
# Drive if you like; run the notebook again, and it goes on where it stopped.

# %%
# Installs tf_deep3d where it is missing, without replacing anything that is there. Nothing needs a restart.
import importlib.util
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

EXTRAS = "train"
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
# keep the run on your Google Drive (Colab)
DRIVE = False  # @param {"type":"boolean"}
# folder of photos to learn from, a folder in it for each person; empty for none
PHOTOS = ""  # @param {"type":"string"}
# rendered pictures for R-Net
RENDERED = 240  # @param {"type":"integer"}
# rendered pictures for C-Net, four of each person
SETS = 120  # @param {"type":"integer"}
# steps of R-Net
STEPS = 40  # @param {"type":"integer"}
# steps of C-Net
SET_STEPS = 20  # @param {"type":"integer"}
# photos of a step, for all devices together
BATCH = 8  # @param {"type":"integer"}
# steps between entries of the log, validations and checkpoints
EVERY = 10  # @param {"type":"integer"}
TENSORBOARD = True  # @param {"type":"boolean"}
# further settings of both trainings, "KEY=VALUE KEY=VALUE", see tf_deep3d/training/settings.py
SETTINGS = ""  # @param {"type":"string"}

# %% [markdown]
# ## Where the run lies
#
# On a Drive it outlives the machine. Records are quick to make again: they stay here.

# %%
from IPython.display import HTML, display

runs = Path("runs")
if DRIVE:
    from google.colab import drive

    drive.mount("/content/drive")
    runs = Path("/content/drive/MyDrive/tf_deep3d/runs")
print("runs in", runs.resolve())

# %% [markdown]
# ## The devices
#
# The training uses all visible GPUs by itself: `MirroredStrategy` keeps a copy of the network on each and shares the
# batch among them, so that `BATCH` must be a multiple of their number. Without a GPU there is one device, the CPU.

# %%
from tf_deep3d.training import devices

strategy = devices.find_strategy()
print(type(strategy).__name__, "on", ", ".join(strategy.extended.worker_devices))
assert BATCH % strategy.num_replicas_in_sync == 0, "BATCH must be a multiple of the number of devices"

# %% [markdown]
# ## Rendered people
#
# Full heads with random faces, expressions, light, hair and backgrounds, as records with exact coefficients.

# %%
from PIL import Image

from tf_deep3d import prepare, synthetic, train


def run(command, *arguments):
    """Runs a command of the package, as it is run in a terminal."""
    print("$", command.__name__.replace("tf_deep3d.", "python -m tf_deep3d."), *arguments)
    if command.main([str(argument) for argument in arguments]):
        raise SystemExit("It failed, see above.")


records = []
for folder, count, each in (("rendered", RENDERED, 1), ("rendered_sets", SETS, 4)):
    if not Path(folder).exists():
        run(synthetic, folder, "--count", count, "--photos-each", each, "--show", 12, "--validation", 0.1)
sheet = Image.open("rendered/contact_sheet.png")
sheet.thumbnail((1000, 600))
display(sheet)

# %% [markdown]
# ## Your photos
#
# Found, aligned, and written as records with 68 and 478 landmarks and skin masks. With a folder for each person C-Net
# can learn from them, too. Photos of people are personal data: ask them first.

# %%
mine = []
if PHOTOS:
    if importlib.util.find_spec("apache_beam") is None:
        install("prepare")
    if not Path("records").exists():
        run(prepare, PHOTOS, "records", "--identities", PHOTOS, "--validation", 0.1)
    mine = ["records"]
print("records of yours:", *mine or ["none"])

# %% [markdown]
# ## TensorBoard
#
# Curves, and panels of held-out faces, while the training runs below.

# %%
if TENSORBOARD:
    from IPython import get_ipython

    get_ipython().run_line_magic("load_ext", "tensorboard")
    get_ipython().run_line_magic("tensorboard", f"--logdir {runs}")

# %% [markdown]
# ## R-Net

# %%
import tf_deep3d as d3d
from tf_deep3d.models import presets


def settings(**changed):
    """Settings as --set options of a command."""
    given = [f"{name.replace('__', '.')}={value}" for name, value in changed.items()]
    return [text for each in [*given, *SETTINGS.split()] for text in ("--set", each)]


small = {"log_every": EVERY, "validate_every": EVERY, "save_every": EVERY, "data__validation": BATCH}
small |= {"optimization__warmup": 0, "optimization__learning_rate": 1e-4}
start = presets.PRESETS["mobilenet"].rnet.path
sources = [*mine, "rendered"]
run(
    train, "rnet_mobilenet", "--run", runs / "rnet",
    *settings(data__records=f"[{','.join(sources)}]", data__shares="[]",
              data__batch=BATCH, network__start=start, steps=STEPS, **small),
)  # fmt: skip

# %% [markdown]
# ## C-Net
#
# It looks at sets of photos of one person, and learns without labels whom to trust: the shape that its confidences make
# of a set must explain all the photos. It belongs to one R-Net, which stays as it is: here the one of above.

# %%
sources = [*mine, "rendered_sets"]
run(
    train, "cnet_mobilenet", "--run", runs / "cnet",
    *settings(data__records=f"[{','.join(sources)}]", data__shares="[]",
              data__batch=strategy.num_replicas_in_sync, sets__photos=4, sets__rnet=runs / "rnet", steps=SET_STEPS,
              **small | {"data__validation": 2}),
)  # fmt: skip

# %% [markdown]
# ## What it did
#
# The log of each run, and the latest panel of held-out faces: picture, reconstruction, shape.

# %%
import csv

for name in ("rnet", "cnet"):
    with open(runs / name / "log.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    shown = [column for column in ("step", "loss", "val_loss", "val_nme", "images_per_second") if column in rows[0]]
    cells = "".join(f"<tr>{''.join(f'<td>{row[column]:.7}</td>' for column in shown)}</tr>" for row in rows)
    display(HTML(f"<h3>{name}</h3><table><tr>{''.join(f'<th>{column}</th>' for column in shown)}</tr>{cells}</table>"))
panels = sorted((runs / "rnet" / "panels").iterdir())
panel = Image.open(panels[-1])
panel.thumbnail((1000, 1000))
display(panel)

# %% [markdown]
# ## Use it
#
# The folder of a run serves wherever weights are asked for: `deep3d-reconstruct me.jpg --weights runs/rnet`,
# `deep3d-evaluate`, `deep3d-export runs/rnet bundle`. C-Net's file lies beside R-Net's from now on: albums find it.

# %%
import shutil

shutil.copy(runs / "cnet" / "cnet.keras", runs / "rnet")
rnet = d3d.RNet.from_preset(runs / "rnet")
cnet = d3d.CNet.from_preset(runs / "rnet", rnet=rnet)
sorted(path.name for path in (runs / "rnet").iterdir())
