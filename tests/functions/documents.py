"""Documents of Systems Manager to run in a guest of the sandbox."""

import json
from collections.abc import Mapping


def document(*commands: str, **parameters: Mapping[str, object]) -> str:
    """Return a document whose parameter `command` has these values."""
    command = {"type": "String", "default": commands[-1], "allowedValues": commands}
    identity = {"type": "String", "default": "None"}
    step = {
        "name": "run",
        "action": "aws:runShellScript",
        "inputs": {"runCommand": ["echo {{ command }}"]},
    }
    content = {
        "schemaVersion": "2.2",
        "parameters": {"executionId": identity, "command": command, **parameters},
        "mainSteps": [step],
    }
    return json.dumps(content)
