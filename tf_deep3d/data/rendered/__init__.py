"""Rendered pictures with exact coefficients: people, their light and dress, what hides them, and the photo."""
