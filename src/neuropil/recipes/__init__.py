"""Ready recipes that come with the package (YAML), and one made for your own data."""
