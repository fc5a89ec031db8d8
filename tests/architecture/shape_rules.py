"""How a file looks, and where money and time may be touched. Each rule takes one module and yields its breaches."""

import ast
from collections.abc import Iterator

from tests.architecture import law
from tests.architecture.source import Function, Module, Rule, kind_of, layer_of


def files_are_short(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > law.FILE_LINES_MAX:
        yield module.breach(lines, f"{lines} lines, at most {law.FILE_LINES_MAX}; split it by noun")


def functions_are_short(module: Module) -> Iterator[str]:
    for function in module.functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > law.FUNCTION_LINES_MAX:
            yield module.breach(
                function.lineno,
                f"{function.name} has {lines} lines, at most {law.FUNCTION_LINES_MAX}; give its steps names",
            )


def functions_take_few_parameters(module: Module) -> Iterator[str]:
    for function in module.functions():
        given = function.args
        names = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        count = sum(1 for name in names if name is not None and name.arg not in {"self", "cls"})
        if count > law.PARAMETERS_MAX:
            yield module.breach(
                function.lineno,
                f"{function.name} takes {count} parameters, at most {law.PARAMETERS_MAX}; some of them are one thing",
            )


def modules_say_what_they_are_for(module: Module) -> Iterator[str]:
    if not module.tree.body:
        return
    docstring = ast.get_docstring(module.tree)
    if docstring is None:
        yield module.breach(1, "has no docstring; say in 1-5 lines what it is for and what it must never do")
        return
    lines = sum(1 for line in docstring.splitlines() if not line.startswith(" "))
    if lines > law.DOCSTRING_LINES_MAX:
        yield module.breach(1, f"{lines} lines of docstring, at most {law.DOCSTRING_LINES_MAX}; docs/ has room")


def names_say_something(module: Module) -> Iterator[str]:
    words = {word for part in module.path.removesuffix(".py").split("/") for word in part.split("_")}
    for word in sorted(words & law.NAMES_THAT_SAY_NOTHING):
        yield module.breach(1, f"'{word}' says nothing; name the file for the noun that it holds")


def money_is_never_a_float(module: Module) -> Iterator[str]:
    if not module.stands_in(*law.MONEY):
        return
    durations = {id(part) for node in _durations(module.tree) for part in ast.walk(node)}
    for node in ast.walk(module.tree):
        if id(node) in durations:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield module.breach(node.lineno, f"the float {node.value} near money; use int nano-dollars or Decimal")
        elif isinstance(node, ast.Call) and _is_float(node.func):
            yield module.breach(node.lineno, "float() near money; use int nano-dollars or Decimal")
        else:
            yield from (
                module.breach(annotation.lineno, "a float annotation near money; use Nano or Decimal")
                for annotation in _annotations(node)
                if any(_is_float(part) for part in ast.walk(annotation))
            )


def only_the_clock_tells_the_time(module: Module) -> Iterator[str]:
    if module.place == law.CLOCK:
        return
    instead = "take `now` as an argument, or app.core.clock"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (owner, node.attr) in law.CLOCK_READERS:
                yield module.breach(node.lineno, f"{owner}.{node.attr} asks the machine for the time; {instead}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            for alias in node.names:
                if ("time", alias.name) in law.CLOCK_READERS:
                    yield module.breach(node.lineno, f"time.{alias.name} asks the machine for the time; {instead}")


def nothing_prints(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        is_print = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if is_print and not module.stands_in(*law.MAY_PRINT):
            yield module.breach(getattr(node, "lineno", 1), "print() would break the JSON logs; use structlog")


def pure_modules_wait_for_nothing(module: Module) -> Iterator[str]:
    is_pure = layer_of(module.place) in {"feature", "orchestrator"} and kind_of(module.place) == "pure"
    for node in ast.walk(module.tree) if is_pure else ():
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield module.breach(
                node.lineno, "waits in a pure module; what does I/O is a service, repository, store or client"
            )
            return


def errors_stand_in_the_catalogue(module: Module) -> Iterator[str]:
    """Elsewhere an error may be given a name of its own, but never another face on the wire."""
    if _is_catalogue(f"app.{module.place}"):
        return
    from_catalogue = {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and _is_catalogue(node.module or "")
        for alias in node.names
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and from_catalogue & {getattr(base, "id", "") for base in node.bases}:
            targets = {ast.unparse(part.targets[0]) for part in node.body if isinstance(part, ast.Assign)}
            if targets & {"status", "type", "code"}:
                yield module.breach(node.lineno, f"{node.name} has a face of its own; define it in app/errors.py")


def _is_catalogue(module: str) -> bool:
    return module == "app.errors" or (module.startswith("app.") and module.endswith("_errors"))


def _is_float(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "float"


def _durations(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what stands under a name that ends in a unit of time: its annotation, its value."""
    for node in ast.walk(tree):
        named: list[tuple[str, ast.AST]] = []
        if isinstance(node, ast.arg | ast.keyword):
            named = [(node.arg or "", node)]
        elif isinstance(node, ast.AnnAssign):
            named = [(ast.unparse(node.target), node)]
        elif isinstance(node, ast.Assign):
            named = [(ast.unparse(target), node.value) for target in node.targets]
        elif isinstance(node, ast.Dict):
            named = [(str(getattr(key, "value", "")), value) for key, value in zip(node.keys, node.values, strict=True)]
        yield from (part for name, part in named if name.lower().endswith(law.DURATIONS))


def _annotations(node: ast.AST) -> list[ast.expr]:
    """Return the annotation that *node* itself carries; those of parameters are their own nodes'."""
    if isinstance(node, Function):
        found = node.returns
    elif isinstance(node, ast.arg | ast.AnnAssign):
        found = node.annotation
    else:
        found = None
    return [] if found is None else [found]


RULES: tuple[Rule, ...] = (
    files_are_short,
    functions_are_short,
    functions_take_few_parameters,
    modules_say_what_they_are_for,
    names_say_something,
    money_is_never_a_float,
    only_the_clock_tells_the_time,
    nothing_prints,
    pure_modules_wait_for_nothing,
    errors_stand_in_the_catalogue,
)
