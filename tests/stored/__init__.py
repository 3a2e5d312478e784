"""What users have stored still opens: files that an earlier version wrote."""
