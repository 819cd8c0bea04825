"""What all sockets of one user, or of one document, may send together."""

import gc

import pytest

from coscribe.protocol import WireLimits
from router.admission import TokenBucket
from router.budgets import Budgets, take_all
from tests.router.bench import Tab, bench, settle


def test_a_token_is_taken_of_each_or_of_none() -> None:
    wide, narrow = TokenBucket.full(10, 20, 0), TokenBucket.full(1, 2, 0)
    assert [take_all((wide, narrow), 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert wide.tokens == 18
    assert take_all((wide, narrow), 1.0) == 0.0


def test_who_is_named_alike_shares_and_what_nobody_holds_is_forgotten() -> None:
    budgets = Budgets(5.0)
    ann = budgets.of("ann", 0.0)
    assert budgets.of("ann", 1.0) is ann
    assert budgets.of("ben", 1.0) is not ann
    del ann
    gc.collect()
    assert len(budgets) == 0


def rates(tab: Tab) -> list[float]:
    return [message["retry_after_s"] for message in tab.all("nack") if message["code"] == "rate"]


@pytest.mark.parametrize("given", [{"user_ops_per_s": 5.0}, {"document_ops_per_s": 5.0}])
async def test_more_sockets_are_not_more_operations(given: dict[str, float]) -> None:
    async with bench(limits=WireLimits(4096, 256, 128, 50), **given) as b:
        tabs = [await b.join(f"client-{number}") for number in range(4)]
        for tab in tabs:
            for cseq in range(1, 6):
                tab.op(cseq)
        await settle()
        refused = [wait_s for tab in tabs for wait_s in rates(tab)]
        assert len(refused) == 10
        assert all(0 < wait_s <= 0.2 for wait_s in refused)


async def test_another_user_and_another_document_have_their_own() -> None:
    async with bench(user_ops_per_s=5.0) as b:
        ann, bob = await b.join("client-a"), await b.join("client-b", user="bob")
        for cseq in range(1, 12):
            ann.op(cseq)
        bob.op(1)
        await settle()
        assert rates(ann)
        assert not rates(bob)
