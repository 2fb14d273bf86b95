import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from tests.prepared import write_records
from tf_deep3d import face
from tf_deep3d.data import batches
from tf_deep3d.data.augmentation import Augmentation, Mirror
from tf_deep3d.data.mixture import DataSettings
from tf_deep3d.errors import InputError
from tf_deep3d.face import morphable_model, uncertainty
from tf_deep3d.losses import supervised, weighing
from tf_deep3d.losses.weighing import LossWeights
from tf_deep3d.training.networks import build_rnet
from tf_deep3d.training.objective import Reconstructor
from tf_deep3d.training.optimizer import build_optimizer
from tf_deep3d.training.settings import Network, Optimization, TrainSettings

CONFIGS = Path(__file__).parents[2] / "configs"
STILL = Augmentation(0, 0, 0, False)

MIRROR = Mirror(np.arange(478), np.full(1, np.nan, np.float32))  # of a model without symmetric modes


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model):
    return str(write_records(tmp_path_factory.mktemp("records"), tiny_model, 4, known=True))


def _settings(folder, model_file, **options):
    return TrainSettings(
        network=Network(face_model=str(model_file), start="shipped"),
        data=DataSettings(records=(folder,), batch=2, augmentation=STILL),
        loss=LossWeights(perceptual=0.0, shape=0.02, landmark=1e-2, albedo=0.1),
        optimization=Optimization(learning_rate=3e-4),
        level=0,
        **{"steps": 50, "log_every": 1, "validate_every": 50, "save_every": 50, **options},
    )


def _reconstructor(settings, model_file):
    model = morphable_model.load(model_file, settings.level)
    keras.utils.set_random_seed(1)
    built = Reconstructor(build_rnet(settings), model, None, settings)
    built.compile(build_optimizer(settings), jit_compile=False)
    return built, model


def _batch(settings, model, number=0):
    opened = batches.open_batches(settings.data, model.layout().total, MIRROR, 0)
    return next(iter(opened.training(number)))


def test_first_render_is_the_mean_face(folder, model_file):
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    outputs = built(batch)
    zeros = model.layout().zeros(2)
    mean = face.reconstruct(model, zeros)
    distance = np.linalg.norm(mean.landmarks[:, 17:] - batch["landmarks"].numpy()[:, 17:], axis=-1).mean(-1)
    np.testing.assert_allclose(outputs["measures"]["landmark_error"], distance, rtol=1e-4)
    np.testing.assert_allclose(outputs["terms"]["prior"], 0, atol=1e-9)
    truth = model.layout().split(batch["coefficients"].numpy())
    metric = supervised.surface_metric(model)
    shapes = np.einsum("bk,kl,bl->b", truth.identity, metric, truth.identity)
    moves = np.einsum("bk,kvc->bvc", truth.expression, model.expression_basis) * 100
    expected = shapes + (moves**2).sum(-1).mean(-1)
    np.testing.assert_allclose(outputs["terms"]["shape"], expected, rtol=1e-4)
    skin = face.albedo(model, truth.albedo)[:, model.regions["skin"]] - model.mean_albedo[model.regions["skin"]]
    np.testing.assert_allclose(outputs["terms"]["albedo"], (skin**2).sum(-1).mean(-1), rtol=1e-4)


def test_dense_landmarks_count_by_how_far_the_detector_strays(folder, model_file):
    """In the pose found, which learns nothing from that; the 68 count as they did."""
    settings = _settings(folder, model_file, dense=0.3, strays=True)
    model = morphable_model.load(model_file, settings.level)
    with pytest.raises(InputError, match=r"Received: dense 0\.3 and a model that does not know it"):
        Reconstructor(build_rnet(settings), model, None, settings)
    moments = np.tile(np.float32([1e-4, 0, 4e-4]), (9, 3, 478, 1))
    moments[-1] *= 9  # turned far to one side
    points = replace(model.landmarks["mediapipe478"], moments=moments)
    knowing = replace(model, landmarks={**model.landmarks, "mediapipe478": points})
    with pytest.raises(InputError, match=r"Received: dense 0\.0 and a model that knows it"):
        Reconstructor(build_rnet(settings), knowing, None, replace(settings, dense=0.0))
    built = Reconstructor(build_rnet(settings), knowing, None, settings)

    batch = _batch(settings, model)
    coefficients = model.layout().zeros(2)
    coefficients.angles[:] = [[0.1, 0.05, 0.3], [0, 1.5, 0]]
    joint, weights = weighing.joint_landmarks(model, settings.emphasis, settings.jaw, settings.dense)
    seen = face.reconstruct(replace(model, landmarks={"joint": joint}), coefficients, landmarks="joint").landmarks
    apart = seen - np.concatenate([batch["landmarks"], batch["dense"]], axis=1)
    alike = np.tile(np.eye(2), (2, 68, 1, 1))
    matrices = np.concatenate([alike, uncertainty.precision(moments, coefficients.angles)], axis=1)
    expected = np.einsum("l,bli,blij,blj->b", weights, apart, matrices, apart) / len(weights)

    def found(angles):
        return built.judge(coefficients._replace(angles=angles), batch)["terms"]["landmark"]

    angles = tf.constant(coefficients.angles)
    with tf.GradientTape() as tape:
        tape.watch(angles)
        term = found(angles)
    np.testing.assert_allclose(term, expected, rtol=1e-4)
    plain = Reconstructor(build_rnet(settings), model, None, replace(settings, strays=False))
    assert not np.isclose(expected, plain.judge(coefficients, batch)["terms"]["landmark"], rtol=0.1).any()
    # The slope is that of a term whose matrices stay as they are.
    slope = tape.gradient(term, angles).numpy()[0, 0]
    step = np.float32([[1e-3, 0, 0], [0, 0, 0]])

    def held(turned):
        moved = face.reconstruct(
            replace(model, landmarks={"joint": joint}), coefficients._replace(angles=turned), landmarks="joint"
        ).landmarks
        apart = moved - np.concatenate([batch["landmarks"], batch["dense"]], axis=1)
        return np.einsum("l,li,lij,lj->", weights, apart[0], matrices[0], apart[0]) / len(weights)

    expected = (held(coefficients.angles + step) - held(coefficients.angles - step)) / 2e-3
    np.testing.assert_allclose(slope, expected, rtol=2e-2)


def test_it_learns_two_faces_by_heart(folder, model_file):
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    step, logs = tf.function(built.train_step), []
    for _ in range(settings.steps):
        built.reset_metrics()
        logs.append({name: float(value) for name, value in step(batch).items()})
    first, last = logs[0], logs[-1]
    assert list(first) == ["loss", *built.term_names(), "landmark_error", "nme"]
    assert built.term_names() == [name for name in weighing.TERMS if name not in ("perceptual", "exposure")]
    assert last["loss"] < 0.4 * first["loss"]
    assert last["landmark_error"] < 0.5 * first["landmark_error"]
    assert last["shape"] < first["shape"]
    total = sum(getattr(settings.loss, name) * last[name] for name in built.term_names())
    assert last["loss"] == pytest.approx(total, rel=1e-4)


def test_where_no_term_looks_at_a_picture_none_is_rendered(folder, model_file, monkeypatch):
    """And weights that no term sees stay as they are: without a picture nothing tells of the light."""
    settings = _settings(folder, model_file)
    blind = LossWeights(photometric=0, perceptual=0, albedo_flatness=0, illumination_whiteness=0, prior=0, shape=0.02)
    built, model = _reconstructor(replace(settings, loss=blind), model_file)
    monkeypatch.setattr("tf_deep3d.training.objective.renderer.render", None)
    batch, light = _batch(settings, model), built.rnet.network.get_layer("illumination")
    shape = built.rnet.network.get_layer("identity")
    before = [layer.kernel.numpy() for layer in (light, shape)]
    assert set(built.train_step(batch)) == {"loss", "landmark", "shape", "landmark_error", "nme"}
    np.testing.assert_array_equal(light.kernel.numpy(), before[0])
    assert np.abs(shape.kernel.numpy() - before[1]).max() > 0


def test_a_gradient_that_is_not_finite_leaves_finite_weights(folder, model_file):
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    built.train_step(batch)
    before = [weight.numpy() for weight in built.rnet.trainable_weights]
    poisoned = {**batch, "landmarks": batch["landmarks"] * np.nan}
    built.reset_metrics()
    assert not np.isfinite(built.train_step(poisoned)["loss"])
    pairs = zip(built.rnet.trainable_weights, before, strict=True)
    assert np.isfinite([np.abs(weight.numpy() - old).max() for weight, old in pairs]).all()


def test_a_gradient_that_is_not_finite_is_told_by_the_loss(folder, model_file):
    """The loss itself may be finite, as that of a root at zero."""
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    total = built.compute_loss
    built.compute_loss = lambda y_pred: total(y_pred=y_pred) + ops.sqrt(0 * ops.sum(y_pred["terms"]["landmark"]))
    batch = _batch(settings, model)
    assert np.isfinite(float(built.compute_loss(built(batch))))
    before = [weight.numpy() for weight in built.rnet.trainable_weights]
    logs = built.train_step(batch)
    assert [name for name, value in logs.items() if not np.isfinite(value)] == ["loss"]
    for weight, old in zip(built.rnet.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


POISONED = """
import sys, numpy as np, keras
from dataclasses import replace
from keras import ops
from tests.training.test_objective import *
from tests.training.test_objective import _settings
settings = replace(_settings("", sys.argv[1]), precision=sys.argv[3])
model = morphable_model.load(sys.argv[1], 0)
built = Reconstructor(build_rnet(settings), model, None, settings)
total = built.compute_loss
def poisoned(x=None, y=None, y_pred=None, sample_weight=None, training=True):
    # finite, with a gradient that is not, where the first landmark lies at -1
    target = x["landmarks"][0, 0, 0]
    return total(y_pred=y_pred) + ops.sqrt(ops.where(target == -1, 0.0, 1.0) * ops.mean(y_pred["terms"]["landmark"]))
built.compute_loss = poisoned
built.compile(build_optimizer(settings))
with np.load(sys.argv[2]) as arrays:
    batch = dict(arrays)
good = built.train_on_batch(batch, return_dict=True)
before = [ops.convert_to_numpy(weight) for weight in built.rnet.trainable_weights]
batch["landmarks"][0, 0, 0] = -1
bad = built.train_on_batch(batch, return_dict=True)
after = [ops.convert_to_numpy(weight) for weight in built.rnet.trainable_weights]
batch["landmarks"][0, 0, 0] = 0
built.reset_metrics()
again = built.train_on_batch(batch, return_dict=True)
assert keras.backend.backend() == "jax"
assert all(np.isfinite(float(value)) for logs in (good, again) for value in logs.values()), (good, again)
unknown = [name for name, value in bad.items() if not np.isfinite(float(value))]
assert unknown == ([] if settings.precision == "mixed_float16" else ["loss"]), bad
for old, new in zip(before, after, strict=True):
    np.testing.assert_array_equal(old, new)
moved = any((ops.convert_to_numpy(weight) != old).any() for weight, old in zip(built.rnet.trainable_weights, after))
assert moved or settings.precision == "mixed_float16"  # whose scale has not come down yet
"""


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_with_jax_too_a_gradient_that_is_not_finite_is_told_and_left_out(tmp_path, folder, model_file, precision):
    settings = _settings(folder, model_file)
    model = morphable_model.load(model_file, 0)
    np.savez(tmp_path / "batch.npz", **{name: value.numpy() for name, value in _batch(settings, model).items()})
    command = [sys.executable, "-c", POISONED, str(model_file), str(tmp_path / "batch.npz"), precision]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_the_landmark_term_is_the_papers(folder, model_file):
    """1/68 sum_n w_n |q_n - q'_n|^2 with w = 20 for nose and inner lips, else 1."""
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    mean = face.reconstruct(model, model.layout().zeros(2)).landmarks
    squared = ((mean - batch["landmarks"].numpy()) ** 2).sum(-1)
    important = [28, 29, 30, *range(60, 68)]
    expected = (squared.sum(-1) + 19 * squared[:, important].sum(-1)) / 68
    np.testing.assert_allclose(built(batch)["terms"]["landmark"], expected, rtol=1e-4)


def test_records_without_dense_landmarks_count_as_much_as_those_with(folder, model_file):
    """Where all landmarks are equally far away, both cost the same; elsewhere each is judged by its own."""
    settings = _settings(folder, model_file, dense=0.3)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    mean = face.reconstruct(model, model.layout().zeros(2))
    dense = face.reconstruct(model, model.layout().zeros(2), landmarks="mediapipe478").landmarks
    aside = {**batch, "landmarks": mean.landmarks + np.float32([3, 4]), "dense": dense + np.float32([3, 4])}
    lacking = {**aside, "dense": aside["dense"] * np.float32([[[1]], [[0]]]), "dense_known": np.float32([1, 0])}
    cost = 25 * (57 + 11 * 20) / 68
    for each in (aside, lacking):
        np.testing.assert_allclose(built(each)["terms"]["landmark"], [cost, cost], rtol=1e-3)
    nearer = {**lacking, "dense": dense * np.float32([[[1]], [[0]]])}
    first, second = built(nearer)["terms"]["landmark"].numpy()
    assert first < 0.9 * cost
    assert second == pytest.approx(cost, rel=1e-3)


def test_shape_is_averaged_over_rendered_faces_alone(folder, model_file):
    settings = _settings(folder, model_file)
    built, model = _reconstructor(settings, model_file)
    batch = _batch(settings, model)
    half = {**batch, "known": batch["known"] * np.float32([[1], [0]])}
    terms = built(half)["terms"]["shape"].numpy()
    built.reset_metrics()
    assert float(built.test_step(half)["shape"]) == pytest.approx(terms[0], rel=1e-5)
    assert terms[1] == 0
    # Of the second face only who it is is known, as of photos of `reconstruction.identities`.
    mask = np.ones_like(batch["known"])
    mask[1, model.layout().sizes[0] :] = 0
    labelled = {**batch, "known": batch["known"] * mask}
    apart = built.rnet(batch["inputs"]).identity[1] - batch["coefficients"][1, : model.layout().sizes[0]]
    metric = supervised.surface_metric(model)
    terms = built(labelled)["terms"]["shape"].numpy()
    assert terms[1] == pytest.approx(np.asarray(apart) @ metric @ np.asarray(apart), rel=1e-4)
    built.reset_metrics()
    assert float(built.test_step(labelled)["shape"]) == pytest.approx(terms.mean(), rel=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_lower_precision_stays_finite(folder, model_file, precision):
    settings = _settings(folder, model_file, precision=precision)
    built, model = _reconstructor(settings, model_file)
    assert built.rnet.network.get_layer("conv1").compute_dtype == precision.removeprefix("mixed_")
    batch = _batch(settings, model)
    step = tf.function(built.train_step)
    for _ in range(3):
        logs = step(batch)
    assert all(np.isfinite(float(value)) for value in logs.values())
    assert all(np.isfinite(weight.numpy()).all() for weight in built.rnet.weights)


REPLICAS = """
import sys, numpy as np, keras, tensorflow as tf
from dataclasses import replace
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.training.test_objective import *
from tests.training.test_objective import _settings
from tf_deep3d.training import config
folder, model_file, path = sys.argv[1:]
optimization = config.load(CONFIGS / "rnet_mobilenet.yaml", TrainSettings).optimization
settings = replace(_settings(folder, model_file), optimization=replace(optimization, warmup=1), steps=20)
model = morphable_model.load(model_file, 0)
opened = batches.open_batches(settings.data, model.layout().total, MIRROR, 0)

def train(count, optimizer):
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    with strategy.scope():
        keras.utils.set_random_seed(1)
        rnet = build_rnet(settings)
        optimizer = optimizer(count)
    built = Reconstructor(rnet, model, None, settings, strategy)
    built.compile(optimizer, jit_compile=False)
    with strategy.scope():
        optimizer.build(rnet.trainable_variables)
    before = [w.numpy() for w in rnet.trainable_weights]
    built.fit(opened.training(), steps_per_epoch=3, epochs=1, verbose=0)
    return [w.numpy() - b for w, b in zip(rnet.trainable_weights, before)], optimizer

arrays = {}
for count in (1, 2):
    # plain descent: the weights' change is the gradient itself
    for name, make in {
        "descent": lambda replicas: keras.optimizers.SGD(1e-2),
        "clipped": lambda replicas: keras.optimizers.SGD(1.0, global_clipnorm=1e-3 / replicas),
        "shipped": lambda replicas: build_optimizer(settings, replicas),
    }.items():
        moved, optimizer = train(count, make)
        arrays |= {f"{name} {count} {index:03}": values for index, values in enumerate(moved)}
    arrays |= {f"momentum {count} {index:03}": values.numpy() for index, values in enumerate(optimizer._momentums)}
np.savez(path, **arrays)
"""


def test_two_replicas_move_the_weights_as_one_does(tmp_path, folder, model_file):
    """By plain descent, by descent along a clipped gradient, and by the optimizer of the shipped configuration."""
    command = [sys.executable, "-c", REPLICAS, folder, str(model_file), str(tmp_path / "moved.npz")]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr[-2000:]
    with np.load(tmp_path / "moved.npz") as arrays:
        named = dict(arrays)

    def of(name, count):
        return [values for key, values in named.items() if key.startswith(f"{name} {count} ")]

    for one, two in zip(of("descent", 1), of("descent", 2), strict=True):
        # a weight below 1 moves in steps of up to 6e-8
        np.testing.assert_allclose(two, one, atol=1e-3 * np.abs(one).max() + 1e-7)
    assert max(np.abs(one).max() for one in of("descent", 1)) > 1e-5
    whole = {key: np.concatenate([v.ravel() for v in of(*key)]) for key in itertools.product(
        ("clipped", "momentum", "shipped"), (1, 2))}  # fmt: skip
    for name in ("clipped", "momentum", "shipped"):
        one, two = whole[name, 1], whole[name, 2]
        assert np.linalg.norm(two - one) < 0.02 * np.linalg.norm(one), name
    for count in (1, 2):  # three steps of 1e-3, or their momentum, in nearly the same direction
        assert 2e-3 < np.linalg.norm(whole["clipped", count]) <= 3e-3 * 1.001
        assert np.linalg.norm(whole["momentum", count]) <= (1 - 0.9**3) * 10.001
    assert np.linalg.norm(whole["momentum", 1]) > 0.5 * (1 - 0.9**3) * 10


JAX = """
import sys, json, numpy as np, keras
from tests.training.test_objective import *
from tests.training.test_objective import _settings
settings = _settings("", sys.argv[1])
model = morphable_model.load(sys.argv[1], 0)
built = Reconstructor(build_rnet(settings), model, None, settings)
built.compile(keras.optimizers.SGD(1e-4))
with np.load(sys.argv[2]) as arrays:
    batch = dict(arrays)
logs = [built.train_on_batch(batch, return_dict=True) for _ in range(2)]
print(json.dumps([keras.backend.backend(), [{k: float(v) for k, v in l.items()} for l in logs]]))
"""


def test_jax_takes_the_same_step(tmp_path, folder, model_file):
    settings = _settings(folder, model_file)
    model = morphable_model.load(model_file, 0)
    np.savez(tmp_path / "batch.npz", **{name: value.numpy() for name, value in _batch(settings, model).items()})
    results = {}
    for backend in ("jax", "tensorflow"):
        result = subprocess.run(
            [sys.executable, "-c", JAX, str(model_file), str(tmp_path / "batch.npz")],
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
        used, results[backend] = json.loads(result.stdout.splitlines()[-1])
        assert used == backend
    for jax, tensorflow in zip(results["jax"], results["tensorflow"], strict=True):
        assert jax.keys() == tensorflow.keys()
        for name, value in tensorflow.items():
            assert jax[name] == pytest.approx(value, rel=2e-3, abs=1e-6), name
