"""The training command: what it leaves, how it goes on, and what it says when it cannot."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.prepared import write_records
from tf_deep3d import config, records, run_folder, train
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training import TrainSettings

CONFIGS = Path(__file__).parent.parent / "configs"
SETTINGS = """
data: {batch: 2, validation: 2, augmentation: {shift: 4}}
loss: {perceptual: 0, shape: 0.02}
optimization: {learning_rate: 1e-4, ema: 0.9, schedule: cosine}
level: 0
steps: 6
log_every: 1
validate_every: 2
save_every: 2
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_model):
    return write_records(tmp_path_factory.mktemp("prepared"), tiny_model, 6, 2, shard=3, known=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, prepared, model_file):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(SETTINGS + f"network: {{face_model: '{model_file}'}}\n")
    return [str(path), "--set", f"data.records=['{prepared}']"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, recipe):
    """The folder of a whole run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main([*recipe, "--run", str(folder)]) == 0
    return folder


def _log(folder):
    with open(folder / run_folder.LOG, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_what_a_run_leaves(finished, model_file):
    rows = _log(finished)
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert [bool(row["val_nme"]) for row in rows] == [False, True] * 3
    assert [step for step, _ in run_folder.checkpoints(finished)] == [4, 6]
    assert [path.stem for path in sorted((finished / "panels").iterdir())] == [
        "00000000",
        "00000002",
        "00000004",
        "00000006",
    ]
    assert list((finished / "tensorboard").iterdir())
    assert config.load(finished / run_folder.CONFIG, TrainSettings).steps == 6
    rnet = rnets.load_rnet(finished / rnets.WEIGHTS, rnets.fingerprint(model_file))
    assert np.abs(rnet.network.get_layer("translation").kernel.numpy()).max() > 0


def test_a_finished_run_is_left_alone(finished, recipe, capsys):
    before = (finished / run_folder.LOG).read_bytes()
    assert train.main([*recipe, "--run", str(finished)]) == 0
    assert "is complete: 6 steps" in capsys.readouterr().out
    assert (finished / run_folder.LOG).read_bytes() == before


def test_killed_and_started_again_it_continues_the_curve(tmp_path, finished, recipe):
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tf_deep3d.train", *recipe, "--run", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not run_folder.checkpoints(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = run_folder.checkpoints(folder)[-1][0]
    assert train.main([*recipe, "--run", str(folder)]) == 0
    whole, resumed = _log(finished), _log(folder)
    assert [row["step"] for row in resumed] == [row["step"] for row in whole]
    for one, other in zip(whole, resumed, strict=True):
        assert float(other["loss"]) == pytest.approx(float(one["loss"]), rel=1e-3), (reached, one["step"])
    assert float(resumed[-1]["val_nme"]) == pytest.approx(float(whole[-1]["val_nme"]), rel=1e-2)


def test_a_longer_training_goes_on_from_a_finished_one(tmp_path, finished, recipe):
    folder = tmp_path / "longer"
    shutil.copytree(finished, folder)
    assert train.main([*recipe, "--run", str(folder), "--set", "steps=8"]) == 0
    assert int(_log(folder)[-1]["step"]) == 8


def test_other_settings_do_not_touch_a_run(finished, recipe, capsys):
    assert train.main([*recipe, "--run", str(finished), "--set", "optimization.learning_rate=1e-3"]) == 1
    assert "learning_rate was 0.0001 and is 0.001" in capsys.readouterr().err
    assert config.load(finished / run_folder.CONFIG, TrainSettings).optimization.learning_rate == 1e-4


def test_overwrite_never_removes_what_is_no_run(tmp_path, recipe, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    for arguments in ([], ["--overwrite"]):
        assert train.main([*recipe, "--run", str(tmp_path), *arguments]) == 1
        assert "Received" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--set", "optimization.learnin_rate=1"], "unknown key"),
        (["--set", "optimization.learning_rate=fast"], "must be a number. Received: 'fast'"),
        (["--set", "data.records=[]"], "name the folders of records"),
        (["--set", "data.records=[nowhere]"], "no dataset.json"),
        (["--set", "network.start=imagenet"], "start must be"),
        (["--set", "network.face_model=none.npz"], "No such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, recipe, capsys, change, message):
    assert train.main([*recipe, *change, "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_no_config(tmp_path, capsys):
    assert train.main([str(tmp_path / "none.yaml")]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        train.main([])
    assert stop.value.code == 2


def test_a_folder_that_cannot_be_written(tmp_path, recipe, capsys):
    (tmp_path / "file").write_text("")
    assert train.main([*recipe, "--run", str(tmp_path / "file" / "run")]) == 1
    assert "error" in capsys.readouterr().err


def test_nan_stops_with_the_step_the_terms_and_the_records(tmp_path, tiny_model, recipe, capsys, monkeypatch):
    folder = write_records(tmp_path / "records", tiny_model, 4, known=True)
    original = records.parse

    def poisoned(serialized):
        record = original(serialized)
        return {**record, "landmarks": record["landmarks"] * float("nan")}

    monkeypatch.setattr(records, "parse", poisoned)
    arguments = [recipe[0], "--set", f"data.records=['{folder}']", "--set", "data.validation=0"]
    assert train.main([*arguments, "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert "error: step 1: landmark, landmark_error, loss, nme not finite" in error
    assert "the records face 0-" in error
    assert not run_folder.checkpoints(tmp_path / "run")


def test_a_damaged_checkpoint_is_named(tmp_path, finished, recipe, capsys):
    folder = tmp_path / "damaged"
    shutil.copytree(finished, folder)
    run_folder.checkpoints(folder)[-1][1].write_bytes(b"\x00" * 100)
    assert train.main([*recipe, "--run", str(folder), "--set", "steps=8"]) == 1
    assert "does not fit this training" in capsys.readouterr().err


def test_the_log_is_cut_to_the_checkpoint(tmp_path):
    (tmp_path / run_folder.LOG).write_text("step,loss\n1,0.5\n2,0.4\n3,0.3\n4,0.")
    run_folder.cut_log(tmp_path, 2)
    assert (tmp_path / run_folder.LOG).read_text().split() == ["step,loss", "1,0.5", "2,0.4"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("rnet_*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    settings = config.load(path, TrainSettings)
    assert settings.network.backbone in rnets.BACKBONES
    assert path.read_text(encoding="utf-8").startswith("#")


def test_the_papers_numbers():
    paper, ms, sx = (config.load(CONFIGS / f"rnet_{name}.yaml", TrainSettings) for name in ("paper", "ms", "sx"))
    assert (paper.loss.photometric, paper.loss.prior_albedo, paper.loss.illumination_whiteness) == (1.9, 1.7e-3, 0.0)
    assert (paper.network.lighting, paper.attention, paper.data.batch, paper.steps) == ("white", "paper", 5, 500_000)
    assert (ms.data.batch, ms.steps, ms.optimization.decay_steps, ms.optimization.decay) == (
        16,
        200_000,
        (100_000,),
        0.2,
    )
    assert (sx.data.batch, sx.data.augmentation.shift, sx.data.augmentation.flip) == (32, 10.0, True)
    assert ms.loss == sx.loss
    assert {s.optimization.learning_rate for s in (paper, ms, sx)} == {1e-4}
    assert all(s.network.backbone == "resnet50" for s in (paper, ms, sx))


def test_help_has_examples():
    command = [sys.executable, "-m", "tf_deep3d.train", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    assert "examples:" in shown
