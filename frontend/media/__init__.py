"""Images that requests bring: from where they may come, how they are fetched, what they must be."""
