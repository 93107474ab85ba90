"""Who was told of what in a run."""

import json
from typing import Final

from sandbox.virtual.cloud import Cloud
from sandbox.virtual.journal import Message

INFO: Final = "info"


class Told:
    """What was published in a run."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    @property
    def is_muzzled(self) -> bool:
        """Whether it was among the faults that nothing could be published."""
        return self._cloud.mischief.concerns("Publish")

    def alarms(self, *words: str, since: float = 0.0, until: float = float("inf")) -> list[Message]:
        """Return the messages of trouble, of those with any of the words if there are any."""
        return [
            message
            for message in self._cloud.journal.messages
            if since <= message.at <= until
            and message.severity != INFO
            and (not any(words) or message.mentions(*words))
        ]

    def says(self, *words: str) -> bool:
        """Whether any of the words stands in any message."""
        text = json.dumps([message.text for message in self._cloud.journal.messages])
        return any(word and word in text for word in words)
