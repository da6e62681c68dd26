"""The parts of a net by name, in the order in which it lists them: which of them `--train-from` trains."""

from torch import nn

from headstart.errors import SettingsError, did_you_mean

ALL, HEAD = "all", "head"
"""The whole net; the new layer alone."""


def refuse_unknown(part: str, body: nn.Module, classifier: str | None, backbone: str) -> None:
    """Raises SettingsError if `--train-from` names no part of a net, whose classifier has been taken off."""
    names = [name for name, module in body.named_modules() if name and _learns(name, module, classifier or "")]
    if part in (ALL, HEAD, *names):
        return
    outer = [name for name in names if "." not in name]
    guess = did_you_mean(part, [ALL, HEAD, *names])
    raise SettingsError(
        f"--train-from is {part}, but {backbone} has the parts {', '.join(outer)} (and parts of these, with a dot): "
        f"give one of them, all, or head.{guess}"
    )


def _learns(name: str, module: nn.Module, classifier: str) -> bool:
    holds_classifier = classifier == name or classifier.startswith(f"{name}.")
    return holds_classifier or next(module.parameters(), None) is not None


def from_part_on(part: str, body: nn.Module, head: nn.Module) -> list[nn.Module]:
    """The modules that are trained: the head and, of the body, the part and what comes after it on each level."""
    if part in (ALL, HEAD):
        return [head, body] if part == ALL else [head]
    trained, inner = [head], body
    for word in part.split("."):
        children = dict(inner.named_children())
        later = list(children)[list(children).index(word) + 1 :]
        trained += [children[name] for name in later]
        inner = children[word]
    return [*trained, inner]
