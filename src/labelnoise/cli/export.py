"""Write a saved network (save_model=true) as a program that runs without this package.

labelnoise export model=runs/0123456789ab.safetensors out=network.pt2      # torch.export
labelnoise export model=runs/0123456789ab.safetensors out=network.onnx     # ONNX; pip install 'labelnoise[onnx]'

The program takes float images in [0, 1], B x channels x height x width for any B, and gives the logits of the classes,
B x C. Normalisation is part of it. The file's metadata say this, and name the classes. Options of train are only needed
for a network of your own: --config-dir.
"""

from pathlib import Path

from labelnoise.cli.arguments import split_named
from labelnoise.config.groups import SEARCHPATH
from labelnoise.experiment import saved_network
from labelnoise.files.atomic import write_whole


def export(arguments: list[str]) -> None:
    """Write `out=`.

    Args:
        arguments: model=, out= and folders of options.
    Raises:
        ValueError: an option is wrong, the file is no saved network, or the packages for ONNX are missing.
    """
    own, overrides = split_named(arguments, "model", "out")
    for name, form in (("model", "<results>/<run_id>.safetensors"), ("out", "a file that ends in .pt2 or .onnx")):
        if not own.get(name):
            raise ValueError(f"{name}: needs a value, {name}={form}")
    out = Path(own["out"])
    if out.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"out={out}: must end in .pt2 or .onnx")
    for override in overrides:
        if not override.startswith(SEARCHPATH):
            raise ValueError(f"{override}: export takes model= and out=")
    saved = saved_network.read(own["model"], overrides)
    from labelnoise.experiment import exported

    made = exported.program(saved, own["model"])
    try:
        content = (exported.as_pt2 if out.suffix == ".pt2" else exported.as_onnx)(made, saved.about)
    except ValueError:
        raise
    except Exception as error:  # torch raises many different errors for a network that it cannot trace
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"model={own['model']}: cannot be exported ({type(error).__name__}: {reason})") from None
    write_whole(out, content)
    print(f"{out} written: {saved.about.network['_target_']}")
