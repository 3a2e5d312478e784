"""Scripts that were written for KerasTuner, and what they find with either library."""
