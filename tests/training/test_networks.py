from tests.synthetic import MODES
from tf_deep3d.models import rnet as rnets
from tf_deep3d.training.networks import build_rnet
from tf_deep3d.training.settings import Network, TrainSettings


def test_sizes_come_from_the_face_model(model_file):
    rnet = build_rnet(TrainSettings(network=Network(face_model=str(model_file))))
    assert vars(rnet.layout) == {**MODES, "lighting": "rgb"}
    assert rnet.face_model == rnets.fingerprint(model_file)
    white = build_rnet(TrainSettings(network=Network(face_model=str(model_file), lighting="white", start="random")))
    assert white.layout.total == rnet.layout.total - 18
