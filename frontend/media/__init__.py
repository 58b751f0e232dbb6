"""The images in requests: fetches, checks and decodes them."""
