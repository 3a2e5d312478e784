"""Read the results of a search from its project: tables, summaries, best models."""
