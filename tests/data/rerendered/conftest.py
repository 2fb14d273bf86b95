"""The head that wears photos, and pictures that are photos of it, with exact coefficients."""

import numpy as np
import pytest

from tf_deep3d import face
from tf_deep3d.data import records
from tf_deep3d.data.rendered import people as rendered_people
from tf_deep3d.data.rendered import pictures as rendered
from tf_deep3d.data.rerendered import pictures
from tf_deep3d.face import morphable_model
from tf_deep3d.face.coefficients import Coefficients


@pytest.fixture(scope="package")
def model():
    return morphable_model.load(level=1)


@pytest.fixture(scope="package")
def head(model):
    return rendered_people.load_head(model)


@pytest.fixture(scope="package")
def actor(model, head):
    return pictures.actor(model, head)


@pytest.fixture(scope="package")
def photo(model, head):
    """Function (seed, picture [S, S, 3] uint8 or None) -> the record of a frontal face in front of that picture, or of
    smooth colours: where its skin is does not matter to what moves it."""

    def made(seed, picture=None):
        rng = np.random.default_rng(seed)
        person = rendered_people.sample_one(model, head, rng)
        person = person._replace(angles=person.angles * np.float32(0.1))
        angles, translation = rendered_people.align(
            head.five, person.identity, person.expression, person.angles, np.zeros((5, 2))
        )
        person = person._replace(angles=np.float32(angles), translation=np.float32(translation))
        person = Coefficients(*(group[None] for group in person))
        colors = 0.25 + 0.5 * rendered.background(records.RECORD_SIZE, (), rng)
        points = {
            name: face.reconstruct(model, person, landmarks=name).landmarks[0] + np.float32(records.MARGIN)
            for name in ("ibug68", "mediapipe478")
        }
        return {
            "image": np.rint(255 * colors).astype(np.uint8) if picture is None else picture,
            "skin": np.full((records.RECORD_SIZE, records.RECORD_SIZE, 1), 255, np.uint8),
            "landmarks": points["ibug68"],
            "dense": points["mediapipe478"],
            "person": f"person {seed}",
            "source": f"photo {seed}",
            "transform": np.array([1, 0, 0, 0], np.float32),
            "coefficients": model.layout().join(person)[0],
        }

    return made
