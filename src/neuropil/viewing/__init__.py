"""Look at what came out: arrays turned into colours, figures, and a page to open in a browser."""
