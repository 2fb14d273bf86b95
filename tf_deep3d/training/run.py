"""A training from beginning to end, in a folder that `run_folder` describes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from tf_deep3d.command_line import counted
from tf_deep3d.data import augmentation, mixture, records
from tf_deep3d.data.mixture import Batches
from tf_deep3d.face import morphable_model
from tf_deep3d.face.morphable_model import MorphableModel
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models.recognition import build_recognition
from tf_deep3d.training import callbacks, devices, networks
from tf_deep3d.training.objective import Reconstructor
from tf_deep3d.training.optimizer import build_optimizer, warmup_steps
from tf_deep3d.training.run_folder import TrainingError, cut_log, restore
from tf_deep3d.training.set_objective import SetReconstructor
from tf_deep3d.training.settings import TrainSettings


def train(folder: str | Path, settings: TrainSettings) -> int:
    """Trains until `settings.steps`; returns 0. Of several workers each does its part, and the chief writes.

    Raises:
      TrainingError: if the loss stops being finite, a checkpoint does not fit, or TensorFlow fails.
      records.RecordsError, weights.WeightsError, morphable_model.ModelError, devices.ClusterError: for unusable input.
    """
    folder = Path(folder)
    strategy, chief = devices.find_strategy(), devices.is_chief()
    replicas = strategy.num_replicas_in_sync if strategy else 1
    size = settings.data.batch
    if size % replicas:
        raise TrainingError(f"data.batch must be a multiple of the {replicas} replicas. Received: {size}")
    model = morphable_model.load(settings.network.face_model, settings.level)
    reconstructor = build(settings, model, strategy)
    batches = open_batches(
        settings, reconstructor.rnet.layout.total, augmentation.mirror(model, reconstructor.rnet.layout)
    )
    for damage in batches.damage:
        print(f"warning: {damage}", file=sys.stderr)
    step = restore(folder, reconstructor)
    _agree(strategy, step, folder)
    if step >= settings.steps:
        print(f"{folder} is complete: {counted(settings.steps, 'step')}")
        return 0
    with _one_line():
        held_out, shown = _held_out(batches) if settings.data.validation else (None, None)
    watchers: list[keras.callbacks.Callback] = [
        callbacks.Guard(step, lambda number: batches.names(number * size, size))
    ]
    if settings.optimization.ema > 0:
        watchers.append(keras.callbacks.SwapEMAWeights())
    with tqdm(total=settings.steps, initial=step, unit="step", disable=None if chief else True) as bar, _one_line():
        if chief:
            cut_log(folder, step)
            _introduce(folder, reconstructor, batches)
            board = callbacks.open_board(folder)
            watchers.append(callbacks.Journal(folder, settings, step, board, bar))
            watchers.append(callbacks.Keeper(folder, settings, step, board, model, shown))
        reconstructor.fit(
            _shared(strategy, batches, step * size, size) if strategy else batches.training(step * size),
            epochs=settings.steps // settings.log_every,
            initial_epoch=step // settings.log_every,
            steps_per_epoch=settings.log_every,
            validation_data=held_out,
            validation_freq=settings.validate_every // settings.log_every,
            callbacks=watchers,
            verbose=0,
            shuffle=False,
        )
    if chief:
        print(f"{folder}: {counted(settings.steps, 'step')}")
    return 0


def check(settings: TrainSettings) -> None:
    """Raises what `train` would for unusable records or face model: before another run makes room for this one."""
    mixture.open_sources(settings.data)
    morphable_model.load(settings.network.face_model, settings.level)


def open_batches(settings: TrainSettings, coefficients: int, mirror: augmentation.Mirror) -> Batches:
    """The batches that a training reads with the backend it runs on.

    Args:
      settings: `TrainSettings`.
      coefficients: K of its R-Net; records of rendered faces must have as many.
      mirror: see `augmentation.mirror`.

    Raises:
      records.RecordsError: if the folders cannot be used.
      TrainingError: for image sets without TensorFlow.
    """
    plain = keras.backend.backend() != "tensorflow"
    arguments = (settings.data, coefficients, mirror, settings.seed)
    if settings.sets:
        if plain:
            raise TrainingError(f"image sets need TensorFlow. Received: the backend {keras.backend.backend()}")
        from tf_deep3d.data import image_sets

        return image_sets.open_batches(*arguments, settings.sets.photos, settings.sets.least)
    if plain:
        from tf_deep3d.data import plain_batches

        return plain_batches.open_batches(*arguments)
    from tf_deep3d.data import batches

    return batches.open_batches(*arguments)


def build(settings: TrainSettings, model: MorphableModel, strategy: Any = None) -> Reconstructor:
    """What is trained, with its optimizer.

    Args:
      settings: `TrainSettings`.
      model: `MorphableModel` at the level to render.
      strategy: see `Reconstructor`.

    Raises:
      weights.WeightsError, morphable_model.ModelError, FileNotFoundError: see `networks`.
    """
    scope = strategy.scope if strategy else nullcontext
    with scope():
        recognition = build_recognition() if settings.loss.perceptual > 0 else None
        rnet, cnet = networks.build_pair(settings) if settings.sets else (networks.build_rnet(settings), None)
        optimizer = build_optimizer(settings, strategy.num_replicas_in_sync if strategy else 1)
    if cnet is None:
        reconstructor = Reconstructor(rnet, model, recognition, settings, strategy)
    else:
        reconstructor = SetReconstructor(rnet, cnet, model, recognition, settings, strategy)
    # The renderer's shapes are dynamic, but under JAX, where only compiled steps are fast.
    reconstructor.compile(optimizer, jit_compile=keras.backend.backend() == "jax")
    with scope():
        optimizer.build(reconstructor.learner.trainable_variables)
    return reconstructor


def _shared(strategy: Any, batches: Batches, start: int, size: int) -> Any:
    """The batches of all replicas from element number `start` on, `size` elements a step."""

    def share(context: Any) -> Any:
        """Those of one worker for one of its replicas."""
        part = (context.input_pipeline_id, context.num_input_pipelines)
        return batches.training(start, context.get_per_replica_batch_size(size), part)

    return strategy.distribute_datasets_from_function(share)


def _introduce(folder: Path, reconstructor: Reconstructor, batches: Batches) -> None:
    """Says what is trained on what."""
    settings = reconstructor.settings
    if isinstance(reconstructor, SetReconstructor):
        print(cnets.cost(reconstructor.rnet, reconstructor.cnet))
    if (warmup := warmup_steps(settings)) < settings.optimization.warmup:
        print(f"the warm-up of {counted(settings.optimization.warmup, 'step')} is cut to {warmup}")
    print(
        f"{counted(batches.count, 'set' if settings.sets else 'record')}, "
        f"{reconstructor.learner.count_params():,} weights, {counted(reconstructor.replicas, 'replica')}, "
        f"run {folder}"
    )


def _agree(strategy: Any, step: int, folder: Path) -> None:
    """Raises TrainingError unless all workers start from the same step."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return
    import tensorflow as tf

    @tf.function
    def gather() -> Any:
        return strategy.run(lambda: tf.distribute.get_replica_context().all_gather(tf.constant([step]), axis=0))

    steps = strategy.experimental_local_results(gather())[0].numpy().tolist()
    if len(set(steps)) > 1:
        raise TrainingError(f"all workers must share the folder of the run. Received: {folder}, at the steps {steps}")


@contextmanager
def _one_line() -> Iterator[None]:
    """What TensorFlow finds wrong with data and workers becomes a TrainingError; without TensorFlow, nothing."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.InvalidArgumentError,  # records that do not fit
        tf.errors.FailedPreconditionError,  # fewer than listed
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.ResourceExhaustedError,  # memory, or the disk of TensorBoard's files
        tf.errors.PermissionDeniedError,
    ) as error:
        raise TrainingError(f"the training stopped. Received: {' '.join(error.message.split())[:400]}") from error


def _held_out(batches: Batches) -> tuple[Any, dict[str, np.ndarray] | None]:
    """Batches of the validation splits and the first of them in NumPy, or (None, None) where there are none."""
    try:
        held_out = batches.validation()
    except records.RecordsError as error:
        print(f"no validation: {error}", file=sys.stderr)
        return None, None
    shown = keras.utils.unpack_x_y_sample_weight(next(iter(held_out)))[0]
    return held_out, {name: ops.convert_to_numpy(values) for name, values in shown.items()}
