"""How the shipped R-Net errs, from records of faces whose shape is known."""

import numpy as np

from export import preset
from tf_deep3d.data import records, tfrecord
from tf_deep3d.face.coefficients import Coefficients
from tf_deep3d.models import regression

SIZE = 3  # identity coefficients


def _write(folder, truths, brightness):
    """Records whose pictures are grey, each as bright as said, and whose identities are `truths`; the first is held out
    from nobody: it belongs to the training."""
    folder.mkdir()

    def encoded(rows):
        for truth, grey in rows:
            image = np.full((records.RECORD_SIZE, records.RECORD_SIZE, 3), grey, np.uint8)
            yield records.encode(
                {
                    "image": image,
                    "skin": image[..., :1],
                    "landmarks": np.zeros((68, 2), np.float32),
                    "dense": np.zeros((478, 2), np.float32),
                    "person": "one",
                    "source": "one",
                    "transform": np.array([1, 0, 0, 0], np.float32),
                    "coefficients": np.concatenate([truth, [7, 8]]).astype(np.float32),
                }
            )

    rows = list(zip(truths, brightness, strict=True))
    shards = {
        split: {f"{split}.tfrecord.gz": tfrecord.write_shard(folder / f"{split}.tfrecord.gz", encoded(part))}
        for split, part in (("train", rows[:1]), ("validation", rows[1:]))
    }
    records.write_dataset_json(folder, shards, {"kind": "rendered"})


def test_errors_are_those_of_the_held_out_pictures(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    truths, brightness = rng.normal(size=(2, 20, SIZE)), rng.integers(0, 256, (2, 20))
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, *each in zip(folders, truths, brightness, strict=True):
        _write(folder, *each)

    def regress(images):
        assert images.shape[1:] == (224, 224, 3)
        assert images.max() <= 1
        identity = images.mean((1, 2)) * [1, 2, -1]
        return Coefficients(identity, *[None] * 5), None

    monkeypatch.setattr(regression, "load_regressor", lambda: regression.Regressor(regress))
    found, count = preset._errors([str(folder) for folder in folders])
    held = np.s_[:, 1:]
    lacking = (truths[held] - brightness[held][..., None] / 255 * [1, 2, -1]).reshape(-1, SIZE)
    assert count == len(lacking) == 38
    expected = lacking.T @ lacking / len(lacking)
    even = np.eye(SIZE) * np.trace(expected) / SIZE
    np.testing.assert_allclose(found, (1 - preset.EVENLY) * expected + preset.EVENLY * even, atol=0.02)
    assert np.linalg.eigvalsh(found)[0] > 0
