"""All steps together: the verb ``run``, recipes for a user's data, checks before the work, the download, the demo."""
