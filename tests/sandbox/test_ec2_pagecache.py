"""What a snapshot misses: the world knows, and the product is checked against it."""

from hypothesis import given
from hypothesis import strategies as st

from sandbox.ec2.pagecache import PageCache
from tests.sandbox.ec2_lab import Lab

RATE = 1_000_000
OLD_ENOUGH = 30


def test_an_image_of_a_stopped_instance_misses_nothing() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}, {}])
    lab.stop(web)
    image = lab.create_image(web)
    lab.wait(5)
    truth = lab.image_truth(image)
    assert (truth["dirty_bytes"], truth["at_rest"], truth["missing_volumes"]) == (0, True, [])


def test_an_image_of_a_running_instance_misses_what_is_younger_than_the_writeback() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web)
    lab.wait(5)
    truth = lab.image_truth(image)
    assert truth["at_rest"] is False
    assert [one["dirty_bytes"] for one in truth["snapshots"]] == [OLD_ENOUGH * RATE] * 2
    assert truth["dirty_bytes"] == 2 * OLD_ENOUGH * RATE


def test_ec2s_own_reboot_leaves_the_image_clean_and_the_state_running() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    image = lab.create_image(web, NoReboot=False)
    states = set()
    for _ in range(120):
        states.add(lab.state(web))
        lab.wait(1)
    assert states == {"running"}
    truth = lab.image_truth(image)
    assert (truth["dirty_bytes"], truth["at_rest"]) == (0, True)
    assert lab.instance_truth(web)["guest_up"]
    (down,) = lab.instance_truth(web)["downs"]
    assert down["kind"] == "image_reboot"
    assert down["downtime_seconds"] == down["floor_seconds"] == 24 + 2 + 20


def test_a_start_before_the_last_snapshot_is_initiated_makes_a_dirty_image() -> None:
    lab = Lab(next_snapshot_seconds=8)
    web = lab.launch(volumes=[{}])
    lab.stop(web)
    image = lab.create_image(web)
    lab.start(web)
    lab.wait(60)
    first, second = lab.image_truth(image)["snapshots"]
    assert (first["dirty_bytes"], first["at_rest"]) == (0, True)
    # The boot began to write five seconds after the start, the snapshot came after nine.
    assert (second["dirty_bytes"], second["at_rest"]) == (4 * RATE, False)


def test_a_snapshot_between_the_start_and_the_first_write_of_the_boot_is_clean() -> None:
    lab = Lab(next_snapshot_seconds=3)
    web = lab.launch(volumes=[{}])
    lab.stop(web)
    image = lab.create_image(web)
    lab.start(web)
    lab.wait(60)
    assert lab.image_truth(image)["dirty_bytes"] == 0


def test_a_pulled_plug_makes_every_image_dirty_until_the_guest_has_booted_again() -> None:
    lab = Lab()
    web = lab.launch(volumes=[{}])
    lab.world.configure(web, hung=True, plug_seconds=240)
    begin = lab.clock.time
    lab.stop(web)
    assert lab.clock.time - begin == 240
    assert "plug_pulled" in lab.what_happened(web)
    for name in ("first", "second"):
        image = lab.create_image(web, name)
        lab.wait(20)
        truth = lab.image_truth(image)
        assert truth["at_rest"] is True
        assert truth["dirty_bytes"] == 2 * OLD_ENOUGH * RATE
    lab.world.configure(web, hung=False)
    lab.start(web)
    lab.wait(100)
    lab.stop(web)
    image = lab.create_image(web, "third")
    lab.wait(20)
    assert lab.image_truth(image)["dirty_bytes"] == 0


def test_a_slow_stop_that_still_flushes_is_clean() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(web, stop_seconds=230)
    lab.stop(web)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] == 0


def test_a_guest_that_writes_more_loses_more() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(web, write_rate=5 * RATE)
    image = lab.create_image(web)
    lab.wait(5)
    assert lab.image_truth(image)["dirty_bytes"] == OLD_ENOUGH * 5 * RATE


def test_a_hung_guest_that_is_rebooted_for_an_image_leaves_it_dirty() -> None:
    lab = Lab()
    web = lab.launch()
    lab.world.configure(web, hung=True)
    image = lab.create_image(web, NoReboot=False)
    lab.wait(300)
    assert lab.image_truth(image)["dirty_bytes"] == OLD_ENOUGH * RATE
    assert lab.state(web) == "running"
    assert lab.instance_truth(web)["guest_up"]


def test_a_stop_during_ec2s_own_reboot_still_ends_in_stopped_with_the_image_made() -> None:
    lab = Lab()
    web = lab.launch()
    image = lab.create_image(web, NoReboot=False)
    lab.wait(10)
    lab.stop(web)
    lab.wait(700)
    assert lab.state(web) == "stopped"
    assert lab.image(image)["State"] == "available"
    assert lab.image_truth(image)["dirty_bytes"] == 0


def test_a_volume_of_two_guests_is_at_rest_only_when_both_are() -> None:
    lab = Lab()
    one, two = lab.launch("one"), lab.launch("two")
    volume = lab.call("CreateVolume", MultiAttachEnabled=True, VolumeType="io2", Size=8)["VolumeId"]
    for instance in (one, two):
        lab.call("AttachVolume", VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    lab.wait(60)
    lab.stop(one)
    image = lab.create_image(one)
    lab.wait(20)
    shared = lab.image_truth(image)["snapshots"][1]
    assert shared["volume_id"] == volume
    assert shared["dirty_bytes"] == OLD_ENOUGH * RATE
    lab.stop(two)
    image = lab.create_image(one, "again")
    lab.wait(20)
    assert lab.image_truth(image)["dirty_bytes"] == 0


@given(
    rate=st.floats(0, 1e9),
    horizon=st.floats(0, 100),
    age=st.floats(0, 1e6),
)
def test_no_guest_ever_misses_more_than_it_wrote_within_the_writeback(
    rate: float, horizon: float, age: float
) -> None:
    cache = PageCache(rate, horizon)
    assert cache.dirty_bytes(0) == 0
    cache.boot(0)
    dirty = cache.dirty_bytes(age)
    assert 0 <= dirty <= rate * min(age, horizon) + 1
    cache.pull_plug(age)
    assert cache.dirty_bytes(age + 1000) == dirty
    cache.flush()
    assert cache.dirty_bytes(age + 1000) == dirty
    cache.boot(age + 2000)
    cache.flush()
    assert cache.dirty_bytes(age + 3000) == 0
