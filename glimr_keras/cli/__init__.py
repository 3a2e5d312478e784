"""The command `glimr-keras`: inspects projects, without changing them or running their code."""
