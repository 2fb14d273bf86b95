"""Where the faces of a photo are: boxes, landmarks, alignment, skin, and the same face from frame to frame."""
