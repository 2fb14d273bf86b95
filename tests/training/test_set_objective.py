"""C-Net's step: what it compares, what it changes, and that padding, replicas and files do not matter."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.prepared import write_records
from tests.training.test_objective import STILL
from tf_deep3d.data import image_sets
from tf_deep3d.face import aggregation, morphable_model
from tf_deep3d.losses import hybrid
from tf_deep3d.losses.hybrid import LossWeights
from tf_deep3d.models import cnet as cnets
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training import config, objective, run_folder, set_objective
from tf_deep3d.training.objective import DataSettings, Network, Optimization, SetSettings, TrainSettings


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
    sources = image_sets.open_sources(settings.data, settings.sets)
    made = image_sets.training_batches(
        settings.data, settings.sets, sources, tiny_model.layout().total, np.arange(478), 0
    )
    return next(iter(made))


def _reconstructor(settings, model_file):
    keras.utils.set_random_seed(1)
    rnet, cnet = set_objective.build_networks(settings)
    model = morphable_model.load(model_file, settings.level)
    built = set_objective.SetReconstructor(rnet, cnet, model, None, settings)
    built.compile(objective.optimizer(settings), jit_compile=False)
    return built


def test_starts_at_the_average_and_the_truth_is_measured(settings, batch, model_file):
    built = _reconstructor(settings, model_file)
    outputs = built(batch)
    np.testing.assert_allclose(outputs["measures"]["shape_error"], outputs["measures"]["average_error"], rtol=1e-5)
    single = np.stack([built.rnet(inputs).identity for inputs in batch["inputs"]])
    truth = built.rnet.layout.split(batch["coefficients"].numpy()[:, 0]).identity
    model = morphable_model.load(model_file, settings.level)
    difference = single.mean(1) - truth
    metric = hybrid.shape_metric(model.identity_basis, model.mean_shape)
    expected = np.sqrt(np.einsum("sk,kl,sl->s", difference, metric, difference))
    np.testing.assert_allclose(outputs["measures"]["average_error"], expected, rtol=1e-4)
    assert all(values.shape == (2,) for values in outputs["terms"].values())


def test_learns_whom_to_trust(settings, batch, model_file):
    """The loss falls below that of averaging; R-Net stays as it is; every weight of C-Net gets a gradient."""
    built = _reconstructor(settings, model_file)
    before = built.rnet.get_weights()
    with tf.GradientTape() as tape:
        loss = built.compute_loss(y_pred=built(batch))
    variables = built.cnet.trainable_variables
    last = [g for v, g in zip(variables, tape.gradient(loss, variables), strict=True) if "confidence" in v.path]
    assert all(np.abs(gradient).max() > 0 for gradient in last)
    assert not built.rnet.trainable_weights
    step, logs = tf.function(built.train_step), []
    for _ in range(25):
        built.reset_metrics()
        logs.append({name: float(value) for name, value in step(batch).items()})
    assert logs[-1]["shape_error"] < 0.97 * logs[0]["average_error"]
    assert logs[-1]["average_error"] == pytest.approx(logs[0]["average_error"], rel=1e-5)
    for mine, theirs in zip(built.rnet.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_padding_changes_nothing(settings, batch, model_file):
    built = _reconstructor(settings, model_file)
    kernel = built.cnet.network.get_layer("confidence").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) * 0.05)
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
    kernel = built.cnet.network.get_layer("confidence").kernel
    kernel.assign(np.random.default_rng(0).normal(size=kernel.shape) * 0.05)

    def gradient(part, replicas):
        with tf.GradientTape() as tape:
            loss = hybrid.total(built(part)["terms"], settings.loss, replicas)
        return tape.gradient(loss, kernel).numpy()

    halves = [{name: values[i : i + 1] for name, values in batch.items()} for i in range(2)]
    np.testing.assert_allclose(sum(gradient(half, 2) for half in halves), gradient(batch, 1), rtol=1e-3, atol=1e-6)


def test_scalar_confidence_weighs_whole_photos(settings, batch, model_file):
    sets = SetSettings(rnet=settings.sets.rnet, photos=4, scalar=True)
    built = _reconstructor(
        config.build(TrainSettings, config.as_plain(settings) | {"sets": config.as_plain(sets)}), model_file
    )
    assert built.cnet.confidences == 1
    assert set(built(batch)["measures"]) == set(set_objective.SetReconstructor.MEASURES)


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
    assert aggregation.aggregate(np.ones((1, 2, 6)), None, None, "average").shape == (1, 6)


def test_another_face_models_rnet_is_refused(settings, tmp_path):
    from tf_deep3d import train

    config.write(tmp_path / "cnet.yaml", settings)
    arguments = [str(tmp_path / "cnet.yaml"), "--run", str(tmp_path / "run"), "--set", "network.face_model=null"]
    assert train.main(arguments) == 1
