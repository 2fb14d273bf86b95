"""`python -m tf_deep3d.porting.open_face`, see `build`."""

import sys

from tf_deep3d.porting.open_face.build import main

if __name__ == "__main__":
    sys.exit(main())
