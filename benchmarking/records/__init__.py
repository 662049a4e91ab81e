"""What was saved, read back: the local reporter's tree, and the series in it."""
