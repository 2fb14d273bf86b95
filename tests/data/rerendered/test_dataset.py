"""Folders of photos rendered anew: what is in them, and runs that are cut off."""

import itertools
import json
import types
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tf_deep3d.data import preparation, records, tfrecord
from tf_deep3d.data.rendered import dataset as rendered
from tf_deep3d.data.rendered.pictures import Settings
from tf_deep3d.data.rerendered import dataset, fits, photos, pictures
from tf_deep3d.data.rerendered.photos import Photos
from tf_deep3d.data.spread import Spread
from tf_deep3d.errors import InputError

FACE_MODEL = "face"


@pytest.fixture(scope="module")
def known(photo):
    """Records of eight people, two of them held out by the folder."""
    return [photo(seed) for seed in range(8)]


@pytest.fixture
def folder(tmp_path, known):
    shards = {}
    for split, part in (("train", known[:6]), ("validation", known[6:])):
        examples = [records.encode({**record, "coefficients": np.zeros(0, np.float32)}) for record in part]
        shards[split] = {split: tfrecord.write_shard(tmp_path / "records" / split, examples)}
    records.write_dataset_json(tmp_path / "records", shards, {})
    return tmp_path / "records"


@pytest.fixture
def calls():
    """The sources that the fitter was asked for."""
    return []


@pytest.fixture
def fitter(model, known, calls):
    """Knows the coefficients."""
    rows = {record["source"]: record["coefficients"] for record in known}

    def fit(found):
        calls.extend(record["source"] for record in found)
        return model.layout().split(np.stack([rows[record["source"]] for record in found]))

    return fits.Fitter(model, FACE_MODEL, "truth", fit)


def _chosen(*paths, most=None, held_out=0.0):
    return Photos(tuple(map(str, paths)), (), most, held_out)


def _read(folder, split):
    opened = records.open_records(folder, split)
    return [photos.parse(example) for shard in opened.shards for example in tfrecord.read(shard.path)]


def _bytes(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord.gz")}


def test_pictures_show_each_photo_and_the_held_out_apart(tmp_path, folder, model, head, fitter, calls):
    out = tmp_path / "made"
    info = dataset.write_dataset(out, Settings(8, 7, validation=0.25), _chosen(folder), model, head, fitter)
    assert info["counts"] == {"train": 6, "validation": 2}
    assert not (out / dataset.WORK).exists()
    made = {split: _read(out, split) for split in records.SPLITS}
    shown = {split: [record["source"].partition(" rerendered")[0] for record in found] for split, found in made.items()}
    assert shown["train"] == [f"photo {n}" for n in range(6)]
    assert shown["validation"] == ["photo 6", "photo 7"]
    everyone = [record for found in made.values() for record in found]
    assert len({record["person"] for record in everyone}) == 8
    layout = model.layout()
    for record in everyone:
        person = layout.split(record["coefficients"][None])
        known = {name: np.isfinite(group).all() for name, group in person._asdict().items()}
        unknown = {name: np.isnan(group).all() for name, group in person._asdict().items()}
        assert {name for name, nothing in unknown.items() if nothing} == {"albedo", "illumination"}
        assert {name for name, all_of_it in known.items() if all_of_it} == {
            "identity", "expression", "angles", "translation"
        }  # fmt: skip
    assert sorted(calls) == [f"photo {n}" for n in range(8)]

    # The fits alone are enough for another seed, and two pictures of a person have one identity.
    calls.clear()
    settings = Settings(4, 8, photos_each=2, validation=0)
    dataset.write_dataset(tmp_path / "more", settings, _chosen(out / dataset.FITS), model, head, fitter)
    assert not calls
    again = _read(tmp_path / "more", "train")
    identities = layout.split(np.stack([record["coefficients"] for record in again])).identity
    np.testing.assert_array_equal(identities[::2], identities[1::2])
    assert np.abs(identities[0] - identities[2]).max() > 0.5
    assert again[0]["person"] == again[1]["person"] != again[2]["person"]


def _cut(function, count):
    """`function`, which is interrupted at its call number `count`, from 0."""
    numbers = itertools.count()

    def limited(*arguments, **named):
        if next(numbers) == count:
            raise KeyboardInterrupt
        return function(*arguments, **named)

    return limited


def test_a_run_that_is_cut_off_goes_on_with_the_same_bytes(tmp_path, folder, model, head, fitter, calls, monkeypatch):
    monkeypatch.setattr(fits, "BLOCK", 3)
    monkeypatch.setattr(rendered, "SHARD", 2)
    settings, chosen = Settings(4, 3, validation=0), _chosen(folder)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    dataset.write_dataset(whole, settings, chosen, model, head, fitter)
    calls.clear()
    cut_fitter = replace(fitter, fit=_cut(fitter.fit, 2))
    with pytest.raises(KeyboardInterrupt):
        dataset.write_dataset(parts, settings, chosen, model, head, cut_fitter)
    with monkeypatch.context() as patched:
        patched.setattr(tfrecord, "write_shard", _cut(tfrecord.write_shard, 2))
        with pytest.raises(KeyboardInterrupt):
            dataset.write_dataset(parts, settings, chosen, model, head, fitter)
    assert not (parts / records.DATASET_FILE).exists()
    assert (parts / "train-00000.tfrecord.gz").exists()
    with pytest.raises(InputError, match="other photos or options"):
        dataset.write_dataset(parts, Settings(4, 4, validation=0), chosen, model, head, fitter)
    dataset.write_dataset(parts, settings, chosen, model, head, fitter)
    assert _bytes(parts) == _bytes(whole)
    assert _bytes(parts / dataset.FITS) == _bytes(whole / dataset.FITS)
    assert len(calls) == 8  # nobody was fitted twice


def test_a_crew_goes_on_with_the_same_bytes(tmp_path, folder, model, head, fitter, monkeypatch):
    monkeypatch.setattr(rendered, "SHARD", 2)
    monkeypatch.setattr(dataset, "_actor", lambda *named: pictures.actor(model, head))
    settings, chosen = Settings(6, 3, validation=0.4), _chosen(folder)
    whole, parts, crew = tmp_path / "whole", tmp_path / "parts", rendered.Crew(Spread(1))
    dataset.write_dataset(whole, settings, chosen, model, head, fitter)
    with monkeypatch.context() as patched:
        patched.setattr(tfrecord, "write_shard", _cut(tfrecord.write_shard, 3))  # two of fits, one of pictures
        with pytest.raises(KeyboardInterrupt):
            dataset.write_dataset(parts, settings, chosen, model, head, fitter)
    dataset.write_dataset(parts, settings, chosen, model, head, fitter, crew)
    assert _bytes(parts) == _bytes(whole)
    names = {"train-00000.tfrecord.gz", "train-00001.tfrecord.gz", "validation-00000.tfrecord.gz"}
    assert set(_bytes(parts)) == names
    assert (parts / records.DATASET_FILE).read_bytes() == (whole / records.DATASET_FILE).read_bytes()
    assert not (parts / dataset.WORK).exists()


def test_a_run_that_is_cut_off_when_all_is_written_ends_well(tmp_path, folder, model, head, fitter, monkeypatch):
    settings, chosen = Settings(2, 3, validation=0), _chosen(folder)
    with monkeypatch.context() as patched:
        patched.setattr(dataset, "shutil", types.SimpleNamespace(rmtree=_cut(print, 0)))
        with pytest.raises(KeyboardInterrupt):
            dataset.write_dataset(tmp_path / "out", settings, chosen, model, head, fitter)
    told = (tmp_path / "out" / records.DATASET_FILE).read_bytes()
    assert (tmp_path / "out" / dataset.WORK).exists()
    dataset.refuse_existing(tmp_path / "out", overwrite=False)
    dataset.write_dataset(tmp_path / "out", settings, chosen, model, head, fitter)
    assert not (tmp_path / "out" / dataset.WORK).exists()
    assert (tmp_path / "out" / records.DATASET_FILE).read_bytes() == told


def test_photos_that_cannot_be_used_are_counted(tmp_path, folder, known, model, fitter):
    layout = model.layout()
    rows = {record["source"]: layout.split(record["coefficients"][None].copy()) for record in known}
    rows["photo 0"].angles[0, 1] = 1.2
    rows["photo 1"].translation[0, 0] += 0.5
    rows["photo 2"].identity[0, 0] = np.nan
    joined = {name: layout.join(person)[0] for name, person in rows.items()}
    broken = fits.Fitter(
        model,
        FACE_MODEL,
        "broken",
        lambda found: layout.split(np.stack([joined[record["source"]] for record in found])),
    )
    work = tmp_path / "work"
    chosen = _chosen(folder)
    fits.fit_photos(tmp_path / "fits", work, photos.find(chosen, FACE_MODEL), chosen, broken)
    info = json.loads((tmp_path / "fits" / records.DATASET_FILE).read_text())
    assert info["rejected"] == {"turned away": 1, "poor fit": 1, "no fit": 1}
    assert info["counts"] == {"train": 3, "validation": 2}
    assert [record["source"] for record in _read(tmp_path / "fits", "train")] == ["photo 3", "photo 4", "photo 5"]


def test_people_held_out_by_name_are_never_trained_with(tmp_path, folder, known, fitter):
    share = 0.5
    held = {r["person"] for r in known if preparation.split_of(r["person"], share) == "validation"}
    held |= {record["person"] for record in known[6:]}
    assert 2 < len(held) < 8
    chosen = _chosen(folder, held_out=share)
    fits.fit_photos(tmp_path / "fits", tmp_path / "work", photos.find(chosen, FACE_MODEL), chosen, fitter)
    assert {record["person"] for record in _read(tmp_path / "fits", "validation")} == held
    assert not {record["person"] for record in _read(tmp_path / "fits", "train")} & held


def test_sources_are_chosen_evenly(tmp_path, folder, fitter, calls):
    chosen = _chosen(folder, most=3)
    fits.fit_photos(tmp_path / "fits", tmp_path / "work", photos.find(chosen, FACE_MODEL), chosen, fitter)
    assert calls == ["photo 0", "photo 3", "photo 7"]


def test_what_is_no_photo_is_refused(tmp_path, folder):
    def marked(**info):
        path = folder / records.DATASET_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **info}))
        return _chosen(folder)

    with pytest.raises(FileNotFoundError):
        photos.find(_chosen(tmp_path / "nowhere"), FACE_MODEL)
    with pytest.raises(InputError, match="only records of photos"):
        photos.find(marked(kind="rendered"), FACE_MODEL)
    with pytest.raises(InputError, match="fitted with another face model"):
        photos.find(marked(kind=photos.FITTED, face_model="another"), FACE_MODEL)
    with pytest.raises(InputError, match="sources must be positive"):
        _chosen(folder, most=0)


def test_photos_without_a_face_are_left_out(tmp_path, fitter, calls):
    (tmp_path / "plain").mkdir()
    Image.new("RGB", (80, 80), (90, 120, 90)).save(tmp_path / "plain/wall.png")
    (tmp_path / "plain/broken.jpg").write_bytes(b"no picture")
    chosen = _chosen(tmp_path / "plain")
    with pytest.raises(InputError, match=r"no photo can be used: 1 unreadable, 1 no face found"):
        fits.fit_photos(tmp_path / "fits", tmp_path / "work", photos.find(chosen, FACE_MODEL), chosen, fitter)
    assert not (tmp_path / "fits" / records.DATASET_FILE).exists()
    assert not calls


@pytest.mark.parametrize("name", ["parameters.json", "fits-00000.json"])
@pytest.mark.parametrize(
    "content", ["", "null", "[]", '{"train": 3, "rejected": {}}', '{"train": {"a": {}}, "rejected": {}}']
)
def test_what_an_earlier_run_did_not_leave_is_refused(tmp_path, folder, model, head, fitter, name, content):
    place = tmp_path / "out" / dataset.WORK
    place.mkdir(parents=True)
    (place / name).write_text(content)
    with pytest.raises(InputError) as caught:
        dataset.write_dataset(tmp_path / "out", Settings(2, validation=0), _chosen(folder), model, head, fitter)
    assert len(str(caught.value).splitlines()) == 1


def test_only_a_run_of_ours_is_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError):
            dataset.refuse_existing(tmp_path / "mine", overwrite)
    begun = tmp_path / "begun"
    (begun / dataset.WORK).mkdir(parents=True)
    (begun / "train-00000.tfrecord.gz").write_bytes(b"")
    (begun / "notes.txt").write_text("precious")
    dataset.refuse_existing(begun, False)  # goes on
    dataset.refuse_existing(begun, True)
    assert [path.name for path in begun.iterdir()] == ["notes.txt"]
    assert (tmp_path / "mine/diary.txt").read_text() == "precious"
