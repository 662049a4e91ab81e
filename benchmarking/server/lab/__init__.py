"""A lab on the results server: it takes the lab's results, and shows its devices and jobs."""
