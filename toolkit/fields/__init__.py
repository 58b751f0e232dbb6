"""The fields of models.yaml that several kinds of models share. Knows no kind and reads no file."""
