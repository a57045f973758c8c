"""The steps together: recipes from training to scores, recipes for own data, checks, the download and the demo."""
