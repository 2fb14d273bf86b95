"""The training of R-Net and C-Net: settings, objective, optimizer, run."""
