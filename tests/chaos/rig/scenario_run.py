"""One run of a scenario: load, fault, recovery, and the counts over all accepted responses."""

import itertools
import json
import random
import time
from dataclasses import dataclass
from typing import Any

from tests import invariants
from tests.chaos.rig.load import Asked, Load, requests, untrue
from tests.chaos.rig.rig import Rig
from tests.chaos.rig.scenarios import Scenario
from tests.harness.waiting import until
from tests.invariants import Figures

# Seconds until all responses have ended after the repair.
RECOVERED_WITHIN_S = 45


@dataclass(frozen=True)
class Ran:
    """The result of a run."""

    scenario: str
    seed: int
    figures: Figures
    under_way: int  # responses that had not ended when the fault struck
    attempts: int
    healed_s: float  # from the end of the repair to the last end
    took_s: float

    def row(self) -> dict[str, object]:
        """A row of the table shown at the end."""
        found = self.figures
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "accepted": found.accepted,
            "terminal": found.terminal,
            "ends": " ".join(f"{number} {status}" for status, number in sorted(found.statuses.items())),
            "struck": self.under_way,
            "attempts": self.attempts,
            "written twice": found.written_twice,
            "changed after the end": found.changed_after_end,
            "gaps": found.gaps + found.streams_differ,
            "left open": found.left_open,
            "untrue": found.untrue,
            "died": found.died,
            "healed s": round(self.healed_s, 1),
            "s": round(self.took_s, 1),
        }


def play(rig: Rig, scenario: Scenario, seed: int) -> Ran:
    """Run a scenario on a working deployment, which works again afterwards."""
    began = time.monotonic()
    chance = random.Random(seed)
    rig.models.reset()
    rig.died.clear()
    rig.run = f"{seed}-{rig.runs}"
    rig.runs += 1
    asked = list(itertools.islice(requests(chance, rig.run, **scenario.script), scenario.count))
    load = Load(rig.stack, asked, at_once=len(asked))
    try:
        until(lambda: rig.under_way() > scenario.count * 3 / 4, within_s=20)
        rig.until_said(scenario.count * chance.randrange(2, 10))
        under_way = rig.under_way()
        scenario.strikes(rig, chance)
    except BaseException:
        load.stop()
        raise
    rig.heal()
    healed_at = time.monotonic()
    load.wait(RECOVERED_WITHIN_S)
    until(rig.stack.all_ended, within_s=RECOVERED_WITHIN_S)
    healed_s = time.monotonic() - healed_at
    figures = look(rig, asked, scenario.ends)
    ((attempts,),) = rig.stack.sql("select sum(attempt) from responses where metadata->>'run' = %s", rig.run)
    rig.calm()
    return Ran(scenario.name, seed, figures, under_way, attempts, healed_s, time.monotonic() - began)


def look(rig: Rig, asked: list[Asked], ends: frozenset[str]) -> Figures:
    """Check a finished run: what is stored, and what its clients saw.

    Args:
        ends: statuses in which a background response may end that no client cancels.
    """
    stored: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for number, response_id, document in rig.stack.sql(
        "select metadata->>'number', id, document from responses where metadata->>'run' = %s", rig.run
    ):
        stored.setdefault(number, []).append((response_id, json.loads(document)))
    told = {one.id for one in asked if one.id}
    figures = invariants.look(
        rig.stack,
        {response_id for mine in stored.values() for response_id, _ in mine} | told,
        {one.id: one.events for one in asked if one.events and one.id},
    )
    for one in asked:
        mine = stored.get(str(one.number), [])
        if len(mine) != 1:
            figures.find("strangers", f"request {one.number} made {len(mine)} responses")
        for _, document in mine:
            for lie in untrue(one, document, ends | ({"cancelled"} if one.kind == "foreground" else set())):
                figures.find("untrue", lie)
    rig.heal()
    for part in rig.died:
        figures.find("died", part)
    try:
        until(lambda: rig.models.open == 0, within_s=10)
    except AssertionError:
        figures.find("left_open", "connections to the model server", rig.models.open)
    return figures
