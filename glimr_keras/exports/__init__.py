"""Export a project to the files and stores of other tools, from CSV to MLflow."""
