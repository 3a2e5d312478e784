"""What goes between the script's process and its workers: objects, large arrays, the script's
surroundings, and warnings. Runs in driver and worker.
"""
