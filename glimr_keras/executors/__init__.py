"""Where executions run: in this process or in Ray's workers, and the coordinator that hands them
out.
"""
