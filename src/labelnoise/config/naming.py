"""A configuration as names and flat options, for lists, tables and commands."""

from typing import Any

PARTS = ("first", "second", "loss")  # what a loss made of others calls them


def component_name(component: Any) -> str:
    """The name of a component's function or class.

    For a sum of losses, its parts' names joined; for a loss around another one, such as mae_logit_bias, both names.
    """
    if not isinstance(component, dict) or "_target_" not in component:
        return str(component)
    inner = [component_name(component[key]) for key in PARTS if isinstance(component.get(key), dict)]
    name = str(component["_target_"]).rpartition(".")[2]
    return "_".join(inner if "second" in component else [*inner, name])


def named(config: dict[str, Any]) -> dict[str, Any]:
    """An effective configuration as flat options: `loss` is its function's name, `loss.q` one of its parameters."""
    options: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            options[key] = value.get("name") if key == "dataset" else component_name(value)
            options |= flat({k: v for k, v in value.items() if not k.startswith("_")}, f"{key}.")
        else:
            options[key] = value
    return options


def as_yaml(value: Any) -> str:
    """A value in a message, with null, true and false as in YAML."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dictionary as a flat one, its keys joined by dots."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return leaves
