"""The training command: what it leaves, how it goes on, and what it says when it cannot."""

import csv
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.prepared import TRAINING, write_records
from tf_deep3d import train
from tf_deep3d.data import augmentation, plain_batches, records
from tf_deep3d.face import morphable_model
from tf_deep3d.losses import hybrid, weighing
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training import config, run_folder
from tf_deep3d.training.networks import build_rnet
from tf_deep3d.training.objective import Reconstructor
from tf_deep3d.training.optimizer import build_optimizer
from tf_deep3d.training.settings import TrainSettings

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, tiny_model):
    return write_records(tmp_path_factory.mktemp("prepared"), tiny_model, 6, 2, shard=3, known=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, prepared, model_file):
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(TRAINING + f"network: {{face_model: '{model_file}'}}\n")
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


def _start(recipe, folder, **environment):
    """Starts the command in a process of its own."""
    command = [sys.executable, "-m", "tf_deep3d.train", *recipe, "--run", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env={**os.environ, **environment})


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
    process = _start(recipe, folder)
    deadline = time.monotonic() + 300
    while not run_folder.checkpoints(folder) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it was killed"
    reached = run_folder.checkpoints(folder)[-1][0]
    assert 0 < reached < 6
    assert train.main([*recipe, "--run", str(folder)]) == 0
    whole, resumed = _log(finished), _log(folder)
    assert [row["step"] for row in resumed] == [row["step"] for row in whole]
    for one, other in zip(whole, resumed, strict=True):
        assert float(other["loss"]) == pytest.approx(float(one["loss"]), rel=1e-3), (reached, one["step"])
    assert float(resumed[-1]["val_nme"]) == pytest.approx(float(whole[-1]["val_nme"]), rel=1e-2)


def _start_workers(recipe, folder, count=2):
    """Starts a cluster of workers on free ports."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    cluster = {"worker": [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]}
    for door in doors:
        door.close()
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in range(count)]
    return [_start(recipe, folder, TF_CONFIG=json.dumps(task)) for task in tasks]


def _finish(workers):
    """What they said, (standard output, standard error) each."""
    try:
        return [worker.communicate(timeout=1200) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def _train_alike(one, other):
    """Asserts that two runs logged the same numbers, and moved the weights to the same place."""
    for mine, theirs in zip(_log(one), _log(other), strict=True):
        for name in set(mine) - {"images_per_second"}:
            same = mine[name] == theirs[name]
            assert same or float(theirs[name]) == pytest.approx(float(mine[name]), rel=1e-2, abs=2e-6), name
    start = build_rnet(config.load(one / run_folder.CONFIG, TrainSettings)).get_weights()
    _moved_alike(start, *(rnets.load_rnet(run).get_weights() for run in (one, other)), 0.15)


def test_two_workers_train_as_one_process_does(tmp_path, finished, recipe):
    workers = _start_workers(recipe, tmp_path / "shared")
    said = _finish(workers)
    assert [worker.returncode for worker in workers] == [0, 0], said
    assert "2 replicas" in said[0][0]
    assert not said[1][0]  # the chief alone writes
    _train_alike(finished, tmp_path / "shared")


def test_a_killed_worker_ends_the_other_and_both_go_on_when_started_again(tmp_path, finished, recipe):
    folder = tmp_path / "shared"
    workers = _start_workers(recipe, folder)
    deadline = time.monotonic() + 300
    while not run_folder.checkpoints(folder) and workers[1].poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    workers[1].send_signal(signal.SIGKILL)
    said = _finish(workers)  # TensorFlow waits for two minutes for a worker that is silent
    assert workers[1].returncode == -signal.SIGKILL, said
    assert workers[0].returncode == 1, said
    assert re.search(r"^error: the training stopped\. Received: .*task:1", said[0][1], re.MULTILINE)
    assert 0 < run_folder.checkpoints(folder)[-1][0] < 6
    again = _start_workers(recipe, folder)
    said = _finish(again)
    assert [worker.returncode for worker in again] == [0, 0], said
    _train_alike(finished, folder)


JAX_ALONE = """
import sys

class Nowhere:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere)
from tf_deep3d import train
sys.exit(train.main())
"""


def test_jax_alone_trains_as_tensorflow_would(tmp_path, recipe):
    run = tmp_path / "run"
    fast = ["--set", "optimization.learning_rate=3e-4"]  # moves all weights by more than their rounding
    options = [*recipe, "--set", "data.validation=0", "--set", "steps=2", *fast]
    command = [sys.executable, "-c", JAX_ALONE, *options, "--run", str(run)]
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    assert [step for step, _ in run_folder.checkpoints(run)] == [2]
    settings = config.load(run / run_folder.CONFIG, TrainSettings)
    model = morphable_model.load(settings.network.face_model, settings.level)
    built = Reconstructor(build_rnet(settings), model, None, settings)
    start = built.rnet.get_weights()
    built.compile(build_optimizer(settings))
    mirror = augmentation.mirror(model, model.layout())
    opened = plain_batches.open_batches(settings.data, model.layout().total, mirror, settings.seed)
    batches = opened.training()
    for row, (batch,) in zip(_log(run), batches, strict=False):
        built.reset_metrics()
        for name, value in built.train_step(batch).items():
            assert float(row[name]) == pytest.approx(float(value), rel=2e-3, abs=1e-6), (row["step"], name)
    batches.close()
    built.optimizer.finalize_variable_values(built.learner.trainable_variables)  # the moving averages
    _moved_alike(start, built.rnet.get_weights(), rnets.load_rnet(run).get_weights())


def _moved_alike(start, one, other, share=0.05):
    """Asserts that two trainings moved the weights from `start` to the same place, but for a `share` of the way: Adam
    makes whole steps of gradients that are rounding."""
    for before, mine, theirs in zip(start, one, other, strict=True):
        rounding = np.finfo(np.float32).eps * np.linalg.norm(before)
        moved = np.linalg.norm(mine - before)
        assert moved > 2 * rounding or moved == 0, mine.shape
        assert np.linalg.norm(theirs - mine) <= share * moved + rounding, mine.shape


def test_a_longer_training_goes_on_from_a_finished_one(tmp_path, finished, recipe):
    folder = tmp_path / "longer"
    shutil.copytree(finished, folder)
    assert train.main([*recipe, "--run", str(folder), "--set", "steps=8"]) == 0
    assert int(_log(folder)[-1]["step"]) == 8


def test_other_settings_do_not_touch_a_run(finished, recipe, capsys):
    assert train.main([*recipe, "--run", str(finished), "--set", "optimization.learning_rate=1e-3"]) == 1
    assert "learning_rate was 0.0001 and is 0.001" in capsys.readouterr().err
    assert config.load(finished / run_folder.CONFIG, TrainSettings).optimization.learning_rate == 1e-4


def test_settings_may_change_before_a_run_has_begun(tmp_path):
    early, late = TrainSettings(seed=1), TrainSettings(seed=2)
    run_folder.open_folder(tmp_path / "run", early)
    run_folder.open_folder(tmp_path / "run", late)
    (tmp_path / "run" / run_folder.LOG).write_text("step,loss\n1,0.5\n")
    run_folder.open_folder(tmp_path / "run", late)
    with pytest.raises(run_folder.TrainingError, match="seed was 2 and is 1"):
        run_folder.open_folder(tmp_path / "run", early)


def test_overwrite_never_removes_what_is_no_run(tmp_path, recipe, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    for arguments in ([], ["--overwrite"]):
        assert train.main([*recipe, "--run", str(tmp_path), *arguments]) == 1
        assert "Received" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("change", ["data.records=[nowhere]", "network.face_model=none.npz", "level=7"])
def test_overwrite_keeps_a_run_for_one_that_cannot_begin(tmp_path, finished, recipe, change):
    folder = shutil.copytree(finished, tmp_path / "run")
    before = sorted(folder.rglob("*"))
    assert train.main([*recipe, "--run", str(folder), "--overwrite", "--set", change]) == 1
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--set", "optimization.learnin_rate=1"], "unknown key"),
        (["--set", "optimization.learning_rate=fast"], "must be a number of single precision. Received: 'fast'"),
        (["--set", "data.records=[]"], "name the folders of records"),
        (["--set", "data.records=[nowhere]"], "no dataset.json"),
        (["--set", "network.start=imagenet"], "start must be"),
        (["--set", "network.face_model=none.npz"], "No such file"),
    ],
)
def test_mistakes_are_one_line(tmp_path, recipe, capsys, change, message):
    assert train.main([*recipe, *change, "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_records_of_another_schema_version(tmp_path, prepared, recipe, capsys):
    folder = shutil.copytree(prepared, tmp_path / "records")
    listing = json.loads((folder / records.DATASET_FILE).read_text())
    (folder / records.DATASET_FILE).write_text(json.dumps({**listing, "schema_version": 99}))
    assert train.main([*recipe, "--set", f"data.records=['{folder}']", "--run", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: records of schema version {records.SCHEMA_VERSION} are needed. Received: ")
    assert error.count("\n") == 1


def test_a_truncated_shard(tmp_path, prepared, recipe, capsys):
    folder = shutil.copytree(prepared, tmp_path / "records")
    shard = folder / "train-0"
    os.truncate(shard, shard.stat().st_size // 2)
    arguments = [*recipe, "--set", f"data.records=['{folder}']", "--set", "data.validation=0", "--set", "steps=2"]
    assert train.main([*arguments, "--set", "data.strict=true", "--run", str(tmp_path / "strict")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {shard} is damaged at record 1, byte ")
    assert error.count("\n") == 1
    assert train.main([*arguments, "--run", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr()
    assert f"warning: {shard} is damaged at record 1, byte " in shown.err
    assert "2 records are left out" in shown.err
    assert shown.out.startswith("4 records, ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_stops_the_log(tmp_path, finished, recipe, capsys):
    folder = shutil.copytree(finished, tmp_path / "full")
    (folder / run_folder.LOG).unlink()
    (folder / run_folder.LOG).symlink_to("/dev/full")
    assert train.main([*recipe, "--run", str(folder), "--set", "steps=8"]) == 1
    error = capsys.readouterr().err
    assert "error: [Errno 28] No space left on device" in error
    assert "Traceback" not in error


def test_a_checkpoint_that_does_not_fit_on_the_disk(tmp_path, finished, recipe, capsys):
    folder = shutil.copytree(finished, tmp_path / "full")
    kept = run_folder.checkpoints(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kept[-1][1].stat().st_size // 2, hard))
    try:
        assert train.main([*recipe, "--run", str(folder), "--set", "steps=8"]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    error = capsys.readouterr().err
    assert "error: " in error
    assert "Traceback" not in error
    assert run_folder.checkpoints(folder) == kept
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [path.name for _, path in kept]


def test_no_config(tmp_path, capsys):
    assert train.main([str(tmp_path / "none.yaml")]) == 1
    assert "No such file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        train.main([])
    assert stop.value.code == 2


def test_a_folder_that_cannot_be_written(tmp_path, recipe, capsys):
    (tmp_path / "file").write_text("")
    assert train.main([*recipe, "--run", str(tmp_path / "file" / "run")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: [Errno 20] Not a directory")
    assert str(tmp_path / "file") in error


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


@pytest.mark.parametrize("text", ["", "step,lo", "step,loss\n3,0.3\n"])
def test_a_log_without_a_line_begins_anew(tmp_path, text):
    (tmp_path / run_folder.LOG).write_text(text)
    run_folder.cut_log(tmp_path, 2)
    assert not (tmp_path / run_folder.LOG).exists()


def test_a_log_of_another_program_is_refused(tmp_path):
    (tmp_path / run_folder.LOG).write_bytes(b'step,loss\n1,"' + b"x" * 200_000)
    with pytest.raises(run_folder.TrainingError, match="no log of ours"):
        run_folder.cut_log(tmp_path, 2)
    (tmp_path / run_folder.LOG).write_bytes(b"step,loss\n1,0.5\n\xff,2\n")
    run_folder.cut_log(tmp_path, 2)
    assert (tmp_path / run_folder.LOG).read_text().split() == ["step,loss", "1,0.5"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    settings = config.load(path, TrainSettings)
    assert settings.network.backbone in rnets.BACKBONES
    assert (settings.sets is None) == path.stem.startswith("rnet_")
    assert path.read_text(encoding="utf-8").startswith("#")


def test_the_papers_numbers_of_cnet():
    rnet, cnet = (config.load(CONFIGS / f"{name}_paper.yaml", TrainSettings) for name in ("rnet", "cnet"))
    assert (cnet.sets.photos, cnet.data.batch, cnet.steps, cnet.optimization.learning_rate) == (5, 1, 10_000, 2e-5)
    assert cnet.sets.bound is None
    assert not cnet.sets.scalar
    assert (cnet.loss, cnet.attention, cnet.level) == (rnet.loss, rnet.attention, rnet.level)
    assert cnet.sets.rnet == "runs/rnet_paper"


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


@pytest.mark.parametrize("name", ["paper", "ms", "sx"])
def test_the_papers_presets_weigh_landmarks_as_the_paper_does(name, tiny_model):
    """One pixel for every landmark costs (57 + 11 * 20) / 68 px^2, times 1.6e-3."""
    settings = config.load(CONFIGS / f"rnet_{name}.yaml", TrainSettings)
    weights = weighing.joint_landmarks(tiny_model, settings.emphasis, settings.jaw, settings.dense)[1]
    target = np.zeros((1, 68, 2), np.float32)
    cost = float(hybrid.landmark(target + np.float32([1, 0]), target, weights)[0])
    assert settings.loss.landmark * cost == pytest.approx(1.6e-3 * 277 / 68, rel=1e-6)


@pytest.mark.parametrize("name", ["rnet_mobilenet", "cnet_mobilenet"])
def test_the_mobile_presets_weigh_landmarks_as_the_shipped_weights_were_trained(name):
    """That was 4e-3 times a weighted mean over all landmarks, of which the dense ones had a weight of 0.3 each."""
    settings = config.load(CONFIGS / f"{name}.yaml", TrainSettings)
    model = morphable_model.load(level=0)
    weights = weighing.joint_landmarks(model, settings.emphasis, settings.jaw, settings.dense)[1]
    target, predicted = np.random.default_rng(0).normal(scale=5, size=(2, 4, 546, 2)).astype(np.float32)
    before = np.concatenate([weighing.landmark_weights(3.0, 0.2), np.full(468, 0.3), np.zeros(10)])
    expected = 4e-3 * np.average(((predicted - target) ** 2).sum(-1), axis=1, weights=before)
    cost = hybrid.landmark(predicted, target, weights, np.ones((4, 546), np.float32))
    np.testing.assert_allclose(settings.loss.landmark * np.asarray(cost), expected, rtol=1e-4)


def test_help_has_examples():
    command = [sys.executable, "-m", "tf_deep3d.train", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout
    assert "examples:" in shown
