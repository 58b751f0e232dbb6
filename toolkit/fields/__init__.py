"""The fields of models.yaml that several kinds of models share.

They do not depend on a kind and do not read files.
"""
