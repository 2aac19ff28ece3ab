"""Write what testing needs of a run into one file, ``<checkpoints_dir>/<name>/<name>.safetensors``."""

import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from options.base_options import new_parser  # noqa: E402 - the project's root has to be on the path first
from util.checkpoint import find_checkpoint  # noqa: E402
from util.errors import run_cli  # noqa: E402
from util.exported_weights import SUFFIX, export_weights  # noqa: E402


def main() -> None:
    parser = new_parser("Export the weights of a run for testing: one safetensors file with networks and options.")
    parser.add_argument("--name", required=True, help="name of the run")
    parser.add_argument("--which_epoch", default="latest", help="checkpoint of the run: latest, best or N")
    parser.add_argument("--checkpoints_dir", type=Path, default=Path("checkpoints"), help="where runs are kept")
    parser.add_argument("--use_ema", action="store_true", help="the averaged weights, of a run trained with --ema")
    parser.add_argument("--out", type=Path, help="default: <checkpoints_dir>/<name>/<name>.safetensors")
    opt = parser.parse_args()
    checkpoint = find_checkpoint(opt.checkpoints_dir, opt.name, opt.which_epoch)
    out = opt.out or checkpoint.parent / f"{opt.name}{SUFFIX}"
    networks = export_weights(checkpoint, out, ema=opt.use_ema)
    count = sum(tensor.numel() for weights in networks.values() for tensor in weights.values())
    what = f"{', '.join(networks)} of {checkpoint.name}{', averaged' if opt.use_ema else ''}"
    print(f"{out}: {what}, {count:,} parameters, {out.stat().st_size / 1e6:.1f} MB")
    print(f"test it by: bash scripts/test.sh --checkpoint {shlex.quote(str(out))}")


if __name__ == "__main__":
    run_cli(main)
