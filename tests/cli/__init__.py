"""The command `glimr-keras`."""
