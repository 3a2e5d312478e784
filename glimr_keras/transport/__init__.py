"""Transfer objects, large arrays, the script's surroundings, and warnings between the script's
process and its workers. Runs in driver and worker.
"""
