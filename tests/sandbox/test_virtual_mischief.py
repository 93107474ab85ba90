"""Faults strike where, when and as often as they are meant to."""

from sandbox.virtual.mischief import SIX_HOURS, TEN_MINUTES, Fault, Kind, Mischief


class Clock:
    """A moment that a test moves."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def now(self) -> float:
        return self.moment


def test_a_fault_that_strikes_once_is_over_with_that() -> None:
    clock = Clock()
    mischief = Mischief((Fault(Kind.THROTTLED_ONCE, "StopInstance", "StopInstances"),), clock.now)
    assert mischief.call("StopInstance", "StopInstances") is Kind.THROTTLED_ONCE
    assert mischief.over
    assert mischief.call("StopInstance", "StopInstances") is None


def test_a_fault_strikes_its_caller_and_its_action_only() -> None:
    mischief = Mischief((Fault(Kind.SERVER_ERROR, "plan_backups", "CreateTags"),), Clock().now)
    assert mischief.call("prepare_backup", "CreateTags") is None
    assert mischief.call("plan_backups", "DescribeInstances") is None
    assert len(mischief.idle()) == 1
    assert mischief.call("plan_backups", "CreateTags") is Kind.SERVER_ERROR
    assert mischief.idle() == []


def test_a_lasting_fault_lasts_from_its_first_strike() -> None:
    for kind, seconds in (
        (Kind.THROTTLED_FOR_TEN_MINUTES, TEN_MINUTES),
        (Kind.ACCESS_DENIED, SIX_HOURS),
    ):
        clock = Clock()
        mischief = Mischief((Fault(kind, "a", "b"),), clock.now)
        seen = []
        for wait in (5000.0, seconds - 1, 1.0):
            clock.moment += wait
            seen.append((mischief.call("a", "b"), mischief.over))
        assert seen == [(kind, False), (kind, False), (None, True)]


def test_a_fault_is_armed_later_and_lets_occasions_pass() -> None:
    clock = Clock()
    fault = Fault(Kind.STOPPED, "WaitForStop", after=60, skip=2)
    mischief = Mischief((fault,), clock.now)
    assert mischief.state("WaitForStop", ["web"]) is None
    clock.moment += 60
    struck = [mischief.state("WaitForStop", ["web"]) for _ in range(4)]
    assert struck == [None, None, fault, None]


def test_a_fault_with_a_subject_strikes_its_execution_alone() -> None:
    fault = Fault(Kind.TIMED_OUT, "WaitForStop", subject="db")
    mischief = Mischief((fault, Fault(Kind.TIMED_OUT, "WaitForStart")), Clock().now)
    assert mischief.state("WaitForStop", ["api"]) is None
    assert not mischief.struck(fault)
    assert mischief.state("WaitForStop", ["app", "db"]) is fault
    assert mischief.struck(fault)
    assert mischief.state("WaitForStop", ["app", "db"]) is None


def test_ticks_and_events_have_faults_of_their_own() -> None:
    mischief = Mischief(
        (Fault(Kind.TICK_MISSED, "plan_backups"), Fault(Kind.EVENT_LOST)), Clock().now
    )
    assert mischief.tick("recover_instances") is None
    assert mischief.tick("plan_backups") is Kind.TICK_MISSED
    assert mischief.event() is Kind.EVENT_LOST
    assert mischief.event() is None


def test_faults_that_are_lifted_strike_no_more() -> None:
    mischief = Mischief((Fault(Kind.ACCESS_DENIED, "a", "b"),), Clock().now)
    mischief.lift()
    assert mischief.call("a", "b") is None
    assert mischief.over
    assert mischief.concerns("b")
