"""What is compared. Each module has `run(workload, trials, **options)` and is a process of its own
(`python -m contenders`).
"""
