"""Coefficients by descent on the hybrid loss; pose, motion and light from what photos show."""
