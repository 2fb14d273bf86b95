"""Prepared faces on disk, and the batches that a training reads."""
