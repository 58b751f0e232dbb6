"""Getting weights and keeping them: sources, and the content-addressed cache."""
