"""Pictures of what models predict, beyond what the libraries' own visualizers draw."""
