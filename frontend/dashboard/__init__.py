"""The pages that people look at: rendered here, from local files only."""
