"""Methods' looks: families, variants, additions, order, and colours that stay."""

import re
from itertools import pairwise

from analysis import theme
from tests.analysis.rivals import RIVALS

KEPT = {"zero_shot": "#000000", "linear_probe": "#56B4E9", "full": "#D55E00", "random_mask": "#E69F00",
        "mixout": "#009E73", "gmixout": "#0072B2"}  # fmt: skip


def test_the_six_colours_stay() -> None:
    assert {method: theme.look(method).color for method in KEPT} == KEPT


def test_every_method_has_a_look_of_its_own() -> None:
    looks = list(theme.METHODS.values())
    assert len({look.label for look in looks}) == len(looks)
    assert len({(look.color, look.marker) for look in looks}) == len(looks)
    assert {look.family for look in looks} == set(theme.FAMILIES) - {"other"}


def test_a_family_has_one_colour_and_stands_together() -> None:
    families = [look.family for look in theme.METHODS.values()]
    assert [family for family in theme.FAMILIES if family != "other"] == list(dict.fromkeys(families))
    changes = sum(one != other for one, other in pairwise(families))
    assert changes == len(set(families)) - 1
    assert len({(look.family, look.color) for look in theme.METHODS.values()}) == len(set(families))


def test_variants_and_additions_look_like_their_base() -> None:
    for name in ("gmixout+randaugment", "gmixout/wide", "gmixout/wide+mixup+cutmix"):
        shown, base = theme.look(name), theme.look("gmixout")
        assert (shown.color, shown.marker, shown.family) == (base.color, base.marker, base.family)
    assert theme.look("gmixout/wide+mixup+cutmix").label == "GMixout (wide) + MixUp + CutMix"
    assert theme.look("full+crop+mixup").label == "Full fine-tuning + random crops + MixUp"
    assert theme.look("full+crop+randaugment+mixup").label == "Full fine-tuning + RandAugment + MixUp"
    assert theme.look("full+class_balanced+my_own").label == "Full fine-tuning + class balancing + my own"
    assert theme.look("full/mixed_domains").label == "Full fine-tuning (mixed domains)"
    unknown = theme.look("mine+mixup")
    assert (unknown.label, unknown.family, unknown.color in theme.OTHER) == ("mine + MixUp", "other", True)
    assert unknown.color == theme.look("mine").color


def test_order_does_not_depend_on_where_it_starts() -> None:
    names = [*RIVALS, "mine", "another+mixup", "full/long+mixup"]
    order = theme.in_order(names)
    assert order == theme.in_order(reversed(names))
    assert sorted(order) == sorted(names)
    assert order[-2:] == ["another+mixup", "mine"]
    assert theme.in_order(["full+cutmix", "full+randaugment"]) == ["full+randaugment", "full+cutmix"]
    at = {name: position for position, name in enumerate(order)}
    assert at["full"] < at["full+crop"] < at["full+mixup"] < at["full/long"] < at["full/long+mixup"] < at["lp_ft"]
    families = [theme.look(name).family for name in order]
    assert list(dict.fromkeys(families)) == [family for family in theme.FAMILIES if family in families]
    assert all(re.fullmatch(r"#[0-9A-F]{6}", look.color) for look in theme.METHODS.values())
