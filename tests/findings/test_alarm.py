"""What people are told where narratives differ."""

from narrutils.findings.alarm import MEND, alarm


def row(number: str, distance: float, at: float = 120.0) -> dict:
    return {"number": number, "distance": distance, "at": at, "before": 0.5, "now": 0.5 - distance}


def test_it_says_what_differs_which_way_and_what_to_do():
    said = alarm([row("words First", -0.4), row("words Second", -0.3, at=0.0), row("unknown", 0.2, at=0.1)])
    assert "fewer words in First, at most 120 in 90% of these cases, in 50% of the run's" in said
    assert "Second is empty in 80% of these cases, in 50% of the run's" in said
    assert "more words that the models do not know, at most 10% in 30% of these cases" in said
    assert said.endswith(MEND) and "\n" not in said


def test_it_names_three_at_most_and_what_is_plainest_first():
    said = alarm([*[row(f"probability V_{n}", -0.5) for n in range(4)], row("doubt", 0.4)])
    assert "(more codes expected to be wrong" in said and "V_0 read as less probable" in said
    assert "V_1" in said and "V_2" not in said and "and 2 more" in said
