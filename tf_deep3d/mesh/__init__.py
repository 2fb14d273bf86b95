"""Surfaces as files: OBJ, PLY, GLB, and the files of a face."""
