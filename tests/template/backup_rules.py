"""The rules for the backup's own graph, which name its states."""

from tests.template import asl_rules
from tests.template.asl import Json


def every_way_after_a_stop_leads_to_resume(definition: Json) -> list[str]:
    return asl_rules.detours(
        definition, start="StopMembers", gate="BeginResume", avoided={"CompleteBackup"}
    )


def every_error_after_a_stop_leads_to_resume(definition: Json) -> list[str]:
    return asl_rules.catches_elsewhere(definition, start="StopMembers", gate="BeginResume")


def every_way_from_resume_is_judged(definition: Json) -> list[str]:
    return asl_rules.detours(definition, start="BeginResume", gate="CompleteBackup")


def no_error_is_forgiven(definition: Json) -> list[str]:
    return asl_rules.forgiven_errors(definition, judge="CompleteBackup")


def every_loop_has_a_deadline(definition: Json) -> list[str]:
    # The loop around CompleteBackup is left when the function says so, 24 hours after the capture.
    return asl_rules.endless_loops(definition, bounded_elsewhere={"CompleteBackup"})
