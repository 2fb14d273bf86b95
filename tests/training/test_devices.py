import json

import pytest

from tf_deep3d.training import devices

CLUSTER = {"worker": ["a:1", "b:1"]}


def _task(monkeypatch, kind, index, cluster=CLUSTER):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}}))


def test_one_process_of_all_is_the_chief(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert devices.is_chief()
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert devices.is_chief()
    for cluster in (CLUSTER, {"chief": ["a:1"], **CLUSTER}):
        chiefs = []
        for kind, addresses in cluster.items():
            for index in range(len(addresses)):
                _task(monkeypatch, kind, index, cluster)
                chiefs.append(devices.is_chief())
        assert chiefs == [True] + [False] * (len(chiefs) - 1)


@pytest.mark.parametrize(
    "text",
    [
        "worker",
        "[1]",
        json.dumps({"cluster": CLUSTER}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": CLUSTER, "task": {"type": "chief", "index": 0}}),
        json.dumps({"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}),
    ],
)
def test_other_clusters_are_told(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(devices.ClusterError, match="TF_CONFIG must be JSON like"):
        devices.is_chief()
