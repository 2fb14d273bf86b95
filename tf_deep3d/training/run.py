"""A training from beginning to end, in a folder that `run_folder` describes."""

import dataclasses
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import keras
from keras import ops
from tqdm import tqdm

from tf_deep3d.data import mixture, records
from tf_deep3d.face import morphable_model
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models.recognition import build_recognition
from tf_deep3d.training import callbacks, devices, objective, set_objective
from tf_deep3d.training.run_folder import TrainingError, cut_log, restore


def train(folder, settings):
    """Trains until `settings.steps`; returns 0. Of several workers each does its part, and the chief writes.

    Raises:
      TrainingError: if the loss stops being finite, a checkpoint does not fit, or TensorFlow fails.
      records.RecordsError, rnet.WeightsError, morphable_model.ModelError, devices.ClusterError: for unusable input.
    """
    folder = Path(folder)
    strategy, chief = devices.find_strategy(), devices.is_chief()
    replicas = strategy.num_replicas_in_sync if strategy else 1
    kind, open_sources, how = _source(settings)
    batch = settings.data.batch
    if batch % replicas:
        raise TrainingError(f"data.batch must be a multiple of the {replicas} replicas. Received: {batch}")
    sources = open_sources(*how)
    for source in sources:
        for damage in source.damage:
            print(f"warning: {damage}", file=sys.stderr)
    model = morphable_model.load(settings.network.face_model, settings.level)
    reconstructor = _reconstructor(settings, model, strategy)
    step = restore(folder, reconstructor)
    _agree(strategy, step, folder)
    if step >= settings.steps:
        print(f"{folder} is complete: {step} steps")
        return 0
    total = reconstructor.rnet.layout.total
    rest = (sources, total, objective.dense_mirror(model), settings.seed, step * batch)

    def share(context):
        """The batches of one worker for one of its replicas."""
        size = context.get_per_replica_batch_size(batch)
        local = (dataclasses.replace(settings.data, batch=size), *how[1:])
        return kind.training_batches(*local, *rest, (context.input_pipeline_id, context.num_input_pipelines))

    def names(index):
        return kind.names_of(*how, sources, settings.seed, index * batch, batch)

    held_out, shown = _held_out(kind, open_sources, how, total)
    watchers = [callbacks.Guard(step, names)]
    if settings.optimization.ema > 0:
        watchers.append(keras.callbacks.SwapEMAWeights())
    with tqdm(total=settings.steps, initial=step, unit="step", disable=None if chief else True) as bar, _one_line():
        if chief:
            cut_log(folder, step)
            count = sum(source.count for source in sources)
            if settings.sets:
                print(cnets.cost(reconstructor.rnet, reconstructor.cnet))
            if (warmup := objective.warmup_steps(settings)) < settings.optimization.warmup:
                print(f"the warm-up of {settings.optimization.warmup} steps is cut to {warmup}")
            print(
                f"{count} {'sets' if settings.sets else 'records'}, {reconstructor.learner.count_params():,} weights, "
                f"{replicas} replicas, run {folder}"
            )
            board = open_board(folder)
            watchers.append(callbacks.Journal(folder, settings, step, board, bar))
            watchers.append(callbacks.Keeper(folder, settings, step, board, model, shown))
        reconstructor.fit(
            strategy.distribute_datasets_from_function(share) if strategy else kind.training_batches(*how, *rest),
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
        print(f"{folder}: {settings.steps} steps")
    return 0


def check(settings):
    """Raises what `train` would for unusable records or face model: before another run makes room for this one."""
    mixture.open_sources(settings.data)
    morphable_model.load(settings.network.face_model, settings.level)


def open_board(folder):
    """Function (step, scalars by name, picture [H, W, 3] uint8 or None) that writes for TensorBoard; without
    TensorFlow it does nothing."""
    if keras.backend.backend() != "tensorflow":
        return lambda step, scalars=None, picture=None: None
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(Path(folder, "tensorboard")))

    def show(step, scalars=None, picture=None):
        with writer.as_default(step=step):
            for name, value in (scalars or {}).items():
                tf.summary.scalar(name, value)
            if picture is not None:
                tf.summary.image("faces", picture[None])
        writer.flush()

    return show


def _source(settings):
    """(Module of the batches, function that opens its folders, the arguments that both begin with)."""
    plain = keras.backend.backend() != "tensorflow"
    if settings.sets:
        if plain:
            raise TrainingError(f"image sets need TensorFlow. Received: the backend {keras.backend.backend()}")
        from tf_deep3d.data import image_sets

        return image_sets, image_sets.open_sources, (settings.data, settings.sets)
    if plain:
        from tf_deep3d.data import plain_batches as kind
    else:
        from tf_deep3d.data import batches as kind
    return kind, mixture.open_sources, (settings.data,)


def _agree(strategy, step, folder):
    """Raises TrainingError unless all workers start from the same step."""
    if strategy is None or strategy.num_replicas_in_sync == 1:
        return
    import tensorflow as tf

    @tf.function
    def gather():
        return strategy.run(lambda: tf.distribute.get_replica_context().all_gather(tf.constant([step]), axis=0))

    steps = strategy.experimental_local_results(gather())[0].numpy().tolist()
    if len(set(steps)) > 1:
        raise TrainingError(f"all workers must share the folder of the run. Received: {folder}, at the steps {steps}")


@contextmanager
def _one_line():
    """What TensorFlow finds wrong with data and workers becomes a TrainingError; without TensorFlow, nothing."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.InvalidArgumentError,  # records that do not fit
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
    ) as error:
        raise TrainingError(f"the training stopped. Received: {' '.join(error.message.split())[:400]}") from error


def _reconstructor(settings, model, strategy):
    """What is trained, with its optimizer."""
    scope = strategy.scope if strategy else nullcontext
    with scope():
        recognition = build_recognition() if settings.loss.perceptual > 0 else None
        networks = set_objective.build_networks(settings) if settings.sets else (objective.build_rnet(settings),)
        optimizer = objective.optimizer(settings, strategy.num_replicas_in_sync if strategy else 1)
    kind = set_objective.SetReconstructor if settings.sets else objective.Reconstructor
    reconstructor = kind(*networks, model, recognition, settings, strategy)
    # The renderer's shapes are dynamic, but under JAX, where only compiled steps are fast.
    reconstructor.compile(optimizer, jit_compile=strategy is None)
    with scope():
        optimizer.build(reconstructor.learner.trainable_variables)
    return reconstructor


def _held_out(kind, open_sources, how, coefficients):
    """Batches of the validation splits and the first of them in NumPy, or (None, None) where there are none."""
    if not how[0].validation:
        return None, None
    try:
        sources = open_sources(*how, "validation")
    except records.RecordsError as error:
        print(f"no validation: {error}", file=sys.stderr)
        return None, None
    batches = kind.validation_batches(*how, sources, coefficients)
    shown = keras.utils.unpack_x_y_sample_weight(next(iter(batches)))[0]
    return batches, {name: ops.convert_to_numpy(values) for name, values in shown.items()}
