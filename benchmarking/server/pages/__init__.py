"""The pages of the results server."""
