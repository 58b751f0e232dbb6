"""The one path of every request to a model, whatever its dialect: see `path`."""
