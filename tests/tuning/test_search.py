import keras
import pytest

import keras_ae
from keras_ae import InputError, tuning
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


@once("how a search ends")
def test_a_time_limit_ends_a_search_and_none_completed_is_an_error(dataset, tmp_path):
    found = search(dataset, tmp_path / "late", {"latent_dim": [2]}, time_limit=-1)
    with pytest.raises(InputError, match="no trial was completed; none has ended"):
        found.best()
    found = search(dataset, tmp_path / "failed", {"latent_dim": [0]})
    with pytest.raises(InputError, match="no trial was completed; the last one failed with: InputError: image shape"):
        found.best()
    with pytest.raises(InputError, match="a grid needs choices of latent_dim"):
        search(dataset, tmp_path, {"latent_dim": (2, 5)})
