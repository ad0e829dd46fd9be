"""Where a run and its tasks on a Ray cluster leave each other word: progress, verdicts, the request to stop."""

import asyncio

from studies.messages import Moving, Validated

PATIENCE_S = 1.0
"""How long a question for news is kept open where there is none, in seconds."""


class Post:
    """An actor beside the run's main process; of progress it keeps the latest word of each attempt alone.

    An attempt is one try at one cell. Nothing here is the truth about a cell: its folder is.
    """

    def __init__(self) -> None:
        self._moved: dict[str, Moving] = {}
        self._letters: list[tuple[str, object]] = []
        self._verdicts: dict[str, asyncio.Future[bool]] = {}
        self._has_news = asyncio.Event()
        self._is_stopping = False

    async def tell(self, attempt: str, message: object) -> bool:
        """Takes a message of an attempt; returns whether the run asks it to stop.

        Args:
            attempt: Which.
            message: To the run; None asks only.
        """
        if isinstance(message, Moving):
            self._moved[attempt] = message
        elif message is not None:
            self._letters.append((attempt, message))
        if message is not None:
            self._has_news.set()
        return self._is_stopping

    async def judge(self, attempt: str, validated: Validated) -> bool:
        """Waits for the run's verdict on an attempt: whether it ends here."""
        verdict = self._verdicts[attempt] = asyncio.get_running_loop().create_future()
        await self.tell(attempt, validated)
        return await verdict

    async def answer(self, attempt: str, is_pruned: bool) -> None:
        """Gives the verdict that an attempt waits for."""
        waiting = self._verdicts.pop(attempt, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(is_pruned)

    async def collect(self) -> list[tuple[str, object]]:
        """What attempts have told since the last time, after waiting a while for the first word."""
        try:
            await asyncio.wait_for(self._has_news.wait(), PATIENCE_S)
        except TimeoutError:
            return []
        self._has_news.clear()
        found = [*self._letters, *self._moved.items()]
        self._letters, self._moved = [], {}
        return found

    async def stop(self) -> None:
        """From now on every attempt that asks is to stop."""
        self._is_stopping = True
