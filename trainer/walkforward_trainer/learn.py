"""One set of training rows → its base models and heads, and what they say to rows that they have not seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from walkforward_trainer.errors import BadConfiguration, BadData, Reason
from walkforward_trainer.graph import HeadPart, base_graph
from walkforward_trainer.labels import classes_of
from walkforward_trainer.models.table import models
from walkforward_trainer.models.training import Binned, Training
from walkforward_trainer.runtime import run
from walkforward_trainer.selection import select
from walkforward_trainer.weighing import weighed

if TYPE_CHECKING:
    import numpy.typing as npt

    from walkforward_trainer.dataset import Dataset
    from walkforward_trainer.models.parts import BaseModel
    from walkforward_trainer.plan import Plan
    from walkforward_trainer.resolved import Head, Model

    Vector = npt.NDArray[np.float64]
    Index = npt.NDArray[np.intp]

__all__ = ["Learned", "learn"]

CLASS_NAMES = {2: ("0", "1"), 3: ("0 (down)", "1 (neutral)", "2 (up)")}


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """Models of one set of training rows; ``z`` (test rows, m · (classes - 1)) is what they say to the test rows."""

    bases: tuple[BaseModel, ...]
    heads: dict[str, BaseModel] = field(default_factory=dict)
    z: Vector | None = None
    classes: int = 2

    @property
    def wide(self) -> int:
        """Columns of ``z``."""
        return len(self.bases) * (self.classes - 1)

    @property
    def head_parts(self) -> list[HeadPart]:
        """The heads as outputs of a graph, without intervals."""
        return [HeadPart(name, model.part, 0 if model.part.link == "Number" else 2) for name, model in self.heads.items()]


def learn(
    rows: Dataset, plan: Plan, train: Index, where: str, parameters: Model, *, test: Index | None = None, heads: bool = True
) -> Learned:
    """Return what is learned from the labelled rows among ``train``; ``where`` names them for a person.

    Raises
    ------
    BadData
        A class that never occurs.
    BadConfiguration
        A base model that is not installed.
    """
    table = models()
    missing = [name for name in plan.recipe.models if name not in table]
    if missing:
        raise BadConfiguration(
            Reason.NOT_IN_THIS_RELEASE, f"recipe: base model {missing[0]} is not in this image; there are {', '.join(sorted(table))}"
        )
    known = train[rows.known[train]]
    _check(rows.y[known], plan.classes, where)
    columns = select(rows, known, plan)
    binned = Binned(rows.x[known][:, columns])
    training = Training(binned, rows.y[known], weighed(rows, plan, known), plan.classes)
    bases = tuple(_on(table[name](training, parameters), columns, rows.x.shape[1]) for name in plan.recipe.models)
    further = {}
    for head in plan.recipe.heads if heads else ():
        own = _head_training(rows, head, train, known, binned, columns)
        further[head.name] = _on(table[plan.recipe.models[0]](own, parameters), columns, rows.x.shape[1])
    graph = base_graph([model.part for model in bases], rows.x.shape[1])
    return Learned(bases, further, None if test is None else run(graph, rows.x[test]), plan.classes)


def _head_training(rows: Dataset, head: Head, train: Index, known: Index, binned: Binned, columns: Index) -> Training:
    """Return the labelled rows of a further target; the bins are shared where they are those of the main one."""
    answers = rows.targets[head.name]
    own = train[np.isfinite(answers[train])]
    classes = classes_of(head.target)
    if classes:
        _check(answers[own], classes, f"head {head.name}: the training rows")
    elif not len(own):
        raise BadData(Reason.ONE_CLASS, f"head {head.name}: no training row has an answer; use a longer window or a shorter horizon")
    weight = rows.weight[own]
    used = binned if np.array_equal(own, known) else Binned(rows.x[own][:, columns])
    return Training(used, answers[own], weight / weight.mean(), classes)


def _on(model: BaseModel, columns: Index, features: int) -> BaseModel:
    return model if len(columns) == features else model.among(columns, features)


def _check(y: Vector, classes: int, where: str) -> None:
    """Refuse rows in which a class never occurs: no model of it can be fitted."""
    count = np.bincount(y.astype(np.intp), minlength=classes)
    if (count == 0).any():
        names = ", ".join(CLASS_NAMES[classes][at] for at in np.flatnonzero(count == 0))
        raise BadData(
            Reason.ONE_CLASS,
            f"validation: {where} hold {len(y)} labels, none of class {names}; use fewer folds, a longer window, "
            "or a threshold that is crossed more often",
        )
