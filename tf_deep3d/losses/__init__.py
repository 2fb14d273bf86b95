"""The losses of Deng et al. 2019, equations 2 to 6, each one value per image."""
