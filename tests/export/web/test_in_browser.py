"""The page in Chromium: it sees what Python sees, asks nobody else, and works without a network."""

import base64
import io
import json
import time
from typing import NamedTuple

import numpy as np
import pygltflib
import pytest
import trimesh
from PIL import Image
from skimage import data

from export import device, parity
from export.device_bundle import CONFIDENCE
from export.web import page as pages
from export.web.face_data import face_data
from tests.browser import Page, needs_browser, open_page, serving
from tf_deep3d import face as faces
from tf_deep3d.detection import networks, resampling
from tf_deep3d.face import expression, geometry, lighting, morphable_model
from tf_deep3d.face.aggregation import aggregate
from tf_deep3d.face.camera import Camera, to_pixels
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.mesh.face_files import PHOTO_EXPRESSION

pytestmark = needs_browser
READY = "document.querySelector('html[data-ready], html[data-failed]')"
STATUS = "document.querySelector('#status').textContent"


class Shown(NamedTuple):
    """A page that is ready.

    Attributes:
      page: `Page`.
      url: its address.
      stop: stops its server.
      runtime: of Python, of the same bundle.
      pictures: folder of photos.
    """

    page: Page
    url: str
    stop: object
    runtime: device.Runtime
    pictures: object


@pytest.fixture(scope="module")
def shown(exported, tmp_path_factory):
    pictures = tmp_path_factory.mktemp("pictures")
    portrait = Image.fromarray(data.astronaut()).crop((60, 0, 380, 240))
    Image.fromarray(data.astronaut()).save(pictures / "me.png")
    portrait.resize((800, 600), Image.Resampling.LANCZOS).save(pictures / "nearer.png")
    Image.fromarray(np.rot90(data.astronaut())).save(pictures / "lying.png")
    Image.new("RGB", (300, 200), "green").save(pictures / "nobody.png")
    stream = io.BytesIO()
    portrait.resize((640, 480)).save(stream, "JPEG", quality=95)
    (pictures / "camera.mjpeg").write_bytes(stream.getvalue() * 4)
    pages.write_page(pictures / "page", exported.folder, pictures / "me.png")
    camera = f"--use-file-for-fake-video-capture={pictures / 'camera.mjpeg'}"
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", camera)
    runtime = device.load(exported.folder, confidence=True)
    with serving(pictures / "page") as (url, stop), open_page(*flags) as page:
        page.resize(1000, 700)
        page.send("Page.navigate", url=url)
        page.wait_for(READY)
        assert page.evaluate(STATUS) == "Choose one photo of a face, or several of the same person."
        yield Shown(page, url, stop, runtime, pictures)


def choose(shown, *names):
    """Looks at photos, and no others; what the page says of them."""
    shown.page.evaluate("import('./app.js').then(({ state }) => { state.photos.length = 0; state.current = -1; })")
    shown.page.evaluate("document.querySelector('#status').textContent = ''")
    shown.page.choose_files("#files", [shown.pictures / name for name in names])
    said = f"/face|picture/.test({STATUS}) && !/Looking/.test({STATUS})"
    shown.page.wait_for(said)
    return shown.page.evaluate(STATUS)


def answers(shown, index=0):
    """Name -> [1, ..] of what the page says of a photo."""
    code = """import("./app.js").then(({ state }) => {
      const { coefficients, confidence } = (state.live ?? state.photos[INDEX]).face;
      const groups = { ...coefficients, confidence };
      return Object.fromEntries(Object.entries(groups).map(([name, values]) => [name, [...values]]));
    })""".replace("INDEX", str(index))
    shapes = shown.runtime.model.layout().shapes._asdict()
    found = shown.page.evaluate(code)
    return {name: np.reshape(values, (1, *shapes.get(name, (-1,)))) for name, values in found.items()}


def outcome(shown, groups):
    return parity.outcome(shown.runtime.model, groups)


def expected(shown, name):
    """`parity.Outcome` of Python's runtime."""
    (found,) = shown.runtime.reconstruct(shown.pictures / name)
    return outcome(shown, found.coefficients._asdict() | {CONFIDENCE: found.confidence[None]})


def test_pictures_are_cut_out_as_in_python(shown):
    image = data.astronaut()[:200, 100:400]
    transforms = [  # upright, beyond the border, turned, shrunk much
        Similarity(0.9, 0.0, (-80.3, 10.2)),
        Similarity(0.6, 0.0, (-170.0, 30.0)),
        Similarity(0.7, 1.2, (90.0, -60.0)),
        Similarity(0.11, 0.0, (20.0, 30.0)),
        Similarity(2.5, -2.0, (200.0, 400.0)),
    ]
    rgba = np.concatenate([image, np.full((*image.shape[:2], 1), 255, np.uint8)], axis=-1)
    code = """Promise.all([import("./pixels.js"), import("./similarity.js")]).then(([pixels, { similarity }]) => {
      const data = Uint8ClampedArray.from(atob("DATA"), (letter) => letter.charCodeAt(0));
      const photo = { width: 300, height: 200, data };
      return TRANSFORMS.map((numbers) => {
        const transform = similarity(...numbers);
        const seen = [pixels.sample(photo, transform, 64)];
        seen.push(pixels.view(photo, transform, 64), pixels.view(photo, transform, 64, true));
        return seen.map((values) => [...values]);
      });
    })"""
    numbers = [(one.scale, one.rotation, *one.translation) for one in transforms]
    code = code.replace("DATA", base64.b64encode(rgba.tobytes()).decode()).replace("TRANSFORMS", json.dumps(numbers))
    for transform, seen in zip(transforms, shown.page.evaluate(code), strict=True):
        wanted = (
            resampling.crop(image, transform, 64),
            networks.view(image, transform, 64),
            networks.view(image, transform, 64, border="edge"),
        )
        for got, right in zip(seen, wanted, strict=True):
            difference = np.abs(np.reshape(got, right.shape) - right)
            assert difference.max() < 2.5 / 255  # both axes of a resize are rounded to bytes
            assert difference.mean() < 0.05 / 255


def test_the_mesh_is_that_of_python(shown):
    model, rng = shown.runtime.model, np.random.default_rng(0)
    shapes = model.layout().shapes
    scales = Coefficients(1.0, 1.0, 1.0, 0.3, 0.2, 0.2)
    coefficients = Coefficients(
        *(rng.normal(0, scale, (1, *shape)).astype(np.float32) for scale, shape in zip(scales, shapes, strict=True))
    )
    code = """Promise.all([import("./app.js"), import("./face.js")]).then(([{ runtime: { model } }, face]) => {
      const one = ONE;
      const shape = face.addModes(face.neutralShape(model, one.identity), model.expression, one.expression);
      const vertices = face.turn(shape, face.rotationMatrix(one.angles), one.translation);
      const normals = face.vertexNormals(vertices, model.triangles);
      const colors = face.shade(face.albedoOf(model, one.albedo), normals, one.illumination);
      return [vertices, normals, colors].map((values) => [...values]);
    })"""
    one = {name: group.reshape(-1).tolist() for name, group in coefficients._asdict().items()}
    found = shown.page.evaluate(code.replace("ONE", json.dumps(one)))
    vertices, normals, colors = (np.reshape(values, (1, -1, 3)).astype(np.float32) for values in found)
    built = faces.reconstruct(model, coefficients)
    np.testing.assert_allclose(vertices, built.vertices, atol=1e-3)  # dm: modes are rounded
    own = geometry.vertex_normals(vertices, model.triangles, model.vertex_corners)
    np.testing.assert_allclose(normals, own, atol=1e-3)
    shaded = lighting.shade(built.albedo, normals, coefficients.illumination)
    np.testing.assert_allclose(colors, shaded, atol=0.01)  # of albedo modes rounded to 1/4096


@pytest.mark.parametrize("name", ["me.png", "nearer.png", "lying.png"])
def test_a_photo_gives_the_face_of_python(shown, name):
    assert choose(shown, name) == "1 photo: here is the face."
    assert parity.violations("int8", parity.compare(expected(shown, name), outcome(shown, answers(shown)))) == []


def _weights(shown, index=0):
    return shown.page.evaluate(f"import('./app.js').then(({{ state }}) => [...state.photos[{index}].face.weights])")


def test_units_are_those_of_python_for_the_same_landmarks(shown):
    model, rng, camera = morphable_model.load(level=0), np.random.default_rng(0), Camera()
    measured = expression.load()
    toward = np.linalg.pinv(measured.rows)[: -expression.POSES]
    frames, expected = [], []
    for turn in (-0.6, 0.0, 0.3):
        names = rng.choice(measured.names, 6, replace=False).tolist()
        seen = expression.expected(measured, rng.uniform(0.2, 1.0, 6), names)
        offsets = (toward @ (seen + measured.mean)).reshape(-1, 2)
        shape = measured.points + np.pad(offsets, ((0, 0), (0, 1)))
        angles, place = np.array([0.1, turn, -0.1]), np.array([0.1, -0.05, 0.3])
        moved = shape @ geometry.rotation_matrix(angles[None])[0].T + place
        pixels = to_pixels(camera, moved[None])[0][0] + rng.normal(0, 0.5, (len(shape), 2))
        frame = expression.Frame(pixels, angles + 0.03, place - 0.02)
        expected.append(expression.of_photo(model.blendshape_names, frame, camera))
        frames.append({name: group.reshape(-1).tolist() for name, group in frame._asdict().items()})
    data = face_data(model)
    lens = {"focal": camera.focal, "distance": camera.distance, "center": camera.center}
    code = """Promise.all([import("./face.js"), import("./expression.js")]).then(([face, expression]) => {
      const bytes = Uint8Array.from(atob("DATA"), (letter) => letter.charCodeAt(0));
      const actor = expression.openActor(face.readModel(DESCRIPTION, bytes));
      return FRAMES.map(({ pixels, angles, translation }) =>
        expression.solve(actor, { pixels, rotation: face.rotationMatrix(angles), translation }));
    })"""
    code = code.replace("FRAMES", json.dumps(frames)).replace("DATA", base64.b64encode(data.binary).decode())
    found = shown.page.evaluate(code.replace("DESCRIPTION", json.dumps(data.description | {"camera": lens})))
    assert np.max(expected) > 0.5
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["me.png", "nearer.png"])
def test_units_of_a_photo_are_those_of_python(shown, name):
    choose(shown, name)
    (face,) = shown.runtime.reconstruct(shown.pictures / name)
    np.testing.assert_allclose(_weights(shown), list(face.arkit.values()), atol=0.03)


def test_sliders_show_the_units_of_the_photo(shown):
    choose(shown, "me.png")
    outputs = "[...document.querySelectorAll('#units output')].map((output) => Number(output.textContent))"
    np.testing.assert_allclose(shown.page.evaluate(outputs), [0, *_weights(shown)], atol=0.0051)
    shown.page.evaluate("document.querySelector('#neutral').click()")
    assert not any(shown.page.evaluate(outputs))
    shown.page.evaluate("document.querySelector('#read').click()")
    assert shown.page.evaluate(outputs) == [1] + [0] * len(_weights(shown))
    shown.page.evaluate("document.querySelector('#again').click()")
    np.testing.assert_allclose(shown.page.evaluate(outputs), [0, *_weights(shown)], atol=0.0051)


def test_several_photos_give_one_person(shown):
    assert choose(shown, "me.png", "nearer.png").startswith("2 photos, one face")
    each = [answers(shown, index) for index in range(2)]
    identity = np.stack([one["identity"] for one in each], axis=1)
    confidence = np.stack([one[CONFIDENCE] for one in each], axis=1)
    found = shown.page.evaluate("import('./app.js').then(({ identity }) => [...identity()])")
    fused = aggregate(identity, confidence, strategy="elementwise")[0]
    tolerance = 0.1 * np.abs(fused - identity.mean(axis=1)[0]).max()  # an average would not pass
    assert tolerance > 1e-6
    np.testing.assert_allclose(found, fused, atol=tolerance)


def test_a_picture_without_a_face_is_said(shown):
    assert choose(shown, "nobody.png").startswith("No face found in nobody.png. ")


def test_the_face_covers_the_photo_and_turns(shown):
    choose(shown, "me.png")
    pictures = [_picture(shown)]
    shown.page.evaluate(_slide("#opacity", 0))
    pictures.append(_picture(shown))
    shown.page.evaluate("document.querySelector('#front').click()")
    pictures.append(_picture(shown))
    shown.page.evaluate("document.querySelector('#over').click()")
    shown.page.evaluate(_slide("#opacity", 1))
    covered, bare, alone = pictures
    assert 0.05 < np.mean(np.abs(covered - bare).max(axis=-1) > 8) < 0.6
    assert np.mean(np.abs(alone - bare).max(axis=-1) > 8) > 0.6


def _picture(shown):
    """What is seen of the stage, [H, W, 3]."""
    time.sleep(1)  # for the next frame
    seen = np.asarray(Image.open(io.BytesIO(shown.page.screenshot())).convert("RGB")).astype(int)
    return seen[:600, :600]


def _slide(query, value):
    return f"""(() => {{ const input = document.querySelector({query!r}); input.value = {value};
                         input.dispatchEvent(new Event("input")); }})()"""


def test_the_file_is_the_mesh_of_python(shown):
    choose(shown, "me.png")
    model = shown.runtime.model
    shown.page.evaluate(_slide("#units label:nth-child(3) input", 0.5))  # of the second unit, after the photo's
    encoded = shown.page.evaluate("""import("./app.js").then(({ glb }) =>
      btoa(Array.from(glb(), (byte) => String.fromCharCode(byte)).join("")))""")
    shown.page.evaluate("document.querySelector('#again').click()")
    content = base64.b64decode(encoded)
    file = pygltflib.GLTF2.load_from_bytes(content)
    mesh = file.meshes[0]
    assert mesh.extras["targetNames"] == [*model.blendshape_names, PHOTO_EXPRESSION]
    found = _weights(shown)
    assert mesh.extras["arkit"] == dict(zip(model.blendshape_names, found, strict=True))
    assert mesh.weights == [found[0], 0.5, *found[2:], 0]
    assert len(mesh.primitives[0].targets) == len(mesh.weights)
    assert file.asset.copyright == model.licence
    read = trimesh.load(io.BytesIO(content), file_type="glb", force="mesh", process=False)
    neutral = faces.neutral_shape(model, answers(shown)["identity"].astype(np.float32))[0]
    np.testing.assert_allclose(read.vertices * 10, neutral, atol=1e-3)
    np.testing.assert_array_equal(read.faces, model.triangles)


def test_the_camera_gives_the_face_of_its_pictures(shown):
    shown.page.evaluate("document.querySelector('#camera').click()")
    shown.page.wait_for(f"{STATUS} === 'Camera on: the face follows you.'")
    found = outcome(shown, answers(shown))
    shown.page.evaluate("document.querySelector('#camera').click()")
    shown.page.wait_for("document.querySelector('#camera').textContent === 'Camera'")
    (face,) = shown.runtime.reconstruct((shown.pictures / "camera.mjpeg").read_bytes())
    truth = outcome(shown, face.coefficients._asdict() | {CONFIDENCE: face.confidence[None]})
    difference = parity.compare(truth, found)
    assert difference["shape_mm"]["mean"] < 1.0  # the camera's pictures go through a lossy format
    assert difference["landmark_px"]["photo"] < 3.0


def test_nothing_asks_another_place(shown):
    assert shown.page.requests
    assert all(address.startswith((shown.url, "blob:", "data:")) for address in shown.page.requests)
    refused = shown.page.evaluate("""new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      fetch("https://example.com/").catch(() => {});
    })""")
    assert refused == "connect-src"
    # Remarks of LiteRT.js, which looks for a GPU; nothing else may complain.
    known = ("WebGPU", "No available adapters", "INFO: ", "WARNING: ", "example.com")
    assert [text for text in shown.page.messages if not any(word in text for word in known)] == []


def test_the_page_works_without_a_network(shown):
    shown.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    shown.stop()
    shown.page.evaluate("window.old = true")
    shown.page.send("Page.reload")
    shown.page.wait_for(f"!window.old && {READY}")
    assert choose(shown, "me.png") == "1 photo: here is the face."
