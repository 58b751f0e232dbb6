"""The OpenAPI document: one entry for each route, whose examples run."""
