"""A model named only by its source → a repository of one model, without a models.yaml.

`source` reads what a text names, `detect` asks its files what kind of model they are, `entry`
writes the models.yaml and builds the repository in the toolkit's home.
"""
