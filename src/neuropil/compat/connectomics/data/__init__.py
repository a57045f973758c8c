"""Volumes and what is made from labels."""
