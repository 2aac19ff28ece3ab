"""A method whose depth can be told from the picture, and the options of a test of it."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch

from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from models.base_model import BaseModel
from tests.tiny_run import write_data_set

FULL_SCALE_MM = 200.0


class Brightness(BaseModel):
    """Depth [mm] is the mean of the three channels, white being ``FULL_SCALE_MM``."""

    def predict(self, images):
        assert not self.training
        return (images.mean(dim=1, keepdim=True) + 1) / 2 * FULL_SCALE_MM


@pytest.fixture(scope="session")
def brightness_predictor():
    return Predictor(Brightness(None), Preprocessing("none"), torch.device("cpu"))


@pytest.fixture
def dataroot(tmp_path) -> Path:
    return write_data_set(tmp_path / "data")


@pytest.fixture
def make_options(tmp_path):
    """Resolved options of ``test.py``; keywords change them."""

    def make(**changes) -> Namespace:
        defaults = {
            "name": "demo",
            "dataroot": tmp_path / "data",
            "dataset": "folder",
            "phase": "test",
            "input": None,
            "truth": None,
            "depth_format": "auto",
            "max_dataset_size": None,
            "resize_or_crop": "none",
            "load_size": 32,
            "load_height": None,
            "fine_size": 32,
            "temporal": False,
            "how_many": None,
            "save_npy": False,
            "save_ply": False,
            "intrinsics": None,
            "fov": None,
            "fps": 25.0,
            "protocol": None,
            "streams": ["video"],
            "surface": None,
            "surface_start": None,
            "align": None,
            "min_eval_mm": None,
            "max_eval_mm": None,
            "eval_crop": "none",
            "seg_mask": None,
            "flow": "dis",
            "flow_weights": None,
            "gpu_ids": [],
            "display_max_mm": 100.0,
            "max_depth_mm": FULL_SCALE_MM,
            "checkpoint_file": Path("checkpoints/demo/latest.pth"),
            "html": True,
            "use_ema": False,
        }
        return Namespace(**defaults | changes)

    return make
