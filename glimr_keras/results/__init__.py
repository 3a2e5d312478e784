"""What came out, read from a project: tables, summaries, best models."""
