"""The documents of AWS itself, as far as the sandbox knows what they do."""

import json
from typing import Any

from sandbox.ssm.documents import Document, Version, parse

SHELL = "AWS-RunShellScript"
VSS = frozenset({"AWSEC2-VssInstallAndSnapshot", "AWSEC2-CreateVssSnapshot"})
_SWITCH = {"type": "String", "default": "False", "allowedValues": ["True", "False"]}


def owned() -> dict[str, Document]:
    """Return AWS's documents by name."""
    bodies = {SHELL: _shell(), **{name: _vss(name) for name in VSS}}
    return {name: _document(name, body) for name, body in bodies.items()}


def _document(name: str, body: dict[str, Any]) -> Document:
    """Return a document of AWS."""
    text = json.dumps(body)
    return Document(name, "Command", "Amazon", {1: Version(text, "JSON", parse(text, "JSON"), 0.0)})


def _shell() -> dict[str, Any]:
    """Return the content of AWS-RunShellScript."""
    return {
        "schemaVersion": "1.2",
        "description": "Run a shell script or specify the commands to run.",
        "parameters": {
            "commands": {"type": "StringList"},
            "workingDirectory": {"type": "String", "default": ""},
            "executionTimeout": {"type": "String", "default": "3600"},
        },
        "runtimeConfig": {
            "aws:runShellScript": {
                "properties": [
                    {
                        "id": "0.aws:runShellScript",
                        "runCommand": "{{ commands }}",
                        "workingDirectory": "{{ workingDirectory }}",
                        "timeoutSeconds": "{{ executionTimeout }}",
                    }
                ]
            }
        },
    }


def _vss(name: str) -> dict[str, Any]:
    """Return the content of a document for VSS snapshots.

    The parameters are those of the EC2 User Guide, "Create VSS based EBS snapshots".
    """
    return {
        "schemaVersion": "2.2",
        "description": f"{name}: VSS based EBS snapshots",
        "parameters": {
            "executionTimeout": {"type": "String", "default": "3600"},
            "ExcludeBootVolume": _SWITCH,
            "NoWriters": _SWITCH,
            "CopyOnly": _SWITCH,
            "CreateAmi": _SWITCH,
            "SaveVssMetadata": _SWITCH,
            "VssVersion": {"type": "String", "default": ""},
            "AmiName": {"type": "String", "default": ""},
            "description": {"type": "String", "default": ""},
            "tags": {"type": "String", "default": "Key=Name,Value="},
        },
        "mainSteps": [
            {
                "name": "runPowerShellScript",
                "action": "aws:runPowerShellScript",
                "inputs": {"timeoutSeconds": "{{ executionTimeout }}", "runCommand": []},
            }
        ],
    }
