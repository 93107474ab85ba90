"""What a function asks of AWS, read from its source: which boto3 calls its handler can come to."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3

from sandbox.template import ROOT

PACKAGE = "stillpoint.aws"
FOLDER = ROOT / "layers" / "stillpoint" / "stillpoint" / "aws"

# The IAM prefix of each service that boto3 calls by another name (Service Authorization Reference).
PREFIXES = {"elbv2": "elasticloadbalancing", "stepfunctions": "states"}


def actions_of(function: str) -> set[str]:
    """The IAM actions that `functions/<function>/app.py` needs for the calls that it can make."""
    return {_action(service, method) for service, method in _calls(function)}


def settings_of(function: str) -> list[str]:
    """The names of the settings classes that a handler reads."""
    return [
        target.rpartition(".")[2]
        for target in _imports(_handler(function)).values()
        if target.startswith(f"{PACKAGE}.settings.")
    ]


def metrics_of(function: str) -> set[str]:
    """The members of EventName that the handler can come to, each a metric and a message."""
    return {
        node.attr
        for body in _bodies(function)
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "EventName"
    }


def _handler(function: str) -> ast.Module:
    return _parsed(ROOT / "functions" / function / "app.py")


def _calls(function: str) -> Iterator[tuple[str, str]]:
    """Every method of a client that is mentioned, and every paginator, as (service, method).

    A method counts whether it is called or handed on to be called. A client may be kept in a
    variable or an attribute first; one that goes elsewhere would escape, and fails.
    """
    for body in _bodies(function):
        calls = {node.func: node for node in ast.walk(body) if isinstance(node, ast.Call)}
        kept = dict(_kept_clients(body))
        used: set[ast.AST] = set(kept.values())
        services = {name: _service(made) for name, made in kept.items()}
        for node in ast.walk(body):
            if not isinstance(node, ast.Attribute):
                continue
            made = node.value
            if _is_client(made):
                service = _service(made)
                used.add(made)
            elif ast.unparse(made) in services:
                service = services[ast.unparse(made)]
            else:
                continue
            method = node.attr
            if method == "get_paginator":
                (method,) = (_text(argument) for argument in calls[node].args)
            yield service, method
        for node in ast.walk(body):
            assert not _is_client(node) or node in used, ast.unparse(node)


def _kept_clients(body: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The variables and attributes in which the code keeps a client, each with how it is made."""
    for node in ast.walk(body):
        if isinstance(node, ast.Assign) and _is_client(node.value):
            (target,) = node.targets
            assert isinstance(target, ast.Name | ast.Attribute), ast.unparse(node)
            yield ast.unparse(target), node.value


def _is_client(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "client"
    )


def _service(node: ast.expr) -> str:
    assert isinstance(node, ast.Call)
    return _text(node.args[0])


def _bodies(function: str) -> list[ast.AST]:
    """Every function and class of the edge that the handler can come to, itself first.

    A name that is mentioned counts as used: it may be handed on and called later.
    """
    handler = _handler(function)
    modules = {path.stem: _parsed(path) for path in FOLDER.glob("*.py")}
    found: list[ast.AST] = [handler]
    waiting = list(_mentioned(handler, _imports(handler)))
    seen: set[tuple[str, str]] = set()
    while waiting:
        module, name = waiting.pop()
        if (module, name) in seen or module not in modules:
            continue
        seen.add((module, name))
        tree = modules[module]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
                found.append(node)
                own = {
                    each.name: f"{PACKAGE}.{module}.{each.name}"
                    for each in tree.body
                    if isinstance(each, ast.FunctionDef | ast.ClassDef)
                }
                waiting.extend(_mentioned(node, _imports(tree) | own))
    return found


def _mentioned(node: ast.AST, known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """What the code mentions of the edge, as (module, name)."""
    for each in ast.walk(node):
        target = None
        if isinstance(each, ast.Name):
            target = known.get(each.id)
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            target = f"{known.get(each.value.id, '')}.{each.attr}"
        if target and target.startswith(f"{PACKAGE}."):
            module, _, name = target.removeprefix(f"{PACKAGE}.").partition(".")
            if name:
                yield module, name


def _imports(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def _action(service: str, method: str) -> str:
    operations: dict[str, Any] = boto3.client(service).meta.method_to_api_mapping  # type: ignore[call-overload]
    return f"{PREFIXES.get(service, service)}:{operations[method]}"


def _text(node: ast.expr) -> str:
    value = ast.literal_eval(node)
    assert isinstance(value, str)
    return value


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
