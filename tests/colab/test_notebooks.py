"""The notebooks: each runs from its first cell to its last with small settings, and is what its script says."""

import ast
import copy
import importlib
import importlib.util
import os
import re
from pathlib import Path

import pytest

from tests.prepared import write_records

jupytext = pytest.importorskip("jupytext", reason="jupytext of requirements-test.txt is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbformat of requirements-test.txt is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient of requirements-test.txt is not installed")
pytest.importorskip("ipykernel", reason="ipykernel of requirements-test.txt is not installed")

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "colab").glob("*.py"))
OURS = ("tf_deep3d", "export")
TIMEOUT = 1800  # s, of a cell, on a machine that does much else


class Outputs:
    """What the cells showed."""

    def __init__(self, notebook):
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        self.text = "".join(output.text for output in outputs if output.output_type == "stream")
        shown = [output.data for output in outputs if output.output_type in ("display_data", "execute_result")]
        self.html = [data["text/html"] for data in shown if "text/html" in data]
        self.pictures = [data["image/png"] for data in shown if "image/png" in data]


def run(name, folder, monkeypatch, again=None, **settings):
    """`Outputs` of a notebook that ran in `folder` with other `settings` than its own; the cell that holds the text
    `again` runs once more at the end."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = jupytext.read(ROOT / "colab" / f"{name}.py")
    (place,) = (n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    own = notebook.cells[place].source
    assert all(re.search(rf"^{setting} = ", own, re.MULTILINE) for setting in settings)
    changed = "\n".join(f"{setting} = {value!r}" for setting, value in settings.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(changed))
    notebook.cells += [copy.deepcopy(cell) for cell in notebook.cells if again and again in cell.source]
    client = nbclient.NotebookClient(
        notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return Outputs(notebook)


long = pytest.mark.skipif(not os.environ.get("NOTEBOOKS"), reason="set NOTEBOOKS=1: each notebook takes minutes")


def number_after(text, found):
    return float(re.search(re.escape(text) + r"([\d.]+)", found)[1])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_made_of_its_script(script):
    made, kept = jupytext.read(script), nbformat.read(script.with_suffix(".ipynb"), as_version=4)
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [(c.cell_type, c.source) for c in made.cells]
    assert [cell.metadata.get("tags", []) for cell in kept.cells] == [c.metadata.get("tags", []) for c in made.cells]
    assert kept.metadata.kernelspec == made.metadata.kernelspec
    assert not any(cell.get("outputs") for cell in kept.cells)
    nbformat.validate(kept)


def test_there_are_four_and_they_install_alike():
    assert [path.stem for path in SCRIPTS] == ["export_and_serve", "many_photos", "one_photo", "train"]
    cells = [jupytext.read(path).cells[1].source for path in SCRIPTS]
    assert len({re.sub(r'EXTRAS = "[a-z,]*"', "", cell) for cell in cells}) == 1


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_the_notebook_imports_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in OURS:
            module = importlib.import_module(node.module)
            for name in (alias.name for alias in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), name
        elif isinstance(node, ast.Import):
            for name in (alias.name for alias in node.names if alias.name.partition(".")[0] in OURS):
                importlib.import_module(name)


@long
def test_one_photo(tmp_path, monkeypatch):
    outputs = run("one_photo", tmp_path, monkeypatch, LEVEL=0, REFINE=1, HEAD=False)
    assert {"face.glb", "view.html", "overlay.png"} <= {path.name for path in (tmp_path / "faces/astronaut").iterdir()}
    assert len(outputs.pictures) == 2
    (cell,) = (html for html in outputs.html if "<iframe" in html)
    assert 'srcdoc="&lt;!doctype html&gt;' in cell
    assert "faces/astronaut/face.glb" in "".join(outputs.html)
    assert abs(number_after("yaw_degrees: ", outputs.text.replace("-", ""))) < 45
    assert 0 < number_after("landmarks off by ", outputs.text) < 6


@long
def test_many_photos(tmp_path, monkeypatch):
    outputs = run("many_photos", tmp_path, monkeypatch, COUNT=4, LEVEL=0)
    assert re.search(r"[2-4] photos -> faces/rendered: elementwise", outputs.text)  # if every face is found
    errors = [number_after(f"{name}: ", outputs.text) for name in ("element-wise (S4)", "average", "mean face")]
    assert all(0.3 < error < 8 for error in errors)
    assert len(set(errors)) == 3
    assert len(outputs.pictures) == 2
    assert any("<iframe" in html for html in outputs.html)


@long
def test_train(tmp_path, monkeypatch):
    few = {"RENDERED": 20, "SETS": 40, "STEPS": 2, "SET_STEPS": 2, "BATCH": 2, "EVERY": 2, "TENSORBOARD": False}
    few |= {"SETTINGS": "loss.perceptual=0"}
    outputs = run("train", tmp_path, monkeypatch, again='train, "rnet_mobilenet"', **few)
    assert "MirroredStrategy on /job:localhost/replica:0/task:0/device:" in outputs.text
    tables = [html for html in outputs.html if "<th>step</th>" in html]
    assert len(tables) == 2
    assert all(re.search(r"<td>2</td><td>[\d.]+</td>", table) for table in tables)
    assert {"rnet.keras", "cnet.keras", "log.csv"} <= {path.name for path in (tmp_path / "runs/rnet").iterdir()}
    assert len(outputs.pictures) == 2
    assert outputs.text.count("runs/rnet is complete: 2 steps") == 1  # the second time


@long
def test_export_and_serve(tmp_path, monkeypatch, tiny_model):
    pictures = write_records(tmp_path / "records", tiny_model, 24)
    outputs = run("export_and_serve", tmp_path, monkeypatch, QUANTIZE="float16", CALIBRATION=str(pictures))
    (table,) = (html for html in outputs.html if "<td>file</td>" in html)
    assert "cnet_float16.tflite" in table
    assert 5 < number_after("<td>rnet_float16.tflite</td><td>", table) < 10
    assert (tmp_path / "device_face" / "face.glb").is_file()
    assert "called the loaded signatures; no server was asked" in outputs.text
    assert number_after("differs from the device's by ", outputs.text) < 0.05
