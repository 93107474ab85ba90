"""How long things take between SSM and the agent in a guest. All durations are in seconds."""

from dataclasses import dataclass

type Span = float | tuple[float, float]
"""A duration, or the shortest and the longest of a uniform distribution."""


@dataclass(frozen=True, slots=True)
class SsmPhysics:
    """The figures of an SSM."""

    # The guest's boot to its agent's first contact.
    agent_start_seconds: Span = (10, 30)
    # SendCommand to the command's beginning in the guest, and its end to the service's knowledge.
    delivery_seconds: Span = (0.5, 3)
    report_seconds: Span = (0.2, 1)
    # SendCommand to the moment at which the command and its invocation can be seen.
    visibility_seconds: Span = (0.2, 1.5)
    # CancelCommand to the end of a command that runs.
    cancel_seconds: Span = (0.5, 2)
    # An owner's script that its knobs do not give a duration.
    script_seconds: Span = (1, 4)
    # The freeze document: what it does before it answers, from then to the freeze (it gives the
    # agent this time to report), the freeze of each file system, and the thaw's own work.
    freeze_command_seconds: Span = (0.2, 0.8)
    freeze_lead_seconds: float = 5.0
    file_system_seconds: Span = (0.02, 0.1)
    thaw_command_seconds: Span = (0.1, 0.4)
    # AWS's VSS document: to the flush, and from the end of the pause to its success. The pause
    # lasts ten seconds at most (EC2 User Guide, "Application consistent Windows VSS based Amazon
    # EBS snapshots").
    vss_seconds: Span = (8, 25)
    vss_pause_seconds: float = 10.0
    vss_end_seconds: Span = (2, 6)
