"""Who may import what. Each rule takes one module and yields a line for each breach."""

import graphlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from tests.architecture import law
from tests.architecture.source import Import, Module, Rule, kind_of, layer_of


def everything_stands_in_a_layer(module: Module) -> Iterator[str]:
    if layer_of(module.place) is None:
        yield module.breach(1, "stands in no layer; add its folder to LAYERS in tests/architecture/law.py")


def layers_import_downwards(module: Module) -> Iterator[str]:
    layer = layer_of(module.place)
    for found, place in _own(module):
        target = layer_of(place)
        if (
            layer is None
            or target is None
            or target in law.MAY_IMPORT[layer]
            or _folder(place) == _folder(module.place)
        ):
            continue
        if (module.place, place) not in law.SEAMS:
            allowed = ", ".join(sorted(law.MAY_IMPORT[layer]))
            yield module.breach(found.line, f"a {layer} imports the {target} {place}; it may import only: {allowed}")


def layers_inside_a_feature_point_inwards(module: Module) -> Iterator[str]:
    kind = kind_of(module.place)
    for found, place in _own(module):
        if _is_of_a_feature(module.place) and _folder(place) == _folder(module.place):
            target = kind_of(place)
            if target not in law.KINDS_SEEN_INSIDE[kind]:
                allowed = ", ".join(sorted(law.KINDS_SEEN_INSIDE[kind]))
                yield module.breach(found.line, f"a {kind} module imports the {target} {place}; it may see: {allowed}")


def features_meet_in_services_and_value_types(module: Module) -> Iterator[str]:
    is_door = layer_of(module.place) == "door"
    allowed = law.KINDS_SEEN_ACROSS_BY_DOORS if is_door else law.KINDS_SEEN_ACROSS
    for found, place in _own(module):
        if not _crosses(module, place) or (is_door and place in law.DOORS_SEEN_BY_DOORS):
            continue
        if kind_of(place) not in allowed:
            yield module.breach(
                found.line,
                f"reaches into {_folder(place)}'s {kind_of(place)}; ask its service.py, or move the value type to a "
                "pure module of its own",
            )


def features_see_only_those_below(module: Module) -> Iterator[str]:
    if layer_of(module.place) != "feature":
        return
    seen = law.FEATURES_SEEN[_folder(module.place)]
    for found, place in _own(module):
        if place in law.PLACES_SEEN_BY_ALL or not _crosses(module, place):
            continue
        if layer_of(place) == "feature" and _folder(place) not in seen:
            yield module.breach(
                found.line,
                f"{_folder(module.place)} does not see {_folder(place)}: let an orchestrator call both, or draw the "
                "arrow in FEATURES_SEEN",
            )


def doors_and_pure_modules_reach_no_server(module: Module) -> Iterator[str]:
    kind = kind_of(module.place)
    if not (_is_of_a_feature(module.place) and kind in law.KINDS_WITHOUT_IO):
        return
    for found, place in _own(module):
        if place in law.CORE_WITH_IO and not (kind == "models" and place in law.CORE_FOR_MODELS):
            yield module.breach(found.line, f"a {kind} module imports {place}; that is the business of a service")


def libraries_stay_in_their_files(module: Module) -> Iterator[str]:
    for found in module.imports():
        for library in law.LIBRARIES:
            is_it = any(found.name == name or found.name.startswith(f"{name}.") for name in library.names)
            if is_it and kind_of(module.place) not in library.kinds and not module.stands_in(*library.places):
                yield module.breach(found.line, f"imports {found.name}; {library.instead}")


def imports_stand_at_the_top(module: Module) -> Iterator[str]:
    for found in module.imports():
        if found.in_function:
            yield module.breach(
                found.line,
                f"imports {found.name} inside a function; move it to the top, and the noun if that is a cycle",
            )


def cycles(modules: Iterable[Module]) -> Iterator[str]:
    """Yield the first cycle between folders (doors and processes stand above them) and the first between files."""
    folders: dict[str, set[str]] = defaultdict(set)
    files: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        places = {place for _, place in _own(module)}
        files[module.place] |= places
        if "/" in module.place and layer_of(module.place) not in {"door", "process"}:
            here = _folder(module.place)
            folders[here] |= {_folder(place) for place in places if "/" in place} - {here}
    for graph in (folders, files):
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            circle = " <- ".join(error.args[1])
            yield f"app/: {circle}: these import each other; a noun is in the wrong place"


def _own(module: Module) -> Iterator[tuple[Import, str]]:
    return ((found, found.place) for found in module.imports() if found.place is not None)


def _folder(place: str) -> str:
    return place.split("/", maxsplit=1)[0]


def _is_of_a_feature(place: str) -> bool:
    return _folder(place) in law.LAYERS["feature"] | law.LAYERS["orchestrator"]


def _crosses(module: Module, place: str) -> bool:
    """Tell whether *module*, which is no process, imports from another feature's folder."""
    is_process = layer_of(module.place) == "process"
    return not is_process and _is_of_a_feature(place) and _folder(place) != _folder(module.place)


RULES: tuple[Rule, ...] = (
    everything_stands_in_a_layer,
    layers_import_downwards,
    layers_inside_a_feature_point_inwards,
    features_meet_in_services_and_value_types,
    features_see_only_those_below,
    doors_and_pure_modules_reach_no_server,
    libraries_stay_in_their_files,
    imports_stand_at_the_top,
)
