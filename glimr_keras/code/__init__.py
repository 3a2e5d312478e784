"""Static analysis of user code: the state that it keeps between trials. Runs in the driver."""
