"""HTML pages from the templates of a package; jinja2 escapes every value."""

import base64
import hashlib
from importlib import resources
from typing import Any


def render(package: str, folder: str, template: str, **values: Any) -> str:
    """A page from a template.

    Args:
        package: such as labelnoise.tables.
        folder: of the template in the package, "." for the package's own.
        template: the file's name.
        values: what the template names.
    Raises:
        jinja2.UndefinedError: the template names something else.
    """
    import jinja2  # slow to import; only HTML needs it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package, folder),
        autoescape=True,  # a record's text or a file's name may contain markup
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def render_with_script(package: str, script: str, **values: Any) -> str:
    """assets/page.html of a package with its assets/style.css and one script.

    Args:
        package: such as labelnoise.report.
        script: JavaScript; the page's security policy admits it alone, by its hash.
        values: what the template names beside `style`, `script` and `hash`.
    Raises:
        jinja2.UndefinedError: the template names something else.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = asset(package, "style.css")
    return render(package, "assets", "page.html", style=style, script=script, hash=digest, **values)


def asset(package: str, name: str) -> str:
    """The text of a file in a package's folder `assets`.

    Raises:
        OSError: there is no such file.
    """
    return (resources.files(package) / "assets" / name).read_text(encoding="utf-8")
