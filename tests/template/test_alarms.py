"""Every alarm is seen on and off: by the metrics that the functions' handlers write while orders live on services in
memory, and by AWS' own."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from order_engine.bootstrap import Bootstrap
from order_engine.entrypoints.handler import Handler
from order_engine.observability import SERVICE, VERSION
from order_engine.settings import Settings

from functions.dead_letters import app as dead_letters
from functions.route_execute import app as route_execute
from functions.watch_market import app as watch_market
from tests.doubles.chain import Ledger
from tests.doubles.gate import Gate, Mode, Service, away
from tests.doubles.platform import FUNCTIONS, Letter, Parts, Platform
from tests.doubles.venues import Fate, HardVenue, Market, scripted
from tests.support.alarms import Alarm, Metrics, minutes_on
from tests.support.builders import LambdaContext, sqs_event
from tests.template.reading import referred, resources

# Powertools says so at every invocation that counts nothing; observability.py ignores it, but pytest resets filters.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")

CONSUMERS: dict[str, Handler[Any]] = {"route_execute": route_execute.handler, "dead_letters": dead_letters.handler}
ALARMS = {
    alarm["Properties"]["AlarmName"]["Fn::Sub"].partition("}-")[2]: Alarm(alarm["Properties"])
    for alarm in resources("AWS::CloudWatch::Alarm").values()
}


# What our functions know of themselves here.
OURS = {"Service": SERVICE, "AWS::StackName": SERVICE, "RouteExecuteFunction.Version.Version": VERSION}


@dataclass
class Stack(Platform):
    """A deployment whose consumers and watcher are the functions' handlers. `written` returns what they have printed
    since it was called last; their metrics have the timeline's time."""

    written: Callable[[], str] = str
    metrics: Metrics = field(default_factory=lambda: Metrics(OURS))

    def work(self, function: str, letter: Letter) -> list[Any]:
        event = sqs_event(letter.body)
        event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(letter.received)
        failures: list[Any] = self.handle(CONSUMERS[function], self.executor(), event)["batchItemFailures"]
        return failures

    def look_at_the_market(self) -> None:
        """What the schedule has done, for a minute."""
        self.handle(watch_market.handler, self.watcher(), {"looks": 60}, FUNCTIONS["watch_market"])

    def handle(
        self, handler: Handler[Any], use_case: object, event: dict[str, Any], seconds: float = 20.0
    ) -> dict[str, Any]:
        """Have a handler handle an event with a use case of this platform's."""
        one = handler.on(Bootstrap(Settings({})))
        vars(one)["use_case"] = use_case
        try:
            return one(event, LambdaContext(int(seconds * 1000)))
        finally:
            self.metrics.read(self.written(), self.timeline.seconds)


Story = Callable[[Callable[[], str]], Metrics]  # given `written`, what CloudWatch is told
BODY = {"tokenIn": "SOL", "tokenOut": "USDC", "amountIn": 10}
MINUTES = 40  # of each story
TARGETS = {"AWS/Lambda": "FunctionName", "AWS/SQS": "QueueName", "AWS/RDS": "DBInstanceIdentifier"}


def series(*rows: tuple[str, str, Iterable[float]]) -> Story:
    """Metrics of AWS' own: each by its namespace and name, whose it is, and a value for each minute."""

    def told(_written: Callable[[], str]) -> Metrics:
        metrics = Metrics()
        for metric, whose, values in rows:
            namespace, name = metric.split()
            stage = {"Stage": "live"} if whose == "WebSocketApi" else {}
            for minute, value in enumerate(values):
                metrics.put(namespace, name, {TARGETS.get(namespace, "ApiId"): whose, **stage}, minute * 60, value)
        return metrics

    return told


def each(names: Iterable[str], *functions: str) -> list[Story]:
    """A story for each of these metrics of each function: it was 1 once."""
    return [series((f"AWS/Lambda {name}", function, [1])) for name in names for function in functions]


def again(names: Iterable[str], *functions: str) -> list[Story]:
    """A story for each of these metrics of each function: it was 1 for ten minutes on end."""
    return [series((f"AWS/Lambda {name}", function, [1] * 10)) for name in names for function in functions]


def of_version(version: str, name: str, *functions: str) -> list[Story]:
    """A story for each function: this metric of a version, invoked by its alias, was 1 once."""

    def told(function: str) -> Story:
        metrics = Metrics()
        dimensions = {"FunctionName": function, "Resource": f"${{{function}}}:live"}
        dimensions["ExecutedVersion"] = version.format(function)
        metrics.put("AWS/Lambda", name, dimensions, 0, 1)
        return lambda _written: metrics

    return [told(function) for function in functions]


def placed(make: Callable[[], Stack], *orders: tuple[float, Mapping[str, Any]]) -> Story:
    """Orders, each with the second at which it is placed and what it asks for besides."""

    def lived(written: Callable[[], str]) -> Metrics:
        stack = make()
        stack.written = written
        for at, asks in orders:
            stack.timeline.later(at, lambda asks=asks: stack.post({**BODY, **asks}, lambda *_answer: None))  # type: ignore[misc]
        stack.timeline.run(until=MINUTES * 60)
        return stack.metrics

    return lived


def market(*fates: Fate, careless: bool = False) -> Callable[[], Stack]:
    """A stack on whose venues each order's attempts come to this."""
    return lambda: Stack(market=Market(scripted(*fates)), ledger=Ledger(by_itself=True, careless=careless))


def every(seconds: float, times: int, **asks: Any) -> list[tuple[float, dict[str, Any]]]:
    """The same order over and over."""
    return [(number * seconds, asks) for number in range(times)]


def hidden(service: Service, seconds: float) -> Callable[[], Stack]:
    """A stack on which a service is away until then."""
    return lambda: Stack(Gate(faults=away(service, 0, seconds)))


def cut_off(service: Service, begins: float, ends: float) -> Callable[[], Stack]:
    """A stack whose workers alone don't reach a service for a while."""
    faults = away(service, begins, ends)
    return lambda: Stack(Gate(faults=lambda call: faults(call) if call.function == "route_execute" else None))


def killed_workers() -> Stack:
    """A worker that has taken the order up dies of it."""
    dies = ("route_execute", False)
    return Stack(Gate(faults=lambda call: Mode.KILL_BEFORE if (call.function, call.name == "claim") == dies else None))


def slow_finality(*fates: Fate) -> Callable[[], Stack]:
    """Venues that know only after a minute that a transaction is lost."""
    return lambda: Stack(parts=Parts(venue=HardVenue), market=Market(scripted(*fates)), ledger=Ledger(by_itself=True))


def mixed(nth: int) -> Callable[[], Stack]:
    """Each n-th order fails, whatever is tried; all others are executed."""
    seen: dict[object, int] = {}

    def fate(order_id: object, _attempt: int) -> Fate:
        return Fate.LANDS if seen.setdefault(order_id, len(seen) + 1) % nth else Fate.NO_QUOTES

    return lambda: Stack(market=Market(fate), ledger=Ledger(by_itself=True))


def rising() -> Stack:
    """The price rises every five minutes."""
    moves = [(300.0 * step, str(1 + step / 50)) for step in range(1, 5)]
    return Stack(market=Market(moves=moves), ledger=Ledger(by_itself=True))


def owed_again(_written: Callable[[], str]) -> Metrics:
    """Outcomes of long ago are written again, as after a restore, and PostgreSQL refuses two of them once."""
    metrics = Metrics(OURS)
    metrics.put("OrderEngine", "OwedSeconds", {"service": SERVICE}, 60, 90_000, 90_010)
    return metrics


def poison(written: Callable[[], str]) -> Metrics:
    """A message that is about no order, and no word of AWS' own."""
    stack = Stack(written=written)
    stack.deliver(Letter(uuid4()))
    stack.timeline.run(until=240)
    return stack.metrics


class Broken:
    """A use case with a bug."""

    def process(self, *_order: object) -> None:
        raise ZeroDivisionError


def a_bug(written: Callable[[], str]) -> Metrics:
    """A worker that can't go on with an order because of itself."""
    stack = Stack(written=written)
    stack.handle(route_execute.handler, Broken(), sqs_event(f'{{"orderId": "{uuid4()}"}}'))
    return stack.metrics


def watched(*minutes: int, asks: Mapping[str, Any] | None = None, priceless: range = range(0)) -> Story:
    """The schedule has the market looked at in these minutes, for an order too that asks for something; for a time no
    venue says anything."""

    def lived(written: Callable[[], str]) -> Metrics:
        silent = away(Service.QUOTES, 60 * priceless.start, 60 * priceless.stop)
        stack = Stack(Gate(faults=silent), written=written)
        if asks:
            stack.post({**BODY, **asks}, lambda *_answer: None)
        for minute in minutes:
            stack.timeline.invoke(stack.look_at_the_market, minute * 60, "watch_market", FUNCTIONS["watch_market"])
        stack.timeline.run(until=MINUTES * 60)
        return stack.metrics

    return lived


WELL = placed(Stack, *every(60, 20))
RESTING = [(0.0, {"orderType": "limit", "limitPrice": price}) for price in ("150", "153", "156", "159")]
EXPIRING = [
    (0.0, {"orderType": "limit", "limitPrice": "9000", "expiresAt": f"2026-01-02T03:{minute}:00Z"})
    for minute in (15, 20, 25, 30)
]
STOP = {"orderType": "stop", "triggerPrice": "100"}
OTHERS = ("SubmitFunction", "CancelFunction", "WsConnectFunction", "NotifyFunction", "DeadLettersFunction")
LOOK_UPS, MARKET = ("OrdersFunction", "MarketFunction", "SiteFunction"), ("WatchMarketFunction", "LaunchFunction")
APIS = ("SubmitFunction", "CancelFunction", "WsConnectFunction", *LOOK_UPS)
FAILURES = ("Errors", "Throttles")
NEW, OLD = "{}.Version.Version", "41"
MIB, GIB = 2**20, 2**30

ON: dict[str, list[Story]] = {
    "dead-letters": [
        poison,
        series(("AWS/SQS ApproximateNumberOfMessagesVisible", "DeadLettersQueue", [1])),
        series(("AWS/SQS ApproximateNumberOfMessagesNotVisible", "DeadLettersQueue", [1])),
        series(("AWS/Lambda Invocations", "DeadLettersFunction", [1])),
    ],
    "oldest-order": [series(("AWS/SQS ApproximateAgeOfOldestMessage", "OrdersQueue", [61, 90, 120]))],
    "orders-deferred": [
        placed(cut_off(Service.JOURNAL, 0, 900), (0, {})),
        placed(cut_off(Service.WATCHLIST, 0, 900), (0, {"orderType": "limit", "limitPrice": "9000"})),
    ],
    "failed-orders": [
        placed(market(*[Fate.NO_QUOTES] * 3), *every(200, 3)),
        placed(market(*[Fate.UNAVAILABLE] * 3), *every(1, 3)),
        placed(market(Fate.NO_QUOTES), *every(1, 3, timeInForce="fok")),
        placed(mixed(3), *every(10, 9)),
        placed(slow_finality(Fate.LOST), *every(10, 3)),
    ],
    "order-errors": [placed(killed_workers, (0, {})), placed(market(Fate.SHORT, careless=True), (0, {}))],
    "time-to-final": [placed(slow_finality(Fate.LOST), *every(100, 10))],
    "worker-errors": each(["Errors"], "RouteExecuteFunction"),
    "worker-throttles": [series(("AWS/Lambda Throttles", "RouteExecuteFunction", [3] * 10))],
    "function-errors": each(FAILURES, *OTHERS),
    "look-up-errors": again(FAILURES, *LOOK_UPS),
    "market-errors": each(FAILURES, *MARKET),
    "market-unwatched": [watched(*range(20))],
    "http-5xx": [series(("AWS/ApiGateway 5xx", "HttpApi", [1] * 10))],
    "websocket-errors": [series(("AWS/ApiGateway ExecutionError", "WebSocketApi", [1] * 10))],
    "history-deferred": [placed(hidden(Service.HISTORY, 400), (0, {}))],
    "database-connections": [series(("AWS/RDS DatabaseConnections", "Database", [61] * 5))],
    "database-storage": [series(("AWS/RDS FreeStorageSpace", "Database", [1.4 * GIB]))],
    "database-credits": [
        series(("AWS/RDS CPUCreditBalance", "Database", [0] * 30), ("AWS/RDS CPUUtilization", "Database", [35] * 30))
    ],
    "database-memory": [series(("AWS/RDS FreeableMemory", "Database", [60 * MIB] * 15))],
    "new-version": of_version(NEW, "Errors", *APIS),
    "new-worker": [a_bug, *of_version(NEW, "Errors", "RouteExecuteFunction")],
    "new-notify": of_version(NEW, "Errors", "NotifyFunction"),
}

OFF: dict[str, list[Story]] = {
    "dead-letters": [WELL, series(("AWS/SQS ApproximateNumberOfMessagesVisible", "OrdersQueue", [50]))],
    "oldest-order": [series(("AWS/SQS ApproximateAgeOfOldestMessage", "OrdersQueue", [90, 90, 30, 90, 90]))],
    "orders-deferred": [WELL, placed(cut_off(Service.JOURNAL, 330, 510), *every(10, 60))],
    "failed-orders": [
        WELL,
        placed(market(*[Fate.NO_QUOTES] * 3), *every(1, 2)),
        placed(market(Fate.NO_QUOTES), *every(1, 20)),
        placed(market(Fate.NO_LIQUIDITY), *every(1, 20)),
        placed(market(Fate.REVERTS), *every(1, 20)),
        placed(mixed(5), *every(10, 20)),
    ],
    "order-errors": [WELL, placed(market(*[Fate.NO_QUOTES] * 3), *every(1, 20))],
    "time-to-final": [
        WELL,
        placed(slow_finality(Fate.LOST), *every(10, 10)),
        placed(rising, *RESTING),
        placed(Stack, *EXPIRING),
    ],
    "worker-errors": [*each(["Errors"], "SubmitFunction"), *each(["Invocations"], "RouteExecuteFunction")],
    "worker-throttles": [series(("AWS/Lambda Throttles", "RouteExecuteFunction", [40]))],
    "function-errors": [*each(FAILURES, "RouteExecuteFunction", *LOOK_UPS), *each(["Invocations"], *OTHERS)],
    "look-up-errors": [*again(FAILURES, *OTHERS), *again(["Invocations"], *LOOK_UPS), *each(FAILURES, *LOOK_UPS)],
    "market-errors": [*each(FAILURES, *OTHERS), *each(["Invocations"], *MARKET)],
    "market-unwatched": [
        watched(*range(MINUTES)),
        watched(*range(0, MINUTES, 3)),
        watched(*range(MINUTES), asks=STOP, priceless=range(1, 4)),
    ],
    "http-5xx": [
        series(("AWS/ApiGateway 4xx", "HttpApi", [500] * 10)),
        series(("AWS/ApiGateway 5xx", "HttpApi", [20])),
    ],
    "websocket-errors": [
        series(("AWS/ApiGateway ExecutionError", "WebSocketApi", [9])),
        series(
            ("AWS/ApiGateway IntegrationError", "WebSocketApi", [900] * 20),
            ("AWS/ApiGateway ClientError", "WebSocketApi", [900] * 20),
        ),
    ],
    "history-deferred": [WELL, placed(hidden(Service.HISTORY, 120), *every(20, 6)), owed_again],
    "database-connections": [series(("AWS/RDS DatabaseConnections", "Database", [61] * 4 + [60] * 5 + [61] * 4))],
    "database-storage": [series(("AWS/RDS FreeStorageSpace", "Database", [1.6 * GIB]))],
    "database-credits": [
        series(("AWS/RDS CPUCreditBalance", "Database", [5] * 40), ("AWS/RDS CPUUtilization", "Database", [15] * 40)),
        series(("AWS/RDS CPUCreditBalance", "Database", [200] * 40), ("AWS/RDS CPUUtilization", "Database", [95] * 40)),
        series(("AWS/RDS CPUUtilization", "Database", [95] * 40)),
    ],
    "database-memory": [series(("AWS/RDS FreeableMemory", "Database", [60 * MIB] * 10 + [90 * MIB] * 20))],
    "new-version": [*of_version(OLD, "Errors", *APIS), *of_version(NEW, "Invocations", *APIS)],
    "new-worker": [WELL, poison, *of_version(OLD, "Errors", "RouteExecuteFunction")],
    "new-notify": of_version(OLD, "Errors", "NotifyFunction"),
}


def cases(stories: Mapping[str, Iterable[Story]]) -> list[Any]:
    return [
        pytest.param(ALARMS[name], story, id=f"{name}-{number}")
        for name, told in stories.items()
        for number, story in enumerate(told)
    ]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed since the last call."""
    return lambda: capsys.readouterr().out


def test_every_alarm_has_its_stories() -> None:
    assert set(ON) == set(OFF) == set(ALARMS)


@pytest.mark.parametrize(("alarm", "story"), cases(ON))
def test_an_alarm_comes_on_and_goes_off(alarm: Alarm, story: Story, written: Callable[[], str]) -> None:
    """Only a watch that never begins again is missed for ever."""
    minutes = minutes_on(alarm, story(written), 2 * MINUTES)

    assert any(minute <= MINUTES for minute in minutes)
    assert (2 * MINUTES in minutes) is (alarm.properties["TreatMissingData"] == "breaching")


@pytest.mark.parametrize(("alarm", "story"), cases(OFF))
def test_an_alarm_stays_off(alarm: Alarm, story: Story, written: Callable[[], str]) -> None:
    metrics = story(written)

    assert metrics.points
    # Until its first run has ended, a watch is missing: docs/operations.md says so.
    begun = 2 if alarm.properties["TreatMissingData"] == "breaching" else 0
    assert [minute for minute in minutes_on(alarm, metrics, MINUTES) if minute > begun] == []


def test_what_happens_to_the_database_is_told_to_whom_the_alarms_are() -> None:
    (events,) = (resource["Properties"] for resource in resources("AWS::RDS::EventSubscription").values())
    topics = {referred(topic) for alarm in ALARMS.values() for topic in alarm.properties.get("AlarmActions", [])}

    assert {referred(events["SnsTopicArn"])} == topics
    assert (events["SourceType"], [referred(source) for source in events["SourceIds"]]) == ("db-instance", ["Database"])


def test_a_dead_letter_is_kept_for_days_however_long_it_was_on_the_orders_queue() -> None:
    """It keeps the time at which it was sent first:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html
    """
    queues = {name: queue["Properties"] for name, queue in resources("AWS::SQS::Queue").items()}
    (before,) = (queue for queue in queues.values() if "RedrivePolicy" in queue)
    after = queues[referred(before["RedrivePolicy"]["deadLetterTargetArn"])]

    assert after["MessageRetentionPeriod"] - before["MessageRetentionPeriod"] >= 4 * 24 * 3600


def test_a_watch_that_stops_is_missed_after_five_minutes(written: Callable[[], str]) -> None:
    minutes = minutes_on(ALARMS["market-unwatched"], watched(*range(20))(written), MINUTES)

    assert [minute for minute in minutes if minute > 1] == list(range(26, MINUTES + 1))


def test_a_watch_that_is_told_no_price_is_none(written: Callable[[], str]) -> None:
    """No stop protects anybody then, though somebody looks once a second."""
    story = watched(*range(MINUTES), asks=STOP, priceless=range(3, 20))

    minutes = minutes_on(ALARMS["market-unwatched"], story(written), MINUTES)

    assert {*range(10, 20)} <= {minute for minute in minutes if minute > 3} <= {*range(8, 23)}


def test_poison_is_seen_all_the_time_while_it_is_in_flight() -> None:
    """`dead_letters` fails on it every five or six minutes, and nobody receives it in between."""
    metrics = series(("AWS/SQS ApproximateNumberOfMessagesNotVisible", "DeadLettersQueue", [1] * MINUTES))(str)
    for at in range(0, MINUTES * 60, 330):
        metrics.put("AWS/Lambda", "Invocations", {"FunctionName": "DeadLettersFunction"}, at, 1)

    assert minutes_on(ALARMS["dead-letters"], metrics, MINUTES) == list(range(1, MINUTES + 1))
