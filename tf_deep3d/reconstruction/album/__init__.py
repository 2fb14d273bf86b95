"""Many photos of one person: one shape, one texture."""
