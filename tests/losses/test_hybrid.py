import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.morphable_model import Landmarks
from tf_deep3d.losses import hybrid, weighing

SQRT3 = np.sqrt(3.0)


PAPER = weighing.LossWeights(photometric=1.9, prior_albedo=1.7e-3, illumination_whiteness=0.0)


def _random(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, shape)


def _gradients(function, *arrays):
    """Gradients of the sum of function(*arrays), in double precision."""
    tensors = [tf.constant(array, tf.float64) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = tf.reduce_sum(function(*tensors))
    return [gradient.numpy() for gradient in tape.gradient(value, tensors, unconnected_gradients="zero")]


def _check_gradients(function, *arrays, step=1e-5, tolerance=1e-7):
    """Every gradient against central differences at a few elements of each argument."""
    generator = np.random.default_rng(5)
    for i, gradient in enumerate(_gradients(function, *arrays)):
        assert np.abs(gradient).max() > 0
        for element in generator.choice(arrays[i].size, min(8, arrays[i].size), replace=False):
            values = []
            for sign in (1, -1):
                moved = [array.copy() for array in arrays]
                moved[i].reshape(-1)[element] += sign * step
                values.append(float(tf.reduce_sum(function(*(tf.constant(a, tf.float64) for a in moved)))))
            numeric = (values[0] - values[1]) / (2 * step)
            assert gradient.reshape(-1)[element] == pytest.approx(numeric, rel=1e-5, abs=tolerance)


# --- photometric ---------------------------------------------------------------------------------------------------


def test_photometric_is_the_attended_mean_of_color_distances():
    image = np.zeros((2, 2, 2, 3))
    rendered = np.zeros_like(image)
    rendered[0, 0, 0] = (0.3, 0.4, 0.0)  # distance 0.5
    rendered[0, 1, 1] = 1.0  # distance sqrt(3)
    rendered[0, 0, 1] = 1.0  # not covered
    rendered[1, :, :, 2] = 0.25
    coverage = np.ones((2, 2, 2, 1))
    coverage[0, 0, 1] = 0
    attention = np.ones((2, 2, 2))
    attention[0, 0, 0] = 0.5
    value = hybrid.photometric(image, rendered, coverage, attention)
    # First picture: weights 0.5 (distance .5), 1 (0), 1 (sqrt 3); sum 2.5.
    np.testing.assert_allclose(value, [(0.25 + SQRT3) / 2.5, 0.25], rtol=1e-5)
    np.testing.assert_array_equal(hybrid.photometric(image, rendered, coverage, attention[..., None]), value)


def test_photometric_ignores_the_scale_of_attention_and_knows_black_from_white():
    image, rendered = _random(2, 8, 8, 3), _random(2, 8, 8, 3, seed=1)
    coverage, attention = _random(2, 8, 8, 1, seed=2), _random(2, 8, 8, 1, seed=3)
    value = hybrid.photometric(image, rendered, coverage, attention)
    np.testing.assert_allclose(hybrid.photometric(image, rendered, coverage, 0.25 * attention), value, rtol=1e-5)
    np.testing.assert_allclose(hybrid.photometric(0 * image, 0 * image + 1, coverage, attention), SQRT3, rtol=1e-5)


def test_photometric_fades_out_below_one_pixel_of_evidence():
    image = np.zeros((1, 4, 4, 3))
    coverage, attention = np.zeros((1, 4, 4, 1)), np.ones((1, 4, 4))
    coverage[0, 0, 0] = 0.25
    np.testing.assert_allclose(hybrid.photometric(image, image + 1, coverage, attention), [0.25 * SQRT3], rtol=1e-5)


def test_photometric_gives_no_gradient_to_its_weights():
    arrays = _random(1, 4, 4, 3), _random(1, 4, 4, 3, seed=1), _random(1, 4, 4, 1, seed=2), _random(1, 4, 4, seed=3)
    image, rendered, coverage, attention = _gradients(hybrid.photometric, *arrays)
    assert np.abs(image).max() > 0
    assert np.abs(rendered).max() > 0
    assert not coverage.any()
    assert not attention.any()


def test_photometric_gradient():
    coverage, attention = _random(2, 4, 4, 1, seed=2), _random(2, 4, 4, seed=3)
    _check_gradients(
        lambda image, rendered: hybrid.photometric(image, rendered, coverage, attention),
        *(_random(2, 4, 4, 3), _random(2, 4, 4, 3, seed=1)),
    )


@pytest.mark.parametrize(
    ("coverage", "attention"),
    [((1, 4, 4), (1, 4, 4)), ((1, 4, 4, 3), (1, 4, 4)), ((1, 4, 4, 1), (4, 4)), ((1, 4, 4, 1), (1, 4, 4, 3))],
)
def test_photometric_rejects_maps_that_would_broadcast(coverage, attention):
    image = np.zeros((1, 4, 4, 3))
    with pytest.raises(ValueError, match="Received: shape"):
        hybrid.photometric(image, image, np.ones(coverage), np.ones(attention))


# --- landmark ------------------------------------------------------------------------------------------------------


def test_landmark_weights_emphasise_nose_and_inner_lips():
    weights = weighing.landmark_weights()
    assert weights.shape == (68,)
    assert set(np.flatnonzero(weights == 20)) == {28, 29, 30, 60, 61, 62, 63, 64, 65, 66, 67}
    assert weights.sum() == 57 + 11 * 20
    light = weighing.landmark_weights(emphasis=10, jaw=0.25)
    np.testing.assert_array_equal(light[:17], 0.25)
    assert (light[17:] == np.where(weights[17:] == 20, 10, 1)).all()


def test_landmark_is_a_weighted_mean_over_all_points():
    target = np.zeros((2, 68, 2))
    predicted = target.copy()
    predicted[0, 30] = (3, 4)
    predicted[0, 0] = (1, 0)
    predicted[1, :, 0] = 2
    value = hybrid.landmark(predicted, target, weighing.landmark_weights())
    np.testing.assert_allclose(value, [(20 * 25 + 1) / 68, 4 * (57 + 220) / 68], rtol=1e-6)


def test_landmark_takes_478_points_and_weights_for_each_picture():
    predicted, target = _random(2, 478, 2), _random(2, 478, 2, seed=1)
    squared = ((predicted - target) ** 2).sum(-1)
    np.testing.assert_allclose(hybrid.landmark(predicted, target, np.ones(478)), squared.mean(-1), rtol=1e-6)
    seen = np.ones((2, 478))
    seen[1, 100:] = 0
    expected = [squared[0].mean(), squared[1, :100].sum() / 478]
    np.testing.assert_allclose(hybrid.landmark(predicted, target, seen), expected, rtol=1e-6)


def test_landmark_takes_matrices_as_weights():
    """Mahalanobis distances; multiples of the identity are plain weights, also where points are absent."""
    predicted, target = _random(2, 5, 2), _random(2, 5, 2, seed=1)
    factors = _random(2, 5, 2, 2, seed=2)
    matrices = factors @ factors.swapaxes(-1, -2) + np.eye(2, dtype=np.float32)
    offset = predicted - target
    wanted = np.einsum("bli,blij,blj->bl", offset, matrices, offset).mean(1)
    np.testing.assert_allclose(hybrid.landmark(predicted, target, matrices), wanted, rtol=1e-5)
    plain = np.broadcast_to(3 * np.eye(2), (2, 5, 2, 2))
    there = np.float32([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]])
    np.testing.assert_allclose(
        hybrid.landmark(predicted, target, plain, there),
        hybrid.landmark(predicted, target, 3 * np.ones(5), there),
        rtol=1e-5,
    )


def test_precisions_are_scaled_by_weights():
    moments = np.broadcast_to(np.float32([2e-4, 0, 1e-4]), (9, 3, 4, 3))
    points = Landmarks(np.zeros((4, 3), int), np.ones((4, 3)) / 3, moments)
    found = weighing.precisions(points, np.array([1, 1, 0, 2]), np.zeros((3, 3)))
    assert found.shape == (3, 4, 2, 2)
    np.testing.assert_allclose(found[0, 0], [[2 / 3, 0], [0, 4 / 3]], rtol=1e-5)  # half their traces are 1 on average
    np.testing.assert_allclose(found[1, 3], 2 * found[0, 0], rtol=1e-6)
    assert not found[:, 2].any()


def test_an_absent_point_leaves_its_weight_to_the_others():
    """Equal distances cost the same whatever is there; without any point there is nothing to cost."""
    weights = weighing.landmark_weights()
    target = np.zeros((3, 68, 2))
    there = np.ones((3, 68))
    there[1, 20:] = there[2] = 0
    value = np.asarray(hybrid.landmark(target + np.array([3, 4]), target, weights, there))
    np.testing.assert_allclose(value, [25 * 277 / 68, 25 * 277 / 68, 0], rtol=1e-6)
    predicted = target.copy()
    predicted[:, 0, 0] = 2
    value = np.asarray(hybrid.landmark(predicted, target, weights, there))
    np.testing.assert_allclose(value, [4 / 68, 4 * 277 / 20 / 68, 0], rtol=1e-6)


def test_joint_landmarks_are_the_papers_and_the_dense_ones_share_their_term(tiny_model):
    points, weights = weighing.joint_landmarks(tiny_model)
    np.testing.assert_array_equal(weights, weighing.landmark_weights())
    assert points.vertices.shape == (68, 3)
    points, weights = weighing.joint_landmarks(tiny_model, emphasis=3.0, jaw=0.2, dense=0.3)
    assert points.vertices.shape == (546, 3)
    assert weights.mean() == pytest.approx(weighing.landmark_weights(3.0, 0.2).mean(), rel=1e-6)
    np.testing.assert_allclose(weights[68:536] / weights[20], 0.3, rtol=1e-6)
    np.testing.assert_array_equal(weights[536:], 0)  # the irises, which the model does not move
    np.testing.assert_allclose(weights[[30, 5]] / weights[20], [3, 0.2], rtol=1e-6)


def test_landmark_gradient():
    weights = weighing.landmark_weights()
    _check_gradients(
        lambda predicted, target: hybrid.landmark(predicted, target, weights),
        *(_random(2, 68, 2), _random(2, 68, 2, seed=1)),
    )


def test_landmark_rejects_other_counts():
    with pytest.raises(ValueError, match=r"Received: \(68, 68, 478\)"):
        hybrid.landmark(np.zeros((1, 68, 2)), np.zeros((1, 68, 2)), np.ones(478))
    with pytest.raises(ValueError, match=r"Received: \(68, 1, 68\)"):
        hybrid.landmark(np.zeros((1, 68, 2)), np.zeros((1, 1, 2)), np.ones(68))


# --- perceptual ----------------------------------------------------------------------------------------------------


def test_perceptual_knows_equal_orthogonal_and_opposite_whatever_the_length():
    a = np.array([[3.0, 0, 0], [3, 0, 0], [3, 0, 0], [1, 1, 0], [0, 0, 0]])
    b = np.array([[0.5, 0, 0], [0, 7, 0], [-2, 0, 0], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(hybrid.perceptual(a, b), [0, 1, 2, 1 - np.sqrt(0.5), 1], atol=1e-6)


def test_perceptual_gradient():
    _check_gradients(hybrid.perceptual, _random(3, 6), _random(3, 6, seed=1) - 0.5)


# --- regularisers --------------------------------------------------------------------------------------------------


def _coefficients(identity, expression, albedo):
    batch = len(identity)
    rest = np.ones((batch, 3)), np.ones((batch, 3, 9)), np.ones((batch, 3))
    return Coefficients(identity, expression, albedo, *rest)


def test_prior_is_the_weighted_sum_of_squared_norms():
    coefficients = _coefficients(np.array([[1.0, 2.0]]), np.array([[3.0]]), np.array([[10.0, 0.0, 0.0]]))
    np.testing.assert_allclose(hybrid.prior(coefficients), [5 + 0.8 * 9 + 1.7], rtol=1e-6)
    np.testing.assert_allclose(hybrid.prior(coefficients, PAPER), [5 + 0.8 * 9 + 0.17], rtol=1e-6)


def test_prior_gradient():
    _check_gradients(lambda *groups: hybrid.prior(_coefficients(*groups)), *(_random(2, n, seed=n) for n in (8, 6, 7)))


def test_albedo_flatness_is_the_variance_over_skin():
    albedo = np.full((2, 4, 3), 0.5)
    albedo[0, 0, 0], albedo[0, 1, 0] = 0.2, 0.6  # variance 0.04 over the two skin vertices
    albedo[0, :2, 1] = 0.1, 0.3  # 0.01
    albedo[:, 3] = 1.0  # not skin
    skin = np.array([True, True, False, False])
    np.testing.assert_allclose(hybrid.albedo_flatness(albedo, skin), [0.05, 0], atol=1e-7)
    np.testing.assert_allclose(hybrid.albedo_flatness(albedo, skin * 0.5), [0.05, 0], atol=1e-7)
    np.testing.assert_allclose(hybrid.albedo_flatness(albedo + 0.3, skin), [0.05, 0], atol=1e-6)


def test_albedo_flatness_gradient():
    skin = np.array([1, 1, 0, 1, 1, 0], bool)
    _check_gradients(lambda albedo: hybrid.albedo_flatness(albedo, skin), _random(2, 6, 3))


def test_illumination_whiteness():
    light = np.tile(_random(1, 1, 9), (2, 3, 1))
    light[1, :, 0] += (3, 0, -3)  # mean squared distance: 18 / 27
    np.testing.assert_allclose(hybrid.illumination_whiteness(light), [0, 18 / 27], atol=1e-6)
    np.testing.assert_array_equal(hybrid.illumination_whiteness(_random(2, 1, 9)), 0)


def test_illumination_whiteness_gradient():
    _check_gradients(hybrid.illumination_whiteness, _random(2, 3, 9))


def test_exposure_counts_standard_deviations_of_the_light_on_the_skin():
    normals = geometry.normalize(_random(1, 5, 3) - 0.5)
    skin = np.array([1, 0, 1, 1, 0], bool)
    light = np.zeros((3, 3, 9))
    white = 1 / lighting.sh_basis(normals)[0, 0, 0]  # first coefficient of an irradiance of 1
    light[:, :, 0] = lighting.EXPOSURE * white - lighting.AMBIENT
    light[1, :, 0] += 2 * lighting.EXPOSURE_SPREAD * white
    light[2, 1, 0] -= lighting.EXPOSURE_SPREAD * white / lighting.LUMINANCE[1]
    np.testing.assert_allclose(hybrid.exposure(light, normals, skin), [0, 4, 1], atol=1e-5)
    np.testing.assert_allclose(hybrid.exposure(light[:2, :1], normals, skin), [0, 4], atol=1e-5)
    light = _random(2, 3, 9)
    mean = (lighting.irradiance(normals, light)[:, skin] @ lighting.LUMINANCE).mean(1)
    wanted = ((mean - lighting.EXPOSURE) / lighting.EXPOSURE_SPREAD) ** 2
    np.testing.assert_allclose(hybrid.exposure(light, normals, skin), wanted, rtol=1e-4)


def test_exposure_gradient():
    normals, skin = geometry.normalize(_random(2, 5, 3) - 0.5), np.array([1, 0, 1, 1, 0], bool)
    _check_gradients(lambda light: hybrid.exposure(light, normals, skin), _random(2, 3, 9))


# --- degenerate inputs ---------------------------------------------------------------------------------------------

_IMAGE, _BLACK = _random(1, 4, 4, 3).astype("float32"), np.zeros((1, 4, 4, 3), "float32")
_MAP, _NONE = np.ones((1, 4, 4, 1), "float32"), np.zeros((1, 4, 4, 1), "float32")
_POINTS = np.ones((1, 8, 2), "float32")
_FEATURE, _ZERO = _random(1, 8).astype("float32"), np.zeros((1, 8), "float32")


@pytest.mark.parametrize(
    ("function", "arrays", "value"),
    [
        (hybrid.photometric, (_IMAGE, _IMAGE, _MAP, _MAP), 0),
        (hybrid.photometric, (_IMAGE, _BLACK, _NONE, _MAP), 0),
        (hybrid.photometric, (_IMAGE, _BLACK, _MAP, _NONE), 0),
        (hybrid.photometric, (_BLACK, _BLACK, _NONE, _NONE), 0),
        (hybrid.perceptual, (_FEATURE, _FEATURE), 0),
        (hybrid.perceptual, (_ZERO, _FEATURE), 1),
        (hybrid.perceptual, (_ZERO, _ZERO), 1),
        (lambda albedo: hybrid.albedo_flatness(albedo, np.zeros(4, bool)), (_IMAGE[0],), 0),
        (hybrid.illumination_whiteness, (np.zeros((1, 3, 9), "float32"),), 0),
        (
            lambda light: hybrid.exposure(light, _random(1, 4, 3).astype("float32"), np.zeros(4, bool)),
            (np.zeros((1, 3, 9), "float32"),),
            (lighting.EXPOSURE / lighting.EXPOSURE_SPREAD) ** 2,
        ),
        (lambda a, b: hybrid.landmark(a, b, np.zeros(8, "float32")), (_POINTS, _POINTS), 0),
    ],
)
def test_values_and_gradients_are_finite_in_single_precision(function, arrays, value):
    tensors = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(*tensors)
    np.testing.assert_allclose(result, np.full(len(result), value), atol=2e-6)
    for gradient in tape.gradient(result, tensors, unconnected_gradients="zero"):
        assert np.isfinite(gradient).all()


# --- total and weights ---------------------------------------------------------------------------------------------


def test_defaults_are_the_released_codes():
    default = weighing.LossWeights()
    assert dataclasses.astuple(default) == (1.92, 1.6e-3, 0.2, 3e-4, 5.0, 10.0, 0.0, 0.0, 0.0, 1.0, 0.8, 1.7e-2)
    with pytest.raises(ValueError, match=r"landmark must be finite and not negative\. Received: -1"):
        weighing.LossWeights(landmark=-1)


def test_total_weights_batch_means():
    terms = {"photometric": np.array([0.1, 0.3]), "landmark": np.array([100.0, 300.0]), "prior": np.array([1.0, 0.0])}
    expected = 1.92 * 0.2 + 1.6e-3 * 200 + 3e-4 * 0.5
    assert float(hybrid.total(terms)) == pytest.approx(expected)
    assert float(hybrid.total(terms, replicas=4)) == pytest.approx(expected / 4)


def test_total_leaves_out_terms_without_weight():
    terms = {"photometric": np.array([0.5]), "illumination_whiteness": np.array([np.nan])}
    assert float(hybrid.total(terms, PAPER)) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("terms", "arguments", "message"),
    [
        ({}, {}, r"Received: \[\]"),
        ({"color": np.zeros(2)}, {}, r"Received: \['color'\]"),
        ({"prior": np.zeros((2, 1))}, {}, r"prior must be \[B\]. Received: shape \(2, 1\)"),
        ({"prior": np.float32(0)}, {}, r"Received: shape \(\)"),
        ({"prior": np.zeros(2)}, {"replicas": 0}, "Received: 0"),
        ({"illumination_whiteness": np.zeros(2)}, {"weights": PAPER}, "positive weight"),
    ],
)
def test_total_rejects(terms, arguments, message):
    with pytest.raises(ValueError, match=message):
        hybrid.total(terms, **arguments)


# --- other runtimes ------------------------------------------------------------------------------------------------

_ALL_TERMS = """
import numpy as np
from tf_deep3d.losses import hybrid, weighing
from tf_deep3d.face import geometry, lighting
from tf_deep3d.face.coefficients import Coefficients

rng = np.random.default_rng(3)
draw = lambda *shape: rng.uniform(0.1, 0.9, shape).astype("float32")
B = 4
DATA = dict(
    image=draw(B, 6, 6, 3), rendered=draw(B, 6, 6, 3), coverage=draw(B, 6, 6, 1), attention=draw(B, 6, 6),
    predicted=200 * draw(B, 68, 2), target=200 * draw(B, 68, 2), a=draw(B, 9), b=draw(B, 9) - 0.5,
    identity=draw(B, 8), expression=draw(B, 6), albedo=draw(B, 7), colors=draw(B, 10, 3), light=draw(B, 3, 9),
    normals=draw(B, 10, 3),
)
SKIN = np.arange(10) % 3 > 0

def terms(d):
    coefficients = Coefficients(d["identity"], d["expression"], d["albedo"], None, None, None)
    return {
        "photometric": hybrid.photometric(d["image"], d["rendered"], d["coverage"], d["attention"]),
        "landmark": hybrid.landmark(d["predicted"], d["target"], weighing.landmark_weights()),
        "perceptual": hybrid.perceptual(d["a"], d["b"]),
        "prior": hybrid.prior(coefficients),
        "albedo_flatness": hybrid.albedo_flatness(d["colors"], SKIN),
        "illumination_whiteness": hybrid.illumination_whiteness(d["light"]),
        "exposure": hybrid.exposure(d["light"], d["normals"], SKIN),
    }
"""

_JAX = """
import jax, sys

gradients = jax.jit(jax.grad(lambda d: hybrid.total(terms(d))))(DATA)
values = {f"value_{k}": np.asarray(v) for k, v in jax.jit(terms)(DATA).items()}
np.savez(sys.argv[1], **values, **{f"gradient_{k}": np.asarray(v) for k, v in gradients.items()})
assert "tensorflow" not in sys.modules
"""


def _run(code, backend, *arguments):
    environment = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]


def test_jax_computes_the_same_values_and_gradients(tmp_path):
    pytest.importorskip("jax", reason="jax is not installed")
    _run(_ALL_TERMS + _JAX, "jax", str(tmp_path / "jax.npz"))
    scope = {}
    exec(_ALL_TERMS, scope)
    data = {name: tf.constant(array) for name, array in scope["DATA"].items()}
    with tf.GradientTape() as tape:
        tape.watch(data)
        terms = scope["terms"](data)
        total = hybrid.total(terms)
    gradients = tape.gradient(total, data, unconnected_gradients="zero")
    with np.load(tmp_path / "jax.npz") as jax:
        assert set(jax.files) == {f"value_{k}" for k in terms} | {f"gradient_{k}" for k in data}
        for name, value in terms.items():
            np.testing.assert_allclose(jax[f"value_{name}"], value, rtol=2e-5)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(jax[f"gradient_{name}"], gradient, rtol=1e-4, atol=1e-6)


_REPLICAS = """
import keras, tensorflow as tf

tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0],
                                           [tf.config.LogicalDeviceConfiguration()] * 2)

class Tiny(keras.Model):
    def __init__(self, replicas):
        super().__init__()
        self.replicas = replicas
        self.gain = self.add_weight(shape=(3,), initializer="ones", name="gain")
        self.shift = self.add_weight(shape=(68, 2), initializer="zeros", name="shift")
        self.mode = self.add_weight(shape=(8,), initializer="ones", name="mode")

    def call(self, d):
        return terms({**d, "rendered": d["rendered"] * self.gain, "predicted": d["predicted"] + self.shift,
                      "colors": d["colors"] * self.gain, "identity": d["identity"] * self.mode,
                      "light": d["light"] * self.gain[:, None], "a": d["a"] * self.gain[0] + self.mode[0]})

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return hybrid.total(y_pred, replicas=self.replicas)

def alone():
    model = Tiny(1)
    with tf.GradientTape() as tape:
        loss = hybrid.total(model.call({name: tf.constant(array) for name, array in DATA.items()}))
    return [-gradient.numpy() for gradient in tape.gradient(loss, model.trainable_weights)], float(loss)

def step(strategy, replicas):
    with strategy.scope():
        model = Tiny(replicas)
        model.compile(keras.optimizers.SGD(1.0), jit_compile=False)
    batches = tf.data.Dataset.from_tensor_slices(DATA).batch(B, drop_remainder=True)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    history = model.fit(batches.with_options(options), epochs=1, verbose=0).history
    change = [np.array(new) - old for new, old in zip(model.get_weights(), (1.0, 0.0, 1.0))]
    return change, history["loss"][0]

two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert two.num_replicas_in_sync == 2
whole, loss = alone()
halves, loss_of_halves = step(two, 2)
for a, b in zip(whole, halves):
    assert np.abs(a).max() > 1e-6
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)
np.testing.assert_allclose(loss, loss_of_halves, rtol=1e-5)
"""


def test_two_replicas_with_half_the_batch_train_like_one():
    _run(_ALL_TERMS + _REPLICAS, "tensorflow")
