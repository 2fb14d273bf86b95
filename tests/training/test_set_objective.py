"""C-Net's step: what it compares, what it changes, and that padding, replicas and files do not matter."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import write_records
from tests.training.test_objective import STILL
from tf_deep3d.data import image_sets
from tf_deep3d.data.augmentation import Mirror
from tf_deep3d.data.mixture import DataSettings
from tf_deep3d.face import morphable_model
from tf_deep3d.losses import hybrid, supervised
from tf_deep3d.losses.weighing import LossWeights
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training import config, run_folder
from tf_deep3d.training.networks import build_pair
from tf_deep3d.training.optimizer import build_optimizer
from tf_deep3d.training.set_objective import SetReconstructor
from tf_deep3d.training.settings import Network, Optimization, SetSettings, TrainSettings

MIRROR = Mirror(np.arange(478), np.full(1, np.nan, np.float32))  # of a model without symmetric modes


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_model):
    made = write_records(tmp_path_factory.mktemp("sets"), tiny_model, 8, 4, known=True, photos_each=4)
    return str(made)


@pytest.fixture(scope="module")
def rnet_file(tmp_path_factory, tiny_model, model_file):
    """An R-Net whose identity depends on the photo."""
    rnet = rnets.RNet("mobilenet", tiny_model.layout(), rnets.fingerprint(model_file))
    rnets.load_start(rnet, "shipped")
    kernel = rnet.network.get_layer("identity").kernel
    kernel.assign(np.random.default_rng(1).normal(size=kernel.shape) * 0.05)
    path = tmp_path_factory.mktemp("rnet") / "rnet.keras"
    rnets.save_rnet(rnet, path)
    return path


@pytest.fixture(scope="module")
def settings(folder, rnet_file, model_file):
    return TrainSettings(
        network=Network(face_model=str(model_file)),
        data=DataSettings(records=(folder,), batch=2, augmentation=STILL, validation=1),
        loss=LossWeights(perceptual=0.0, shape=0.1),
        optimization=Optimization(learning_rate=1e-2),
        sets=SetSettings(rnet=str(rnet_file), photos=4),
        level=0,
        steps=4, log_every=2, validate_every=4, save_every=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def batch(settings, tiny_model):
    opened = image_sets.open_batches(settings.data, tiny_model.layout().total, MIRROR, 0, 4, 2)
    return next(iter(opened.training()))


def _reconstructor(settings, model_file):
    keras.utils.set_random_seed(1)
    model = morphable_model.load(model_file, settings.level)
    built = SetReconstructor(*build_pair(settings), model, None, settings)
    built.compile(build_optimizer(settings), jit_compile=False)
    return built


def _doubting(built, seed=0):
    """Gives C-Net's last layer, which starts at zero, random weights."""
    kernel = built.cnet.network.get_layer("confidence").kernel
    kernel.assign(np.random.default_rng(seed).normal(size=kernel.shape) * 0.05)
    return kernel


def test_starts_at_the_average_and_the_truth_is_measured(settings, batch, model_file):
    built = _reconstructor(settings, model_file)
    outputs = built(batch)
    np.testing.assert_allclose(outputs["measures"]["shape_error"], outputs["measures"]["average_error"], rtol=1e-5)
    single = np.stack([built.rnet(inputs).identity for inputs in batch["inputs"]])
    truth = built.rnet.layout.split(batch["coefficients"].numpy()[:, 0]).identity
    model = morphable_model.load(model_file, settings.level)
    difference = single.mean(1) - truth
    metric = supervised.surface_metric(model)
    expected = np.sqrt(np.einsum("sk,kl,sl->s", difference, metric, difference))
    np.testing.assert_allclose(outputs["measures"]["average_error"], expected, rtol=1e-4)
    assert all(values.shape == (2,) for values in outputs["terms"].values())


def test_every_weight_of_cnet_gets_a_gradient_and_none_of_rnet(settings, batch, model_file):
    """The last layer starts at zero and hides the others at first."""
    built = _reconstructor(settings, model_file)
    variables = built.cnet.trainable_variables

    def gradients():
        with tf.GradientTape() as tape:
            loss = built.compute_loss(y_pred=built(batch))
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return {variable.path: np.abs(gradient).max() for variable, gradient in zip(variables, found, strict=True)}

    for path, largest in gradients().items():
        assert (largest > 0) == ("confidence/" in path), path
    _doubting(built)
    for path, largest in gradients().items():
        assert largest > 0, path
    assert len(variables) == len(built.cnet.weights)
    assert not built.rnet.trainable_weights


def _train(built, batch, steps):
    step, logs = tf.function(built.train_step), []
    for _ in range(steps):
        built.reset_metrics()
        logs.append({name: float(value) for name, value in step(batch).items()})
    return logs


def test_learns_whom_to_trust_where_the_shape_is_known(settings, batch, model_file):
    """The loss and the fused shape's error fall below those of averaging; R-Net stays as it is."""
    built = _reconstructor(settings, model_file)
    before = built.rnet.get_weights()
    logs = _train(built, batch, 25)
    assert logs[-1]["loss"] < logs[0]["loss"]
    assert logs[-1]["shape_error"] < 0.97 * logs[0]["average_error"]
    assert logs[-1]["average_error"] == pytest.approx(logs[0]["average_error"], rel=1e-5)
    for mine, theirs in zip(built.rnet.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_learns_from_photos_alone(settings, batch, model_file):
    """Without labels, as the paper: the pictures of the set, rebuilt with the fused identity, come nearer than with the
    average, and the confidences are no longer equal."""
    photos = replace(settings, loss=LossWeights(perceptual=0.0))
    unknown = {**batch, "known": batch["known"] * 0, "coefficients": batch["coefficients"] * 0}
    built = _reconstructor(photos, model_file)
    features = built.rnet.regress(batch["inputs"][0])[1]
    assert np.asarray(built.cnet(features)).std() == 0
    logs = _train(built, unknown, 25)
    assert "shape" not in logs[0]
    assert logs[-1]["landmark"] < 0.985 * logs[0]["landmark"]
    assert logs[-1]["loss"] < 0.99 * logs[0]["loss"]
    assert np.asarray(built.cnet(features)).std(axis=0).min() > 1e-3


def test_padding_changes_nothing(settings, batch, model_file):
    built = _reconstructor(settings, model_file)
    _doubting(built)
    three = {name: values[:, :3] for name, values in batch.items()}
    padded = {
        **batch,
        "present": tf.constant([[1.0, 1, 1, 0]] * 2),
        "images": batch["images"] * [[[[[1.0]]]] * 3 + [[[[0.0]]]]],
    }
    for first, second in zip(*(tf.nest.flatten(built(each)) for each in (three, padded)), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_two_replicas_give_the_gradient_of_one(settings, batch, model_file):
    built = _reconstructor(settings, model_file)
    kernel = _doubting(built)

    def gradient(part, replicas):
        with tf.GradientTape() as tape:
            loss = hybrid.total(built(part)["terms"], settings.loss, replicas)
        return tape.gradient(loss, kernel).numpy()

    halves = [{name: values[i : i + 1] for name, values in batch.items()} for i in range(2)]
    np.testing.assert_allclose(sum(gradient(half, 2) for half in halves), gradient(batch, 1), rtol=1e-3, atol=1e-6)


def test_scalar_confidence_weighs_whole_photos(settings, batch, model_file):
    """The fused identity is sum_j c_j a_j / sum_j c_j with one number c_j for each photo."""
    built = _reconstructor(replace(settings, sets=replace(settings.sets, scalar=True)), model_file)
    assert built.cnet.confidences == 1
    _doubting(built)
    pairs = [built.rnet.regress(inputs) for inputs in batch["inputs"]]
    confidence = np.stack([built.cnet(features) for _, features in pairs])
    assert confidence.shape == (2, 4, 1)
    assert confidence.std(axis=1).min() > 1e-3
    single = np.stack([coefficients.identity for coefficients, _ in pairs])
    fused = (confidence * single).sum(1) / confidence.sum(1)
    truth = built.rnet.layout.split(batch["coefficients"].numpy()[:, 0]).identity
    metric = np.asarray(built.constants.identity_metric)
    expected = np.sqrt(np.einsum("sk,kl,sl->s", fused - truth, metric, fused - truth))
    np.testing.assert_allclose(built(batch)["measures"]["shape_error"], expected, rtol=1e-4)


def test_a_run_from_the_command_and_its_files(settings, model_file, tmp_path):
    """The command trains, writes both networks, and goes on from its checkpoint; a C-Net knows its R-Net."""
    from tf_deep3d import train

    config.write(tmp_path / "cnet.yaml", settings)
    run = tmp_path / "run"
    assert train.main([str(tmp_path / "cnet.yaml"), "--run", str(run), "--set", "steps=2"]) == 0
    assert train.main([str(tmp_path / "cnet.yaml"), "--run", str(run)]) == 0
    assert [step for step, _ in run_folder.checkpoints(run)] == [2, 4]
    rnet = rnets.load_rnet(run, rnets.fingerprint(model_file))
    cnet = cnets.load_cnet(run, rnet)
    assert cnet.recipe["sets"] == {"photos": 4, "least": 2, "scalar": False, "bound": 2.0}
    rows = (run / run_folder.LOG).read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "2", "4"]
    assert (run / "panels" / "00000004.png").is_file()


def test_another_face_models_rnet_is_refused(settings, tmp_path, capsys):
    from tf_deep3d import train

    config.write(tmp_path / "cnet.yaml", settings)
    arguments = [str(tmp_path / "cnet.yaml"), "--run", str(tmp_path / "run"), "--set", "network.face_model=null"]
    assert train.main(arguments) == 1
    assert "was trained with another face model than this one" in capsys.readouterr().err
