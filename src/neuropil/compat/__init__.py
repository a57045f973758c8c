"""DOORS for people who come from elsewhere."""
