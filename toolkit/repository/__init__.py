"""Model repositories on paper: what one will hold, the configs' text, and whether it is right."""
