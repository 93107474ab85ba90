"""Two instances with an agent, and what runs commands in them."""

from collections.abc import Iterator
from contextlib import contextmanager

from stillpoint.aws import scripts
from stillpoint.aws.commands import Commands
from stillpoint.scripts import ScriptResult, Stage
from tests.functions.ssm import Document, Ssm, a_systems_manager

EXECUTION = "erp-20261122T030000Z"
INSTANCE = "i-0aaaaaaaaaaaaaaaa"
OTHER = "i-0bbbbbbbbbbbbbbbb"
THIRD = "i-0cccccccccccccccc"
DOCUMENT = "quiesce-erp"
SHARED = "arn:aws:ssm:eu-west-1:111122223333:document/quiesce-erp"


@contextmanager
def two_instances() -> Iterator[Ssm]:
    with a_systems_manager() as fake:
        fake.agent(INSTANCE)
        fake.agent(OTHER)
        fake.documents[DOCUMENT] = Document()
        fake.documents[SHARED] = Document()
        yield fake


def send(comment: str = f"{EXECUTION} freeze", document: str = DOCUMENT) -> str:
    answer = Commands().send([INSTANCE], document, comment, {"command": ["freeze"]})[INSTANCE]
    assert isinstance(answer, str)
    return answer


def find(instance_id: str, document: str, comment: str) -> list[str]:
    rows = Commands().find([instance_id], document, comment)[instance_id]
    return [row["CommandId"] for row in rows]


def look(command_id: str) -> ScriptResult:
    return Commands().look(command_id, INSTANCE)


def run(ssm: Ssm, stage: Stage = Stage.PRE_SCRIPT, document: str = DOCUMENT) -> ScriptResult:
    return run_on([INSTANCE], ssm, stage, document)[INSTANCE]


def run_on(
    instance_ids: list[str],
    ssm: Ssm,
    stage: Stage = Stage.PRE_SCRIPT,
    document: str = DOCUMENT,
) -> dict[str, ScriptResult]:
    documents = dict.fromkeys(instance_ids, document)
    return scripts.run(documents, stage, EXECUTION, Commands(), ssm.now, timeout_seconds=120)
