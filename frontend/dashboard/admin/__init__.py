"""`/admin` and the pages below it: the gateway, to those who run it."""
