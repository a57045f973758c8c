"""Visualisation of results: colours, figures, HTML pages and Neuroglancer."""
