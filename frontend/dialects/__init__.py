"""Clients' wire protocols, as pure translations to and from the canonical request and events."""
