"""The connections in memory, with the calls and conditions of the DynamoDB adapter (test_contract.py)."""

from dataclasses import replace

from order_engine.adapters.journal.connections import MESSAGES, MOST_ORDERS
from order_engine.domain.access import PUBLIC
from order_engine.domain.refusals import TooManyMessages, TooManyStreams, TooManySubscriptions
from order_engine.domain.subscriber import Connection, Subscriber

from tests.doubles.gate import Gate, Service, outside
from tests.doubles.tables import Socketed, Tables


class MemoryConnections:
    """Implements `ports.Connections`; all that share `tables` see the same."""

    def __init__(self, gate: Gate, tables: Tables, most_streams: int = 0) -> None:
        self.gate = gate
        self.tables = tables
        self.most_streams = most_streams

    def admit(self, owner: str) -> None:
        if self.most_streams and owner != PUBLIC:
            self._count(owner)

    @outside(Service.CONNECTIONS)
    def _count(self, owner: str) -> None:
        if sum(one.connection.owner == owner for one in self.tables.connections.values()) >= self.most_streams:
            raise TooManyStreams(self.most_streams)

    @outside(Service.CONNECTIONS)
    def open(self, connection: Connection) -> None:
        self.tables.connections[connection.connection_id] = Socketed(connection)

    @outside(Service.CONNECTIONS)
    def find(self, connection_id: str) -> Connection | None:
        there = self.tables.connections.get(connection_id)
        return there.connection if there else None

    @outside(Service.CONNECTIONS)
    def hear(self, connection_id: str, cost: int) -> Connection | None:
        there = self.tables.connections.get(connection_id)
        if there is None:
            return None
        now = int(self.gate.timeline().timestamp() * 1000)
        if there.arrival > MESSAGES.latest(now, cost):
            told, there.told = there.told == there.arrival, there.arrival
            raise TooManyMessages(MESSAGES.denied(now, there.arrival, cost).retry_seconds, told)
        there.arrival = max(there.arrival, now) + cost * MESSAGES.interval
        return there.connection

    @outside(Service.CONNECTIONS)
    def add(self, subscriber: Subscriber) -> int | None:
        there = self.tables.connections.get(subscriber.connection_id)
        if there is None or there.closing:
            return None
        orders = there.connection.orders
        if len(orders) >= MOST_ORDERS and subscriber.order_id not in orders:
            raise TooManySubscriptions(MOST_ORDERS)
        more = {subscriber.order_id: subscriber.page, **orders}
        there.connection = replace(there.connection, orders=more, lasting=True)
        return more[subscriber.order_id]

    @outside(Service.CONNECTIONS)
    def end(self, subscriber: Subscriber) -> bool:
        there = self.tables.connections.get(subscriber.connection_id)
        if there and not there.connection.lasting:
            there.closing = True
        return there is None or there.closing

    @outside(Service.CONNECTIONS)
    def drop(self, subscriber: Subscriber) -> None:
        if there := self.tables.connections.get(subscriber.connection_id):
            left = {one: page for one, page in there.connection.orders.items() if one != subscriber.order_id}
            there.connection = replace(there.connection, orders=left)

    @outside(Service.CONNECTIONS)
    def forget(self, connection_id: str) -> None:
        self.tables.connections.pop(connection_id, None)
