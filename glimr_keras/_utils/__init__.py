"""What every room may use: checks, files, nested dicts, signatures. Knows no other room."""
