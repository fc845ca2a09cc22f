"""tools/claims.py: what it trains, how it resumes, and how verdicts follow from the figures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, epoch_record

sys.path.insert(0, str(ROOT / "tools"))
import claims  # noqa: E402  when its folder is on the path


def write_run(folder, name, accuracy, epochs=((0.5, 0.75),), predictions=()):
    """A finished run as train.py leaves it, with a network of nothing."""
    run = folder / name
    (run / "model").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    (run / "test.json").write_text(json.dumps({"accuracy": accuracy}))
    (run / "metrics.jsonl").write_text("".join(
        json.dumps(epoch_record(pearson=pearson, best_accuracy=best)) + "\n"
        for pearson, best in epochs))
    (run / "predictions.jsonl").write_text("".join(
        json.dumps({"file": "a.jpg", "label": label, "probability": probability}) + "\n"
        for label, probability in predictions))


@pytest.fixture
def runs_with(tmp_path):
    """runs_with(name=(0.1, 0.2, 0.3), …): the runs of trainings with these accuracies."""
    def write(**accuracies):
        for training, each in accuracies.items():
            for seed, accuracy in enumerate(each):
                write_run(tmp_path, f"{training.replace('__', '-')}-{seed}", accuracy)
        return claims.Runs(tmp_path)

    return write


@pytest.mark.parametrize("gains, expected", [
    # t = mean / (std / sqrt(3)), by hand; 4.303 is in the tables: 95%, two degrees of freedom
    ([0.010, 0.015, 0.020], "holds"),             # 0.015 / (0.005 / 1.732) = 5.20
    ([0.01, 0.02, 0.03], "not significant"),      # 0.02 / (0.01 / 1.732) = 3.46
    ([-0.010, -0.015, -0.020], "does not hold"),
    ([0.01, 0.01, 0.01], "holds"), ([0, 0, 0], "not significant"), ([-1, 1, 0], "not significant")])
def test_a_verdict_is_that_of_a_paired_t_test(gains, expected):
    assert claims.verdict(np.array(gains)) == expected


def test_gains_are_told_in_points():
    assert claims.points(np.array([0.01, 0.02, -0.003])) == "+0.9 points (-0.3 to +2.0)"


def test_a_convolution_has_few_weights():
    measured, verdict = claims.fewer_weights(None)
    # 3 x 3 x 3 x 24 and 24 biases; 94 x 125 x 3 inputs and a bias for each of 92 x 123 x 24 outputs
    assert "has 672 weights" in measured and verdict == "holds"
    assert f"{(94 * 125 * 3 + 1) * 92 * 123 * 24 / 1e9:.1f} billion" in measured


@pytest.mark.parametrize("article, others, expected", [
    (0.5, 0.52, "holds"), (0.5, 0.6, "holds in part: others did perform better"),
    (0.6, 0.6, "does not hold")])
def test_the_mlp_guesses_where_it_is_half_right(article, others, expected, runs_with):
    runs = runs_with(**{f"mlp__{hidden}__{loss}__{scaling}": [others] * 3
                        for hidden in claims.DEPTHS for loss in ("mse", "bce")
                        for scaling in ("none", "standard")})
    for seed in range(3):
        (runs.folder / f"mlp-512-mse-none-{seed}/test.json").write_text(
            json.dumps({"accuracy": article}))
    (runs.folder / "mlp-512,512-bce-none-0/test.json").write_text('{"accuracy": 0.3}')
    measured, verdict = claims.mlp_guesses(runs)
    assert verdict == expected
    lower = (0.3 + 2 * others) / 3
    assert measured == (
        f"the article's: {article:.1%}. With 2 or 3 hidden layers {others:.1%} to {others:.1%}, "
        f"with cross-entropy {lower:.1%} to {others:.1%}, on standardised pixels {others:.1%} to "
        f"{others:.1%}")


def test_constant_predictions_have_the_errors_of_arithmetic():
    measured, verdict = claims.constant_predictions(None)
    assert "always 0: 0.50, but always 0.5: 0.25" in measured and verdict == "holds in part"


@pytest.mark.parametrize("best, expected", [
    ({"mlp": "1e-4", "conv1": "1e-6"}, "holds"),
    ({"mlp": "1e-4", "conv1": "1e-4", "raw": "1e-6"},
     "does not hold: raw pixels need it, not ReLU"),
    ({"mlp": "1e-4", "conv1": "1e-4"}, "does not hold")])
def test_the_best_rates_are_compared(best, expected, runs_with):
    best = {"raw": best["conv1"], **best}
    runs = runs_with(**{f"{arch}__{rate}__{scaling}": [0.6 + 0.1 * (rate == best[which])] * 3
                        for rate in claims.RATES for arch, scaling, which in (
                            ("mlp", "none", "mlp"), ("conv1", "none", "raw"),
                            ("mlp", "standard", "mlp"), ("conv1", "standard", "conv1"))})
    measured, verdict = claims.smaller_rate(runs)
    assert verdict == expected and "`mlp`, standardised: 60.0%, 60.0%, 70.0%, 60.0%" in measured


def test_every_step_up_must_be_better(runs_with):
    runs = runs_with(minute__mlp=(0.5, 0.5, 0.5), minute__conv1=(0.6, 0.61, 0.6),
                     minute__conv2_48=(0.7, 0.71, 0.7), minute__conv2_128=(0.8, 0.8, 0.8))
    measured, verdict = claims.more_convolutions(runs)
    assert measured == "`mlp` 50.0%, `conv1` 60.3%, `conv2_48` 70.3%, `conv2_128` 80.0%"
    assert verdict == "holds"
    (runs.folder / "minute-conv2_128-1/test.json").write_text('{"accuracy": 0.5}')
    assert claims.more_convolutions(runs)[1] == "holds in part (holds, holds, not significant)"


def test_units_and_filters_are_compared_on_the_same_images(runs_with):
    runs = runs_with(minute__conv2_48=(0.5, 0.6, 0.7), minute__conv2_128=(0.51, 0.61, 0.71),
                     **{"minute__48-512": (0.55, 0.65, 0.75),
                        "minute__128-512": (0.56, 0.66, 0.76)})
    measured, verdict = claims.units_or_filters(runs)
    assert "128 filters +1.0 points (+1.0 to +1.0), 512 units +5.0 points" in measured
    assert "both +6.0 points" in measured and verdict == "holds"


@pytest.mark.parametrize("predictions, precision, accuracy, expected", [
    # Above 0.9: three cats of four. At 0.5 only that fourth one, a dog, is taken for the other.
    ([(1, 0.95)] * 3 + [(0, 0.95), (1, 0.6), (0, 0.1)], "75.0%", "83.3%", "does not hold"),
    ([(1, 0.95)] * 3 + [(0, 0.95)] * 2, "60.0%", "60.0%", "holds in part")])
def test_a_precision_is_told_from_an_accuracy(predictions, precision, accuracy, expected, tmp_path):
    for seed in range(3):
        write_run(tmp_path, f"article-conv2_48-{seed}", 0.5, predictions=predictions)
    measured, verdict = claims.a_precision(claims.Runs(tmp_path))
    assert f"predicted cat at 0.9, {precision} are cats" in measured
    assert measured.endswith(f"of the ten thresholds: {accuracy}") and verdict == expected


def test_accuracies_are_looked_up_by_their_correlation(tmp_path):
    trainings = claims.CLAIMS[8].trainings
    for training in trainings:
        for seed in range(3):
            write_run(tmp_path, f"{training}-{seed}", 0, [(0.1, 0.5), (None, 0.5)])
    runs = claims.Runs(tmp_path)
    count = 3 * len(trainings)
    assert claims.accuracy_by_pearson(runs) == (
        f"none of {count} epochs is near either", "undecided")
    shutil.rmtree(tmp_path / f"{trainings[0]}-0")
    shutil.rmtree(tmp_path / f"{trainings[1]}-1")
    write_run(tmp_path, f"{trainings[0]}-0", 0, [(0.42, 0.70), (0.415, 0.69), (0.52, 0.75)])
    write_run(tmp_path, f"{trainings[1]}-1", 0, [(0.425, 0.71), (0.54, 0.752), (0.6, 0.8)])
    assert claims.accuracy_by_pearson(runs) == (
        f"validation after {count + 4} epochs of the convolutional networks: a correlation of 0.41 "
        "to 0.43 goes with 70.0% (69.0% to 71.0%), and 75% with 0.53 (0.52 to 0.54)",
        "does not hold")


def test_the_order_of_layers_is_told(runs_with):
    runs = runs_with(minute__conv2_fc512=(0.7, 0.7, 0.7), **{"minute__128-64": (0.6, 0.61, 0.6)})
    measured, verdict = claims.smaller_first(runs)
    assert "64 and 128 filters 70.0%, with 128 and 64 60.3%: +9.7 points" in measured
    assert verdict == "holds"


def test_the_experiments_are_sorted_by_their_significance(runs_with):
    names = ("average", "no_pooling", "kernel_5", "stride_2", "0_to_1", "raw")
    runs = runs_with(minute__conv2_48=(0.7, 0.7, 0.7), **{f"minute__{name}": (0.7, 0.71, 0.69)
                                                          for name in names[2:]},
                     minute__average=(0.8, 0.8, 0.8), minute__no_pooling=(0.6, 0.6, 0.6))
    measured, verdict = claims.future_work(runs)
    assert "`conv2_48` with 70.0%: mean pooling +10.0, no pooling -10.0, 5x5" in measured
    assert verdict == "better: mean pooling; worse: no pooling; the others: not significant"


def test_photographs_and_networks_are_compared_by_what_they_add(runs_with):
    accuracies = {f"size-{arch}-{size}": [0.7] * 3 for arch in ("conv1", "conv2_48", "conv2_128")
                  for size in claims.SIZES}
    accuracies |= {"size-conv2_48-15000": (0.8, 0.81, 0.8), "size-conv2_128-4096": [0.72] * 3}
    measured, verdict = claims.photographs_or_network(runs_with(**accuracies))
    assert "trained on 1,024, 2,048, 4,096, 8,192, 15,000: `conv1` 70.0%, 70.0%" in measured
    assert measured.endswith("From `conv2_48` on 4,096: 15,000 photographs +10.3 points (+10.0 to "
                             "+11.0), `conv2_128` +2.0 points (+2.0 to +2.0)")
    assert verdict == "more photographs help more"


def test_all_sizes_are_trained_for_as_many_steps():
    steps = [epochs * -(-size // 64) for size, epochs in claims.SIZES.items()]
    assert max(steps) < 1.01 * min(steps)
    for size, epochs in claims.SIZES.items():
        assert {f"--train_size={size}", f"--epochs={epochs}"} <= set(
            claims.TRAININGS[f"size-conv2_48-{size}"])


def test_every_training_is_of_some_claim_and_every_claim_knows_its_trainings():
    assert {training for claim in claims.CLAIMS.values()
            for training in claim.trainings} == set(claims.TRAININGS)


def test_claims_1_to_10_need_no_photographs_but_those_of_data_dir():
    tested = {training for training, flags in claims.TRAININGS.items()
              if "--test_size=1024" in flags}
    for number in range(1, 11):
        assert set(claims.CLAIMS[number].trainings) <= tested


# ---------------------------------------------------------------------------------------------
# Training what is missing
# ---------------------------------------------------------------------------------------------

@pytest.fixture
def short(monkeypatch, photos):
    """Two trainings that take a moment."""
    for training in ("one", "two"):
        monkeypatch.setitem(claims.TRAININGS, training, (
            "--arch=mlp", "--hidden=4", "--input_size=12x16", "--epochs=2", "--train_size=8",
            "--valid_size=8", "--test_size=8", "--dtype=float32"))


def test_a_run_is_trained_resumed_and_started_again(short, photos, tmp_path, forked_popen):
    run = tmp_path / "runs/one-2"
    run.mkdir(parents=True)
    (run / ".lock").touch()  # killed before its config.json: it starts again
    claims.finish(run, photos)
    assert (run / "model").exists() and not (run / "checkpoints").exists()
    config = json.loads((run / "config.json").read_text())["config"]
    assert (config["seed"], config["hidden"]) == (2, [4])
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text("")  # killed before its first epoch ended
    shutil.rmtree(run / "model")
    claims.finish(run, photos)
    again = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for epoch, line in zip(again, whole.splitlines(), strict=True):
        assert epoch["mse"] == json.loads(line)["mse"]


def test_a_folder_that_lacks_only_its_config_is_not_removed(short, photos, tmp_path):
    run = tmp_path / "runs/one-0"
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(claims.UserError, match="one-0 has no config.json: put it back, or remove"):
        claims.finish(run, photos)
    assert (run / "checkpoints").exists()


def test_a_run_is_evaluated_on_a_folder_of_its_own(short, photos, tmp_path, forked_popen,
                                                   run_in, monkeypatch):
    run = tmp_path / "runs/one-0"
    claims.finish(run, photos)
    (run / "test.json").unlink()
    monkeypatch.setattr(subprocess, "run", lambda command, **_: run_in(tmp_path, *command[1:]))
    others = tmp_path / "others"
    others.mkdir()
    for file in photos.iterdir():
        Image.open(file).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(others / file.name)
    claims.evaluate(run, others)
    right = [json.loads(line) for line in run_in(
        tmp_path, "predict.py", f"--run={run}", "--json", str(others)).stdout.splitlines()]
    right = np.mean([row["label"] == Path(row["file"]).name[:3] for row in right])
    test = json.loads((run / "test.json").read_text())
    assert test["accuracy"] == right and test["pictures"] == 24  # exact: a t-test is made of it


def test_what_stops_train_py_stops_it(short, tmp_path, forked_popen):
    with pytest.raises(SystemExit) as stopped:
        claims.finish(tmp_path / "runs/one-0", tmp_path / "nowhere")
    assert stopped.value.code == 1
    assert "nowhere is not a folder" in (tmp_path / "stderr").read_text()


def test_it_prints_a_row_for_each_claim_that_is_asked_for(run_script, tmp_path):
    result = run_script("tools/claims.py", "--claims=1,3", f"--data_dir={tmp_path}")
    assert (result.returncode, result.stderr) == (0, "")
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows] == ["", "---", "1", "3"]


def test_a_finished_run_without_its_test_is_told_before_any_training(run_script, tmp_path):
    (tmp_path / "runs/claims/minute-128-64-1/model").mkdir(parents=True)
    result = run_script("tools/claims.py", "--claims=9", f"--data_dir={tmp_path}")
    assert result.returncode == 1
    assert result.stderr == (f"{tmp_path.resolve()}/runs/claims/minute-128-64-1 has no test.json: "
                             "put it back, or remove the folder\n")
