"""One logger and one set of metrics for all functions.

The service is the stack's name and the only dimension: CloudWatch bills every combination of
dimensions, so an instance's id belongs in the log, never in a metric.
"""

import warnings

from aws_lambda_powertools import Logger, Metrics

# An invocation that has nothing to count is no mistake.
warnings.filterwarnings("ignore", message="No application metrics to publish")

logger = Logger()
metrics = Metrics()
