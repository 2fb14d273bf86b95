"""What a training leaves in its folder, and how it goes on where it was cut off.

    config.yaml         the resolved settings
    log.csv             one line for every `log_every` steps: raw terms, measures, rate, speed
    tensorboard/        the same, and the panels
    panels/00001000.png held-out faces: photo, overlay, shape, ..
    checkpoints/        weights and the optimizer's state, the two latest
    rnet.keras          the weights to use, from the latest checkpoint

Every file but the logs appears whole or not at all. The log is cut back to the checkpoint that a training goes on
from.
"""

import csv
import dataclasses
import io
import json
import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from PIL import Image
from tqdm import tqdm

from tf_deep3d import config, data, morphable_model, pictures, records, training
from tf_deep3d import face as faces
from tf_deep3d.coefficients import Coefficients
from tf_deep3d.files import writing
from tf_deep3d.models import rnet as rnets
from tf_deep3d.models.recognition import build_recognition

KEPT = 2  # checkpoints
CONFIG, LOG, WEIGHTS = "config.yaml", "log.csv", rnets.WEIGHTS
SHOWN = 6  # faces of a panel


class TrainingError(ValueError):
    """The training cannot go on; the message says why."""


def checkpoints(folder):
    """The checkpoints of a run as (step, path), the earliest first."""
    found = ((path.name.split(".")[0], path) for path in Path(folder, "checkpoints").glob("*.weights.h5"))
    return sorted((int(step), path) for step, path in found if step.isdigit())


def restore(folder, reconstructor):
    """Loads the latest checkpoint into a compiled `Reconstructor`; returns its step, 0 if there is none.

    Raises:
      TrainingError: if the checkpoint does not fit.
    """
    found = checkpoints(folder)
    if not found:
        return 0
    step, path = found[-1]
    reconstructor.optimizer.build(reconstructor.rnet.trainable_variables)
    try:
        reconstructor.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise TrainingError(
            f"{path} does not fit this training; remove it to go on without. Received: {error}"
        ) from error
    return step


def cut_log(folder, step):
    """Drops the lines of `log.csv` after `step`, which will be written again."""
    path = Path(folder, LOG)
    if not path.is_file():
        return
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if row and row[0].isdigit() and int(row[0]) <= step and len(row) == len(header)]
    with writing(path, overwrite=True) as file:
        text = io.StringIO()
        csv.writer(text).writerows([header, *kept])
        file.write(text.getvalue().encode())


class Guard(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, before anything of it is saved."""

    def __init__(self, step, names):
        """Prepares the guard.

        Args:
          step: that the training starts from.
          names: function of a step that names its records.
        """
        super().__init__()
        self.step = step
        self.names = names

    def on_train_batch_end(self, batch, logs=None):
        """Looks at the step."""
        self.step += 1
        bad = [name for name, value in (logs or {}).items() if not np.isfinite(float(value))]
        if bad:
            sources = ", ".join(self.names(self.step - 1))
            raise TrainingError(f"step {self.step}: {', '.join(bad)} not finite. Received: the records {sources}")


class Journal(keras.callbacks.Callback):
    """Writes the log, TensorBoard, and a progress bar."""

    def __init__(self, folder, settings, step, board, bar):
        """Prepares the logs.

        Args:
          folder: of the run.
          settings: `TrainSettings`.
          step: that the training starts from.
          board: TensorBoard's writer.
          bar: progress bar of `tqdm`, in steps.
        """
        super().__init__()
        self.path = Path(folder, LOG)
        self.settings = settings
        self.step = step
        self.bar = bar
        self.board = board
        self.started = self.waited = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of an entry."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar."""
        self.step += 1
        self.bar.update(1)
        self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}, landmarks {float(logs['landmark_error']):.2f} px")

    def on_epoch_end(self, epoch, logs=None):
        """Writes an entry; `logs` has the validation's as val_*, where there was one."""
        seconds = time.perf_counter() - self.started - self.waited
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        speed = self.settings.log_every * self.settings.data.batch / seconds
        names = list(self.model.means)
        values = {name: float(logs[name]) for name in names} | {"learning_rate": rate, "images_per_second": speed}
        values |= {f"val_{name}": float(logs[f"val_{name}"]) for name in names if f"val_{name}" in logs}
        with self.board.as_default(step=self.step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.board.flush()
        columns = [*names, "learning_rate", "images_per_second", *(f"val_{name}" for name in names)]
        fresh = not self.path.is_file()
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", *columns])
            writer.writerow([self.step, *(f"{values[name]:.6g}" if name in values else "" for name in columns)])
        self.waited = 0.0

    def on_test_begin(self, logs=None):
        """Stops the clock."""
        self.paused = time.perf_counter()

    def on_test_end(self, logs=None):
        """Starts it again."""
        self.waited += time.perf_counter() - self.paused


class Keeper(keras.callbacks.Callback):
    """Writes checkpoints, panels and `rnet.keras`."""

    def __init__(self, folder, settings, step, board, model, shown):
        """Prepares the files.

        Args:
          folder: of the run.
          settings: `TrainSettings`.
          step: that the training starts from.
          board: TensorBoard's writer.
          model: `MorphableModel` of the panels.
          shown: batch of `data.validation_batches` to show, NumPy, or None.
        """
        super().__init__()
        self.folder = Path(folder)
        self.settings = settings
        self.step = step
        self.board = board
        self.face_model = model
        self.shown = shown

    def on_train_begin(self, logs=None):
        """Shows where the training starts."""
        if self.step == 0:
            self._panel()

    def on_epoch_end(self, epoch, logs=None):
        """Writes what is due."""
        self.step += self.settings.log_every
        if self.step % self.settings.save_every == 0 or self.step == self.settings.steps:
            self._save()
            self._panel()

    def _save(self):
        path = self.folder / "checkpoints" / f"{self.step:08d}.weights.h5"
        temporary = path.with_name(f".{path.name}")  # Keras insists on the suffix
        path.parent.mkdir(exist_ok=True)
        try:
            self.model.save_weights(temporary, overwrite=True)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        for _, old in checkpoints(self.folder)[:-KEPT]:
            old.unlink()
        with averaged(self.model):
            rnets.save_rnet(self.model.rnet, self.folder / WEIGHTS, overwrite=True)

    def _panel(self):
        if self.shown is None:
            return
        with averaged(self.model):
            picture = panel(self.model.rnet, self.face_model, self.shown)
        with writing(self.folder / "panels" / f"{self.step:08d}.png", overwrite=True) as file:
            Image.fromarray(picture).save(file, "PNG")
        with self.board.as_default(step=self.step):
            tf.summary.image("faces", picture[None])


@contextmanager
def averaged(reconstructor):
    """Inside, the weights of a `Reconstructor` are their moving averages, where it keeps them."""
    rnet, optimizer = reconstructor.rnet, reconstructor.optimizer
    if not (getattr(optimizer, "use_ema", False) and int(ops.convert_to_numpy(optimizer.iterations)) > 0):
        yield
        return
    kept = rnet.get_weights()
    optimizer.finalize_variable_values(rnet.trainable_variables)
    try:
        yield
    finally:
        rnet.set_weights(kept)


def panel(rnet, model, batch):
    """A picture of what `rnet` makes of a batch: one row for each face; photo, overlay, shape, .., and the skin mask.

    Args:
      rnet: `RNet`.
      model: `MorphableModel`.
      batch: dict of `data`, NumPy.

    Returns:
      [H, W, 3] uint8.
    """
    found = Coefficients(*(ops.convert_to_numpy(group) for group in rnet(batch["inputs"][:SHOWN])))
    cells = []
    for index, photo in enumerate(batch["images"][:SHOWN]):
        face = faces.reconstruct(model, Coefficients(*(group[index : index + 1] for group in found)))
        shown = pictures.panels(photo, face, model.triangles, scale=1, detected=batch["landmarks"][index])
        skin = np.repeat(batch["skin"][index], 3, axis=-1)
        cells += [shown["photo"], shown["overlay"], shown["shape"], shown["albedo"], skin]
    return pictures.contact_sheet(cells, 5, gap=2)


def open_folder(folder, settings, overwrite=False):
    """Makes the folder of a run, or finds the run to go on with.

    Args:
      folder: of the run.
      settings: `TrainSettings`; but for `steps` they must be those the run began with.
      overwrite: remove another run's files.

    Raises:
      TrainingError: if the folder holds a run of other settings, or something else.
      OSError: if it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and overwrite:
        if any(folder.iterdir()) and not (folder / CONFIG).is_file():
            raise TrainingError(f"only the folder of a run can be overwritten. Received: {folder}")
        shutil.rmtree(folder)
    if (folder / CONFIG).is_file():
        before = config.load(folder / CONFIG, type(settings))
        if dataclasses.replace(before, steps=settings.steps) != settings:
            changed = _differences(config.as_plain(before), config.as_plain(settings))
            raise TrainingError(
                f"{folder} holds a run with other settings; name another folder with --run, or pass --overwrite. "
                f"Received: {', '.join(changed)}"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise TrainingError(f"the folder of a run must be empty or hold a run. Received: {folder}")
    config.write(folder / CONFIG, settings, overwrite=True)


def train(folder, settings):
    """Trains until `settings.steps`; returns 0.

    Raises:
      TrainingError: if the loss stops being finite, or a checkpoint does not fit.
      records.RecordsError, rnet.WeightsError, morphable_model.ModelError: for unusable input.
    """
    folder = Path(folder)
    workers = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster")
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if workers else tf.distribute.MirroredStrategy()
    sources = data.open_sources(settings.data)
    for source in sources:
        for damage in source.damage:
            print(f"warning: {damage}", file=sys.stderr)
    model = morphable_model.load(settings.network.face_model, settings.level)
    with strategy.scope():
        rnet = training.build_rnet(settings)
        recognition = build_recognition() if settings.loss.perceptual > 0 else None
        reconstructor = training.Reconstructor(rnet, model, recognition, settings, strategy.num_replicas_in_sync)
        reconstructor.compile(training.optimizer(settings), jit_compile=False)  # the renderer's shapes are dynamic
        step = restore(folder, reconstructor)
    if step >= settings.steps:
        print(f"{folder} is complete: {step} steps")
        return 0
    cut_log(folder, step)
    batch = settings.data.batch
    batches = data.training_batches(
        settings.data, sources, rnet.layout.total, training.dense_mirror(model), settings.seed, step * batch
    )
    held_out, shown = _held_out(settings, rnet.layout.total)

    def names(index):
        return data.names_of(settings.data, sources, settings.seed, index * batch, batch)

    count = sum(source.count for source in sources)
    print(f"{count} records, {rnet.count_params():,} weights, {strategy.num_replicas_in_sync} replicas, run {folder}")
    with tqdm(total=settings.steps, initial=step, unit="step", disable=None) as bar:
        callbacks = [Guard(step, names)]
        if settings.optimization.ema > 0:
            callbacks.append(keras.callbacks.SwapEMAWeights())
        board = tf.summary.create_file_writer(str(folder / "tensorboard"))
        callbacks += [Journal(folder, settings, step, board, bar), Keeper(folder, settings, step, board, model, shown)]
        reconstructor.fit(
            batches,
            epochs=settings.steps // settings.log_every,
            initial_epoch=step // settings.log_every,
            steps_per_epoch=settings.log_every,
            validation_data=held_out,
            validation_freq=settings.validate_every // settings.log_every,
            callbacks=callbacks,
            verbose=0,
            shuffle=False,
        )
    print(f"{folder / WEIGHTS}: {settings.steps} steps")
    return 0


def _held_out(settings, coefficients):
    """Batches of the validation splits and the first of them in NumPy, or (None, None) where there are none."""
    if not settings.data.validation:
        return None, None
    try:
        sources = data.open_sources(settings.data, "validation")
    except records.RecordsError as error:
        print(f"no validation: {error}", file=sys.stderr)
        return None, None
    batches = data.validation_batches(settings.data, sources, coefficients)
    return batches, next(iter(batches.as_numpy_iterator()))


def _differences(before, now, prefix=""):
    """The keys of nested dicts that differ, as "key: before, now"."""
    found = []
    for key, value in now.items():
        if isinstance(value, dict):
            found += _differences(before[key], value, f"{prefix}{key}.")
        elif before[key] != value:
            found.append(f"{prefix}{key} was {before[key]} and is {value}")
    return found
