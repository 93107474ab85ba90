"""Reading once: what a look has asked AWS, it does not ask again."""

from collections.abc import Callable, Hashable

from stillpoint.errors import StillpointError


class Once[K: Hashable, V]:
    """Answers to questions, each of which is asked at most once, also if it is not answered."""

    def __init__(self, ask: Callable[[K], V]) -> None:
        """`ask` answers a question, or raises a StillpointError."""
        self._ask = ask
        self._answers: dict[K, V | StillpointError] = {}

    def __call__(self, question: K) -> V:
        """Return the answer, or raise the error that was the answer."""
        if question not in self._answers:
            try:
                self._answers[question] = self._ask(question)
            except StillpointError as error:
                self._answers[question] = error
        answer = self._answers[question]
        if isinstance(answer, StillpointError):
            raise answer
        return answer
