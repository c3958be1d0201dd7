"""Which of the cases that a run could try it does try: the same ones in every run of the same seed."""

import random
from typing import Any


class Draw:
    """Draws for each operation by itself, so that a change of one operation leaves what is drawn of others."""

    def __init__(self, seed: str, share: float) -> None:
        self.seed, self.share = seed, share
        self.seen: set[tuple[str, ...]] = set()
        self.dice: dict[str, random.Random] = {}

    def keep(self, operation: Any, examples: list[Any], number: int) -> None:
        """Leave in a list of examples the first, and as many others as make up the number."""
        if len(examples) > number:
            examples[1:] = self._seeded(operation).sample(examples[1:], number - 1)

    def takes(self, case: Any) -> bool:
        """Of values at their bounds: an operation's first right and first wrong one, the first without each header or
        parameter that must be there, and a share of all others.
        """
        label, about = case.operation.label, case.meta.phase.data
        without = str(about.parameter) if about.scenario == "missing_parameter" else ""
        kind = (label, case.meta.generation.mode.value, without)
        first = kind not in self.seen
        self.seen.add(kind)
        dice = self.dice.setdefault(label, self._seeded(case.operation))
        return dice.random() < self.share or first

    def _seeded(self, operation: Any) -> random.Random:
        return random.Random(f"{self.seed} {operation.label}")
