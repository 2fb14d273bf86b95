"""3D face reconstruction from photos: a TensorFlow / Keras 3 port of Deng et al. 2019 with an open face model."""

__version__ = "0.1.0"
