"""What happens again and again in a Region of the world."""

from sandbox.ec2.agenda import Agenda, Happening


def recurring(agenda: Agenda, first: float, seconds: float, happening: Happening) -> None:
    """Let something happen at a moment, and every so many seconds from then on."""

    def again(moment: float) -> None:
        happening(moment)
        agenda.at(moment + seconds, again)

    agenda.at(first, again)
