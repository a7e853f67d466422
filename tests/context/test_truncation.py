"""Truncation: the turns that it drops from a context, and the search for the cut that fits."""

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


def add_ids(items: list[Item]) -> list[Item]:
    return [item | {"id": f"item_{position}"} for position, item in enumerate(items)]


_items = st.one_of(
    st.sampled_from(["user", "assistant", "system", "developer"]).map(message),
    st.just({"type": "reasoning", "summary": []}),
    st.sampled_from("abc").map(call),
    st.sampled_from("abc").map(output),
)


@st.composite
def contexts(draw: st.DrawFn) -> list[Item]:
    """Contexts that the API accepts: each tool call output follows its call."""
    call_ids: set[str] = set()
    context = []
    for item in draw(st.lists(_items, max_size=20)):
        if item["type"] == "function_call":
            call_ids.add(item["call_id"])
        if item["type"] != "function_call_output" or item["call_id"] in call_ids:
            context.append(item)
    return add_ids(context)


@given(contexts())
def test_a_cut_drops_complete_turns_and_never_separates_a_call_from_its_output(context: list[Item]) -> None:
    cuts = truncation.cuts(context)

    assert cuts == sorted(set(cuts))
    for position in cuts:
        remaining_items, dropped_ids = truncation.cut(context, position)
        assert context[position]["type"] == "message"
        assert context[position]["role"] == "user"
        # An output is kept or dropped together with the last preceding call that has the same call ID.
        for index, item in enumerate(context):
            if item["type"] != "function_call_output":
                continue
            call_index = max(
                earlier_index
                for earlier_index, earlier_item in enumerate(context[:index])
                if earlier_item["type"] == "function_call" and earlier_item["call_id"] == item["call_id"]
            )
            assert (context[call_index] in remaining_items) == (item in remaining_items)
        assert {item["id"] for item in remaining_items} | set(dropped_ids) == {item["id"] for item in context}
        assert len(remaining_items) + len(dropped_ids) == len(context)
        assert remaining_items == [item for item in context if item in remaining_items]


@given(contexts())
def test_system_and_developer_messages_and_the_last_question_are_never_dropped(context: list[Item]) -> None:
    instruction_ids = {item["id"] for item in context if item.get("role") in {"system", "developer"}}
    question_ids = [item["id"] for item in context if item.get("role") == "user"]
    protected_ids = instruction_ids | set(question_ids[-1:])

    for position in truncation.cuts(context):
        _, dropped_ids = truncation.cut(context, position)
        assert dropped_ids
        assert not protected_ids & set(dropped_ids)


@given(contexts())
def test_each_cut_drops_more_items_than_the_previous_cut(context: list[Item]) -> None:
    cuts = [truncation.cut(context, position) for position in truncation.cuts(context)]
    dropped_counts = [len(dropped_ids) for _, dropped_ids in cuts]

    assert dropped_counts == sorted(set(dropped_counts))


def test_turns_between_a_call_and_its_output_are_dropped_together() -> None:
    context = add_ids([message("user"), call("a"), message("user"), output("a"), message("assistant"), message("user")])

    assert truncation.cuts(context) == [5]


def test_an_answer_is_dropped_with_its_question() -> None:
    context = add_ids(
        [message("system"), message("user"), {"type": "reasoning"}, message("assistant"), message("user")]
    )

    remaining_items, dropped_ids = truncation.cut(context, truncation.cuts(context)[-1])

    assert [item["id"] for item in remaining_items] == ["item_0", "item_4"]
    assert dropped_ids == ["item_1", "item_2", "item_3"]


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30).map(lambda sizes: sorted(sizes, reverse=True)),
    st.integers(1, 10_000) | st.none(),
    st.integers(1, 10_000) | st.none(),
)
def test_every_next_cut_is_later_until_the_last_cut_is_reached(
    sizes: list[int], tokens: int | None, limit: int | None
) -> None:
    current, tries = 0, 0
    while True:
        tries += 1
        next_index = truncation.next_cut(sizes, current, tries, tokens=tokens, limit=limit)
        if next_index is None:
            break
        assert current < next_index < len(sizes)
        current = next_index
    assert current == len(sizes) - 1


def test_without_token_counts_the_last_cut_is_reached_in_fewer_than_15_tries() -> None:
    sizes, current, tries = list(range(10_000, 0, -1)), 0, 0
    while current < len(sizes) - 1:
        tries += 1
        current = truncation.next_cut(sizes, current, tries) or 0

    assert tries < 15


def test_with_token_counts_the_first_cut_that_fits_is_chosen() -> None:
    assert truncation.next_cut([100, 80, 60, 40, 20], 0, 1, tokens=1000, limit=650) == 2
    assert truncation.next_cut([100, 80, 60, 40, 20], 0, 1, tokens=1000, limit=1) == 4
