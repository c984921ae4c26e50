import math
import shutil

import keras
import pytest

import keras_ae
from keras_ae import InputError, data, files, tuning
from tests.helpers import ONCE, once, small_vae


def build(epochs, latent_dim=4, learning_rate=1e-2):
    vae = small_vae(latent_dim=latent_dim, conditioning="none", max_skipped_steps=4)
    vae.compile(keras.optimizers.Adam(learning_rate))
    return vae


def search(dataset, folder, space, more=None, **kwargs):
    made = tuning.Search(build, space, dataset, folder, epochs=2, fit={"batch_size": 8, **(more or {})}, **kwargs)
    made.local_oracle.tell = lambda line: None
    made.search()
    return made


@once("the search below runs on each backend")
def test_a_grid_keeps_what_each_trial_measured_and_fails_alone(dataset, tmp_path, capsys):
    space = {"latent_dim": [2, 3], "learning_rate": [1e-2, 1e30]}
    found = tuning.Search(build, space, dataset, tmp_path, epochs=2, fit={"batch_size": 8})
    found.search()
    tried = [tuning.tuned(trial) for trial in found.trials()]
    assert tried == [{"latent_dim": n, "learning_rate": rate} for n in (2, 3) for rate in (1e-2, 1e30)]
    for trial, (failed, latent_dim) in zip(found.trials(), [(0, 2), (1, 2), (0, 3), (1, 3)], strict=True):
        assert (trial.status == "FAILED") == failed
        if failed:
            assert "not finite" in found.reason(trial)
        else:
            results = tuning.results(trial)
            model = build(2, latent_dim)
            rows = keras_ae.callbacks.restore(model, tmp_path / "trials" / f"trial_{trial.trial_id}").history
            assert results["val_elbo"] == trial.score == max(row["val_elbo"] for row in rows)
            assert results["parameters"] == model.count_params()
            assert 0 <= results["val_active_units"] <= latent_dim
    assert found.best().score == max(trial.score for trial in found.trials() if trial.status == "COMPLETED")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines] == [f"trial {number}/4" for number in (1, 2, 3, 4)]
    assert "| failed: " in lines[1]
    assert lines[2].endswith("ETA 0 min")


def test_a_killed_search_resumes(dataset, tmp_path, monkeypatch):
    """In the middle of the second trial, which resumes from its checkpoint."""
    space, steps = {"latent_dim": [2, 3]}, []

    class Killed(BaseException):
        pass

    class At(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(batch)
            if len(steps) == 21:  # of 16 a trial
                raise Killed

    fit = {"batch_size": 8, "checkpoint_steps": 2, "callbacks": [At()]}
    with pytest.raises(Killed):
        tuning.Search(build, space, dataset, tmp_path, epochs=2, fit=fit).search()
    found = search(dataset, tmp_path, space, more={"callbacks": [At()]})
    assert [tuning.tuned(trial)["latent_dim"] for trial in found.trials()] == [2, 3]
    assert len(steps) == 21 + 12  # the second resumed from its fourth step
    again = search(dataset, tmp_path, space, more={"callbacks": [At()]})
    assert len(steps) == 21 + 12
    assert [trial.score for trial in again.trials()] == [trial.score for trial in found.trials()]
    if ONCE:
        whole = search(dataset, tmp_path / "whole", space)
        assert [trial.score for trial in whole.trials()] == [trial.score for trial in found.trials()]


@once("how trials are chosen")
@pytest.mark.parametrize("method", ["random", "bayesian", "hyperband"])
def test_other_searches_draw_from_ranges(dataset, tmp_path, method):
    found = search(dataset, tmp_path, {"latent_dim": (2, 5), "learning_rate": (1e-3, 1e-2)}, method=method, trials=2)
    assert len(found.trials()) == 2
    for trial in found.trials():
        assert trial.status == "COMPLETED"
        assert 2 <= tuning.tuned(trial)["latent_dim"] <= 5
        assert 1e-3 <= tuning.tuned(trial)["learning_rate"] <= 1e-2


@once("which trials are chosen")
def test_hyperband_trains_the_best_of_the_short_trials_longer(dataset, tmp_path):
    made = tuning.Search(build, {"latent_dim": [2, 3, 4, 5, 6]}, dataset, tmp_path, epochs=3, method="hyperband")
    made.local_oracle.tell = lambda line: None
    made.search()
    epochs = [trial.hyperparameters.values["tuner/epochs"] for trial in made.trials()]
    assert sorted(epochs) == [1, 1, 1, 3, 3, 3]
    short = [trial for trial in made.trials() if trial.hyperparameters.values["tuner/epochs"] == 1]
    best = max(short, key=lambda trial: trial.score)
    again = [tuning.tuned(trial) for trial in made.trials() if "tuner/trial_id" in trial.hyperparameters.values]
    assert again == [tuning.tuned(best)]
    with pytest.raises(InputError, match="hyperband begins with 17 different trials and 3 are possible"):
        tuning.Search(build, {"latent_dim": [2, 3, 4]}, dataset, tmp_path / "few", epochs=10, method="hyperband")


@once("test_disk.py fills a disk on each backend")
def test_a_full_disk_fails_no_trial(dataset, tmp_path, monkeypatch):
    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras_ae.callbacks.checkpoint.PAUSES", ())
    with monkeypatch.context() as patch:
        patch.setattr("keras_ae.callbacks.Checkpoint._write", full)
        with pytest.raises(keras_ae.CheckpointError, match="No space left on device"):
            search(dataset, tmp_path, {"latent_dim": [2]})
    assert search(dataset, tmp_path, {"latent_dim": [2]}).best().score


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folders of two searches that have ended, by method: a grid and hyperband."""
    shapes = data.load("shapes", image_size=(8, 8), limit=60)
    folders = {}
    for method in ("grid", "hyperband"):
        folders[method] = tmp_path_factory.mktemp(method)
        search(shapes, folders[method], SPACES[method], method=method)
    return shapes, folders


SPACES = {"grid": {"latent_dim": [2, 3]}, "hyperband": {"latent_dim": (2, 9), "learning_rate": (1e-3, 1e-2)}}
TRIAL, ORACLE = "trial_0000/trial.json", "oracle.json"
UNTRUE = [
    (TRIAL, ["trial_id"], "x/../../../victim"),
    (TRIAL, ["trial_id"], "0001"),
    (TRIAL, ["status"], "DONE"),
    (TRIAL, ["score"], math.nan),
    (TRIAL, ["score"], "1"),
    (TRIAL, ["message"], 3),
    (TRIAL, ["best_step"], -1),
    (TRIAL, ["hyperparameters", "values"], {}),
    (TRIAL, ["hyperparameters", "values", "latent_dim"], 10**9),
    (TRIAL, ["hyperparameters", "values", "latent_dim"], 2.0),
    (TRIAL, ["hyperparameters", "values", "width"], 4),
    (TRIAL, ["hyperparameters", "space"], []),
    (TRIAL, ["metrics", "metrics"], {}),
    (TRIAL, ["metrics", "metrics", "val_kl", "observations"], []),
    (TRIAL, ["metrics", "metrics", "val_elbo", "observations", 0, "value"], [math.inf]),
    (TRIAL, ["metrics", "metrics", "best_epoch", "observations", 0, "value"], [10**9]),
    (TRIAL, [], {}),
    (ORACLE, ["end_order"], ["0000", "0000"]),
    (ORACLE, ["end_order"], ["0000", "../x"]),
    (ORACLE, ["retry_queue"], ["9999"]),
    (ORACLE, ["ongoing_trials"], {"tuner0": "9999"}),
    (ORACLE, ["hyperparameters", "space"], []),
    (ORACLE, ["seed_state"], "x"),
    (ORACLE, ["tried_so_far"], [[]]),
    (ORACLE, ["display", "search_start"], "yesterday"),
    (ORACLE, [], {}),
]
UNTRUE_ROUNDS = [
    (TRIAL, ["hyperparameters", "values", "tuner/epochs"], 10**9),
    (TRIAL, ["hyperparameters", "values", "tuner/epochs"], 1.5),
    (TRIAL, ["hyperparameters", "values", "tuner/trial_id"], "../x"),
    (TRIAL, ["hyperparameters", "values", "learning_rate"], 1.0),
    (ORACLE, ["max_epochs"], 10**9),
    (ORACLE, ["current_bracket"], 99),
    (ORACLE, ["brackets"], [{"bracket_num": 0, "rounds": []}]),
    (ORACLE, ["brackets"], [{"bracket_num": 0, "rounds": [[{"past_id": None, "id": "../x"}]]}]),
]
CASES = [("grid", *case) for case in UNTRUE] + [("hyperband", *case) for case in UNTRUE_ROUNDS]


@once("what is read from files")
@pytest.mark.parametrize(("method", "name", "keys", "value"), CASES)
def test_files_that_say_what_no_search_writes_are_refused(ended, tmp_path, method, name, keys, value):
    """Their checksums are right."""
    shapes, folders = ended
    folder = shutil.copytree(folders[method], tmp_path / "search")
    path = folder / "trials" / name
    content = part = files.read_json(path)
    for key in keys[:-1]:
        part = part[key]
    if keys:
        part[keys[-1]] = value
    files.write_json(path, content if keys else value)
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match=rf"{name} is damaged, or of another search; delete the folder"):
        search(shapes, folder, SPACES[method], method=method)
    assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@once("what is read from files")
def test_what_ended_is_read_again(ended):
    shapes, folders = ended
    for method, folder in folders.items():
        again = search(shapes, folder, SPACES[method], method=method)
        assert len(again.trials()) == len(list(folder.glob("trials/trial_*")))


@once("files")
@pytest.mark.parametrize("link", ["trials.csv", "worker_0.log", "trials/trial_0000/failed.txt", ".lock"])
def test_a_folder_with_links_is_refused(ended, tmp_path, link):
    shapes, folders = ended
    folder = shutil.copytree(folders["grid"], tmp_path / "search")
    (tmp_path / "victim").write_text("precious")
    (folder / link).unlink(missing_ok=True)
    (folder / link).symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=rf"{link} is a symbolic link, which no run and no search makes"):
        search(shapes, folder, SPACES["grid"])
    with pytest.raises(InputError, match="symbolic link"):
        tuning.workers.run_search(None, folder, 2)
    assert (tmp_path / "victim").read_text() == "precious"


@once("how a search ends")
def test_a_time_limit_ends_a_search_and_none_completed_is_an_error(dataset, tmp_path):
    found = search(dataset, tmp_path / "late", {"latent_dim": [2]}, time_limit=-1)
    with pytest.raises(InputError, match="no trial was completed; none has ended"):
        found.best()
    found = search(dataset, tmp_path / "failed", {"latent_dim": [0]})
    with pytest.raises(InputError, match="no trial was completed; the last one failed with: InputError: a code of the"):
        found.best()
    with pytest.raises(InputError, match="a grid needs choices of latent_dim"):
        search(dataset, tmp_path, {"latent_dim": (2, 5)})


@once("variables of an environment")
def test_each_worker_has_a_gpu_of_its_own(tmp_path, monkeypatch):
    gpu = tuning.workers._gpu
    monkeypatch.setattr(tuning.workers, "GPUS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpu(0) == {}
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    assert [gpu(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [gpu(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)] == ["4", "6", "4"]
