"""What happened in a run, in the order in which it happened: the history that a failure prints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import iso


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened at a moment of virtual time (epoch seconds)."""

    at: float
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{iso(self.at)[:-1]:23}  {self.kind:9} {self.text}"


@dataclass(frozen=True, slots=True)
class Message:
    """What was published to the topic: by whom, and in which words.

    `body` is the JSON document, or empty if there is none.
    """

    at: float
    sender: str
    subject: str
    text: str
    attributes: dict[str, str]
    body: dict[str, Any]

    @property
    def event(self) -> str:
        """The domain event, or nothing for a message that has no name."""
        return self.attributes.get("event", "")

    @property
    def severity(self) -> str:
        """As the product states it; what carries none comes from AWS itself and is critical."""
        return self.attributes.get("severity", "critical")

    @property
    def instance_ids(self) -> tuple[str, ...]:
        """The instances that it is about, as far as the document says."""
        return tuple(str(row.get("instance_id", "")) for row in self.body.get("instances", []))

    def mentions(self, *words: str) -> bool:
        """Whether any of the words stands anywhere in it."""
        return any(word in self.text or word in str(self.body) for word in words if word)


@dataclass(slots=True)
class Journal:
    """The history of one run, what was published in it, and the points that it passed.

    Points count while it is `surveying`: up to the next occurrence, which no fault strikes. A
    journal that keeps no entries stays small however long the run is.
    """

    now: Callable[[], float]
    entries: list[Entry] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    calls: dict[tuple[str, str], float] = field(default_factory=dict)
    states: dict[str, float] = field(default_factory=dict)
    surprises: list[str] = field(default_factory=list)
    surveying: bool = True
    keeps_entries: bool = True

    def note(self, kind: str, text: str) -> None:
        """Write a line."""
        if self.keeps_entries:
            self.entries.append(Entry(self.now(), kind, text))

    def called(self, caller: str, action: str) -> None:
        """Remember that a caller makes this call, and when it did last."""
        if self.surveying:
            self.calls[caller, action] = self.now()

    def entered(self, state: str) -> None:
        """Remember that the state machine has this state, and when it was entered first."""
        if self.surveying:
            self.states.setdefault(state, self.now())

    def published(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)
        self.note("message", f"{message.event or 'notice'}: {message.subject or message.text[:90]}")

    def surprise(self, text: str) -> None:
        """Note what must never happen, whatever the fault."""
        self.surprises.append(text)
        self.note("SURPRISE", text)
