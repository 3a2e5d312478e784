"""What was tried: trials, their metrics and objective. Knows the space."""
