"""Speed, parameters, FLOPs, and the page of results."""
