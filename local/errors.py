"""What can go wrong with the local stack in a way that its user can mend."""


class LocalStackError(Exception):
    """The message is for the user: one line that says what is wrong and, where there is one, the way out."""


class OrderRefused(LocalStackError):
    """The system did not accept an order; `problem` is the problem document it answered with."""

    def __init__(self, problem: dict[str, object]) -> None:
        super().__init__(problem.get("detail") or problem.get("title"))
        self.problem = problem
