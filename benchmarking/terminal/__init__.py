"""Everything that is printed or logged: without control characters, and encodable for the reader."""
