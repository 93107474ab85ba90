"""The fleets that runs are made of: what there is, and what stands around it."""

from dataclasses import dataclass
from typing import Any, Final

from sandbox.scenario import AutoScalingGroupSpec, InstanceSpec, Scenario, TargetGroupSpec


@dataclass(frozen=True, slots=True)
class Spec(InstanceSpec):
    """One instance; its tags are those beside the schedule.

    Volumes that are encrypted are so with the key that AWS manages for the account.
    """

    encrypted: bool = False


def _tags(**tags: str) -> dict[str, str]:
    return {f"stillpoint:{key}": value for key, value in tags.items()}


def _scripts(document: str, **tags: str) -> dict[str, str]:
    return _tags(pre=document, post=document, **tags)


# It takes its time elsewhere: what is around the instances does not depend on it.
_QUICK: Final = {"stop_seconds": [8, 20], "start_seconds": [8, 20], "image_seconds": [40, 150]}
_MANAGED: Final[dict[str, Any]] = {"managed": True}
# Its pre-script lets the applications go on by itself, long before anything is captured.
_IMPATIENT: Final[dict[str, Any]] = {
    **_MANAGED,
    "scripts": {"postgresql": {"pre-script": {"auto_thaw_seconds": 2}}},
}
# Refused the day before: what says so is to go from an instance once a backup has succeeded.
_WEB: Final = Spec("web", _tags(problem="refused 2026-11-21T03:00:00Z"), volumes=2, encrypted=True)
_STOPS: Final = Scenario(
    "everything is stopped; a group has a member that is stopped already",
    (
        _WEB,
        Spec("erp-app", _tags(group="erp:2")),
        Spec("erp-db", _tags(group="erp:1"), volumes=2),
        Spec("erp-spare", _tags(group="erp:3"), state="stopped"),
    ),
)
_METHODS: Final = Scenario(
    "the other methods, and a group that mixes them",
    (
        _WEB,
        Spec("build", _tags(method="reboot")),
        Spec("cache", _tags(method="none")),
        Spec("shop-app", _tags(group="shop:2", method="none")),
        Spec("shop-db", _tags(group="shop:1"), volumes=2),
    ),
)
_SERVICE: Final = Scenario(
    "everything serves: in an Auto Scaling group, behind load balancers, with scripts and alarms",
    (
        Spec("web", _tags(accept="auto-scaling"), auto_scaling_group="site", alarms=("web-cpu",)),
        Spec("api", target_groups=("gate:8443", "inside")),
        Spec(
            "app",
            _scripts("mysql", group="shop:2"),
            target_groups=("shop",),
            physics=_MANAGED,
        ),
        Spec(
            "db",
            _scripts("postgresql", group="shop:1"),
            volumes=2,
            physics=_MANAGED,
            alarms=("db-cpu",),
        ),
    ),
    parameters={"MuteAlarms": "true"},
    physics=_QUICK,
    target_groups=(
        TargetGroupSpec("front", deregistration_delay=20),
        TargetGroupSpec("gate", port=443, deregistration_delay=15),
        TargetGroupSpec("inside", port=8080, deregistration_delay=25),
        TargetGroupSpec("shop", deregistration_delay=10),
    ),
    # One member may leave, and there is room for it to return.
    auto_scaling_groups=(AutoScalingGroupSpec("site", min=0, max=1, target_groups=("front",)),),
)
_FREEZES: Final = Scenario(
    "what is frozen, alone and with what is stopped, on Linux and on Windows",
    (
        Spec("lone", _scripts("postgresql", method="freeze"), volumes=2, physics=_MANAGED),
        Spec("hasty", _scripts("postgresql", method="freeze"), physics=_IMPATIENT),
        Spec("mix-app", _tags(method="freeze", group="mix:2"), volumes=2, physics=_MANAGED),
        Spec("mix-db", _tags(group="mix:1")),
        Spec("win", _tags(method="freeze"), physics={**_MANAGED, "platform": "windows"}),
    ),
    physics=_QUICK,
)
_PACED: Final = Scenario(
    "more than may be in a backup at a time, due at once: each waits for its turn; two are a pair",
    (
        *(Spec(f"shard-{number}") for number in range(1, 4)),
        *(Spec(f"ha-{number}", _tags(**{"anti-affinity": "ha"})) for number in range(1, 3)),
    ),
    parameters={"BackupsPerMinute": "6", "MaxConcurrentBackups": "3"},
    physics=_QUICK,
)
FLEETS: Final = {
    "stops": _STOPS,
    "methods": _METHODS,
    "service": _SERVICE,
    "freezes": _FREEZES,
    "paced": _PACED,
}
# One member of each of a fleet's backups: a fault of a state can be meant for its execution alone.
SUBJECTS: Final = {
    "service": ("web", "api", "db"),
    "freezes": ("lone", "mix-app", "win"),
    "paced": tuple(spec.name for spec in _PACED.instances),
}
