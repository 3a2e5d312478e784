"""A project in the files and stores of other tools, from CSV to MLflow."""
