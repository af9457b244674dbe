"""Write the generated parts of the documents: README.md, docs/*.md and results/*.md of a checkout.

labelnoise docs

Tables of losses, methods, options and so on come from configs/ and from signatures, results from the committed records.
Prints which files changed.
"""

from labelnoise.config.groups import IN_CHECKOUT
from labelnoise.docs.pages import documents
from labelnoise.files.atomic import write_whole
from labelnoise.records.environment import REPOSITORY


def docs(arguments: list[str]) -> None:
    """Write every document whose generated parts are out of date.

    Raises:
        ValueError: an argument, or no checkout; a document asks for a part that does not exist.
    """
    if arguments:
        raise ValueError(f"{arguments[0]}: docs takes no options")
    if not IN_CHECKOUT:
        raise ValueError("docs: needs a checkout, whose documents it writes")
    import torch

    torch.set_num_threads(1)  # the theory's tensors are small: more threads take eight times as long
    for path, text in list(documents()):  # all are made before one is written
        if path.read_text() != text:
            write_whole(path, text.encode())
            print(f"{path.relative_to(REPOSITORY)} written")
