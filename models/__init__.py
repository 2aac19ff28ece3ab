"""The methods, one file each: ``--model sc_depth`` is the class ``ScDepthModel`` in ``models/sc_depth_model.py``.

A new method is one such file plus its networks and losses; nothing else has to know it.
"""

from argparse import Namespace
from importlib import import_module
from pathlib import Path

from models.base_model import BaseModel

SUFFIX = "_model"


def model_names() -> list[str]:
    """Names that ``--model`` takes."""
    stems = (path.stem for path in Path(__file__).parent.glob(f"*{SUFFIX}.py"))
    return sorted(stem.removesuffix(SUFFIX) for stem in stems if stem != f"base{SUFFIX}")


def find_model(name: str) -> type[BaseModel]:
    """The class of the method called ``name``.

    Raises:
        ValueError: there is none; lists the known ones.
    """
    if name not in model_names():
        raise ValueError(f"unknown --model {name!r}, known are: {', '.join(model_names())}")
    module = import_module(f"models.{name}{SUFFIX}")
    return getattr(module, "".join(part.capitalize() for part in name.split("_")) + "Model")


def create_model(opt: Namespace) -> BaseModel:
    """The method that ``opt`` (training's or testing's) asks for, with fresh weights."""
    return find_model(opt.model)(opt)
