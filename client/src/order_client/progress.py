"""One order's statuses, put in order."""

from dataclasses import dataclass, field

from order_client.models import Status


@dataclass
class Progress:
    """Which statuses of an order have come, and which are to be shown: those above `floor`, each once and in order.

    Seen is counted from 1, also where the caller has had the first ones: only so is it noticed that the order had ended
    before, when nothing would ever come again.
    """

    order_id: str
    floor: int = 0
    seen: int = 0
    ended: bool = False
    _early: dict[int, Status] = field(default_factory=dict)

    @property
    def has_gap(self) -> bool:
        """Whether a status came before one that is due."""
        return bool(self._early)

    def take(self, status: Status) -> list[Status]:
        """Take a status in as it came; return those that are due now. One that comes too early is kept until then."""
        if status.sequence <= self.seen or self.ended:
            return []
        self._early[status.sequence] = status
        due = []
        while (following := self._early.pop(self.seen + 1, None)) and not self.ended:
            self.seen, self.ended = following.sequence, following.is_final
            if following.sequence > self.floor:
                due.append(following)
        if self.ended:
            self._early.clear()
        return due
