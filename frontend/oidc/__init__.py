"""Signing in with an OpenID provider: the code flow with PKCE, and whose account it is.

Loaded only where a provider is configured.
"""
