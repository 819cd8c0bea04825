"""Laws of the cluster map and its ring."""

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.ring import Ring
from coscribe.names import SectionKey

KEYS = [SectionKey(f"document-{number}", "life", "0") for number in range(200)]
names = st.sampled_from([f"host-{slot}" for slot in range(12)])
entries = st.builds(
    HostEntry,
    address=st.just("127.0.0.1:1"),
    instance=st.sampled_from(["first", "second"]),
    weight=st.integers(0, 3),
    state=st.sampled_from(["up", "draining"]),
)
hosts = st.dictionaries(names, entries, max_size=6)
overrides = st.dictionaries(st.sampled_from([key.placement() for key in KEYS[:20]]), names, max_size=5)
maps = st.builds(ClusterMap, view=st.integers(0, 2**53), hosts=hosts, overrides=overrides)


def up(weight: int = 1) -> HostEntry:
    return HostEntry("127.0.0.1:1", "first", weight)


def owners(present: ClusterMap) -> dict[SectionKey, str | None]:
    ring = Ring(present)
    return {key: ring.owner(key) for key in KEYS}


@given(maps)
def test_a_map_survives_its_encoding(present: ClusterMap) -> None:
    assert decode_map(encode_map(present)) == present


@given(maps)
def test_what_a_later_version_adds_to_a_map_is_passed_over(present: ClusterMap) -> None:
    written = msgspec.json.decode(encode_map(present))
    written |= {"more": {"a": [1]}, "hosts": {name: {**entry, "more": 1} for name, entry in written["hosts"].items()}}
    assert decode_map(msgspec.json.encode(written)) == present


def test_what_an_earlier_version_does_not_write_is_the_default() -> None:
    written = b'{"view":7,"hosts":{"host-0":{"address":"127.0.0.1:1","instance":"first"}}}'
    assert decode_map(written) == ClusterMap(7, {"host-0": up()})


@given(maps)
def test_every_section_has_an_owner_as_soon_as_a_host_may_own(present: ClusterMap) -> None:
    able = {name for name, entry in present.hosts.items() if entry.weight > 0 and entry.state == "up"}
    for key, owner in owners(present).items():
        override = present.overrides.get(key.placement())
        if override in present.hosts:
            assert owner == override
        elif able:
            assert owner in able
        else:
            assert owner is None


@given(maps, st.randoms(use_true_random=False))
def test_the_order_in_which_hosts_joined_does_not_matter(present: ClusterMap, random: st.DataObject) -> None:
    shuffled = list(present.hosts.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert owners(ClusterMap(present.view, dict(shuffled), present.overrides)) == owners(present)


@given(hosts, names)
def test_a_host_that_leaves_moves_only_what_was_its_own(others: dict[str, HostEntry], name: str) -> None:
    before = ClusterMap(1, {**others, name: up()})
    after = before.without_host(name)
    now = owners(after)
    for key, owner in owners(before).items():
        assert owner == name or now[key] == owner


@given(hosts, names)
def test_a_host_that_joins_only_takes(others: dict[str, HostEntry], name: str) -> None:
    others.pop(name, None)
    before = owners(ClusterMap(1, others))
    for key, owner in owners(ClusterMap(1, others).with_host(name, up())).items():
        assert owner in (before[key], name)


@given(hosts, names, st.sampled_from(["first", "second"]))
def test_a_restarted_host_finds_its_sections_where_they_were(
    others: dict[str, HostEntry], name: str, instance: str
) -> None:
    before = ClusterMap(1, {**others, name: up()})
    assert owners(before.with_host(name, HostEntry("127.0.0.1:2", instance))) == owners(before)


@given(maps, names)
def test_every_change_makes_the_next_view(present: ClusterMap, name: str) -> None:
    assert present.with_host(name, up()).view == present.without_host(name).view == present.view + 1
    assert name not in present.without_host(name).overrides.values()


def test_sections_of_one_document_spread_and_its_first_one_is_placed_by_the_document() -> None:
    ring = Ring(ClusterMap(1, {f"host-{slot}": up() for slot in range(8)}))
    assert SectionKey("d", "a", "0").placement() == SectionKey("d", "b", "0").placement() == "d"
    assert len({ring.owner(SectionKey("d", "a", str(section))) for section in range(40)}) == 8


def test_balance() -> None:
    keys = [SectionKey(f"document-{number}", "life", "0") for number in range(20_000)]
    ring = Ring(ClusterMap(1, {f"host-{slot}": up() for slot in range(16)}))
    counts = Counter(ring.owner(key) for key in keys)
    mean = len(keys) / 16
    assert max(counts.values()) < 1.25 * mean
    assert min(counts.values()) > 0.75 * mean


def test_weight_is_a_share() -> None:
    keys = [SectionKey(f"document-{number}", "life", "0") for number in range(20_000)]
    ring = Ring(ClusterMap(1, {"host-0": up(1), "host-1": up(3)}))
    share = Counter(ring.owner(key) for key in keys)["host-1"] / len(keys)
    assert 0.68 < share < 0.82
