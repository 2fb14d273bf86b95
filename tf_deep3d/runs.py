"""A training from beginning to end, in a folder that `run_folder` describes."""

import json
import os
import sys
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from tf_deep3d import callbacks, data, image_sets, morphable_model, records, set_training, training
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models.recognition import build_recognition
from tf_deep3d.run_folder import cut_log, restore


def train(folder, settings):
    """Trains until `settings.steps`; returns 0.

    Raises:
      TrainingError: if the loss stops being finite, or a checkpoint does not fit.
      records.RecordsError, rnet.WeightsError, morphable_model.ModelError: for unusable input.
    """
    folder = Path(folder)
    workers = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster")
    strategy = tf.distribute.MultiWorkerMirroredStrategy() if workers else tf.distribute.MirroredStrategy()
    kind, how = (image_sets, (settings.data, settings.sets)) if settings.sets else (data, (settings.data,))
    sources = kind.open_sources(*how)
    for source in sources:
        for damage in source.damage:
            print(f"warning: {damage}", file=sys.stderr)
    model = morphable_model.load(settings.network.face_model, settings.level)
    with strategy.scope():
        reconstructor = _reconstructor(settings, model, strategy.num_replicas_in_sync)
        reconstructor.compile(training.optimizer(settings), jit_compile=False)  # the renderer's shapes are dynamic
        step = restore(folder, reconstructor)
    if step >= settings.steps:
        print(f"{folder} is complete: {step} steps")
        return 0
    cut_log(folder, step)
    batch = settings.data.batch
    total = reconstructor.rnet.layout.total
    mirror = training.dense_mirror(model)
    batches = kind.training_batches(*how, sources, total, mirror, settings.seed, step * batch)
    held_out, shown = _held_out(kind, how, total)

    def names(index):
        return kind.names_of(*how, sources, settings.seed, index * batch, batch)

    count = sum(source.count for source in sources)
    print(
        f"{count} {'sets' if settings.sets else 'records'}, {reconstructor.learner.count_params():,} weights, "
        f"{strategy.num_replicas_in_sync} replicas, run {folder}"
    )
    with tqdm(total=settings.steps, initial=step, unit="step", disable=None) as bar:
        watchers = [callbacks.Guard(step, names)]
        if settings.optimization.ema > 0:
            watchers.append(keras.callbacks.SwapEMAWeights())
        board = open_board(folder)
        watchers.append(callbacks.Journal(folder, settings, step, board, bar))
        watchers.append(callbacks.Keeper(folder, settings, step, board, model, shown))
        reconstructor.fit(
            batches,
            epochs=settings.steps // settings.log_every,
            initial_epoch=step // settings.log_every,
            steps_per_epoch=settings.log_every,
            validation_data=held_out,
            validation_freq=settings.validate_every // settings.log_every,
            callbacks=watchers,
            verbose=0,
            shuffle=False,
        )
    print(f"{folder}: {settings.steps} steps")
    return 0


def open_board(folder):
    """Function (step, scalars by name, picture [H, W, 3] uint8 or None) that writes for TensorBoard."""
    writer = tf.summary.create_file_writer(str(Path(folder, "tensorboard")))

    def show(step, scalars=None, picture=None):
        with writer.as_default(step=step):
            for name, value in (scalars or {}).items():
                tf.summary.scalar(name, value)
            if picture is not None:
                tf.summary.image("faces", picture[None])
        writer.flush()

    return show


def _reconstructor(settings, model, replicas):
    """What is trained, not compiled yet."""
    recognition = build_recognition() if settings.loss.perceptual > 0 else None
    if settings.sets is None:
        return training.Reconstructor(training.build_rnet(settings), model, recognition, settings, replicas)
    rnet, cnet = set_training.build_networks(settings)
    print(cnets.cost(rnet, cnet))
    return set_training.SetReconstructor(rnet, cnet, model, recognition, settings, replicas)


def _held_out(kind, how, coefficients):
    """Batches of the validation splits and the first of them in NumPy, or (None, None) where there are none."""
    if not how[0].validation:
        return None, None
    try:
        sources = kind.open_sources(*how, "validation")
    except records.RecordsError as error:
        print(f"no validation: {error}", file=sys.stderr)
        return None, None
    batches = kind.validation_batches(*how, sources, coefficients)
    return batches, next(iter(batches.as_numpy_iterator()))
