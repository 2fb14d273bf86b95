"""Preparation of photos, on the astronaut of scikit-image (public domain, one face)."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tf_deep3d.data import preparation, records, spread, tfrecord
from tf_deep3d.data.preparation import Photo, RejectedError, Settings
from tf_deep3d.detection import detector, resampling, skin
from tf_deep3d.face import morphable_model
from tf_deep3d.face.geometry import Similarity
from tf_deep3d.io import photos
from tf_deep3d.reconstruction.portraits import portraits_of


@pytest.fixture(scope="module")
def astronaut():
    return data.astronaut()


@pytest.fixture(scope="module")
def made(astronaut):
    """The astronaut's only record."""
    [record] = preparation.prepare_photo(astronaut, source="a/photo.png", person="Eileen")
    return record


def tree(folder, names):
    """Files of a few bytes below `folder`."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def by_source(listed):
    return {photo.source: photo.person for photo in listed}


def test_record_is_the_portrait_with_a_margin(tmp_path, astronaut, made):
    Image.fromarray(astronaut).save(tmp_path / "photo.png")
    [portrait] = portraits_of(tmp_path / "photo.png", morphable_model.load())
    inner = slice(records.MARGIN, records.MARGIN + 224)
    assert made["image"].shape == (320, 320, 3)
    difference = np.abs(made["image"][inner, inner].astype(int) - portrait.crop.image * 255)
    assert difference.max() <= 1.01  # rounded, and resized in one piece with what is around it
    np.testing.assert_allclose(made["landmarks"], portrait.landmarks() + records.MARGIN, atol=1e-3)
    dense = portrait.crop.transform.apply(portrait.detected.landmarks478[:, :2])
    np.testing.assert_allclose(made["dense"], dense + records.MARGIN, atol=1e-3)


def test_record_says_where_it_comes_from(astronaut, made):
    assert made["source"] == "a/photo.png#1"
    assert made["person"] == "Eileen"
    assert made["coefficients"].shape == (0,)
    scale, rotation, x, y = made["transform"].tolist()
    found = detector.detect(astronaut)[0]
    np.testing.assert_allclose(
        Similarity(scale, rotation, (x, y)).apply(found.landmarks68), made["landmarks"], atol=0.01
    )
    np.testing.assert_array_equal(made["skin"], np.round(skin.skin_probability(made["image"]) * 255).astype(np.uint8))
    assert set(made) == set(records.SCHEMA)
    assert records.encode(made)


def test_table_of_skin_colours_changes_nothing(astronaut, made):
    [looked_up] = preparation.prepare_photo(astronaut, source="a/photo.png", person="Eileen", table=True)
    for name, value in made.items():
        np.testing.assert_array_equal(looked_up[name], value)
    with pytest.raises(ValueError, match="uint8"):
        skin.skin_levels(astronaut / 255)


def test_all_faces_are_people_of_their_own_but_the_largest(astronaut):
    canvas = np.full((400, 1000, 3), 90, np.uint8)
    for x, scale in ((0, 0.9), (500, 1.4)):
        view = Similarity(scale, 0.0, (200 - 223 * scale, 200 - 120 * scale))
        canvas[:, x : x + 400] = np.round(resampling.crop(astronaut, view, 400) * 255)
    both = preparation.prepare_photo(canvas, Settings(faces="all"), "two.png", "Eileen")
    assert [(r["source"], r["person"]) for r in both] == [("two.png#1", "Eileen"), ("two.png#2", "two.png#2")]
    assert both[0]["transform"][0] < both[1]["transform"][0]  # the larger face is enlarged less
    [largest] = preparation.prepare_photo(canvas, Settings(), "two.png", "Eileen")
    np.testing.assert_array_equal(largest["image"], both[0]["image"])


def test_rejections_say_why(tmp_path, astronaut):
    with pytest.raises(RejectedError, match="no face found"):
        preparation.prepare_photo(np.zeros((100, 100, 3), np.uint8))
    with pytest.raises(RejectedError, match=r"face too small: 39 px between the eyes"):
        preparation.prepare_photo(astronaut, Settings(smallest=60))
    assert preparation.prepare_photo(astronaut, Settings(smallest=30))
    with pytest.raises(RejectedError, match=r"unreadable: .*missing\.jpg"):
        preparation.prepare_photo(tmp_path / "missing.jpg")
    with pytest.raises(RejectedError, match=r"unreadable: .*5 bytes"):
        preparation.prepare_photo(b"hello")


@pytest.mark.parametrize(
    "wrong", [{"faces": "some"}, {"smallest": -1.0}, {"smallest": np.nan}, {"validation": 1.0}, {"shard_size": 0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be .*Received"):
        Settings(**wrong)


def test_lists_photos_at_any_depth(tmp_path):
    names = [
        "lfw/Ann/1.jpg",
        "lfw/Bob/1.JPG",
        "free/f/9.png",
        "free/f/notes.txt",
        "free/.hidden/1.jpg",
        "out/sheet.jpg",
    ]
    root = tree(tmp_path / "faces", names)
    listed = preparation.list_photos([str(root)], out=root / "out")
    assert by_source(listed) == {
        "faces/free/f/9.png": "faces/free/f/9",
        "faces/lfw/Ann/1.jpg": "faces/lfw/Ann/1",
        "faces/lfw/Bob/1.JPG": "faces/lfw/Bob/1",
    }
    assert [photo.path for photo in listed] == sorted(str(root / "/".join(s.source.split("/")[1:])) for s in listed)
    again = preparation.list_photos([str(root / "lfw" / "Ann" / "*.jpg"), str(root / "lfw"), str(root / "lfw")])
    assert by_source(again) == {"Ann/1.jpg": "Ann/1", "lfw/Bob/1.JPG": "lfw/Bob/1"}


def test_folders_are_people_only_where_told(tmp_path):
    root = tree(tmp_path / "faces", ["lfw/Ann/1.jpg", "lfw/Ann/x/2.jpg", "lfw/top.jpg", "free/f/9.png"])
    assert by_source(preparation.list_photos([str(root)], [str(root / "lfw")])) == {
        "faces/free/f/9.png": "faces/free/f/9",
        "faces/lfw/Ann/1.jpg": "Ann",
        "faces/lfw/Ann/x/2.jpg": "Ann",
        "faces/lfw/top.jpg": "faces/lfw/top",
    }


@pytest.mark.parametrize("place", ["beside", "apart"])
def test_people_of_a_csv(tmp_path, place):
    root = tree(tmp_path / "faces", ["lfw/Ann/1.jpg", "lfw/Ann/2.jpg", "free/9.png"])
    path = (root / "lfw" if place == "beside" else tmp_path) / "people.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["person", "file"], ["Änn, A.", "Ann/1.jpg"], ["Bob", "none.jpg"]])
    assert by_source(preparation.list_photos([str(root)], [str(path)])) == {
        "faces/free/9.png": "faces/free/9",
        "faces/lfw/Ann/1.jpg": "Änn, A.",
        "faces/lfw/Ann/2.jpg": "faces/lfw/Ann/2",
    }


def test_listing_refuses_mistakes(tmp_path):
    root = tree(tmp_path / "faces", ["a/1.jpg", "b/faces/a/1.jpg", "b/text.txt"])
    with pytest.raises(FileNotFoundError, match="missing"):
        preparation.list_photos([str(root / "missing")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no file.*empty"):
        preparation.list_photos([str(tmp_path / "empty")])
    with pytest.raises(ValueError, match=r"two photos are faces/a/1.jpg"):
        preparation.list_photos([str(root / "b" / "faces"), str(root)])
    with pytest.raises(ValueError, match="fit none of the 2 photos"):
        preparation.list_photos([str(root)], [str(tmp_path / "empty")])
    (tmp_path / "people.csv").write_text("name,who\n1.jpg,Ann\n")
    with pytest.raises(ValueError, match=r"columns file and person.*name"):
        preparation.list_photos([str(root)], [str(tmp_path / "people.csv")])


def pictures(folder, names):
    """Small photos of different colours, and their listing; a person for each folder."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(path)
    return [Photo(str(folder / name), name, Path(name).parent.name) for name in names]


def test_plan_keeps_people_together_and_deals_everything(tmp_path):
    listed = pictures(tmp_path, [f"p{n // 3}/{n}.png" for n in range(300)])
    planned = preparation.plan(listed, Settings(validation=0.2, shard_size=32), workers=2)
    people = {split: set() for split in records.SPLITS}
    sizes = {split: [] for split in records.SPLITS}
    for name, shard in planned["shards"].items():
        people[name.split("-")[0]] |= {photo.person for photo in shard}
        sizes[name.split("-")[0]].append(len(shard))
    assert not people["train"] & people["validation"]
    assert 8 <= len(people["validation"]) <= 35  # of 100
    dealt = [photo for shard in planned["shards"].values() for photo in shard]
    assert sorted(dealt) == sorted(listed)
    assert all(size == 32 for split in sizes.values() for size in split[:-1])
    assert next(iter(planned["shards"])) == f"train-00000-of-{len(sizes['train']):05}"
    assert preparation.plan(listed, Settings(validation=0.2, shard_size=32)) == planned
    # A person keeps its split whatever else there is.
    fewer = preparation.plan(listed[:150], Settings(validation=0.2, shard_size=32))
    for name, shard in fewer["shards"].items():
        assert {photo.person for photo in shard} <= people[name.split("-")[0]]


def test_plan_drops_duplicates_and_unreadable_photos(tmp_path):
    listed = pictures(tmp_path, ["a/1.png", "a/2.png", "b/1.png"])
    with Image.open(tmp_path / "a/1.png") as picture:
        picture.save(tmp_path / "b" / "copy.bmp")
    (tmp_path / "b" / "bad.jpg").write_text("hello")
    listed += [Photo(str(tmp_path / "b" / name), f"b/{name}", "b") for name in ("bad.jpg", "copy.bmp", "gone.jpg")]
    seen = []
    planned = preparation.plan(listed, Settings(validation=0), on_photo=lambda: seen.append(1))
    assert planned["duplicates"] == [{"photo": "b/copy.bmp", "same_as": "a/1.png"}]
    assert [bad["photo"] for bad in planned["rejected"]] == ["b/bad.jpg", "b/gone.jpg"]
    assert all(bad["reason"].startswith("unreadable: ") for bad in planned["rejected"])
    assert sorted(p.source for p in planned["shards"]["train-00000-of-00001"]) == ["a/1.png", "a/2.png", "b/1.png"]
    assert len(seen) == len(listed)


def test_parameters_follow_what_matters(tmp_path, model_file):
    listed = pictures(tmp_path, ["a/1.png", "a/2.png"])
    before = preparation.parameters(listed, Settings())
    assert before == preparation.parameters(listed, Settings())
    assert before["face_model"]["file"] == "open_face.npz"
    assert len(before["face_model"]["sha256"]) == 64
    assert json.loads(json.dumps(before)) == before
    assert preparation.parameters(listed, Settings(model=str(model_file)))["face_model"] != before["face_model"]
    assert preparation.parameters(listed, Settings(smallest=20.0))["smallest"] == 20
    assert preparation.parameters(listed[:1], Settings())["listing"] != before["listing"]
    renamed = [listed[0]._replace(person="c"), listed[1]]
    assert preparation.parameters(renamed, Settings())["listing"] != before["listing"]
    (tmp_path / "a/1.png").write_bytes(b"other")
    assert preparation.parameters(listed, Settings())["listing"] != before["listing"]


def shard_job(folder, listed, **changes):
    (folder / preparation.WORK).mkdir()
    settings = {"faces": "largest", "smallest": 24.0, "validation": 0.0, "shard_size": 9, "model": None}
    return {"out": str(folder), "name": "train-00000-of-00001", "photos": listed, "settings": settings, "command": None,
            **changes}  # fmt: skip


def test_shard_with_its_report(tmp_path, astronaut):
    listed = pictures(tmp_path, ["photos/blank.png", "photos/good.png"])
    Image.fromarray(astronaut[:300, 50:400]).save(tmp_path / "photos/good.png")
    job = shard_job(tmp_path, json.loads(json.dumps(listed)), command=str(tmp_path))
    assert preparation.prepare_shard(job) == job["name"]
    work = tmp_path / preparation.WORK
    report = json.loads((work / f"{job['name']}.json").read_text())
    assert report["rejected"] == [{"photo": "photos/blank.png", "reason": "no face found"}]
    assert report["shard"]["count"] == 1
    assert (work / f"{job['name']}.progress").stat().st_size == 2
    [row] = tfrecord.open_shard(tmp_path / job["name"]).map(records.parse)
    assert row["source"].numpy() == b"photos/good.png#1"
    assert row["person"].numpy() == b"photos"


def test_shard_ends_with_the_command_that_asked(tmp_path):
    listed = pictures(tmp_path, ["photos/blank.png"])
    job = shard_job(tmp_path, listed, command=str(tmp_path / "gone"))
    with pytest.raises(spread.StoppedError, match=f"has ended. Received: {job['name']}"):
        preparation.prepare_shard(job)
    assert not (tmp_path / job["name"]).exists()
    assert not list(tmp_path.glob(".*.part"))


def test_photos_of_every_suffix_are_listed(tmp_path):
    root = tree(tmp_path / "all", [f"photo{suffix}" for suffix in photos.SUFFIXES])
    assert len(preparation.list_photos([str(root)])) == len(photos.SUFFIXES)


def test_a_photo_whose_name_is_no_utf8_is_rejected_and_the_others_are_not(tmp_path):
    pictures(tmp_path, ["a.png", "two\nlines.png", os.fsdecode(b"caf\xe9.png"), os.fsdecode(b"caf\xe8.png")])
    listed = preparation.list_photos([str(tmp_path)])
    sources = [photo.source.removeprefix(f"{tmp_path.name}/") for photo in listed]
    assert sources == ["a.png", "caf\\udce8.png", "caf\\udce9.png", "two\\nlines.png"]
    planned = preparation.plan(listed, Settings(validation=0))
    reason = "unreadable: its name is no UTF-8"
    assert planned["rejected"] == [{"photo": photo.source, "reason": reason} for photo in listed[1:3]]
    (kept,) = planned["shards"].values()
    assert {photo.source for photo in kept} == {listed[0].source, listed[3].source}
    preparation.write_json(tmp_path / "plan.json", planned)


def test_identities_are_read_from_regular_files_only(tmp_path):
    pictures(tmp_path, ["a.png"])
    with pytest.raises(FileNotFoundError, match="No such file: /dev/zero"):
        preparation.list_photos([str(tmp_path)], ["/dev/zero"])
