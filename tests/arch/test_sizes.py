"""Sizes to feel at home with."""

from __future__ import annotations

import ast

from ._sources import Module, modules

MODULE_LINES = 400
FUNCTION_LINES = 45
ELSEWHERE = ("presets", "config", "hf_config")
"""Modules that write sizes down: the presets, and the defaults of another library's config files."""
READ_NOT_CALLED = ("recipes", "cli")
"""Rooms whose functions may run longer: they are read from top to bottom."""


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code, the docstring and the signature not counted."""
    statements = node.body
    if ast.get_docstring(node) is not None:
        statements = statements[1:]
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def test_modules_are_short() -> None:
    long = {m.name: count for m in modules() if (count := len(m.text.splitlines())) > MODULE_LINES}
    assert not long, f"more than {MODULE_LINES} lines: {long}"


def test_functions_are_short() -> None:
    long = [
        f"{module.at(node.lineno)} {node.name}: {body_lines(node)} lines"
        for module in modules()
        if module.room not in READ_NOT_CALLED
        for node in ast.walk(module.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and body_lines(node) > FUNCTION_LINES
    ]
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is_for() -> None:
    silent = [m.name for m in modules() if m.text.strip() and not ast.get_docstring(m.tree)]
    assert not silent, f"modules without a docstring: {silent}"


def literal_sizes(module: Module) -> list[str]:
    """The reference's canvas, feature width and grid written as numbers where a config should speak.

    A named constant at the top of a module is not a literal in passing: it says what it is.
    """
    found = []
    body = [n for n in module.tree.body if not isinstance(n, (ast.Assign, ast.AnnAssign))]
    for node in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == 1024:
            found.append(f"{module.at(node.lineno)} {node.value}")
        if isinstance(node, ast.Call):
            arguments = [*node.args, *(k.value for k in node.keywords)]
            for argument in arguments:
                pair = argument.elts if isinstance(argument, ast.Tuple) else []
                values = [e.value for e in pair if isinstance(e, ast.Constant)]
                if values in ([256, 256], [64, 64]):
                    found.append(f"{module.at(node.lineno)} {values}")
    return found


def test_model_sizes_come_from_the_model() -> None:
    wrong = [
        line
        for module in modules()
        if module.room in ("modeling", "predict", "transforms") and module.path.stem not in ELSEWHERE
        for line in literal_sizes(module)
    ]
    assert not wrong, "literal model sizes:\n" + "\n".join(wrong)
