"""The review file: what it decides is done and nothing else; what does not fit is passed over, and said."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from toys import TOY, random_labels, random_probabilities, word_texts

from narrutils.data.folds import PLAIN, for_fold, stack
from narrutils.errors import InputError
from narrutils.labels.correction import METHODS, correct_by_fold
from narrutils.labels.review import (
    CASE,
    COLUMNS,
    METHOD,
    case_digest,
    check_review,
    load_decisions,
    read_review,
)
from narrutils.pipeline.preflight import check_inputs

N, K = 90, 3
LABELS = random_labels(TOY, N)
TEXTS = word_texts(TOY, N)
FOLDS = pd.Series(np.arange(N) % K, index=LABELS.index)
HEADER = ",".join(COLUMNS)


def write(path, *rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(uid, name, decision, after, before=None):
    before = LABELS.at[uid, name] if before is None else before
    return f"{uid},{name},{decision},{before},{after}"


def readings():
    """Readings that contradict every fifth label, so that each method has something to change."""
    truth = LABELS.copy()
    truth.iloc[::5, [0, 2]] = 1 - truth.iloc[::5, [0, 2]]
    tables = {}
    for k in range(PLAIN, K):
        rows = LABELS.index[FOLDS.ne(k)]
        tables[k] = 0.3 * random_probabilities(TOY, rows, k + 1) + 0.7 * TOY.to_targets(truth.loc[rows])
    return stack(tables)


def corrected(method, decisions=None):
    return correct_by_fold(TOY, LABELS, readings(), FOLDS, method, decisions)


def cells(targets):
    """Every (uid, variable, held_out_fold) with its code."""
    codes = TOY.to_labels(targets.droplevel("held_out_fold")).set_index(targets.index)
    return codes.stack()


@pytest.mark.parametrize("method", METHODS)
def test_accepted_and_refused_labels_change_and_only_those(tmp_path, method):
    without = corrected(method)
    plain = without.flips[without.flips["held_out_fold"] == PLAIN]
    refused = plain.iloc[0]
    changed = set(zip(without.flips["uid"], without.flips["variable"]))
    free = [u for u in LABELS.index if not {(u, "Note"), (u, "Tool"), (u, "Place")} & changed]
    accepted = [
        (free[0], "Note", 1 - LABELS.at[free[0], "Note"]),
        (free[1], "Tool", 5 - LABELS.at[free[1], "Tool"]),
    ]
    accepted.append((free[2], "Place", LABELS.at[free[2], "Place"] % 3 + 1))
    rows = [row(uid, name, "accept", after) for uid, name, after in accepted]
    rows.append(row(refused["uid"], refused["variable"], "refuse", refused["after"]))
    rows.append(row(free[3], "Note", "refuse", 1 - LABELS.at[free[3], "Note"]))  # no method would change it
    decisions = load_decisions(write(tmp_path / "review.csv", *rows), TOY, LABELS, TEXTS)
    with_file = corrected(method, decisions)

    before, after = cells(without.targets), cells(with_file.targets)
    differ = before.index[before != after]
    expected = {(uid, name) for uid, name, _ in accepted} | {(refused["uid"], refused["variable"])}
    assert {(uid, name) for uid, _, name in differ} == expected
    for uid, name, code in accepted:  # in every model's targets that hold the case
        folds = [PLAIN, *(k for k in range(K) if k != FOLDS[uid])]
        assert [after[uid, k, name] for k in folds] == [code] * K
        flips = with_file.flips.query("uid == @uid and variable == @name")
        assert set(flips["method"]) == {METHOD} and set(flips["probability"]) == {1.0}
        assert sorted(flips["held_out_fold"]) == sorted(folds)
    told = with_file.flips.query("uid == @refused.uid and variable == @refused.variable")
    assert told.empty
    for k in range(K):
        if k != FOLDS[refused["uid"]]:
            assert after[refused["uid"], k, refused["variable"]] == refused["before"]


def test_accepting_what_a_method_changes_anyway_changes_no_label():
    without = corrected("author")
    flip = without.flips.query("held_out_fold == @PLAIN").iloc[0]
    decision = {"uid": flip["uid"], "variable": flip["variable"], "decision": "accept"}
    decisions = pd.DataFrame([decision | {"label_before": 0, "label_after": 1}])
    with_file = corrected("author", decisions)
    assert for_fold(with_file.targets, PLAIN).equals(for_fold(without.targets, PLAIN))
    assert not with_file.flips.duplicated(["uid", "variable", "held_out_fold"]).any()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        (["zzzz,Sad,accept,0,1"], "line 2: uid zzzz is not a training case; passed over"),
        (["u000,Happy,accept,0,1"], "line 2: Happy is not a variable of schema toy; passed over"),
        ([row("u000", "Sad", "perhaps", 1)], "line 2: decision is perhaps; it takes accept or refuse"),
        ([row("u000", "Place", "accept", 7)], "line 2: label_after is 7; Place takes 1, 2, 3"),
        ([row("u000", "Tool", "refuse", "")], r"line 2: label_after is \(not shown\); Tool takes 0, 5"),
        (
            [row("u000", "Sad", "accept", LABELS.at["u000", "Sad"], 1 - LABELS.at["u000", "Sad"])],
            "line 2: stale: Sad of case u000 is . now, not .; passed over",
        ),
        (
            [row("u000", "Sad", "accept", LABELS.at["u000", "Sad"])],
            "line 2: label_after of Sad of case u000 is label_before",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_passed_over_with_one_line(tmp_path, capsys, rows, fault):
    good = row("u001", "Note", "refuse", 1 - LABELS.at["u001", "Note"])
    decisions = load_decisions(write(tmp_path / "review.csv", *rows, good), TOY, LABELS, TEXTS)
    assert decisions["uid"].tolist() == ["u001"]
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("review.csv: ")
    assert pd.Series([line]).str.contains(fault).all()


def test_a_decision_is_read_whatever_its_capitals(tmp_path):
    other = 1 - LABELS.at["u000", "Sad"]
    rows = [
        row("u000", "Sad", "Accept", other),
        row("u001", "Note", " REFUSE ", 1 - LABELS.at["u001", "Note"]),
    ]
    decisions = load_decisions(write(tmp_path / "review.csv", *rows), TOY, LABELS, TEXTS)
    assert decisions["decision"].tolist() == ["accept", "refuse"]


@pytest.mark.parametrize(
    ("encoding", "separator", "end"),
    [("utf-8-sig", ";", ""), ("utf-16", "\t", ""), ("utf-8", ",", ",,"), ("utf-8", ",", ",remark")],
)
def test_a_file_that_went_through_a_spreadsheet_is_read_alike(tmp_path, encoding, separator, end):
    lines = [HEADER, row("u000", "Sad", "accept", 1 - LABELS.at["u000", "Sad"])]
    first = write(tmp_path / "review.csv", *lines[1:])
    again = tmp_path / "again.csv"
    text = "\r\n".join(line + end for line in lines).replace(",", separator)
    again.write_bytes(text.encode(encoding))
    read = [check_review(read_review(path), TOY, LABELS, TEXTS) for path in (first, again)]
    assert len(read[0][0]) == 1 and read[0][0].equals(read[1][0]) and read[1][1] == []


def renamed(names):
    """Labels and texts whose first cases bear these uids."""
    index = pd.Index([*names, *LABELS.index[len(names) :]], name="uid")
    return LABELS.set_index(index), TEXTS.set_index(index)


@pytest.mark.parametrize(
    ("written", "known", "line"),
    [
        ("7", "0007", "uid 7 is not a training case, 0007 is; a spreadsheet may have taken its zeros"),
        (
            "0012 ",
            "0012",
            "uid (not shown) is not a training case, 0012 is; blanks around a uid belong to it",
        ),
        (
            "0012",
            "0012 ",
            "uid 0012 is not a training case, (not shown) is; blanks around a uid belong to it",
        ),
        (" ", "0", "uid (not shown) is not a training case"),
    ],
)
def test_a_uid_that_is_not_quite_that_of_a_case_is_named_and_decides_nothing(tmp_path, written, known, line):
    labels, texts = renamed([known])
    file = write(
        tmp_path / "review.csv",
        row(written, "Sad", "accept", 1 - LABELS.iloc[0]["Sad"], LABELS.iloc[0]["Sad"]),
    )
    decisions, lines = check_review(read_review(file), TOY, labels, texts)
    assert decisions.empty and lines == [f"line 2: {line}; passed over"]


@pytest.mark.parametrize("uid", ["0012 ", " 0012", "\t7", "=1+1", "-2 "])
def test_a_uid_is_read_as_it_stands(tmp_path, uid):
    labels, texts = renamed([uid, "0012", "7", "-2"])
    before = LABELS.iloc[0]["Sad"]
    file = write(tmp_path / "review.csv", row(f'"{uid}"', "Sad", "refuse", 1 - before, before))
    decisions, lines = check_review(read_review(file), TOY, labels, texts)
    assert decisions["uid"].tolist() == [uid] and lines == []


def digested(uid, name, after, case):
    return f"{row(uid, name, 'accept', after)},{case}"


def test_a_decision_on_another_case_is_named_and_never_applied(tmp_path):
    """The digest of each row is of the case that was looked at; the uids of two rows were changed since."""
    cases = {uid: case_digest("salt", uid, TEXTS.loc[uid]) for uid in LABELS.index[:3]}
    after = 1 - LABELS["Sad"]
    rows = [digested("u000", "Sad", after["u000"], cases["u000"]), digested("u001", "Sad", after["u001"], "")]
    rows += [
        digested(uid, "Sad", after[uid], case) for uid, case in (("u002", cases["u000"]), ("u003", "1.5"))
    ]
    file = write(tmp_path / "review.csv", *rows, header=f"{HEADER},{CASE}")
    decisions, lines = check_review(read_review(file), TOY, LABELS, TEXTS)
    assert decisions["uid"].tolist() == ["u000", "u001"]  # one without a digest is read as ever
    assert list(decisions.columns) == COLUMNS
    assert [line.split(":")[0] for line in lines] == ["line 4", "line 5"]
    assert all("case does not fit uid u00" in line and "another case" in line for line in lines)


def test_a_digest_tells_cases_apart_by_uid_and_text_and_says_nothing_else():
    texts = TEXTS.loc["u000"]
    cell = case_digest("salt", "u000", texts)
    others = [("other", "u000", texts), ("salt", "u001", texts), ("salt", "u000", texts.iloc[::-1])]
    assert len({word.split("-")[-1] for word in (cell, *(case_digest(*other) for other in others))}) == 4
    assert case_digest("salt", "u000", [None, "x"]) == case_digest("salt", "u000", ["", "x"])
    assert pd.Series([cell]).str.fullmatch(r"sha256-salt-[0-9a-f]{16}").all()


def test_a_label_that_is_not_given_takes_no_decision(tmp_path):
    labels = LABELS.astype("Int64")
    labels.loc["u000", "Sad"] = pd.NA
    file = write(tmp_path / "review.csv", row("u000", "Sad", "accept", 1, 0))
    decisions, (line,) = check_review(read_review(file), TOY, labels, TEXTS)
    assert decisions.empty and "Sad of case u000 is without a label now, not 0" in line


def test_contradictions_are_all_passed_over_and_repetitions_kept_once(tmp_path):
    other = 1 - LABELS.at["u000", "Sad"]
    place = LABELS.at["u001", "Place"]
    rows = [row("u000", "Sad", "accept", other), row("u000", "Sad", "refuse", other)]
    rows += [
        row("u001", "Place", "accept", place % 3 + 1),
        row("u001", "Place", "accept", (place + 1) % 3 + 1),
    ]
    rows += [row("u002", "Tool", "accept", 5 - LABELS.at["u002", "Tool"])] * 2
    decisions, lines = check_review(read_review(write(tmp_path / "review.csv", *rows)), TOY, LABELS, TEXTS)
    assert decisions[["uid", "variable"]].to_numpy().tolist() == [["u002", "Tool"]]
    contradicted = "lines 2, 3 contradict each other on Sad of case u000; passed over"
    assert lines[:2] == [f"line 2: {contradicted}", f"line 3: {contradicted}"]
    assert len(lines) == 4


def test_to_accept_one_class_and_refuse_another_is_no_contradiction(tmp_path):
    place = LABELS.at["u001", "Place"]
    one, other = place % 3 + 1, (place + 1) % 3 + 1
    rows = [row("u001", "Place", "refuse", one), row("u001", "Place", "accept", other)]
    decisions, lines = check_review(read_review(write(tmp_path / "review.csv", *rows)), TOY, LABELS, TEXTS)
    assert not lines
    assert decisions[["decision", "label_after"]].to_numpy().tolist() == [["accept", other]]


def test_a_file_that_is_no_such_table_is_an_error(tmp_path):
    with pytest.raises(InputError, match="review_file is .*none.csv; there is no such file"):
        read_review(tmp_path / "none.csv")
    lacking = write(tmp_path / "lacking.csv", header="uid,variable,decision,label_before")
    with pytest.raises(InputError, match="column label_after is missing"):
        read_review(lacking)
    with pytest.raises(InputError, match="line 2 has 2 fields"):
        read_review(write(tmp_path / "short.csv", "u000,Sad"))


def test_no_file_and_a_file_without_decisions_decide_nothing(tmp_path):
    assert load_decisions("", TOY, LABELS, TEXTS).empty
    empty = load_decisions(write(tmp_path / "empty.csv"), TOY, LABELS, TEXTS)
    assert empty.empty and list(empty.columns) == COLUMNS
    assert corrected("author", empty).flips.equals(corrected("author").flips)


def test_a_line_never_repeats_what_could_be_narrative(tmp_path, capsys):
    secret = "He was last seen at home."
    rows = [f'u000,"{secret}",accept,0,1', f'"{secret}",Sad,accept,0,1', f'u001,Sad,"{secret}",0,1']
    assert load_decisions(write(tmp_path / "review.csv", *rows), TOY, LABELS, TEXTS).empty
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 3 and secret not in said


def test_a_run_s_key_holds_the_content_of_the_file_and_its_faults_stop_it_early(tmp_path):
    def key(path):
        profile = SimpleNamespace(parameters={"03_relabeling": {"review_file": str(path)}, "04_deberta": {}})
        return check_inputs(profile)[0].of("03_relabeling")

    one = write(tmp_path / "one.csv", row("u000", "Sad", "refuse", 1))
    same = write(tmp_path / "same.csv", row("u000", "Sad", "refuse", 1))
    other = write(tmp_path / "other.csv", row("u000", "Sad", "accept", 1))
    assert key(one) == key(same) != key(other)
    assert key("") == {}
    with pytest.raises(InputError, match="there is no such file"):
        key(tmp_path / "none.csv")
    with pytest.raises(InputError, match="column uid is missing"):
        key(write(tmp_path / "faulty.csv", header="variable,decision,label_before,label_after"))
