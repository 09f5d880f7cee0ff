"""What can go wrong with the local stack in a way that its user can mend."""

from typing import Any


class LocalStackError(Exception):
    """The message is for the user: one line that says what is wrong and, where there is one, the way out."""


class OrderRefused(LocalStackError):
    """The system did not accept an order; `problem` is the problem document it answered with."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"refused ({problem['status']} {problem['title']}): {problem['detail'] or 'without a reason'}")
        self.problem = problem
