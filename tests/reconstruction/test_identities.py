"""What all photos of a person show together is written on each of them."""

import json

import numpy as np
import pytest

from tf_deep3d.data import records, tfrecord
from tf_deep3d.data.rendered import people
from tf_deep3d.data.rendered import pictures as rendered
from tf_deep3d.data.rerendered.photos import parse
from tf_deep3d.face import morphable_model
from tf_deep3d.losses import supervised
from tf_deep3d.reconstruction import identities
from tf_deep3d.reconstruction.regressed import observe

EACH = 5


@pytest.fixture(scope="module")
def solver():
    return identities.load_solver()


@pytest.fixture(scope="module")
def album():
    """Records of `EACH` pictures each of four rendered people, with their true coefficients."""
    model = morphable_model.load(level=1)
    settings = rendered.Settings(4 * EACH, seed=11, photos_each=EACH)
    return list(rendered.render_people(settings, model, people.load_head(model), 4 * EACH))


@pytest.fixture(autouse=True)
def alike(monkeypatch):
    """Function (descriptors [P, D]) that sets what is seen of who it is; all photos are alike. Rendered people are too
    dark and too covered for the recognition network."""

    def see(descriptors):
        monkeypatch.setattr(identities, "describe", lambda images: np.float32(descriptors[: len(images)]))

    see(np.ones((EACH, 2)))
    return see


@pytest.fixture
def folder(tmp_path, album):
    """As `prepare` leaves them: three people with 5, 5 and 2 photos, and one of 4 for validation."""
    examples = [records.encode({**each, "coefficients": np.zeros(0, np.float32)}) for each in album]
    parts = {"train-0": examples[:7], "train-1": examples[7:12], "validation-0": examples[15:19]}
    written = {name: tfrecord.write_shard(tmp_path / "records" / name, part) for name, part in parts.items()}
    shards = {split: {n: i for n, i in written.items() if n.startswith(split)} for split in records.SPLITS}
    records.write_dataset_json(tmp_path / "records", shards, {"parameters": {}})
    return tmp_path / "records"


def _read(folder, split):
    opened = records.open_records(folder, split)
    return [example for shard in opened.shards for example in tfrecord.read(shard.path)]


def test_together_the_photos_tell_who_it_is_better_than_each_alone(solver, album):
    """By the distance of the surfaces; the rest of the coefficients stays unknown."""
    layout, metric = solver.surface.model.layout(), supervised.surface_metric(solver.surface.model)
    errors = []
    for first in range(0, len(album), EACH):
        photos = album[first : first + EACH]
        chosen, row, _ = identities.fit_person(photos, solver)
        assert len(chosen) >= identities.LEAST
        known = layout.split(np.isfinite(row)[None])
        assert all(group.all() == (name == "identity") for name, group in known._asdict().items())
        assert not any(group.any() for name, group in known._asdict().items() if name != "identity")
        truth = layout.split(photos[0]["coefficients"][None]).identity
        alone = np.asarray(solver.rnet.regress(observe(photos).images)[0].identity)
        answers = np.concatenate([layout.split(row[None]).identity, alone]) - truth
        errors.append(np.asarray(supervised.root_mean_square(answers, metric)))
    together, alone = np.mean(errors, axis=0)[0], np.mean(errors, axis=0)[1:].mean()
    assert together < 0.95 * alone


def test_a_stranger_among_the_photos_is_left_out(solver, album, alike):
    alike([[3, 0], [2, 0.1], [0, 1], [1, 0.1], [5, 0]])
    photos = album[:EACH]
    chosen, row, reasons = identities.fit_person(photos, solver)
    alike(np.ones((EACH, 2)))
    rest = identities.fit_person([*photos[:2], *photos[3:]], solver)
    assert 2 not in chosen
    assert reasons["another person"] == 1
    np.testing.assert_allclose(row, rest[1], atol=1e-3)
    np.testing.assert_array_equal(chosen, np.array([0, 1, 3, 4])[rest[0]])
    assert np.isfinite(row).any()


def test_photos_that_do_not_fit_are_left_out_and_the_others_fitted_without_them(solver, album):
    photos = [each.copy() for each in album[:EACH]]
    photos[1]["landmarks"] = photos[1]["landmarks"] + np.float32([[0, 40]] * 34 + [[0, -40]] * 34)
    chosen, row, reasons = identities.fit_person(photos, solver)
    assert 1 not in chosen
    assert reasons["poor fit"] >= 1
    np.testing.assert_allclose(row, identities.fit_person([*photos[:1], *photos[2:]], solver)[1], atol=1e-3)
    few = identities.fit_person(photos, solver._replace(least=EACH))
    assert not len(few[0])
    assert np.isnan(few[1]).all()
    assert few[2]["too few photos of the person"] == len(chosen)


def test_the_command_labels_people_with_photos_enough_and_keeps_the_splits(tmp_path, folder, album, capsys):
    out = tmp_path / "labelled"
    assert identities.main([str(folder), str(out)]) == 0
    told = capsys.readouterr().out
    given = {parse(each)["source"]: each for split in records.SPLITS for each in _read(folder, split)}
    info = json.loads((out / records.DATASET_FILE).read_text())
    assert info["kind"] == identities.KIND
    assert info["people"] == {"train": 2, "validation": 1}
    assert f"{info['counts']['train']} train records of 2 people" in told
    for split, owners in (("train", {0, EACH}), ("validation", {3 * EACH})):
        found = _read(out, split)
        assert {parse(each)["person"] for each in found} == {album[owner]["person"] for owner in owners}
        for person in owners:
            rows = [parse(each)["coefficients"] for each in found if parse(each)["person"] == album[person]["person"]]
            assert len(rows) >= identities.LEAST
            assert np.ptp(rows, axis=0)[:80].max() == 0
        for each in found:  # nothing else changed, to the byte
            plain = records.with_coefficients(each, np.zeros(0, np.float32))
            assert plain == given[parse(each)["source"]]
    assert identities.main([str(folder), str(out)]) == 1
    assert "exists" in capsys.readouterr().err


def test_what_cannot_be_labelled_is_refused(tmp_path, folder, capsys):
    out = tmp_path / "out"
    assert identities.main([str(folder), str(out), "--least", "1"]) == 1
    assert "--least must be at least 2. Received: 1" in capsys.readouterr().err
    assert identities.main([str(folder), str(out), "--least", "6"]) == 1
    assert "nobody has 6 photos that fit one identity" in capsys.readouterr().err
    assert identities.main([str(tmp_path / "missing"), str(out)]) == 1
    assert "no dataset.json" in capsys.readouterr().err
    info = json.loads((folder / records.DATASET_FILE).read_text())
    (folder / records.DATASET_FILE).write_text(json.dumps({**info, "kind": "rendered"}))
    assert identities.main([str(folder), str(out)]) == 1
    assert "only photos can be labelled" in capsys.readouterr().err
    assert not out.exists()
