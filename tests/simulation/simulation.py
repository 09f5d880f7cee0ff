"""One world by its plan, from the first POST until nothing is left to do, and what the checker says of it."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from tests.chaos.checker import check
from tests.chaos.world import Breach, Terms
from tests.doubles.chain import Ledger
from tests.doubles.gate import Service
from tests.doubles.lives import World
from tests.doubles.platform import Parts
from tests.doubles.resting import at_rest
from tests.doubles.tables import OrderItem, Tables
from tests.doubles.timeline import Timeline
from tests.simulation.clients import Desk, Poster, Watcher
from tests.simulation.deployment import PlannedPlatform
from tests.simulation.gate import HUNG_SECONDS, PlannedGate
from tests.simulation.plan import Plan
from tests.simulation.venue import PlannedMarket, PlannedVenue

_BACK_OFF_SECONDS = 0.5  # before the second attempt, at the least (`Policy`)
_LONGEST_SECONDS = 4 * 3600.0  # after the last era began: what goes on for longer never ends
LONGEST_REST = 900.0
_DUE_SECONDS = 300.0  # two watches, one of them late; the next message; workers that died, or have other orders first
_AFTER_ALL = timedelta(seconds=600)  # long enough for everything that is on its way to the chain


@dataclass
class RememberedTables(Tables):
    """Tables whose orders are remembered for the checker after they were deleted."""

    deleted: dict[UUID, OrderItem] = field(default_factory=dict)

    def sweep(self, now: object) -> None:
        """See `Tables.sweep`."""
        before = self.orders
        super().sweep(now)  # type: ignore[arg-type]
        self.deleted |= {key: item for key, item in before.items() if key not in self.orders}


class Simulation(World):
    """A plan's world."""

    def __init__(self, plan: Plan, parts: Parts | None = None, told: bool = False) -> None:
        self.plan = plan
        timeline = Timeline(enough=math.inf)
        self.gate = PlannedGate(timeline, plan=plan, lines=[] if told else None, calm_at=plan.calm_at)
        self.by_amount = {Decimal(str(order.body["amountIn"])): order for order in plan.orders}
        self.tables = RememberedTables(page_size=plan.page_size, pages=25)
        self.planned = PlannedPlatform(
            gate=self.gate,
            parts=parts or Parts(venue=PlannedVenue),
            tables=self.tables,
            ledger=Ledger(one_per_order=False, by_itself=True),
            market=PlannedMarket(orders=self.by_amount, validity=plan.validity, moves=plan.moves),
            longest_rest=timedelta(seconds=LONGEST_REST),
            plan=plan,
            subject=self._name,
            poison=self._poison,
        )
        slack = 2 * plan.skew
        super().__init__(
            self.planned,
            (),
            Terms(
                back_off_seconds=max(_BACK_OFF_SECONDS - slack, 0.0),
                validity_seconds=plan.validity - slack,
                latest_seconds=plan.validity + slack + 1,
            ),
        )
        self._names: dict[UUID, str] = {}
        self._times = Counter[int]()

    def run(self) -> "Simulation":
        """Begins every order, and lets the world go on until nothing is left to do."""
        random.seed(self.plan.seed)  # the engine's back-off
        later, posters = self.gate.timeline.later, dict[int, Poster]()
        for order in self.plan.orders:
            poster = posters[order.number] = Poster(self.planned, order, self.posted, self.cancels)
            later(order.at, poster.begin)
            for number, visits in enumerate(order.viewers):
                watcher = Watcher(poster, f"o{order.number} viewer {number}", visits, 0)
                self.watchers.append(watcher.evidence)
                later(order.at, watcher.begin)
        for token, at in self.plan.launches:
            later(at, partial(self.planned.launch, token))
        for number, desk in enumerate(self.plan.desks):
            client = Desk(self.planned, posters, desk, f"desk {number}")
            self.watchers.append(client.evidence)
            later(desk.at, client.begin)
        return self.settle()

    def settle(self, lasts: float = _LONGEST_SECONDS) -> "Simulation":
        """See `World.settle`."""
        eras = max((sum(era.after for era in order.eras) for order in self.plan.orders), default=0.0)
        self.timeline.run(until=eras + lasts)
        self.platform.ledger.settle(self.timeline() + _AFTER_ALL)
        return self

    def breaches(self) -> list[Breach]:
        """What the checker finds, and what only a simulation can see."""
        self.tables.orders = {**self.tables.deleted, **self.tables.orders}
        found = check(self.evidence())
        if not any(order.poison for order in self.plan.orders):
            found += at_rest(self.planned, self.gate.calm_at + HUNG_SECONDS, _DUE_SECONDS)
        found += [Breach("no invocation is stopped by its time limit", "", name) for name in self.timeline.out_of_time]
        found += [Breach("no call begins without time for it", "", said) for said in self.gate.breaches]
        found += [Breach("nothing unforeseen is raised", "", said) for said in self.planned.unforeseen]
        return found

    def _name(self, order_id: UUID) -> str:
        """A short name for an order."""
        if order_id not in self._names:
            item = self.tables.orders.get(order_id)
            if item is None:
                return "nobody's"
            number = self.by_amount[item.record.order.amount_in].number
            self._times[number] += 1
            again = self._times[number]
            self._names[order_id] = f"o{number}" if again == 1 else f"o{number} ({again})"
        return self._names[order_id]

    def _poison(self, order_id: UUID) -> tuple[Service, int] | None:
        item = self.tables.orders.get(order_id)
        return self.by_amount[item.record.order.amount_in].poison if item else None
