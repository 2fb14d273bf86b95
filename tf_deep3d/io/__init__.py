"""Files: outputs that are whole or not there, arrays on disk, and photos."""
