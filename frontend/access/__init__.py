"""Who may call, and what for. Knows no dialect; the gateway without keys is open to its host."""
