"""The user's code, read before it runs: which state it keeps from trial to trial. Runs in the
driver.
"""
