"""Coefficients by descent on the hybrid loss, and smooth ones for a clip."""
