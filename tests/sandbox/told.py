"""What is told of an instance whose backup went well."""

from sandbox.outcomes import Outcome

OUTCOME = Outcome(
    name="web",
    instance_id="i-1",
    method="stop",
    outcome="succeeded",
    image_id="ami-1",
    consistency="file-system",
    dirty_bytes=0,
    downtime_seconds=60.0,
    floor_seconds=55.0,
    state_before="running",
    state_after="running",
    reason="",
    images=1,
)
