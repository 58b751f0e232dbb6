"""Plans model repositories: their models and files, the text of configs, and checks of the code."""
