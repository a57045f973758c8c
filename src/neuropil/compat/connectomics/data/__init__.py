"""Volumes, samples, targets and augmentation under their classic names."""
