"""A video: one face and its motion."""
