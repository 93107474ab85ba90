"""The edge: the only code that knows boto3, the environment and the log."""
