"""The table of SC-Depth's versions, from reports as trainings write them."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def scores(abs_rel):
    return {"abs_rel": abs_rel, "rmse": 1.0, "delta1": 0.5}


def write_report(folder, abs_rel, **more):
    folder.mkdir()
    test = {"ours": scores(abs_rel), "constant": scores(0.6), "brightness": scores(0.3)}
    (folder / "report.json").write_text(json.dumps({"test_median": test, **more}))


def run(*args):
    command = [sys.executable, "scripts/sc_depth_table.py", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_rows_are_the_references_the_prior_and_the_runs(tmp_path):
    write_report(tmp_path / "prior", 0.12)
    for name, abs_rel in (("v1", 0.25), ("v3", 0.2)):
        video = {"ours": scores(abs_rel), "constant": scores(0.7), "brightness": scores(0.31)}
        path = {"ours": {"ate_mm": 1.5, "rpe_step": 0.2, "rpe_deg": 0.3}}
        spread = {"ours": {"scale_spread": 0.04, "scale_spread_clip": 0.02}}
        write_report(tmp_path / name, abs_rel, video_depth=video, video_scale=spread, video_path=path)
    done = run(tmp_path, "prior", "v1", "v3")
    assert done.returncode == 0, done.stderr
    test, video, scale = (part.splitlines()[2:] for part in done.stdout.split("\n\n|")[1:])
    assert [line.split("|")[1].strip() for line in test if line.startswith("|")][-3:] == ["prior", "v1", "v3"]
    assert "0.120" in done.stdout
    assert any("v3" in line and "0.200" in line for line in video)
    assert any("v1" in line and "0.04" in line for line in scale)


def test_a_run_without_a_report_is_an_error_in_one_line(tmp_path):
    done = run(tmp_path, "prior", "v1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no")
    assert len(done.stderr.splitlines()) == 1
