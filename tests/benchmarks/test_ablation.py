"""The ablation of the losses: hours of training must not end in a mistake of the last lines."""

import shutil

from tests.benchmarks import ablation
from tf_deep3d.models import rnet


def test_trainings_are_measured(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(rnet.SHIPPED, run / rnet.WEIGHTS)
    found = ablation.measure({"all": run}, tmp_path / "out", 1)
    assert set(found) == {"mean", "all"}
    assert all(row["numbers"]["plane_rmse"] > 0 for rows in found.values() for row in rows)
