"""Playing calls of several sessions, statement by statement."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from core import bootstrap, errors
from core.bootstrap import Core
from core.runs import runs_sql
from core.runs.attempts import BatchResult, HandBack
from tests.conftest import new_database
from tests.harness.engine import COMPLETED, batch, submit
from tests.runs.lives import Life
from tests.runs.stepping import Session, SteppedDatabase, interleave
from tests.runs.world import Held, World, world_of

# States of a response when the sessions begin, and the steps that lead there: claim (c), write (w), time passes (>),
# worker lost (l), dispatch (r), back to waiting (q), cancel (x).
BEFORE = {
    "waiting": "q",
    "dispatched": "",
    "dispatched long ago": ">>",
    "running": "c",
    "running, with output": "cw",
    "lease over": "cw>>>",
    "lease over for the last time": "clrclrcw>>>",
    "run over": "cw>>>>>>>",
    "second attempt waits": "cwl",
    "second attempt is dispatched": "cwlr",
    "second attempt": "cwlrc",
    "second attempt, lease over": "cwlrcw>>>",
    "overdue before it ran": ">>>>>>>>",
    "ended": "cwx",
}


# Possible outcomes of a call for one response: the result, and the state of the response (None: deleted).
After = list[tuple[Any, Life | None]]


@dataclass(frozen=True)
class Call:
    """A call as a process makes it, and its model, divided into parts of one transaction each."""

    name: str
    real: Callable[[Core], dict[str, Any]]
    parts: Sequence[Callable[[str, Life | None], After]]


@pytest.fixture(scope="module")
def world(postgres_url: str, template: str, _valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "Database", SteppedDatabase)
        with world_of(new_database(postgres_url, template), _valkey, tmp_path_factory.mktemp("steps")) as made:
            yield made.world


class Scene:
    """Two responses and their attempts, each in a given state, and the calls to make now."""

    def __init__(self, world: World, before: Sequence[str]) -> None:
        self.world = world
        self.who = world.who
        self.lives: dict[str, Life] = {}
        self.held: dict[str, list[Held]] = {}
        world.witness.empty()
        for name in before:
            one = submit(world.api, self.who)
            self.lives[one], self.held[one] = Life(background=True), []
            for step in "r" + BEFORE[name]:
                self._do(step, one, self.lives[one])
        world.witness.check(self.lives)
        self.frozen = {one: [held.frozen(1) for held in all_] for one, all_ in self.held.items()}

    def _do(self, step: str, one: str, life: Life) -> None:
        core = self.world.workers[0]
        if step == "q":
            self.world.witness.wait(one)
            life.dispatched = False
        elif step == "r":
            self.world.witness.enqueue(one)
            life.be_rung()
        elif step == "c":
            attempt = core.attempts.claim(one, "w1")
            assert attempt is not None
            assert life.claim()
            self.held[one].append(Held(attempt, core))
        elif step == "w":
            written = self.held[one][-1].frozen(1)
            assert core.attempts.record([written]).done
            self.held[one][-1].wrote(written)
            life.record(written.attempt, written.first_seq, len(written.lines))
        elif step == "l":
            for _ in range(3):
                self._do(">", one, life)
            with self.world.sweeper.attempts._database.connection() as connection:
                assert runs_sql.requeue(connection, one, life.attempt, outcome="lost", cause="lost", delay_s=0)
            life.back(life.attempt, "lost")
        elif step == ">":
            self.world.witness.move_clocks(one)
            life.older()
        else:
            self.world.api.responses.cancel(self.who, one)
            life.end("cancelled")

    def call(self, name: str, picks: Sequence[int], late: bool) -> Call:
        """Make a call for one or both responses; it acts for the latest attempt, or for an older one if `late`."""
        ids = [list(self.lives)[pick] for pick in picks]
        which = 0 if late else -1
        makes: Callable[..., Call] = getattr(self, f"_{name}")
        return makes(ids, which)

    def _held(self, ids: Sequence[str]) -> list[str]:
        return [one for one in ids if self.held[one]]

    def _record(self, ids: Sequence[str], which: int) -> Call:
        batches = {one: self.frozen[one][which] for one in self._held(ids)}

        def real(core: Core) -> dict[str, str]:
            try:
                return _said(core.attempts.record(list(batches.values())), batches)
            except errors.StoreUnavailable as error:
                assert "already written" in str(error)
                return dict.fromkeys(batches, "unknown")

        def model(one: str, life: Life | None) -> After:
            if one not in batches or life is None:
                return [("lost", life)]
            after = life.copy()
            written = batches[one]
            said = after.record(written.attempt, written.first_seq, len(written.lines))
            # The row may be locked at the moment; and if one batch is already stored, the whole call fails.
            return [(said, after), *([("held", life)] if said != "lost" else []), ("unknown", life)]

        return Call("record", real, [model])

    def _renew(self, ids: Sequence[str], which: int) -> Call:
        fences = {one: self.held[one][which].fence for one in self._held(ids)}

        def model(one: str, life: Life | None) -> After:
            if one not in fences or life is None:
                return [("lost", life)]
            after = life.copy()
            said = after.renew(fences[one][1])
            return [(said, after), *([("held", life)] if said == "done" else [])]

        return Call("renew", lambda core: _said(core.attempts.renew(list(fences.values())), fences), [model])

    def _end(self, ids: Sequence[str], which: int) -> Call:
        held = {one: self.held[one][which] for one in self._held(ids)[:1]}

        def real(core: Core) -> dict[str, bool]:
            return {
                one: core.attempts.end(own.attempt, COMPLETED, batch(own.attempt, [], own.next_seq))
                for one, own in held.items()
            }

        def model(one: str, life: Life | None) -> After:
            after = life and life.copy()
            done = bool(after and one in held and after.end("completed", held[one].attempt.number))
            return [(done, after)]

        return Call("end", real, [model])

    def _end_batch(self, ids: Sequence[str], which: int) -> Call:
        held = {one: self.held[one][which] for one in self._held(ids)}
        asked = [(one.attempt, COMPLETED, batch(one.attempt, [], one.next_seq)) for one in held.values()]

        def real(core: Core) -> dict[str, bool]:
            return dict.fromkeys(held, False) | dict.fromkeys(dict(core.attempts.end_batch(asked)), True)

        return Call("end together", real, [self._or_left(ids, False, lambda one: self._end([one], which))])

    def _or_left(self, ids: Sequence[str], said: Any, call: Callable[[str], Call]) -> Callable[..., After]:
        """Model a batched call: like a single call per response, but a locked row is skipped with result `said`."""
        return lambda one, life: [*(call(one).parts[0](one, life) if one in ids else []), (said, life)]

    def _hand_back(self, ids: Sequence[str], which: int) -> Call:
        held = {one: self.held[one][which] for one in self._held(ids)[:1]}

        def model(one: str, life: Life | None) -> After:
            after = life and life.copy()
            return [(bool(after and one in held and after.back(held[one].attempt.number, "waited")), after)]

        def real(core: Core) -> dict[str, bool]:
            return {
                one: core.attempts.hand_back(own.attempt, HandBack("away", waited=True, unavailable=True))
                for one, own in held.items()
            }

        return Call("hand back", real, [model])

    def _claim(self, ids: Sequence[str], _: int) -> Call:
        def model(one: str, life: Life | None) -> After:
            after = life and life.copy()
            if one != ids[0] or after is None or not after.claim():
                return [(None, life)]
            return [((after.attempt, after.log), after)]

        def real(core: Core) -> dict[str, Any]:
            attempt = core.attempts.claim(ids[0], "w2")
            return {ids[0]: attempt and (attempt.number, attempt.next_seq)}

        return Call("claim", real, [model])

    def _claim_batch(self, ids: Sequence[str], which: int) -> Call:
        def real(core: Core) -> dict[str, Any]:
            return {one: (own.number, own.next_seq) for one, own in core.attempts.claim_batch(ids, "w2").items()}

        return Call("claim together", real, [self._or_left(ids, None, lambda one: self._claim([one], which))])

    def _cancel(self, ids: Sequence[str], _: int) -> Call:
        def model(one: str, life: Life | None) -> After:
            if one != ids[0]:
                return [(None, life)]
            if life is None:
                return [("gone", None)]
            after = life.copy()
            after.end("cancelled")
            return [(after.status, after)]

        def real(core: Core) -> dict[str, str]:
            try:
                return {ids[0]: json.loads(core.responses.cancel(self.who, ids[0]))["status"]}
            except errors.NotFound:
                return {ids[0]: "gone"}

        return Call("cancel", real, [model])

    def _delete(self, ids: Sequence[str], _: int) -> Call:
        def model(one: str, life: Life | None) -> After:
            if one != ids[0]:
                return [(None, life)]
            if life is None:
                return [("gone", None), ("deleted", None)]
            return [("deleted", None)] if life.ended else [("refused", life)]

        def real(core: Core) -> dict[str, str]:
            try:
                core.responses.delete(self.who, ids[0])
            except errors.NotFound:
                return {ids[0]: "gone"}
            except errors.InvalidRequest:
                return {ids[0]: "refused"}
            return {ids[0]: "deleted"}

        return Call("delete", real, [model])

    def _sweep(self, *_: object) -> Call:
        def expire(_: str, life: Life | None) -> After:
            after = life and life.copy()
            if after is not None:
                after.sweep()
            return [(None, after), (None, life)]  # it skips rows locked by other sessions

        def real(core: Core) -> dict[str, Any]:
            core.sweep.run()
            return {}

        return Call("sweep", real, [expire, _dispatched])

    def _dispatch(self, *_: object) -> Call:
        def real(core: Core) -> dict[str, Any]:
            core.dispatch.dispatch()
            return {}

        return Call("dispatch", real, [_dispatched])


def _dispatched(_: str, life: Life | None) -> After:
    """Model a dispatch: it may enqueue any waiting response, and no other."""
    if life is None or life.status != "queued" or life.dispatched:
        return [(None, life)]
    after = life.copy()
    after.be_rung()
    return [(None, after), (None, life)]


def _said(kept: BatchResult, ids: Any) -> dict[str, str]:
    return {one: "done" if one in kept.done else "held" if one in kept.still_leased else "lost" for one in ids}


Program = list[tuple[Callable[[str, Life | None], After], Any]]


def explained(one: str, life: Life | None, programs: list[Program], last: Life | None) -> bool:
    """Whether the transactions, in some order, produce the recorded results and the final state."""
    if not any(programs):
        return _seen(life) == _seen(last)
    for number, program in enumerate(programs):
        if program:
            (part, said), *rest = program
            left = [*programs[:number], rest, *programs[number + 1 :]]
            if any(explained(one, after, left, last) for told, after in part(one, life) if told == said):
                return True
    return False


def _seen(life: Life | None) -> Any:
    return life and (
        life.status,
        life.attempt,
        life.failures,
        life.waits,
        life.dispatched,
        life.outcomes,
        life.ended or life.log,
    )


def play(world: World, before: tuple[str, str], programs: list[list[Any]], turns: list[int]) -> None:
    scene = Scene(world, before)
    made = [[scene.call(*call) for call in program] for program in programs]
    cores = (*world.workers, world.api)
    sessions = [
        Session(*[lambda call=call, core=core: call.real(core) for call in program])
        for core, program in zip(cores, made, strict=False)
    ]
    interleave(sessions, turns, world.monitor)

    for session in sessions:
        for result in session.results:
            assert isinstance(result, dict), result  # no deadlock, and no other unexpected error
    left = world.witness.lives()
    for one, life in scene.lives.items():
        seen = [
            [
                (part, result.get(one, _nothing(call)) if part is call.parts[-1] else None)
                for call, result in zip(program, session.results, strict=True)
                for part in call.parts
            ]
            for program, session in zip(made, sessions, strict=True)
        ]
        assert explained(one, life, seen, left.get(one)), (life, left.get(one), [s.results for s in sessions])
    world.witness.check(left)


def _nothing(call: Call) -> Any:
    """The result of a call for a response that it does not concern."""
    return {"record": "lost", "renew": "lost", "end": False, "end together": False, "hand back": False}.get(call.name)
