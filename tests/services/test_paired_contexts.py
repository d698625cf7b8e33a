"""An experiment and its context, a run and its context: what happens to one shows in the other."""

import pytest

from tensordeck import errors, protos

LABEL = {"vertex_tensorboard_experiment_source": "vertex_experiment"}


class Experiments:
    """Experiments of one instance, made as the official client makes them."""

    def __init__(self, api):
        self.api = api
        self.board = api.board()

    def context_name(self, context_id: str) -> str:
        return f"{self.api.metadata_store}/contexts/{context_id}"

    def face(self, experiment: str, run: str = "") -> str:
        name = f"{self.board}/experiments/{experiment}"
        return f"{name}/runs/{run}" if run else name

    def make(self, experiment: str = "exp", *runs: str) -> None:
        self._context(
            experiment,
            "system.Experiment",
            {"experiment_deleted": False, "backing_tensorboard_resource": self.board},
        )
        for run in runs:
            self.start(experiment, run)

    def start(self, experiment: str, run: str) -> None:
        """The calls of `start_run`."""
        api, run_id = self.api, f"{experiment}-{run}"
        self._context(
            run_id, "system.ExperimentRun", {"_params": {"lr": 0.1}, "_state": "RUNNING"}, run
        )
        api(
            "CreateTensorboardExperiment",
            parent=self.board,
            tensorboard_experiment_id=experiment,
            tensorboard_experiment={"display_name": experiment, "labels": LABEL},
        )
        try:
            api("GetTensorboardRun", name=self.face(experiment, run))
        except errors.NotFound:
            api.run(self.face(experiment), run)
        artifact = api(
            "CreateArtifact",
            parent=api.metadata_store,
            artifact_id=f"{run_id}-tb-run",
            artifact={
                "schema_title": "google.VertexTensorboardRun",
                "metadata": {
                    "resourceName": self.face(experiment, run),
                    "vertex_experiment_tracking": True,
                },
            },
        )
        api(
            "AddContextArtifactsAndExecutions",
            context=self.context_name(run_id),
            artifacts=[artifact.name],
        )
        api(
            "AddContextChildren",
            context=self.context_name(experiment),
            child_contexts=[self.context_name(run_id)],
        )

    def contexts(self) -> dict[str, str]:
        """Display names by id."""
        listed = self.api("ListContexts", parent=self.api.metadata_store).contexts
        return {context.name.rpartition("/")[2]: context.display_name for context in listed}

    def artifacts(self) -> list[str]:
        listed = self.api("ListArtifacts", parent=self.api.metadata_store).artifacts
        return [artifact.name.rpartition("/")[2] for artifact in listed]

    def faces(self) -> dict[str, str]:
        """Display names of the instance's experiments and runs by what follows its name."""
        found = self.api("ListTensorboardExperiments", parent=self.board).tensorboard_experiments
        runs = [
            run
            for experiment in found
            for run in self.api("ListTensorboardRuns", parent=experiment.name).tensorboard_runs
        ]
        return {
            item.name.removeprefix(f"{self.board}/experiments/"): item.display_name
            for item in [*found, *runs]
        }

    def backing(self, experiment: str = "exp") -> object:
        got = self.api("GetContext", name=self.context_name(experiment))
        return protos.to_json(got.metadata)["backing_tensorboard_resource"]

    def _context(self, context_id: str, schema: str, metadata: dict, title: str = "") -> None:
        self.api(
            "CreateContext",
            parent=self.api.metadata_store,
            context_id=context_id,
            context={
                "display_name": title or context_id,
                "schema_title": schema,
                "metadata": metadata,
            },
        )


@pytest.fixture
def experiments(api) -> Experiments:
    made = Experiments(api)
    made.make("exp", "one", "two")
    made.make("other", "one")
    return made


BOTH = {"exp": "exp", "exp-one": "one", "exp-two": "two", "other": "other", "other-one": "one"}
FACES = {
    "exp": "exp",
    "exp/runs/one": "one",
    "exp/runs/two": "two",
    "other": "other",
    "other/runs/one": "one",
}
REFERENCES = ["exp-one-tb-run", "exp-two-tb-run", "other-one-tb-run"]


def without(names: dict[str, str], *gone: str) -> dict[str, str]:
    return {name: title for name, title in names.items() if name not in gone}


class TestDeletion:
    def test_of_a_tensorboard_run_takes_its_context(self, api, experiments):
        api("DeleteTensorboardRun", name=experiments.face("exp", "one"))
        assert experiments.contexts() == without(BOTH, "exp-one")
        assert experiments.artifacts() == REFERENCES[1:]
        # As the client goes on when it deletes a run together with its curves.
        api("DeleteArtifact", name=f"{api.metadata_store}/artifacts/exp-one-tb-run")
        with pytest.raises(errors.NotFound):
            api("DeleteContext", name=experiments.context_name("exp-one"))

    def test_of_a_tensorboard_experiment_takes_its_contexts(self, api, experiments):
        lone = {"_params": {}, "_state": "COMPLETE"}
        experiments._context("exp-lone", "system.ExperimentRun", lone)  # it has no curves
        pipeline = {"schema_title": "system.PipelineRun", "display_name": "pipeline"}
        api("CreateContext", parent=api.metadata_store, context_id="pipeline", context=pipeline)
        children = [experiments.context_name(child) for child in ("exp-lone", "pipeline")]
        api(
            "AddContextChildren",
            context=experiments.context_name("exp"),
            child_contexts=children,
        )
        api("DeleteTensorboardExperiment", name=experiments.face("exp"))
        assert experiments.contexts() == {
            "other": "other",
            "other-one": "one",
            "pipeline": "pipeline",
        }
        assert experiments.artifacts() == REFERENCES[2:]

    def test_of_an_instance_leaves_what_was_logged_and_no_reference(self, api, experiments):
        api("DeleteTensorboard", name=experiments.board)
        assert experiments.contexts() == BOTH
        assert experiments.artifacts() == []
        assert experiments.backing("exp") is None
        assert experiments.backing("other") is None

    def test_of_an_instance_leaves_the_experiments_of_others(self, api, experiments):
        another = Experiments(api)
        another.make("third", "one")
        api("DeleteTensorboard", name=experiments.board)
        assert another.backing("third") == another.board
        assert another.artifacts() == ["third-one-tb-run"]

    def test_of_a_runs_context_keeps_its_curves(self, api, experiments):
        """The client has a word for deleting them, too."""
        api("DeleteContext", name=experiments.context_name("exp-one"))
        assert experiments.faces() == FACES
        assert experiments.artifacts() == REFERENCES[1:]
        experiments.start("exp", "one")
        assert experiments.contexts() == BOTH

    def test_of_an_experiment_takes_the_empty_shell_behind_it(self, api, experiments):
        for run in ("one", "two"):
            api("DeleteTensorboardRun", name=experiments.face("exp", run))
        api("DeleteContext", name=experiments.context_name("exp"))
        assert experiments.faces() == {"other": "other", "other/runs/one": "one"}
        api("DeleteContext", name=experiments.context_name("other"))  # that has a run left
        assert experiments.faces() == {"other": "other", "other/runs/one": "one"}

    def test_of_many_by_a_filter(self, api, experiments):
        purged = api(
            "PurgeContexts",
            parent=api.metadata_store,
            filter='schema_title = "system.ExperimentRun"',
            force=True,
        )
        assert purged.purge_count == 3
        assert experiments.artifacts() == []
        assert experiments.faces() == FACES

    def test_of_a_run_that_only_looks_like_it_takes_nothing(self, api, experiments):
        elsewhere = Experiments(api)
        api.experiment(elsewhere.board, "exp")
        run = api.run(elsewhere.face("exp"), "one")
        api("DeleteTensorboardRun", name=run)
        api("DeleteTensorboardExperiment", name=elsewhere.face("exp"))
        assert experiments.contexts() == BOTH
        assert experiments.artifacts() == REFERENCES


class TestRenaming:
    def rename(self, api, kind: str, name: str, title: str):
        field = {"TensorboardRun": "tensorboard_run", "Context": "context"}.get(
            kind, "tensorboard_experiment"
        )
        return api(
            f"Update{kind}",
            **{field: {"name": name, "display_name": title}},
            update_mask={"paths": ["display_name"]},
        )

    def test_of_a_context_shows_in_what_is_behind_it(self, api, experiments):
        self.rename(api, "Context", experiments.context_name("exp"), "Our best")
        self.rename(api, "Context", experiments.context_name("exp-one"), "with dropout")
        assert experiments.faces() == {
            **FACES,
            "exp": "Our best",
            "exp/runs/one": "with dropout",
        }

    def test_of_what_is_behind_a_context_shows_in_it(self, api, experiments):
        self.rename(api, "TensorboardExperiment", experiments.face("exp"), "Our best")
        self.rename(api, "TensorboardRun", experiments.face("exp", "two"), "with dropout")
        assert experiments.contexts() == {**BOTH, "exp": "Our best", "exp-two": "with dropout"}

    def test_to_a_name_that_another_run_has_leaves_both(self, api, experiments):
        with pytest.raises(errors.AlreadyExists):
            self.rename(api, "Context", experiments.context_name("exp-one"), "two")
        assert experiments.contexts() == BOTH
        assert experiments.faces() == FACES

    def test_without_another_face_is_no_error(self, api, experiments):
        lone = api.run(api.experiment(api.board(), "lone"), "run")
        self.rename(api, "TensorboardRun", lone, "renamed")
        api("DeleteTensorboard", name=experiments.board)
        self.rename(api, "Context", experiments.context_name("exp"), "x")
        self.rename(api, "Context", experiments.context_name("exp-one"), "two")


def test_runs_that_start_at_once_share_the_experiment_that_each_makes(api):
    board = api.board()
    fields = {"tensorboard_experiment_id": "exp", "parent": board}
    theirs = {"display_name": "exp", "labels": LABEL}
    first = api("CreateTensorboardExperiment", tensorboard_experiment=theirs, **fields)
    assert api("CreateTensorboardExperiment", tensorboard_experiment=theirs, **fields) == first
    with pytest.raises(errors.AlreadyExists):
        api("CreateTensorboardExperiment", **fields)
