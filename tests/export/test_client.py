"""The client script, against a stand-in for TensorFlow Serving: REST and gRPC, good and bad requests at once."""

import io
import json
import socket
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from skimage import data

from export import client, device, parity
from export.bundle import SAVED
from tests.exported import encode, smooth_pictures
from tests.serving import grpc_server, rest_server
from tf_deep3d import face as faces
from tf_deep3d.face import aggregation
from tf_deep3d.face.coefficients import GROUPS, Coefficients


@pytest.fixture(scope="module", params=[rest_server, grpc_server], ids=["rest", "grpc"])
def server(request, exported):
    with request.param(exported.folder / SAVED) as address:
        yield address


@pytest.fixture(scope="module")
def pictures():
    return smooth_pictures(3, seed=4)


@pytest.fixture(scope="module")
def expected(exported, pictures):
    return parity.keras_answers(exported.networks, pictures)


def test_pictures_become_coefficients(server, pictures, expected):
    files = [encode(picture) for picture in pictures]
    found, errors = client.reconstruct(server, [files[0], b"nothing", *files[1:]])
    assert [bool(error) for error in errors] == [False, True, False, False]
    assert "neither a JPEG nor a PNG" in errors[1]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][[0, 2, 3]], values, atol=1e-5)
        assert np.isnan(found[name][1]).all()


def test_one_person_has_one_identity(server, expected):
    shared = client.share_identity(server, expected)
    fused = aggregation.aggregate(expected["identity"][None], expected["confidence"][None])
    np.testing.assert_allclose(shared["identity"], np.repeat(fused, 3, 0), atol=1e-5)
    np.testing.assert_array_equal(shared["expression"], expected["expression"])


def test_wrong_requests_are_errors_and_others_go_on(server, pictures, expected):
    good = encode(pictures[0])
    wrong = [
        ("coefficients", {"images": np.zeros((1, 10, 10, 3))}),
        ("coefficients", {"pictures": np.zeros((1, 2))}),
        ("nothing", {"images": np.zeros((1, 2))}),
        ("coefficients", {"images": [b"text"]}),
        ("face", {"identity": np.zeros((1, 3))}),
    ]

    def ask(number):
        if number % 2:
            return client.predict(server, "serving_default", {"image_bytes": [good]})
        with pytest.raises(client.ServerError):
            client.predict(server, *wrong[number // 2 % len(wrong)])
        return None

    with ThreadPoolExecutor(4) as pool:
        answers = [answer for answer in pool.map(ask, range(16)) if answer]
    assert len(answers) == 8
    for answer in answers:
        np.testing.assert_allclose(answer["identity"][0], expected["identity"][0], atol=1e-5)


def test_command(server, exported, tmp_path, capsys):
    photo = tmp_path / "me.png"
    Image.fromarray(data.astronaut()).save(photo)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    Image.fromarray(np.zeros((90, 90, 3), np.uint8)).save(tmp_path / "black.png")
    paths = [str(tmp_path / name) for name in ("me.png", "bad.png", "black.png")]
    assert client.main([server, *paths, "--align", str(exported.folder)]) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.err.splitlines()] == paths[1:]
    (line,) = map(json.loads, said.out.splitlines())
    (found,) = device.load(exported.folder, "float32", True).reconstruct(photo)
    np.testing.assert_allclose(line["identity"], found.coefficients.identity[0], atol=0.01)
    mesh = faces.reconstruct(exported.model, Coefficients(*(np.float32([line[name]]) for name in GROUPS)))
    np.testing.assert_allclose(line["landmarks"], mesh.landmarks[0], atol=2e-3)
    assert client.main([server, paths[0], paths[0], "--align", str(exported.folder), "--one-person"]) == 0
    first, second = (json.loads(line)["identity"] for line in capsys.readouterr().out.splitlines())
    assert first == second


def test_nobody_there(tmp_path, pictures, capsys):
    (tmp_path / "me.png").write_bytes(encode(pictures[0]))
    assert client.main(["http://127.0.0.1:9", str(tmp_path / "me.png")]) == 1
    assert capsys.readouterr().err.startswith("error: http://127.0.0.1:9/v1/models/face:predict: ")
    assert client.main(["http://127.0.0.1:9", str(tmp_path / "nothing.png")]) == 1


@pytest.mark.parametrize("answer", [b"\x00\x00\x12\x04", b"HTTP/1.0 200 OK\r\n\r\nhello", b"HTTP/1.0 200 OK\r\n\r\n[]"])
def test_another_server_there(answer):
    """The port of gRPC asked by REST, or of another program."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            door, _ = server.accept()
            with door:
                door.recv(1 << 16)
                door.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(client.ServerError, match="predict: "):
            client.predict(f"http://127.0.0.1:{server.getsockname()[1]}", "face", {"identity": np.zeros((1, 2))})
        thread.join()


def test_what_is_missing_is_named(tmp_path, pictures, monkeypatch, capsys):
    picture = tmp_path / "me.png"
    picture.write_bytes(encode(pictures[0]))
    assert client.main(["http://127.0.0.1:port", str(picture)]) == 1
    assert "nonnumeric port" in capsys.readouterr().err
    assert client.main(["http://127.0.0.1:9", str(picture), "--align", str(tmp_path)]) == 1
    assert "manifest.json" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    assert client.main(["127.0.0.1:9", str(picture)]) == 1
    assert capsys.readouterr().err.startswith("error: gRPC needs pip install tensorflow-serving-api. Received: ")


@pytest.mark.parametrize(
    "address", ["http://[::1", "http://", "http://a b", "https://[", "http://\ud800", "http://" + "x" * 100_000]
)
def test_an_address_that_is_none_is_an_error_of_one_line(tmp_path, capfd, address):
    (tmp_path / "me.png").write_bytes(b"picture")
    assert client.main([address, str(tmp_path / "me.png")]) == 1
    said = capfd.readouterr().err  # of the file, not of `capsys`: that takes no half characters, as the real one does
    assert said.startswith("error: http")
    assert len(said.splitlines()) == 1
    assert len(said) < 1100


POINTS = [[0.0, 0.0, 0.0]] * 5


@pytest.mark.parametrize(
    "manifest",
    [
        *["", "null", "[]", "3", '"text"', "{}", "{", "[" * 100_000],
        *['{"input": null}', '{"input": []}', '{"input": {"alignment": 3}}'],
        *[
            json.dumps({"input": {"alignment": {"model_points5": points}}})
            for points in (
                None,
                "x",
                3,
                [],
                POINTS[:4],
                [[1]],
                [[1], [2, 3]],
                [*POINTS[:4], [0, 0, 1e999]],
                [[10**400]],
                {},
            )
        ],
    ],
    ids=lambda manifest: manifest[:60],
)
def test_a_manifest_that_is_none_is_an_error_of_one_line(tmp_path, capsys, manifest):
    (tmp_path / "manifest.json").write_text(manifest)
    (tmp_path / "me.png").write_bytes(b"picture")
    assert client.main(["http://127.0.0.1:9", str(tmp_path / "me.png"), "--align", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "manifest.json" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"identity": [[1.0]]},
        {"identity": [[1.0], [2.0]], "error": [""]},
        {"identity": "x", "error": [""]},
        {**{name: [[1.0]] for name in client.GROUPS}, "error": ""},
        {**{name: [[1.0]] for name in client.GROUPS}, "error": ["", ""]},
        {"identity": [[1.0], [2.0, 3.0]]},
        [[1.0], [2.0, 3.0]],
    ],
)
def test_answers_of_another_model_are_an_error_of_one_line(monkeypatch, answer):
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *_, **__: io.BytesIO(json.dumps({"outputs": answer}).encode())
    )
    with pytest.raises(client.ServerError, match="http://server") as caught:
        client.reconstruct("http://server", [b"picture"])
    assert len(str(caught.value).splitlines()) == 1
