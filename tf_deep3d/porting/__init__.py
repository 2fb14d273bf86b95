"""Foreign formats -> ours: here foreign conventions stop.

Units become dm, indices start at 0, triangles turn counter-clockwise seen from outside, colours become RGB in [0, 1],
standard deviations go into the bases, and the axes are the world's (x to the picture's right, y up, z out of the
face). Nothing outside this package knows a key of a .mat, .h5, .pkl or .dat file.

`python -m tf_deep3d.porting KIND FILE OUT` turns other face models into the .npz of `morphable_model.load`.
Every file is read as untrusted input: bounded, without running anything it says.
"""

from tf_deep3d.errors import InputError


class PortingError(InputError):
    """A foreign file cannot be used; the message says which part of it, and what was received."""
