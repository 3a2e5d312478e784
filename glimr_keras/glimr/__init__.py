"""glimr's own class, in front of `RayTuner`."""
