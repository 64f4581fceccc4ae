"""A search: interrupted equals undisturbed, what scores it chooses nothing, a proxy is held to full size."""

import dataclasses
import os
import signal

import pandas as pd
import pytest
from searches import OWN, SPACE, linear, search, toy_run
from toys import TOY

from narrutils.data.folds import singles
from narrutils.data.run import Run
from narrutils.errors import InputError
from narrutils.tuning import trials
from narrutils.tuning.search import ALL, CHOSEN, FIRST

pytestmark = pytest.mark.slow


class Twinned(Run):
    """A run whose test cases have twins."""

    def __init__(self, folder, twins):
        super().__init__(folder)
        self.twins = twins

    def clusters(self):
        return self.twins


PLAIN = ["study", "trial", *SPACE["space"], "folds", "so_far", "average_f1", "given_up", "trouble"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_run(tmp_path_factory.mktemp("runs") / "toy")


@pytest.fixture(scope="module")
def carried_out(toy):
    """Search, record and trials of an undisturbed one with labelled test cases."""
    made = search(toy, trials=7)
    return made, *made.carry_out()


def trials_of(path):
    """What is compared of the trials of a search that lies there: all but times."""
    made = trials.open_study(path / "study.db", ALL, "key")
    return trials.table(made)[PLAIN]


def killing(at):
    """The toy's build, which kills its own process (SIGKILL) at so many calls."""
    calls = iter(range(1, at + 1))

    def build(frame, parameters, name):
        if next(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return linear(frame, parameters, name)

    return build


def in_a_fork(work):
    """Do some work in a process of its own; its exit code."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_twice_it_ends_as_undisturbed(toy, carried_out, tmp_path):
    _, record, trials = carried_out
    for at in (3, 5):
        again = search(toy, trials=7, folder=tmp_path / "again", build=killing(at))
        assert in_a_fork(again.carry_out) == -signal.SIGKILL
    resumed, _ = (again := search(toy, trials=7, folder=tmp_path / "again")).carry_out()
    pd.testing.assert_frame_equal(trials_of(again.folder), trials[PLAIN])
    assert resumed == record


def test_stopped_within_a_trial_it_asks_for_the_same_setting_again(toy, carried_out, tmp_path):
    """At each place where a trial can stop: in a fold's training, once it was told of a fold."""
    left = {"n": 0}

    def interrupted(frame, parameters, name):
        left["n"] += 1
        if left["n"] in (1, 4, 5, 9):
            raise KeyboardInterrupt
        return linear(frame, parameters, name)

    again = search(toy, trials=7, folder=tmp_path / "again", build=interrupted)
    stops = 0
    for _ in range(5):
        try:
            again.carry_out()
        except KeyboardInterrupt:
            stops += 1
    assert stops == 4
    pd.testing.assert_frame_equal(trials_of(again.folder), carried_out[2][PLAIN])


def test_a_search_that_goes_on_to_more_trials_is_one_of_more_trials(toy, carried_out, tmp_path):
    search(toy, trials=4, folder=tmp_path / "again").carry_out()
    _, trials = search(toy, trials=7, folder=tmp_path / "again").carry_out()
    pd.testing.assert_frame_equal(trials[PLAIN], carried_out[2][PLAIN])


def test_fewer_trials_than_were_made_are_the_first_of_them(toy, carried_out, tmp_path):
    whole, record, trials = carried_out
    again, fewer = dataclasses.replace(whole, trials=4).carry_out()
    pd.testing.assert_frame_equal(fewer[PLAIN], trials[PLAIN][:4])
    best = trials["average_f1"][:4].idxmax()
    assert again["chosen"] == trials.loc[best, list(SPACE["space"])].to_dict()
    assert again["swing"]["trials"]["n"] == trials["average_f1"][:4].notna().sum()


def test_a_test_case_with_a_twin_in_training_tells_no_honest_score(toy):
    made = search(toy)
    test = made.study.test.index
    assert list(made.tested) == list(test)
    twins = made.study.run.clusters().reset_index(names="uid")
    twins.loc[twins["uid"].isin(test[:3]), "twin"] = made.study.train.index[0]
    study = dataclasses.replace(made.study, run=Twinned(toy.folder, twins.set_index("uid")))
    assert list(dataclasses.replace(made, study=study).tested) == list(test[3:])


def test_test_labels_of_auxiliary_variables_alone_leave_the_folds(toy):
    made = search(toy)
    assert made.on_test
    study = dataclasses.replace(made.study, test_labels=made.study.test_labels.astype("Int64"))
    study.test_labels.loc[:, TOY.names] = pd.NA
    assert not dataclasses.replace(made, study=study).on_test


def test_the_first_trials_are_the_authors_and_the_profiles_own(carried_out):
    made, record, trials = carried_out
    rows = trials[list(SPACE["space"])].to_dict("records")
    assert rows[0] == made.space.first == record["known"][FIRST]
    assert rows[1] == OWN
    assert not trials["given_up"][:2].any()


def test_a_poor_setting_is_given_up_before_its_last_fold(carried_out):
    _, record, trials = carried_out
    given_up = trials[trials["given_up"]]
    assert len(given_up) and (given_up["folds"] < 3).all() and given_up["average_f1"].isna().all()
    assert record["chosen"] == trials.loc[trials["average_f1"].idxmax(), list(SPACE["space"])].to_dict()


def test_the_record_holds_inner_beside_outer_scores_and_their_difference(carried_out):
    _, record, trials = carried_out
    best = {row["setting"]: row for row in record["settings"]}[CHOSEN]
    assert best["inner"] == trials["average_f1"].max()
    assert record["optimism"] == best["difference"] == best["inner"] - best["outer"]
    assert record["judged_on"] == "test"
    assert record["swing"]["trials"]["most"] == best["inner"]
    assert "seeds" not in record["swing"]  # this learner draws nothing


def test_what_test_cases_say_chooses_nothing(carried_out, tmp_path):
    """With other test cases and labels every trial is the same, and only the honest score another."""
    _, record, trials = carried_out
    other = toy_run(tmp_path / "other", tested=24)
    cases = other.cases()
    cases.loc[cases["split"] == "test", TOY.text_columns] = "quite something else"
    Run(other.folder, "01_eda").write("cases.parquet", cases)
    again, scored = search(other, trials=7).carry_out()
    pd.testing.assert_frame_equal(scored[PLAIN], trials[PLAIN])
    assert again["chosen"] == record["chosen"]
    assert [row["outer"] for row in again["settings"]] != [row["outer"] for row in record["settings"]]


def test_what_a_folds_cases_say_chooses_nothing_for_them(tmp_path):
    """Without labelled test cases: with other texts and labels of a fold its study is the same."""
    runs = [toy_run(tmp_path / name, labelled=False) for name in ("one", "other")]
    cases, folds = runs[1].cases(), runs[1].folds()
    cases.loc[folds.index[folds == 1], TOY.text_columns] = "quite something else"
    cases.loc[folds.index[folds == 1], "Sad"] = 0
    Run(runs[1].folder, "01_eda").write("cases.parquet", cases)
    (one, trials), (other, others) = (search(run, trials=2).carry_out() for run in runs)
    assert one["judged_on"] == "folds"
    same = {
        name: trials[trials["study"] == name][PLAIN].equals(others[others["study"] == name][PLAIN])
        for name in trials["study"].unique()
    }
    assert same == {"all": False, "without_fold0": False, "without_fold1": True, "without_fold2": False}
    assert one["by_study"]["without_fold1"] == other["by_study"]["without_fold1"]


def test_trials_of_another_search_are_refused_with_a_mend(toy, carried_out):
    with pytest.raises(InputError, match="remove .* to begin anew") as caught:
        search(toy, key="another").carry_out()
    assert "\n" not in str(caught.value)


def test_a_setting_that_cannot_be_trained_ends_its_trial_alone(toy, tmp_path):
    def fussy(setting):
        if setting["scaled"]:
            raise InputError("scaled and unscaled exclude each other")
        return dict(setting)

    record, trials = search(toy, trials=6, folder=tmp_path / "fussy", parameters=fussy).carry_out()
    refused = trials[trials["trouble"] != ""]
    assert len(refused) and refused["scaled"].all() and refused["given_up"].all()
    assert not record["chosen"]["scaled"] and len(trials) == 6
    with pytest.raises(InputError, match="exclude each other"):  # the first one is the user's own
        first = SPACE | {"first": SPACE["first"] | {"scaled": True}}
        search(toy, trials=2, space=first, folder=tmp_path / "first", parameters=fussy).carry_out()


def test_what_a_proxy_finds_is_chosen_by_its_score_at_full_size(toy, tmp_path):
    made = search(toy, trials=8, space=SPACE | {"proxy": {"cases": 30}}, folder=tmp_path / "proxy")
    record, trials = made.carry_out()
    found = pd.DataFrame(record["proxy"]["candidates"])
    assert found["first"].sum() == 1 and len(found) >= 4
    assert list(found["proxy"]) == sorted(found["proxy"], reverse=True)
    assert found["proxy"].max() == trials["average_f1"].max()
    best = {row["setting"]: row for row in record["settings"]}
    assert best[CHOSEN]["inner"] == found["full"].max()
    assert best[FIRST]["inner"] == found.loc[found["first"], "full"].item()
    gains = found["full"].iloc[0] > found.loc[found["first"], "full"].item()
    assert record["proxy"]["gains"] == gains and -1 <= record["proxy"]["rank"] <= 1


def test_all_but_records_is_removed_and_no_text_stays(toy, carried_out, tmp_path):
    made = search(toy, trials=2, folder=tmp_path / "done")
    made.carry_out()
    assert made.work.stat().st_mode & 0o077 == 0
    made.finish()
    assert not made.work.exists()
    assert [path.name for path in made.folder.iterdir()] == ["study.db"]
    held = (made.folder / "study.db").read_bytes()
    assert not any(text.encode() in held for text in toy.cases()["First"])


def test_costs_are_told_before_anything_starts(toy):
    plain = search(toy, trials=20, repeats=2).trainings()
    assert plain["trials"] == 60 and plain["the honest score"] == 9 and plain["other seeds"] == 6
    assert (
        search(toy, trials=20, space=SPACE | {"proxy": {"cases": 9}}).trainings()[
            "proxies scored again at full size"
        ]
        == 24
    )


def test_no_more_is_trained_than_was_told(toy, tmp_path):
    trained = []

    def counted(frame, parameters, name):
        model, phases = linear(frame, parameters, name)
        fit = model.fit
        model.fit = lambda phases, held_outs=None: (
            trained.extend(held_outs or singles(frame.study.folds)),
            fit(phases, held_outs),
        )[1]
        return model, phases

    made = search(toy, trials=5, folder=tmp_path / "counted", build=counted)
    made.carry_out()
    assert 0 < len(trained) <= sum(made.trainings().values())
