"""Getting weights and keeping them: sources on one side, the content-addressed cache on the other."""
