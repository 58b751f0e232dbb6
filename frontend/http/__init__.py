"""HTTP: the server below the application, bounded reads, answers. Knows no route or dialect."""
