"""HTTP below the application: connections, framing, their limits. Knows no route and no dialect."""
