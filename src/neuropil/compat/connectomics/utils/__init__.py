"""Scores under their classic names."""
