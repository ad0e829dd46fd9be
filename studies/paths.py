"""Which straight lines between the models of one run are walked. Needs no torch."""

from dataclasses import dataclass

PRETRAINED, ANCHOR, REPORTED = "pretrained", "anchor", "reported"


@dataclass(frozen=True)
class Path:
    """A line between the weights of two models.

    Attributes:
        weights: Its name in the records.
        start: A model's name, or a member's number, oldest first; here alpha is 0.
        end: Likewise; here alpha is 1.
        member: The member that the records name it by; -1 if none.
    """

    weights: str
    start: str | int
    end: str | int
    member: int = -1


def paths(members: int, has_anchor: bool) -> tuple[Path, ...]:
    """Every line of a run: from member to member as it visited them, to the reported weights, and to where it began.

    Args:
        members: How many members it kept.
        has_anchor: Whether it is a masked method, whose anchor is a model of its own.

    Example:
        >>> [path.weights for path in paths(2, has_anchor=False)]
        ['path_members', 'path_member_reported', 'path_member_reported', 'path_pretrained_reported']
    """
    found = [Path("path_members", number, number + 1, number) for number in range(members - 1)]
    if members > 2:
        found.append(Path("path_first_last", 0, members - 1))
    found += [Path("path_member_reported", number, REPORTED, number) for number in range(members)]
    found.append(Path("path_pretrained_reported", PRETRAINED, REPORTED))
    if has_anchor:
        found += [Path("path_pretrained_anchor", PRETRAINED, ANCHOR), Path("path_anchor_reported", ANCHOR, REPORTED)]
    return tuple(found)
