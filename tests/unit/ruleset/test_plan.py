"""A plan says what differs, and turns it into the smallest transaction the kernel accepts."""

from fwlb.ruleset.plan import Content, Plan

BASE = """table inet fwlb {
\tcomment "made by fwlb"
\tset ports {
\t\ttype inet_service
\t}

\tset nets {
\t\ttype ipv4_addr
\t\tflags interval
\t}

\tset alive {
\t\ttype inet_service
\t\tflags timeout
\t}

\tchain own {
\t}

\tchain forward {
\t\ttype filter hook forward priority filter; policy drop;
\t\tct state established accept
\t\ttcp dport @ports accept
\t\tudp dport 53 accept
\t\tjump own
\t}
}
"""


def content(listing: str = BASE, **elements: tuple[str, ...]) -> Content:
    return Content(listing, {"ports": ("21", "22"), "nets": ("10.0.0.0/8",), **elements})


def patch(plan: Plan) -> list[str]:
    return [x if isinstance(x, str) else f"{x.op.value} {x.text}" for x in plan.patch()]


def test_equal_contents_are_an_empty_plan() -> None:
    plan = Plan(content(), content())
    assert plan.is_empty
    assert plan.transaction() == ""
    assert plan.as_json() == {"same": True, "table": "inet fwlb", "changes": []}


def test_no_table_on_either_side_is_an_empty_plan() -> None:
    assert Plan(None, None).is_empty


def test_the_first_time_everything_is_added() -> None:
    plan = Plan(None, content())
    assert not plan.is_empty
    text = plan.transaction()
    assert text.startswith("table inet fwlb {\n\tcomment")
    assert "add element inet fwlb ports { 21, 22 }\n" in text
    assert "flush" not in text
    assert "delete" not in text


def test_taking_down_deletes_the_table_and_nothing_else() -> None:
    assert Plan(content(), None).transaction() == "delete table inet fwlb\n"


def test_a_changed_rule_touches_only_its_chain() -> None:
    plan = Plan(content(BASE.replace("udp dport 53 accept", "udp dport 54 accept")), content())
    assert patch(plan) == [
        "@@ table inet fwlb, chain forward @@",
        "  ...",
        "  ct state established accept",
        "  tcp dport @ports accept",
        "- udp dport 54 accept",
        "+ udp dport 53 accept",
        "  jump own",
    ]
    text = plan.transaction()
    assert text.startswith("flush chain inet fwlb forward\n")
    assert "set ports" not in text
    assert "chain own" not in text


def test_rules_in_another_order_are_a_difference() -> None:
    swapped = BASE.replace(
        "\t\ttcp dport @ports accept\n\t\tudp dport 53 accept\n",
        "\t\tudp dport 53 accept\n\t\ttcp dport @ports accept\n",
    )
    assert not Plan(content(swapped), content()).is_empty


def test_single_elements_are_added_and_deleted() -> None:
    plan = Plan(content(ports=("22", "80")), content())
    assert patch(plan) == [
        "@@ table inet fwlb, set ports @@",
        "- element 80",
        "+ element 21",
    ]
    assert plan.transaction() == (
        "delete element inet fwlb ports { 80 }\nadd element inet fwlb ports { 21 }\n"
    )


def test_a_set_of_ranges_is_filled_anew() -> None:
    text = Plan(content(nets=("10.0.0.0/9",)), content()).transaction()
    assert text == "flush set inet fwlb nets\nadd element inet fwlb nets { 10.0.0.0/8 }\n"


def test_a_map_element_is_deleted_by_its_key() -> None:
    listing = BASE.replace(
        "\tset ports {\n\t\ttype inet_service", "\tmap m {\n\t\ttype inet_service : verdict"
    )
    live = Content(listing, {"m": ("21 : drop", "22 : accept")})
    text = Plan(live, Content(listing, {"m": ("21 : accept", "22 : accept")})).transaction()
    assert text == "delete element inet fwlb m { 21 }\nadd element inet fwlb m { 21 : accept }\n"


def test_elements_of_run_time_sets_are_no_difference() -> None:
    assert Plan(content(alive=("21",)), content()).is_empty


def test_another_hook_replaces_all_rules_but_keeps_run_time_sets() -> None:
    live = content(BASE.replace("priority filter", "priority -5"))
    text = Plan(live, content()).transaction()
    assert text.startswith("flush table inet fwlb\n")
    assert "delete chain inet fwlb forward\n" in text
    assert "delete set inet fwlb alive" not in text
    assert "add element inet fwlb ports { 21, 22 }" in text


def test_a_foreign_chain_and_set_go_away_chain_first() -> None:
    extra = BASE.replace(
        "\tchain own {",
        "\tset extra {\n\t\ttype inet_service\n\t}\n\n\tchain x {\n\t}\n\n\tchain own {",
    )
    text = Plan(content(extra), content()).transaction()
    assert text.index("delete chain inet fwlb x") < text.index("delete set inet fwlb extra")


def test_sets_that_cannot_be_shown_are_compared_by_digest() -> None:
    live = Content(BASE, {}, {"ports": "aa"}, {"ports": ""})
    wanted = Content(BASE, {}, {"ports": "bb"}, {"ports": "add element inet fwlb ports { 7 }\n"})
    plan = Plan(live, wanted)
    assert not plan.is_empty
    assert plan.transaction() == "flush set inet fwlb ports\nadd element inet fwlb ports { 7 }\n"


def test_ten_thousand_elements_are_compared_at_once() -> None:
    many = tuple(f"{n}" for n in range(1, 10_001))
    fewer = tuple(text for text in many if text != "5000")
    assert patch(Plan(content(ports=fewer), content(ports=many)))[1:] == ["+ element 5000"]
