"""The losses of Deng et al. 2019, equations 3 to 9, each one value per image."""
