"""Make linear layers of a model ternary, and sort its parameters for the two optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from torch import nn

from popflip.errors import ConfigError
from popflip.golden.network import Precision
from popflip.torch.layer import GFTLinear, default_scale


def convert(
    model: nn.Module, where: str | Iterable[str], precision: str = Precision.TERNARY, gain: float = 1.0
) -> list[str]:
    """Replace the ``nn.Linear`` layers of ``model`` whose names match ``where`` by :class:`.GFTLinear` s, in place.

    ``where`` is a pattern or several, as of file names: ``"blocks.*.mlp.*"``; ``"*"`` matches dots too. The new weights
    are random, for what a ternary layer learns has little to do with rounded floats; a float bias keeps its values.
    ``gain`` multiplies the default scale: ``1/√(2·blocks)`` for the last layer of a residual branch. Returns the names
    of the new layers. Create optimisers afterwards.

    Raises :class:`ConfigError`, and changes nothing, if no layer matches, if one shares its weight with another layer
    (tied weights), or if one is a special kind of ``nn.Linear`` whose weight its owner reads.
    """
    patterns = [where] if isinstance(where, str) else list(where)
    found = {name: layer for name, layer in _linears(model) if any(fnmatchcase(name, each) for each in patterns)}
    if not found:
        names = ", ".join(name for name, _ in _linears(model)) or "none"
        raise ConfigError(f"where: no nn.Linear has a name like {', '.join(patterns)}; there are: {names}")
    for name, layer in found.items():
        _check_convertible(model, name, layer)
    for name, layer in found.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, _ternary(layer, precision, gain))
    return list(found)


def split(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The weights of all :class:`.GFTLinear` s of ``model``, in order, for :class:`.GFT`; and every other parameter.

    Raises :class:`ConfigError` if another module holds a ternary weight too.
    """
    weights: list[nn.Parameter] = []
    rest: dict[int, nn.Parameter] = {}
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, GFTLinear) and name == "weight":
                weights.append(parameter)
            elif hasattr(parameter, "port"):
                place = f"{module_name}.{name}".lstrip(".")
                raise ConfigError(f"{place}: is the weight of a GFTLinear too, and ternary weights cannot be tied")
            else:
                rest[id(parameter)] = parameter
    return weights, list(rest.values())


def _linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in model.named_modules() if name and isinstance(module, nn.Linear))


def _check_convertible(model: nn.Module, name: str, layer: nn.Linear) -> None:
    if type(layer) is not nn.Linear:
        raise ConfigError(f"where: {name} is a {type(layer).__name__}, whose weight its owner reads; leave it out")
    for other, module in model.named_modules(remove_duplicate=False):
        shared = any(each is layer.weight for each in module.parameters(recurse=False))
        if shared and module is not layer:
            raise ConfigError(f"where: {name} shares its weight with {other}; ternary weights cannot be tied")


def _ternary(layer: nn.Linear, precision: str, gain: float) -> GFTLinear:
    weight, bias = layer.weight, layer.bias
    scale = gain * default_scale(layer.in_features, precision)
    new = GFTLinear(
        layer.in_features,
        layer.out_features,
        precision,
        bias is not None,
        scale,
        device=weight.device,
        dtype=weight.dtype,
    )
    if bias is not None:
        new.bias = bias
    return new.train(layer.training)
