"""Texts to padded token ids, for encoders."""
