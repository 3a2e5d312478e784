"""A project in the files and stores of other tools, read back by each tool."""
