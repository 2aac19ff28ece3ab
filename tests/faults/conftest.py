"""A data set and runs that the faults befall, and the record of what they did."""

import shutil
from pathlib import Path

import pytest

import train as train_program
from tests.faults.children import Children
from tests.faults.page import Row, known_faults, told_alike
from tests.test_train_and_test import assert_equal
from tests.tiny_run import call, tiny_args, write_data_set
from util.checkpoint import load_checkpoint

ITERATIONS = 8  # 3 an epoch, with video from the second one on
SCHEDULE = ["--niter=1", "--niter_decay=3", "--video_start_epoch=1", "--d_every=2", "--ema=0.9", "--no_report"]
STATE = ("networks", "ema", "updaters", "random", "streams", "iteration", "facts")


def pytest_addoption(parser):
    parser.addoption("--write-reliability", action="store_true", help="write the rows of docs/reliability.md")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name == "test_page_shows_what_the_tests_have_seen")  # behind those tests


@pytest.fixture(scope="session")
def rows():
    """What the tests have told so far, by fault."""
    return {}


@pytest.fixture
def tell(rows):
    """Record what a fault did: what was seen on stderr, what is kept, and the exit code (None: the run goes on)."""

    def tell(fault: str, seen: str, kept: str, code: int | None) -> None:
        assert fault in known_faults()
        rows[fault] = Row(told_alike(seen), kept, code)

    return tell


@pytest.fixture(scope="session")
def dataroot(tmp_path_factory):
    return write_data_set(tmp_path_factory.mktemp("set") / "data")


def flags(dataroot: Path, checkpoints: Path, *more: str) -> list[str]:
    """Arguments of ``train.py`` for the run ``demo``."""
    return tiny_args(dataroot, *SCHEDULE, "--name=demo", f"--checkpoints_dir={checkpoints}", *map(str, more))


@pytest.fixture(scope="session")
def children():
    """Trainings in processes of their own."""
    with Children() as children:
        yield children


def log_of(run: Path) -> list[str]:
    """The lines of losses."""
    return [line for line in (run / "loss_log.txt").read_text().splitlines() if line.startswith("(epoch")]


def _train(dataroot, checkpoints, *more):
    return call(train_program.main, *flags(dataroot, checkpoints, *more))


@pytest.fixture
def checkpoints(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def train(dataroot, checkpoints):
    """Train in this process; ``last`` is the last iteration."""

    def train(*more, last=ITERATIONS, dataroot=dataroot):
        return _train(dataroot, checkpoints, f"--max_steps={last}", *more)

    return train


@pytest.fixture(scope="session")
def undisturbed(dataroot, tmp_path_factory):
    """The last checkpoint of a run that nothing befell."""
    checkpoints = tmp_path_factory.mktemp("whole") / "checkpoints"
    assert _train(dataroot, checkpoints, f"--max_steps={ITERATIONS}").code == 0
    return load_checkpoint(checkpoints / "demo" / "latest.pth")


@pytest.fixture(scope="session")
def five_iterations(dataroot, tmp_path_factory):
    """Folder of runs with one that ended after 5 iterations; ``latest_1`` is of iteration 4."""
    checkpoints = tmp_path_factory.mktemp("begun") / "checkpoints"
    assert _train(dataroot, checkpoints, "--max_steps=5", "--save_latest_freq=2").code == 0
    return checkpoints


@pytest.fixture
def begun(five_iterations, checkpoints):
    """The folder of a run of 5 iterations, which may be spoiled."""
    shutil.copytree(five_iterations, checkpoints)
    return checkpoints / "demo"


@pytest.fixture
def goes_on_to_the_bit(train, checkpoints, undisturbed):
    """Go on with the run to its end, and compare it with the undisturbed one; what went on is returned."""

    def goes_on(*more):
        outcome = train("--continue_train", *more)
        assert outcome.code == 0, outcome.err
        ended = load_checkpoint(checkpoints / "demo" / "latest.pth")
        for part in STATE:
            assert_equal(undisturbed[part], ended[part], part)
        return outcome

    return goes_on
