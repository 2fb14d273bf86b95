"""What a training does beside its steps: it stops where the loss is not finite, and writes the files of its run."""

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

from tf_deep3d.errors import extra
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.io.files import writing
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training import panels
from tf_deep3d.training.objective import Reconstructor
from tf_deep3d.training.run_folder import LOG, TrainingError, check_there, save_checkpoint
from tf_deep3d.training.set_objective import SetReconstructor
from tf_deep3d.training.settings import TrainSettings


class Guard(keras.callbacks.Callback):
    """Stops a training whose loss is not finite, before anything of it is saved."""

    def __init__(self, step: int, names: Callable[[int], list[str]]) -> None:
        """Prepares the guard.

        Args:
          step: that the training starts from.
          names: function of a step that names its records.
        """
        super().__init__()
        self.step = step
        self.names = names

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the step."""
        self.step += 1
        bad = [name for name, value in (logs or {}).items() if not np.isfinite(float(value))]
        if bad:
            sources = ", ".join(self.names(self.step - 1))
            raise TrainingError(f"step {self.step}: {', '.join(bad)} not finite. Received: the records {sources}")


class Journal(keras.callbacks.Callback):
    """Writes the log, TensorBoard, and a progress bar."""

    def __init__(self, folder: Path, settings: TrainSettings, step: int, board: Callable[..., None], bar: Any) -> None:
        """Prepares the logs.

        Args:
          folder: of the run.
          settings: `TrainSettings`.
          step: that the training starts from.
          board: of `open_board`.
          bar: progress bar of `tqdm`, in steps.
        """
        super().__init__()
        self.path = Path(folder, LOG)
        self.settings = settings
        self.step = step
        self.bar = bar
        self.board = board
        self.started = self.waited = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock of an entry."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar."""
        self.step += 1
        self.bar.update(1)
        self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}, landmarks {float(logs['landmark_error']):.2f} px")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes an entry; `logs` has the validation's as val_*, where there was one."""
        check_there(self.path.parent)
        seconds = time.perf_counter() - self.started - self.waited
        rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        photos = self.settings.sets.photos if self.settings.sets else 1
        speed = self.settings.log_every * self.settings.data.batch * photos / seconds
        names = list(self.model.means)
        values = {name: float(logs[name]) for name in names} | {"learning_rate": rate, "images_per_second": speed}
        values |= {f"val_{name}": float(logs[f"val_{name}"]) for name in names if f"val_{name}" in logs}
        self.board(self.step, values)
        columns = [*names, "learning_rate", "images_per_second", *(f"val_{name}" for name in names)]
        fresh = not self.path.is_file()
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if fresh:
                writer.writerow(["step", *columns])
            writer.writerow([self.step, *(f"{values[name]:.6g}" if name in values else "" for name in columns)])
        self.waited = 0.0

    def on_test_begin(self, logs: Any = None) -> None:
        """Stops the clock."""
        self.paused = time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        """Starts it again."""
        self.waited += time.perf_counter() - self.paused


class Keeper(keras.callbacks.Callback):
    """Writes checkpoints, panels and the weights to use."""

    def __init__(
        self,
        folder: Path,
        settings: TrainSettings,
        step: int,
        board: Callable[..., None],
        model: MorphableModel,
        shown: dict[str, np.ndarray] | None,
    ) -> None:
        """Prepares the files.

        Args:
          folder: of the run.
          settings: `TrainSettings`.
          step: that the training starts from.
          board: of `open_board`.
          model: `MorphableModel` of the panels.
          shown: held-out batch to show, NumPy, or None.
        """
        super().__init__()
        self.folder = Path(folder)
        self.settings = settings
        self.step = step
        self.board = board
        self.face_model = model
        self.shown = shown

    def on_train_begin(self, logs: Any = None) -> None:
        """Shows where the training starts."""
        if self.step == 0:
            self._panel()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes what is due."""
        self.step += self.settings.log_every
        if self.step % self.settings.save_every == 0 or self.step == self.settings.steps:
            self._save()

    def _save(self) -> None:
        with averaged(self.model):
            save_networks(self.model, self.folder)
        self._panel()
        save_checkpoint(self.folder, self.model, self.step)  # last: by it a run knows what it has done

    def _panel(self) -> None:
        if self.shown is None:
            return
        with averaged(self.model):
            picture = draw(self.model, self.face_model, self.shown)
        with writing(self.folder / "panels" / f"{self.step:08d}.png", overwrite=True) as file:
            Image.fromarray(picture).save(file, "PNG")
        self.board(self.step, picture=picture)


def save_networks(reconstructor: Reconstructor, folder: Path) -> None:
    """Writes the network that is trained into the folder of a run; beside a C-Net, the R-Net it belongs to."""
    if not isinstance(reconstructor, SetReconstructor):
        rnets.save_rnet(reconstructor.rnet, Path(folder, rnets.WEIGHTS), overwrite=True)
        return
    if not Path(folder, rnets.WEIGHTS).exists():
        rnets.save_rnet(reconstructor.rnet, Path(folder, rnets.WEIGHTS))
    cnets.save_cnet(reconstructor.cnet, Path(folder, cnets.WEIGHTS), overwrite=True)


def draw(reconstructor: Reconstructor, model: MorphableModel, batch: dict[str, np.ndarray]) -> np.ndarray:
    """A picture [H, W, 3] uint8 of what the networks make of `batch`, see `panels`."""
    if isinstance(reconstructor, SetReconstructor):
        return panels.set_panel(reconstructor.rnet, reconstructor.cnet, model, batch)
    return panels.face_panel(reconstructor.rnet, model, batch)


def open_board(folder: Path) -> Callable[..., None]:
    """Function (step, scalars by name, picture [H, W, 3] uint8 or None) that writes for TensorBoard; without
    TensorFlow it does nothing."""
    if keras.backend.backend() != "tensorflow":
        return lambda step, scalars=None, picture=None: None
    with extra("train"):
        import tensorboard  # noqa: F401  what tf.summary writes by
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(Path(folder, "tensorboard")))

    def show(step: int, scalars: dict[str, float] | None = None, picture: np.ndarray | None = None) -> None:
        with writer.as_default(step=step):
            for name, value in (scalars or {}).items():
                tf.summary.scalar(name, value)
            if picture is not None:
                tf.summary.image("faces", picture[None])
        writer.flush()

    return show


@contextmanager
def averaged(reconstructor: Any) -> Iterator[None]:
    """Inside, the weights of a `Reconstructor` are their moving averages, where it keeps them."""
    learner, optimizer = reconstructor.learner, reconstructor.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of mixed_float16
    if not (optimizer.use_ema and int(ops.convert_to_numpy(optimizer.iterations)) > 0):
        yield
        return
    kept = learner.get_weights()
    optimizer.finalize_variable_values(learner.trainable_variables)
    try:
        yield
    finally:
        learner.set_weights(kept)
