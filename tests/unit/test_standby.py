"""Standby: whether a member can leave its group for a backup, and what comes next."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint.standby import Membership, Move, Sizes, way_in, way_out, why_no_entry, why_no_exit

STATES = (
    *("Pending", "Pending:Wait", "Pending:Proceed", "Quarantined", "InService", "Terminating"),
    *("Terminating:Wait", "Terminating:Proceed", "Terminating:Retained", "Terminated"),
    *("Detaching", "Detached", "EnteringStandby", "Standby", "ReplacingRootVolume"),
    *("RootVolumeReplaced", "Warmed:Pending", "Warmed:Stopped", "Warmed:Running"),
)
small = st.integers(0, 9)


def member(*, together: int = 1, state: str = "InService", **sizes: object) -> Membership:
    facts: dict[str, object] = {"min_size": 1, "max_size": 4, "desired": 2} | sizes
    return Membership("web-asg", state, Sizes(**facts), together)  # type: ignore[arg-type]


def test_a_member_of_a_roomy_group_can_go_and_come_back() -> None:
    assert why_no_entry(member()) == ""
    assert why_no_exit(member(state="Standby", desired=1)) == ""


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (None, "EC2 Auto Scaling does not know the instance"),
        (Membership("web-asg", "InService"), "does not describe the group web-asg"),
        (member(state="Pending"), "it is Pending in the group web-asg, and would have to be"),
        (member(desired=1), "DesiredCapacity 1 and MinSize 1, and 0 would be left"),
        (member(together=2), "DesiredCapacity 2 and MinSize 1, and 0 would be left"),
        (member(max_size=1), "has MaxSize 1, and would come to DesiredCapacity 2 when it returns"),
        (member(suspended=frozenset({"Launch"})), "the process Launch of the group web-asg"),
        (
            member(suspended=frozenset({"AddToLoadBalancer"}), target_groups=("arn",)),
            "the process AddToLoadBalancer of the group web-asg is suspended",
        ),
    ],
)
def test_what_keeps_a_member_from_standby_is_said_in_words(
    subject: Membership | None, words: str
) -> None:
    assert words in why_no_entry(subject)


@pytest.mark.parametrize("suspended", ["AddToLoadBalancer", "Terminate", "AZRebalance"])
def test_a_suspended_process_that_is_not_needed_is_not_in_the_way(suspended: str) -> None:
    assert why_no_entry(member(suspended=frozenset({suspended}))) == ""


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (Membership("web-asg", "Standby"), "does not describe the group web-asg"),
        (member(desired=4), "has MaxSize 4, and would come to DesiredCapacity 5"),
        (member(suspended=frozenset({"Launch"})), "without which none returns"),
    ],
)
def test_what_keeps_a_member_in_standby_is_said_in_words(subject: Membership, words: str) -> None:
    assert words in why_no_exit(subject)


@pytest.mark.parametrize("state", STATES)
def test_every_state_leads_somewhere(state: str) -> None:
    into, out = way_in(state), way_out(state)
    assert (into is Move.CALL) == (state == "InService")
    assert (into is Move.DONE) == (state == "Standby")
    assert (out is Move.CALL) == (state == "Standby")
    assert (out is Move.DONE) == (state == "InService")
    assert (out is Move.NEVER) == state.startswith(("Terminat", "Detach", "Warmed:"))


@pytest.mark.parametrize("state", [None, "Terminating", "Detached", "Warmed:Stopped", "new"])
def test_what_is_not_in_the_group_cannot_leave_it(state: str | None) -> None:
    assert way_in(state) is Move.NEVER


def test_what_is_no_member_any_more_cannot_come_back() -> None:
    assert way_out(None) is Move.NEVER


@given(small, small, small, st.integers(1, 5))
def test_whoever_may_go_finds_room_when_it_returns(
    least: int, most: int, desired: int, together: int
) -> None:
    sizes = Sizes(least, most, desired)
    if why_no_entry(Membership("web-asg", "InService", sizes, together)):
        return
    # They go one by one, and come back one by one.
    for left in range(together):
        assert desired - left - 1 >= least
        gone = Sizes(least, most, desired - left - 1)
        assert why_no_exit(Membership("web-asg", "Standby", gone)) == ""
