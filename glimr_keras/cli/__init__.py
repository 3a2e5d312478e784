"""The command `glimr-keras`: looks at projects, and never changes one nor runs its code."""
