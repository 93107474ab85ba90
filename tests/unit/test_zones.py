import zoneinfo
from collections.abc import Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillpoint import zones
from stillpoint.errors import InvalidSchedule
from stillpoint.zones import zone_named
from tests.unit.builders import at

NAMES = resources.files("tzdata").joinpath("zones").read_text().split()


@pytest.mark.parametrize("name", ["Asia/Seoul", "America/Argentina/Ushuaia", "UTC", "Etc/GMT+9"])
def test_a_zone_is_found_in_whatever_case_it_is_written(name: str) -> None:
    assert zone_named(name.upper()).key == name
    assert zone_named(name.lower()) is zone_named(name)


def test_every_zone_of_the_database_can_be_loaded() -> None:
    assert all(zone_named(name).key == name for name in NAMES)


def test_a_zone_knows_its_changes() -> None:
    berlin = zone_named("Europe/Berlin")
    assert at("2026-03-29 00:59").astimezone(berlin).utcoffset() == timedelta(hours=1)
    assert at("2026-03-29 01:00").astimezone(berlin).utcoffset() == timedelta(hours=2)


@pytest.fixture
def forged_machine(tmp_path: Path) -> Iterator[None]:
    """Give the machine a database of its own, in which Tokyo is at UTC."""
    tokyo = tmp_path / "Asia" / "Tokyo"
    tokyo.parent.mkdir()
    tokyo.write_bytes(resources.files("tzdata").joinpath("zoneinfo", "UTC").read_bytes())
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    zoneinfo.ZoneInfo.clear_cache()
    zones._load.cache_clear()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.usefixtures("forged_machine")
def test_the_machine_has_no_say_in_it() -> None:
    new_year = at("2026-01-01")
    assert new_year.astimezone(zoneinfo.ZoneInfo("Asia/Tokyo")).hour == 0
    assert new_year.astimezone(zone_named("Asia/Tokyo")).hour == 9


@given(st.text(max_size=256) | st.sampled_from(["America", "../UTC", "/etc/passwd", "zone.tab"]))
def test_any_other_text_is_explained(text: str) -> None:
    if text.casefold() not in {name.casefold() for name in NAMES}:
        with pytest.raises(InvalidSchedule, match="is not a time zone"):
            zone_named(text)


def test_a_near_miss_is_pointed_out() -> None:
    with pytest.raises(InvalidSchedule, match="perhaps Europe/Berlin is meant"):
        zone_named("Europe/Berln")
