"""The web pages of the gateway, rendered on the server from local files only."""
