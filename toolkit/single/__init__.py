"""Builds a repository of one model that is named by its source, without a models.yaml.

`source` parses the text, `detect` recognizes the kind of model from its files, `entry` writes the
models.yaml and builds the repository in the toolkit's home.
"""
