"""Training: configuration, sampling, augmentation, loss, trainer."""
