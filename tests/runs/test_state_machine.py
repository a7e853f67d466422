"""The state machine against a small model of it: any operations, in any order, by processes that may be late."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core import errors
from core.runs.attempts import Batch, HandBack
from core.runs.ends import Outcome, failed
from core.wire import response, transcript
from core.wire.status import Status
from tests.conftest import new_database
from tests.harness.engine import COMPLETED, batch, submit
from tests.runs.lives import Life
from tests.runs.world import NARROW, SLOTS, Held, World, world_of

OUTCOMES = (
    COMPLETED,
    Outcome(Status.INCOMPLETE, incomplete_reason="max_output_tokens", usage=response.usage(1, 2, 0, 0)),
    failed("server_error", "It broke."),
)


@pytest.fixture(scope="module")
def world(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_of(new_database(postgres_url, template), _valkey, tmp_path_factory.mktemp("world")) as made:
        yield made.world


# Weights of the operations, of 25 in total.
WEIGHTS = {
    "post": 2,
    "dispatch": 1,
    "claim": 5,
    "record": 4,
    "record_without_an_answer": 2,
    "renew": 1,
    "end": 1,
    "hand_back": 1,
    "cancel": 1,
    "delete": 1,
    "sweep": 2,
    "time_passes": 2,
    "somebody_else_takes_over": 2,
}
WEIGHTED = [name for name, weight in WEIGHTS.items() for _ in range(weight)]


class Machine(RuleBasedStateMachine):
    """Draws the operations. An attempt that is never drawn again has crashed; one that is drawn late is a zombie."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.witness = world.witness
        self.who = world.who
        self.witness.empty()
        self.lives: dict[str, Life] = {}
        self.models: dict[str, str] = {}
        self.held: list[Held] = []

    def one(self, pick: int) -> str | None:
        """One of the responses, counted from the latest."""
        return list(self.lives)[-1 - pick % len(self.lives)] if self.lives else None

    def attempt(self, pick: int) -> Held | None:
        return self.held[-1 - pick % len(self.held)] if self.held else None

    @initialize(posts=st.integers(1, 4), claims=st.integers(0, 4))
    def begin(self, posts: int, claims: int) -> None:
        for n in range(posts):
            self.post(0, n)
        for n in range(claims):
            self.claim(n, n)

    # One rule for all operations: hypothesis disables some rules per example, and most scenarios need many.
    @rule(what=st.sampled_from(WEIGHTED), pick=st.integers(0, 4), n=st.integers(0, 5))
    def do(self, what: str, pick: int, n: int) -> None:
        """Apply one operation to one of the latest responses or attempts, in one of several variants."""
        getattr(self, what)(pick, n)

    def post(self, _: int, n: int) -> None:
        background, model = n != 5, ("scripted", "narrow")[n % 2]
        one = submit(self.world.api, self.who, background=background, model=model)
        self.lives[one], self.models[one] = Life(background), model
        self._check_dispatched()

    def dispatch(self, *_: int) -> None:
        self.world.sweeper.dispatch.dispatch()
        self._check_dispatched()

    def _check_dispatched(self) -> None:
        """Copy to the model what was dispatched: dispatch may choose any of those that may run, and no others."""
        dispatched = self.witness.dispatched()
        for one in dispatched:
            assert self.lives[one].status == "queued"
        for one, life in self.lives.items():
            assert one in dispatched or not life.dispatched, "a response was recalled too early"
            if one in dispatched and not life.dispatched:
                life.be_rung()

    def claim(self, pick: int, n: int) -> None:
        one = self.one(pick)
        if one is None:
            return
        core = self.world.workers[n % 2]
        # The slots are those of one worker: a run on a worker that is not registered occupies none.
        together = (pick + n) % 3 == 0
        attempt = core.attempts.claim_batch([one], "w1").get(one) if together else core.attempts.claim(one, "w1")
        assert (attempt is not None) == self.lives[one].claim()
        if attempt is not None:
            assert attempt.next_seq == self.lives[one].log
            self.held.append(Held(attempt, core))

    def record(self, pick: int, n: int) -> None:
        held = self.attempt(pick)
        if held is None:
            return
        written = held.frozen(n + 1)
        assert self._record(held, written) == self._expect(written)

    def _record(self, held: Held, written: Batch) -> str:
        kept = held.core.attempts.record([written])
        if kept.done:
            held.wrote(written)
        assert not kept.still_leased
        return "done" if kept.done else "lost"

    def _expect(self, written: Batch) -> str:
        life = self.lives.get(written.response_id)
        return life.record(written.attempt, written.first_seq, len(written.lines)) if life else "lost"

    def record_without_an_answer(self, pick: int, n: int) -> None:
        """Write a batch and lose the request or the reply; then look for the batch in the log and send it again."""
        held = self.attempt(pick)
        if held is None:
            return
        written = held.frozen(1)
        expected = self._expect(written)
        arrived = n % 2 == 0
        if arrived:
            held.core.attempts.record([written])
        there = held.core.attempts.recorded([written]) == [written]
        assert there == (arrived and expected == "done") or expected == "lost"
        if expected == "lost":
            assert self._record(held, written) == "lost"
        elif there:
            with pytest.raises(errors.StoreUnavailable, match="already written"):
                held.core.attempts.record([written])
            held.wrote(written)
        else:
            assert self._record(held, written) == "done"

    def renew(self, pick: int, _: int) -> None:
        held = self.attempt(pick)
        if held is None:
            return
        kept = held.core.attempts.renew([held.fence])
        life = self.lives.get(held.fence[0])
        assert ("done" if kept.done else "lost") == (life.renew(held.fence[1]) if life else "lost")
        assert not kept.still_leased

    def end(self, pick: int, n: int) -> None:
        held = self.attempt(pick)
        if held is None:
            return
        outcome = OUTCOMES[n % 3]
        tail = held.frozen(1) if n > 2 else batch(held.attempt, [], held.next_seq)
        life = self.lives.get(held.fence[0])
        expected = life.end(outcome.status, held.fence[1], len(tail.lines)) if life else False
        if (pick + n) % 3 == 0:
            ended = held.core.attempts.end_batch([(held.attempt, outcome, tail)])
            assert ended == ({held.fence} if expected else set())
        else:
            assert held.core.attempts.end(held.attempt, outcome, tail) == expected

    def hand_back(self, pick: int, n: int) -> None:
        held = self.attempt(pick)
        if held is None:
            return
        back = HandBack("not now", waited=n % 3 > 0, unavailable=n % 3 > 1)
        life = self.lives.get(held.fence[0])
        expected = life.back(held.fence[1], "waited" if back.waited else "handed_back") if life else False
        assert held.core.attempts.hand_back(held.attempt, back) == expected

    def cancel(self, pick: int, _: int) -> None:
        one = self.one(pick)
        if one is None:
            return
        life = self.lives[one]
        if not life.background:
            with pytest.raises(errors.InvalidRequest):
                self.world.api.responses.cancel(self.who, one)
            return
        life.end("cancelled")
        assert json.loads(self.world.api.responses.cancel(self.who, one))["status"] == life.status

    def delete(self, pick: int, _: int) -> None:
        one = self.one(pick)
        if one is None:
            return
        if self.lives[one].ended:
            self.world.api.responses.delete(self.who, one)
            del self.lives[one]
        else:
            with pytest.raises(errors.InvalidRequest):
                self.world.api.responses.delete(self.who, one)

    def sweep(self, *_: int) -> None:
        self.world.sweeper.sweep.run()
        for life in self.lives.values():
            life.sweep()
        self._check_dispatched()

    def time_passes(self, _: int, n: int) -> None:
        for _ in range(8 if n == 5 else 1 + n // 2):
            self.witness.move_clocks()
            for life in self.lives.values():
                life.older()

    def somebody_else_takes_over(self, _: int, n: int) -> None:
        """Let leases expire; another worker claims the latest running response if it may still run."""
        running = [place for place, one in enumerate(reversed(self.lives)) if self.lives[one].status == "in_progress"]
        for times in (4, 0):
            self.time_passes(0, times)
            self.sweep()
        for pick in running[:1]:
            self.claim(pick, n)

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        self.witness.check(self.lives)
        self._check_polls()

    @invariant()
    def nobody_has_more_than_there_is_room_for(self) -> None:
        busy = [one for one, life in self.lives.items() if life.status == "in_progress" or life.dispatched]
        assert len(busy) <= SLOTS
        assert len([one for one in busy if self.models[one] == "narrow"]) <= NARROW

    def _check_polls(self) -> None:
        for one in self.witness.changed:
            shown = json.loads(self.world.api.responses.get(self.who, one)[0])
            assert shown["status"] == self.lives[one].status
            if shown["status"] == "in_progress":
                log = [json.loads(line) for line in self.witness.logged(one)]
                assert shown["output"] == transcript.fold(log).output


def run(world: World, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(world),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=examples < 1000,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_is_done_to_responses_in_whatever_order_they_are_what_the_model_says(world: World) -> None:
    run(world, examples=32, steps=40)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_such_orders(world: World) -> None:
    run(world, examples=3000, steps=60)
