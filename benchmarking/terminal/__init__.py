"""All that is printed or logged: harmless, and encodable for whoever reads it."""
