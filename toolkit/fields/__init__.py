"""Fields of models.yaml that several kinds of models share. It does not depend on kinds."""
