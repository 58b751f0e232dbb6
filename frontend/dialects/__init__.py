"""The APIs of clients, translated to and from the canonical request and events. Pure."""
