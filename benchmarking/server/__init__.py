"""The results server: pages, an API, and what they are made of."""
