"""Models as files: weights, model folders, built-in models, the hub."""
