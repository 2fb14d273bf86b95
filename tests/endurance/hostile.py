"""Gives every command hostile files, names and addresses, and prints how it ended, by target.

    python -m tests.endurance.hostile
    python -m tests.endurance.hostile weights names

A command must do what it can, or end with a status that is not 0 and say why in lines of a readable length; without a
traceback, within a minute of its own work, with less than 3 GB. Single readers are tried much harder by
`python -m tests.fuzz`. Linux only.
"""

import argparse
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.endurance import kills
from tests.fuzz import mutation, readers

LONGEST = 60.0  # s of work
WAIT = 600.0  # s, on a machine that does other things too
LONGEST_LINE = 2500
MEMORY = 3 << 30  # bytes of data
QUICK = ("--level", "0", "--refine", "0", "--no-view")


class Case(NamedTuple):
    """A command to run.

    Attributes:
      told: what is hostile about it.
      module: whose `main` it is.
      words: its arguments.
      written: a file that must be there at the end, since it does not depend on what is hostile.
    """

    told: str
    module: str
    words: list[object]
    written: Path | None = None


class Place(NamedTuple):
    """Where the cases of a target make their files.

    Attributes:
      folder: empty.
      inputs: good files.
    """

    folder: Path
    inputs: kills.Inputs

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def pipe(self, name: str) -> Path:
        os.mkfifo(self.folder / name)
        return self.folder / name


TARGETS: dict[str, Callable[[Place], Iterator[Case]]] = {}


def _target(make: Callable[[Place], Iterator[Case]]) -> Callable[[Place], Iterator[Case]]:
    TARGETS[make.__name__.replace("_", "-")] = make
    return make


def _damaged(good: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Ways to damage a file: (told, content)."""
    rng = random.Random(seed)
    yield from (("empty", b""), ("text", b"hello\n"), ("half", good[: len(good) // 2]), ("twice", good + good))
    yield "zeros", bytes(len(good))
    for number in range(count):
        yield f"change {number}", mutation.changed(good, rng)
    for number in range(count):
        flipped = bytearray(good)
        flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        yield f"flip {number}", bytes(flipped)


def _places(place: Place) -> Iterator[tuple[str, object]]:
    """What is no regular file."""
    (place.folder / "empty").mkdir()
    yield from (("device", "/dev/zero"), ("folder", place.folder / "empty"), ("absent", place.folder / "none"))
    yield "pipe", place.pipe("pipe")


def _entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


@_target
def face_models(place: Place) -> Iterator[Case]:
    photo, good = place.inputs.photos / "0.png", place.inputs.model.read_bytes()
    entries = _entries(place.inputs.model)
    name = min(entries)
    head = entries[name][: entries[name].index(b"\n") + 1]
    huge = head.replace(b"'shape': (", b"'shape': (" + b"9" * 30 + b", ")[:118] + b"\n"
    contents = [
        *_damaged(good, 12),
        ("LZMA", _zip(entries, zipfile.ZIP_LZMA)),
        ("huge header", _zip(entries | {name: huge})),
        ("no npy", _zip(entries | {"a.txt": b"text"})),
        ("zeros", _zip(entries | {"mean_shape.npy": bytes(200 << 20)})),
        ("levels", readers.npz({"levels": np.int64(2**62)})),
        ("objects", readers.npz({"a": np.array([{}], object)})),
    ]
    encrypted = bytearray(good)
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    contents.append(("encrypted", bytes(encrypted)))
    paths = [(told, place.file(f"{number}.npz", content)) for number, (told, content) in enumerate(contents)]
    for number, (told, path) in enumerate([*paths, *_places(place)]):
        out = place.folder / f"out{number}"
        yield Case(told, "tf_deep3d.reconstruct", [photo, "--model", path, "--method", "rnet", "--out", out, *QUICK])


@_target
def weights(place: Place) -> Iterator[Case]:
    good = _entries(place.inputs.networks / "rnet.keras")
    config = json.loads(good["config.json"])
    configs = [b"null", b"[]", b"{}", b"[" * 100_000, b"{", json.dumps({**config, "module": "os"}).encode()]
    for changes in (
        {"backbone": "os.system"},
        {"recipe": 3},
        {"identity": 400_000_000},
        {"unknown": 1},
        {"lighting": []},
    ):
        configs.append(json.dumps({**config, "config": config["config"] | changes}).encode())
    contents = [*_damaged(_zip(good), 6), *(("config", _zip(good | {"config.json": each})) for each in configs)]
    contents += [
        ("HDF5", _zip(good | {"model.weights.h5": content})) for _, content in _damaged(good["model.weights.h5"], 6)
    ]
    paths = [(told, place.file(f"{number}.keras", content)) for number, (told, content) in enumerate(contents)]
    for number, (told, path) in enumerate([*paths, *_places(place)]):
        words = [place.inputs.photos / "0.png", "--weights", path, "--model", place.inputs.model]
        yield Case(told, "tf_deep3d.reconstruct", [*words, "--out", place.folder / f"out{number}", *QUICK])


@_target
def records(place: Place) -> Iterator[Case]:
    good = {path.name: path.read_bytes() for path in place.inputs.records.iterdir()}
    shard = next(name for name in sorted(good) if name.startswith("train"))
    listing = json.loads(good["dataset.json"])

    def listed(**changes: object) -> str:
        first, *others = listing["shards"]["train"]
        return json.dumps({**listing, "shards": {**listing["shards"], "train": [{**first, **changes}, *others]}})

    texts = ["null", "[]", "{}", "3", "", "{", "[" * 100_000, '{"schema_version": 1}', '{"schema_version": 99}']
    texts += [
        json.dumps({**listing, "shards": each})
        for each in (None, [], {"train": None}, {"train": [3], "validation": []})
    ]
    texts += [
        listed(file="../../x"),
        listed(file="/dev/zero"),
        listed(count=-1),
        listed(count="x"),
        listed(count=10**9),
    ]
    changes = [(f"dataset.json {text[:30]}", {"dataset.json": text.encode()}) for text in texts]
    changes += [(f"shard, {told}", {shard: content}) for told, content in _damaged(good[shard], 2)]
    empty = b"\x1f\x8b\x08\0\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0"
    from hashlib import sha256

    proper = listed(sha256=sha256(empty).hexdigest(), bytes=len(empty))
    changes.append(("shard of nothing, right hash", {shard: empty, "dataset.json": proper.encode()}))
    for number, (told, change) in enumerate(changes):
        for name, content in (good | change).items():
            place.file(f"{number}/{name}", content)
        words = [place.inputs.recipe, "--set", f"data.records=['{place.folder / str(number)}']", "--set", "steps=2"]
        yield Case(told, "tf_deep3d.train", [*words, "--run", place.folder / f"run{number}"])


@_target
def settings(place: Place) -> Iterator[Case]:
    good = place.inputs.recipe.read_bytes()
    records = f"data.records=['{place.inputs.records}']"
    texts = [
        b"null",
        b"3",
        b"[]",
        b"\xff\xfe",
        b"a: &a [*a]",
        b"a: &a x\nb: *a",
        b"!!python/object/apply:os.system [ls]",
    ]
    texts += [
        b"steps: " + b":".join([b"59"] * 3000),
        b"{" * 5000,
        b"steps: " + b"9" * 5000,
        b"steps: 1e999",
        b"? [a]\n: b",
    ]
    contents = [*_damaged(good, 8), *((repr(text[:20]), text) for text in texts)]
    for number, (told, content) in enumerate(contents):
        path = place.file(f"{number}.yaml", content)
        words = [path, "--set", records, "--set", "steps=0", "--run", place.folder / f"run{number}"]
        yield Case(told, "tf_deep3d.train", words)
    sets = [
        "data.batch=1000000000",
        "data.batch=1:59:59:59:59:59:59:59:59",
        "level=-5",
        "level=nan",
        "=3",
        "a",
        "data=3",
    ]
    sets += [
        "data.batch=" + "9" * 5000,
        "loss.perceptual=.inf",
        "x" * 200_000 + "=1",
        "data.records=[/dev/zero]",
        "steps=\0",
    ]
    for number, word in enumerate(sets):
        run = place.folder / f"set{number}"
        yield Case(word[:40], "tf_deep3d.train", [place.inputs.recipe, "--set", records, "--set", word, "--run", run])


@_target
def importers(place: Place) -> Iterator[Case]:
    seeds = {name: readers.READERS[name]().seeds[0] for name in ("matlab", "hdf5", "pickled-arrays", "object-array")}
    kinds = {
        "bfm2009": ("a.mat", seeds["matlab"], ()), "bfm2019": ("a.h5", seeds["hdf5"], ()),
        "flame": ("a.pkl", seeds["pickled-arrays"], ("--landmarks", place.file("l.npy", seeds["object-array"]))),
        "gnm": ("a.npz", readers.npz({"triangles": np.zeros((1, 3))}), ()),
    }  # fmt: skip
    for kind, (name, good, more) in kinds.items():
        for number, (told, content) in enumerate(_damaged(good, 3)):
            path = place.file(f"{kind}{number}{Path(name).suffix}", content)
            yield Case(f"{kind}, {told}", "tf_deep3d.porting.__main__", [kind, path, place.folder / "out.npz", *more])
    for told, path in _places(place):
        yield Case(f"bfm2009, {told}", "tf_deep3d.porting.__main__", ["bfm2009", path, place.folder / "out.npz"])
    obj = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 "
    for number, line in enumerate(("9" * 23, "9" * 5000, "x", "", "0", "-99", "1/2/3/4/5", "3\nf", "3\nv nan 0 0")):
        place.file(f"ict{number}/generic_neutral_mesh.obj", obj + line + "\n")
        place.file(f"ict{number}/vertex_indices.json", '{"expressions": ["a"], "idx_to_landmark_verts": [0]}')
        words = ["ict-facekit", place.folder / f"ict{number}", place.folder / "out.npz"]
        yield Case(f"ict-facekit, f 1 2 {line[:25]!r}", "tf_deep3d.porting.__main__", words)


@_target
def manifests(place: Place) -> Iterator[Case]:
    texts = [
        "",
        "null",
        "[]",
        "3",
        "{}",
        "{",
        "[" * 100_000,
        '{"schema": ' + "[" * 900 + "]" * 900 + "}",
        '{"schema": 1}',
    ]
    for key in readers._manifest():
        for value in (None, [], 3, "x", {}, [None], [{}], {"file": "/etc/passwd"}, {"file": "../x"}, {"file": "\0"}):
            texts.append(json.dumps({**readers._manifest(), key: value}))
    photo = place.inputs.photos / "0.png"
    for number, text in enumerate(texts):
        folder = place.file(f"{number}/manifest.json", text).parent
        yield Case(f"device {text[:40]}", "export.device", [folder, photo, "--out", place.folder / f"out{number}"])
        yield Case(f"client {text[:40]}", "export.client", ["http://127.0.0.1:9", photo, "--align", folder])
    for told, path in _places(place):
        yield Case(f"device {told}", "export.device", [path, photo, "--out", place.folder / "out"])
    for address in (
        "http://[::1",
        "http://",
        "http://a b",
        "https://[",
        "http://\udcff",
        "127.0.0.1:9",
        "",
        "x" * 100_000,
    ):
        yield Case(f"client {address[:20]!r}", "export.client", [address, photo])


@_target
def photos(place: Place) -> Iterator[Case]:
    """Each beside a good photo, which must become a face."""
    good = (place.inputs.photos / "0.png").read_bytes()
    for number, (told, content) in enumerate(_damaged(readers.READERS["photo"]().seeds[0], 3)):
        folder = place.file(f"{number}/bad.jpg", content).parent
        place.file(f"{number}/good.png", good)
        out = place.folder / f"out{number}"
        yield Case(told, "tf_deep3d.reconstruct", [folder, "--out", out, *QUICK], out / "good" / "face.glb")


@_target
def names(place: Place) -> Iterator[Case]:
    good = (place.inputs.photos / "0.png").read_bytes()
    files = [
        os.fsdecode(b"caf\xe9.png"),
        "\U0001f600.png",
        "two\nlines.png",
        "-rf.png",
        "'\"$(ls)`.png",
        "*.png",
        "[a].png",
        "%s.png",
    ]
    files += ["\u202etxt.png", " .png", "CON.png", "a" * 240 + ".png", "..png.png", "face-face2.png"]
    for number, name in enumerate(files):
        place.file(f"{number}/{name}", good)
        place.file(f"{number}/other.png", good)
        out = place.folder / f"out{number}"
        whole = out / "other" / "face.glb"
        yield Case(repr(name), "tf_deep3d.reconstruct", [place.folder / str(number), "--out", out, *QUICK], whole)
        if number < 4:
            words = ["--set", place.folder / str(number), "--out", place.folder / f"album{number}", *QUICK]
            yield Case(f"album of {name!r}", "tf_deep3d.reconstruct", words)
    for number, name in enumerate(("two\nlines", os.fsdecode(b"caf\xe9"), "-x", "a.b")):
        place.file(f"sets/{name}/0.png", good)
        place.file(f"sets/{name}/1.png", good)
        words = ["--set", place.folder / "sets" / name, "--out", place.folder / f"named{number}", *QUICK]
        yield Case(f"album {name!r}", "tf_deep3d.reconstruct", words)
    place.file("links/a.png", good)
    for name in "xy":
        (place.folder / "links" / name).symlink_to(".")
    pattern = place.folder / "links" / "**" / "*.png"
    yield Case("two links to .", "tf_deep3d.reconstruct", [pattern, "--out", place.folder / "linked", *QUICK])
    for told, path in _places(place):
        yield Case(f"photo: {told}", "tf_deep3d.reconstruct", [path, "--out", place.folder / "other", *QUICK])


@_target
def clips(place: Place) -> Iterator[Case]:
    clip = readers.READERS["video"]()
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    contents = [
        *_damaged(clip.seeds[0], 4),
        ("playlist", playlist),
        ("GIF", clip.seeds[1]),
        ("concat", b"ffconcat version 1.0\nfile a\n"),
    ]
    for number, (told, content) in enumerate(contents):
        path = place.file(f"{number}.mp4", content)
        yield Case(
            told, "tf_deep3d.animate", [path, "--out", place.folder / f"out{number}", "--level", "0", "--refine", "0"]
        )
    for told, path in _places(place):
        yield Case(told, "tf_deep3d.animate", [path, "--out", place.folder / "out", "--level", "0", "--refine", "0"])


@_target
def tables(place: Place) -> Iterator[Case]:
    """Lists of people for `prepare`, and of photos and scans for `evaluate`."""
    contents = [
        "",
        "file,person",
        "file\na",
        "a;b\n1;2",
        "file,person\n" + "x" * 200_000 + ",b",
        "file,person\n\0,b",
        "\ufeff",
    ]
    contents += [
        "file,person\n../../etc/passwd,b",
        "photos,scan\n/dev/zero,/dev/zero",
        "photos,scan\n;;;,x",
        '"',
        "photos,scan\n" + "a" * 5000 + ",b",
    ]
    paths: list[tuple[str, object]] = [
        (repr(text[:25]), place.file(f"{number}.csv", text)) for number, text in enumerate(contents)
    ]
    paths.append(("no UTF-8", place.file("latin.csv", b"file,person\n\xe9.png,b\n")))
    for number, (told, path) in enumerate([*paths, *_places(place)]):
        words = [place.inputs.photos, place.folder / f"records{number}", "--workers", "1", "--identities", path]
        yield Case(f"identities: {told}", "tf_deep3d.prepare", words)
        yield Case(
            f"evaluate csv: {told}", "tf_deep3d.evaluate", ["csv", path, "--out", place.folder / f"evaluated{number}"]
        )


@_target
def scans(place: Place) -> Iterator[Case]:
    photo = (place.inputs.photos / "0.png").read_bytes()
    for suffix, name in ((".obj", "scan-obj"), (".ply", "scan-ply"), (".wrl", "scan-wrl")):
        for number, (told, content) in enumerate(_damaged(readers.READERS[name]().seeds[0], 2)):
            folder = f"{name}{number}"
            place.file(f"{folder}/a.png", photo)
            place.file(f"{folder}/s{suffix}", content)
            path = place.file(f"{folder}/list.csv", f"photos,scan\na.png,s{suffix}\n")
            words = ["csv", path, "--methods", "mean", "--out", place.folder / f"out-{folder}"]
            yield Case(f"{suffix}, {told}", "tf_deep3d.evaluate", words)


def _wrong(case: Case, status: int | None, said: str) -> str | None:
    """What is wrong with how a command ended."""
    if status is None:
        return f"goes on after {WAIT:.0f} s"
    if status < 0 or status > 2:
        return f"status {status}"
    if "Traceback" in said:
        return f"traceback: {said.strip().splitlines()[-1][:150]}"
    lines = said.splitlines()
    if status and not lines:
        return "says nothing"
    if lines and (longest := max(map(len, lines))) > LONGEST_LINE:
        return f"a line of {longest} letters"
    if status and len(lines) > 6:
        return f"{len(lines)} lines"
    if case.written and not case.written.is_file():
        return f"{case.written.name} is missing: {lines[-1:]}"
    return None


def _run(case: Case, folder: Path) -> str | None:
    import importlib

    main = importlib.import_module(case.module).main

    def limited(words: list[str]) -> int | None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(LONGEST), int(LONGEST) + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        return main(words)

    log, temporary = folder / "log", folder / "tmp"
    temporary.mkdir(exist_ok=True)
    child = kills.start(limited, list(map(str, case.words)), log, temporary)
    status = kills.wait(child, WAIT)
    if kills.end(child, 5.0) and status is None:
        os.waitpid(child, 0)
    return _wrong(case, status, log.read_text(errors="replace"))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    options = parser.parse_args(arguments)
    chosen = options.targets or list(TARGETS)
    if unknown := set(chosen) - set(TARGETS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    kills.preload(["prepare", "train", "reconstruct", "album", "animate"])
    tried, failed = defaultdict(int), defaultdict(int)
    with tempfile.TemporaryDirectory() as name:
        inputs = kills.make_inputs(Path(name))
        for target in chosen:
            place = Place(Path(name, "place"), inputs)
            place.folder.mkdir()
            for case in TARGETS[target](place):
                tried[target] += 1
                if wrong := _run(case, Path(name)):
                    failed[target] += 1
                    print(f"{target}: {case.told}: {wrong}".encode("ascii", "backslashreplace").decode(), flush=True)
            shutil.rmtree(place.folder)
    print("\n| target | tried | answered well | failed |\n| --- | ---: | ---: | ---: |")
    for target in chosen:
        print(f"| {target} | {tried[target]} | {tried[target] - failed[target]} | {failed[target]} |")
    print(f"| all | {sum(tried.values())} | {sum(tried.values()) - sum(failed.values())} | {sum(failed.values())} |")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
