"""The command: a sample drawn, filled in and handed back; or the labels that trained the models."""

import numpy as np
import pandas as pd
import pytest
from estimated import cases, features, run_of
from toys import TOY

from narrutils.cli import main
from narrutils.errors import InputError
from narrutils.estimate import Asked, answer, draw_sample, estimate
from narrutils.findings.estimates.sampling import INCLUSION
from narrutils.findings.estimates.three_ways import BOTH, HUMAN, NAIVE

NEW, NEW_CODES, NEW_GROUPS = cases(400, seed=1, prefix="n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("runs") / "run")[0]


@pytest.fixture
def table(tmp_path):
    return features(tmp_path, NEW, NEW_GROUPS)


def coded(sample: pd.DataFrame, path):
    """A drawn sample, filled in by people."""
    for name in TOY.names:
        sample[name] = NEW_CODES[name].loc[sample["uid"]].to_numpy()
    sample.to_csv(path, index=False)
    return path


def at(found, way, **where):
    for column, value in (where | {"way": way}).items():
        found = found[found[column] == value]
    return found.iloc[0]


def test_a_sample_that_is_drawn_and_coded_estimates_all_cases(run, table, tmp_path, capsys):
    """From the command line to the end, without a look at how it is done."""
    words = ["estimate", "--run", str(run.folder), "--features", str(table)]
    sample, out = tmp_path / "sample.csv", tmp_path / "out.csv"
    assert main([*words, "--draw", "150", "--by", "site", "--out", str(sample)]) == 0
    assert "150 cases to be coded" in capsys.readouterr().out
    drawn = pd.read_csv(sample, keep_default_na=False)
    assert list(drawn) == ["uid", "site", *TOY.names, INCLUSION] and drawn["Sad"].eq("").all()
    assert drawn["site"].value_counts().tolist() == [75, 75]
    assert sample.stat().st_mode & 0o077 == 0
    coded(drawn, sample)
    assert (
        main([*words, "--human", str(sample), "--by", "site", "sex", "--adjust", "holm", "--out", str(out)])
        == 0
    )
    said = capsys.readouterr().out
    assert "machine alone: NOT VALID" in said and "odds ratio, site south against north" in said
    found = pd.read_csv(out, keep_default_na=False, na_values=[""]).fillna({"group": "", "level": ""})
    one, both = (at(found, w, variable="Sad", measure="prevalence", group="") for w in (HUMAN, BOTH))
    truth = NEW_CODES["Sad"].mean()
    assert one["value_low"] < truth < one["value_high"] and both["value_low"] < truth < both["value_high"]
    assert both["value_high"] - both["value_low"] < one["value_high"] - one["value_low"]
    assert at(found, BOTH, variable="Sad", measure="odds_ratio", group="site")["value_low"] > 1


def test_the_inclusion_column_is_heeded_without_being_asked_for(run, table, tmp_path):
    asked = Asked(run.folder, table, variables=["Sad"], by={"site": ""})
    path = coded(draw_sample(asked, 120), tmp_path / "human.csv")
    told = pd.read_csv(path)
    assert told[INCLUSION].nunique() == 2
    with_chances = estimate(Asked(run.folder, table, human=path, variables=["Sad"]))[0]
    told.rename(columns={INCLUSION: "pi"}).to_csv(path, index=False)
    named = estimate(Asked(run.folder, table, human=path, weight="pi", variables=["Sad"]))[0]
    pd.testing.assert_frame_equal(with_chances, named)
    plain = estimate(Asked(run.folder, table, human=path, variables=["Sad"]))[0]
    assert at(plain, HUMAN)["value"] != at(named, HUMAN)["value"]


def test_stored_probabilities_spare_the_reading_and_say_the_same(run, table, tmp_path):
    probabilities, codes = tmp_path / "p.parquet", tmp_path / "codes.csv"
    words = ["predict", "--run", str(run.folder), "--features", str(table), "--out", str(codes)]
    assert main([*words, "--probabilities", str(probabilities)]) == 0
    path = coded(draw_sample(Asked(run.folder, table), 100), tmp_path / "human.csv")
    read = estimate(Asked(run.folder, table, human=path))[0]
    stored = estimate(Asked(run.folder, table, probabilities, path))[0]
    pd.testing.assert_frame_equal(read, stored)


def test_training_labels_serve_where_no_human_codes_are_given(run, table):
    own, notes = estimate(Asked(run.folder, variables=["Sad"], by={"site": ""}))
    row = at(own, BOTH, measure="prevalence", group="")
    assert (row["human_codes"], row["cases"]) == (200, 600)
    assert any("random part of all" in note for note in notes)
    more, _ = estimate(Asked(run.folder, table, variables=["Sad"], by={"site": ""}))
    row = at(more, BOTH, measure="prevalence", group="")
    assert (row["human_codes"], row["cases"]) == (200, 600)
    assert (
        at(more, NAIVE, measure="prevalence", group="")["value"]
        != at(own, NAIVE, measure="prevalence", group="")["value"]
    )


def test_human_codes_of_training_cases_are_refused_by_uid_and_by_words(run, tmp_path):
    train = run.cases("train")[TOY.text_columns]
    again = train.iloc[[3]].set_axis(["other"])
    texts = pd.concat([NEW, train.iloc[:2], again])
    path = features(tmp_path, texts, NEW_GROUPS.reindex(texts.index, fill_value="north"))
    human = tmp_path / "human.csv"
    for uid in (train.index[0], "other"):
        human.write_text(f"uid,Sad\nn001,1\n{uid},1\n")
        with pytest.raises(InputError, match=f"line 3: uid {uid} is a training case .* leave --human out"):
            estimate(Asked(run.folder, path, human=human))
    human.write_text(f"uid,Sad\n{train.index[5]},1\n")  # in no table of cases
    with pytest.raises(InputError, match="is a training case"):
        estimate(Asked(run.folder, human=human))
    human = coded(draw_sample(Asked(run.folder, path), 100), human)
    found, notes = estimate(Asked(run.folder, path, human=human, variables=["Sad"]))
    assert (
        at(found, HUMAN)["cases"] == 400 and "left out, since the models learned from them: 3 cases" in notes
    )


def test_a_twin_of_a_training_case_counts_where_training_labels_serve(run, tmp_path):
    """It is read by the models that left its twin out; the training case itself stands there once."""
    train = run.cases("train")[TOY.text_columns]
    texts = pd.concat([NEW[:50], train.iloc[:2], train.iloc[[3]].set_axis(["other"])])
    path = features(tmp_path, texts, NEW_GROUPS.reindex(texts.index, fill_value="north"))
    found, _ = estimate(Asked(run.folder, path, variables=["Sad"]))
    assert at(found, BOTH)["cases"] == 200 + 51


def test_cases_of_one_incident_are_one_cluster():
    from narrutils.data.schema import Schema
    from narrutils.estimate import together

    schema = Schema.from_dict(TOY.to_dict() | {"keep_together": ("incident",)})
    groups = pd.DataFrame({"incident": ["a", "a", "", "", "b"]}, list("vwxyz"))
    numbers = together(schema, groups)
    assert numbers["v"] == numbers["w"] and numbers.nunique() == 4
    schema = Schema.from_dict(TOY.to_dict() | {"keep_together": ("incident", "person")})
    groups["person"] = ["", "p", "p", "q", "q"]
    numbers = together(schema, groups)
    assert numbers["v"] == numbers["w"] == numbers["x"] != numbers["y"] == numbers["z"]


def test_a_draw_estimates_nothing_and_says_what_does_not_go_with_it(run, tmp_path):
    with pytest.raises(InputError, match="leave out --adjust, --width"):
        answer(Asked(run.folder, adjust="holm", width=0.1), tmp_path / "s.csv", size=5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"by": {"shoe": ""}}, "--by shoe: the cases have no such column; there are site, sex"),
        ({"by": {"site": "west"}}, "--by site=west: no such level; there are north, south"),
        ({"variables": ["sad"]}, "--variable sad: .* did you mean Sad"),
        ({"adjust": "hulm"}, "--adjust hulm: it may be holm"),
        ({"width": 1.5}, "--width 1.5"),
        ({"weight": "pi"}, "--weight: names a column of --human"),
        ({"probabilities": "p.csv"}, "--probabilities: needs --features"),
        ({"features": "none.csv"}, "none.csv: no such file"),
        ({"human": "none.csv"}, "none.csv: no such file; --draw makes one"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(run, tmp_path, more, said):
    paths = {n: tmp_path / more.pop(n) for n in ("probabilities", "features", "human") if n in more}
    with pytest.raises(InputError, match=said) as fault:
        answer(Asked(run.folder, **more, **paths))
    assert "\n" not in str(fault.value)


def test_results_replace_nothing_unless_that_is_asked_for(run, tmp_path):
    out, asked = tmp_path / "out.csv", Asked(run.folder, variables=["Sad"])
    with pytest.raises(InputError, match="--draw: name the file"):
        answer(asked, size=10)
    with pytest.raises(InputError, match="x.txt: unknown kind of file; name it .csv"):
        answer(asked, tmp_path / "x.txt")
    answer(asked, out)
    kept = out.read_bytes()
    with pytest.raises(InputError, match="is there already"):
        answer(asked, out, size=10)
    answer(asked, out, overwrite=True)
    assert out.read_bytes() == kept
    assert np.isfinite(pd.read_csv(out)["value"]).all()
