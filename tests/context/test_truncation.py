"""The turns that truncation drops, on contexts of every shape."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.context import truncation

Item = dict[str, Any]


def message(role: str) -> Item:
    return {"type": "message", "role": role, "content": []}


def call(call_id: str) -> Item:
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}"}


def output(call_id: str) -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": ""}


def numbered(items: list[Item]) -> list[Item]:
    return [item | {"id": f"item_{place}"} for place, item in enumerate(items)]


_items = st.one_of(
    st.sampled_from(["user", "assistant", "system", "developer"]).map(message),
    st.just({"type": "reasoning", "summary": []}),
    st.sampled_from("abc").map(call),
    st.sampled_from("abc").map(output),
)


@st.composite
def contexts(draw: st.DrawFn) -> list[Item]:
    """Contexts that a create accepts: the call precedes each output."""
    called: set[str] = set()
    context = []
    for item in draw(st.lists(_items, max_size=20)):
        if item["type"] == "function_call":
            called.add(item["call_id"])
        if item["type"] != "function_call_output" or item["call_id"] in called:
            context.append(item)
    return numbered(context)


@given(contexts())
def test_a_cut_drops_whole_turns_and_no_call_without_its_output(context: list[Item]) -> None:
    cuts = truncation.cuts(context)

    assert cuts == sorted(set(cuts))
    for place in cuts:
        kept, dropped = truncation.cut(context, place)
        assert context[place]["type"] == "message"
        assert context[place]["role"] == "user"
        # A call's output is kept or dropped with the last preceding call of the same ID.
        for at, item in enumerate(context):
            if item["type"] != "function_call_output":
                continue
            its_call = max(
                before
                for before, one in enumerate(context[:at])
                if one["type"] == "function_call" and one["call_id"] == item["call_id"]
            )
            assert (context[its_call] in kept) == (item in kept)
        assert {item["id"] for item in kept} | set(dropped) == {item["id"] for item in context}
        assert len(kept) + len(dropped) == len(context)
        assert kept == [item for item in context if item in kept]


@given(contexts())
def test_what_system_and_developer_said_and_the_last_question_are_never_dropped(context: list[Item]) -> None:
    roles = [(item.get("role"), item["id"]) for item in context]
    last = [found for found in roles if found[0] == "user"][-1:]

    for place in truncation.cuts(context):
        _, dropped = truncation.cut(context, place)
        assert dropped
        assert not [item_id for role, item_id in roles if role in {"system", "developer"} and item_id in dropped]
        assert not {item_id for _, item_id in last} & set(dropped)


@given(contexts())
def test_each_cut_drops_more_than_the_one_before(context: list[Item]) -> None:
    dropped = [len(truncation.cut(context, place)[1]) for place in truncation.cuts(context)]

    assert dropped == sorted(set(dropped))


def test_turns_that_a_call_and_its_output_span_are_dropped_together() -> None:
    context = numbered(
        [message("user"), call("a"), message("user"), output("a"), message("assistant"), message("user")]
    )

    assert truncation.cuts(context) == [5]


def test_an_answer_goes_with_its_question() -> None:
    context = numbered(
        [message("system"), message("user"), {"type": "reasoning"}, message("assistant"), message("user")]
    )

    kept, dropped = truncation.cut(context, truncation.cuts(context)[-1])

    assert [item["id"] for item in kept] == ["item_0", "item_4"]
    assert dropped == ["item_1", "item_2", "item_3"]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30).map(lambda sizes: sorted(sizes, reverse=True)),
    st.integers(1, 10_000) | st.none(),
    st.integers(1, 10_000) | st.none(),
)
def test_the_next_cut_is_always_further_on_until_there_is_none(
    sizes: list[int], tokens: int | None, limit: int | None
) -> None:
    now, tries = 0, 0
    while True:
        tries += 1
        following = truncation.next_cut(sizes, now, tries, tokens=tokens, limit=limit)
        if following is None:
            break
        assert now < following < len(sizes)
        now = following
    assert now == len(sizes) - 1


def test_without_numbers_a_long_context_is_cut_in_few_tries() -> None:
    sizes, now, tries = list(range(10_000, 0, -1)), 0, 0
    while now < len(sizes) - 1:
        tries += 1
        now = truncation.next_cut(sizes, now, tries) or 0

    assert tries < 15


def test_with_numbers_as_much_is_dropped_as_must_be() -> None:
    assert truncation.next_cut([100, 80, 60, 40, 20], 0, 1, tokens=1000, limit=650) == 2
    assert truncation.next_cut([100, 80, 60, 40, 20], 0, 1, tokens=1000, limit=1) == 4
