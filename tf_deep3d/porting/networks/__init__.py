"""Foreign networks -> ours."""
