"""The rules that hold the tree together: imports, sizes, requirements, and what no file may say."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "stillpoint"
FUNCTIONS = ROOT / "functions"

MAX_LINES = 400
OUTSIDE_THE_PRODUCT = {"sandbox", "benchmarks", "tests", "tools"}
# A pure module decides; it does not ask AWS, the environment, the network or another process.
IMPURE = {
    *("boto3", "botocore", "aws_lambda_powertools", "mypy_boto3_ec2", "s3transfer"),
    *("os", "socket", "subprocess", "urllib", "urllib3", "http", "requests"),
}
NOT_OURS = {"build", "__pycache__", "node_modules"}


def imported_modules(source: str, package: str) -> set[str]:
    """Every module that the source imports, with relative imports resolved within the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            # `from stillpoint import aws` imports stillpoint.aws, so the names count as well.
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def is_or_is_inside(module: str, packages: set[str]) -> bool:
    """Whether the module is one of the packages or a part of one."""
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def imports_of(path: Path, root: Path) -> set[str]:
    """Every module that the file imports; root is the folder that Python finds its package in."""
    package = ".".join(path.relative_to(root).parent.parts)
    return imported_modules(path.read_text(encoding="utf-8"), package)


def forbidden_imports(path: Path, root: Path, forbidden: set[str]) -> set[str]:
    """Those imports of the file that are among the forbidden packages."""
    return {module for module in imports_of(path, root) if is_or_is_inside(module, forbidden)}


def pure_modules() -> list[Path]:
    """The layer's modules outside stillpoint.aws."""
    package = LAYER / "stillpoint"
    return [path for path in sorted(package.rglob("*.py")) if package / "aws" not in path.parents]


def aws_modules() -> list[Path]:
    """The modules that call AWS and read the environment."""
    return sorted((LAYER / "stillpoint" / "aws").rglob("*.py"))


def handlers() -> list[Path]:
    """The Lambda functions."""
    return sorted(FUNCTIONS.rglob("*.py"))


def our_files() -> Iterator[Path]:
    """Every file of the repository, without what tools create (dot folders other than .ci)."""
    for entry in sorted(ROOT.iterdir()):
        if entry.name in NOT_OURS or (
            entry.is_dir() and entry.name.startswith(".") and entry.name != ".ci"
        ):
            continue
        inside = sorted(entry.rglob("*")) if entry.is_dir() else [entry]
        yield from (
            path
            for path in inside
            if path.is_file() and not NOT_OURS & set(path.relative_to(ROOT).parts)
        )


def name_of(path: Path) -> str:
    """The path as a test id."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os.path", {"os.path"}),
        ("from . import aws", {"stillpoint", "stillpoint.aws"}),
        ("from .aws import ec2", {"stillpoint.aws", "stillpoint.aws.ec2"}),
        ("def f():\n    import boto3", {"boto3"}),
        ("from stillpoint import aws", {"stillpoint", "stillpoint.aws"}),
    ],
)
def test_an_import_is_found_however_it_is_written(source: str, expected: set[str]) -> None:
    assert imported_modules(source, "stillpoint") == expected


def test_an_import_two_folders_up_is_resolved() -> None:
    assert imported_modules("from ..tags import Tag", "stillpoint.aws") == {
        "stillpoint.tags",
        "stillpoint.tags.Tag",
    }


def test_the_product_is_where_these_rules_look_for_it() -> None:
    assert pure_modules()
    assert aws_modules()
    assert handlers()


@pytest.mark.parametrize("path", pure_modules(), ids=name_of)
def test_a_pure_module_imports_nothing_that_reaches_outside(path: Path) -> None:
    forbidden = IMPURE | {"stillpoint.aws", "functions", "app"}
    assert not forbidden_imports(path, LAYER, forbidden)


@pytest.mark.parametrize("path", aws_modules(), ids=name_of)
def test_an_aws_module_does_not_import_the_handlers(path: Path) -> None:
    assert not forbidden_imports(path, LAYER, {"functions", "app"})


@pytest.mark.parametrize("path", handlers(), ids=name_of)
def test_a_handler_leaves_the_sdk_and_the_environment_to_the_layer(path: Path) -> None:
    assert not forbidden_imports(path, ROOT, {"boto3", "botocore", "os", "functions", "app"})


@pytest.mark.parametrize("path", [*pure_modules(), *aws_modules(), *handlers()], ids=name_of)
def test_the_product_knows_nothing_of_what_surrounds_it(path: Path) -> None:
    root = ROOT if FUNCTIONS in path.parents else LAYER
    assert not forbidden_imports(path, root, OUTSIDE_THE_PRODUCT)


def test_no_module_grows_too_long() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in our_files()
        if path.suffix == ".py" and "tests" not in path.relative_to(ROOT).parts
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def pins(requirements: Path) -> dict[str, str]:
    """The version of every package that a compiled requirements file pins."""
    text = requirements.read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, flags=re.MULTILINE))


def test_the_layer_ships_the_versions_that_the_tests_run_with() -> None:
    shipped = pins(LAYER / "requirements.txt")
    tested = pins(ROOT / "requirements" / "dev.txt")
    assert {"boto3", "aws-lambda-powertools", "tzdata"} <= shipped.keys()
    assert {package: tested.get(package) for package in shipped} == shipped


REQUIREMENTS = [
    LAYER / "requirements.txt",
    ROOT / "requirements" / "dev.txt",
    ROOT / "requirements" / "sam.txt",
]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=name_of)
def test_every_requirement_is_pinned_and_hashed(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    pinned = [index for index, line in enumerate(lines) if re.match(r"[a-z]", line)]
    assert pinned
    for index in pinned:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,]+\])?==", lines[index]), lines[index]
        assert "--hash=sha256:" in lines[index + 1], lines[index]


@pytest.mark.parametrize("path", REQUIREMENTS, ids=name_of)
def test_requirements_were_compiled_from_what_their_source_lists(path: Path) -> None:
    listed = {
        re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0].lower().replace("_", "-")
        for line in path.with_suffix(".in").read_text(encoding="utf-8").splitlines()
        if re.match(r"[A-Za-z]", line)
    }
    assert listed
    assert listed <= pins(path).keys()


def test_python_is_the_same_everywhere() -> None:
    version = (ROOT / ".python-version").read_text(encoding="utf-8").strip()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert settings["tool"]["mypy"]["python_version"] == version
    assert settings["tool"]["ruff"]["target-version"] == f"py{version.replace('.', '')}"
    assert f"Runtime: python{version}" in (ROOT / "template.yaml").read_text(encoding="utf-8")


# Put together here, so that this file does not hold what it looks for.
PLACES_OF_ONE_MACHINE = re.compile(
    "|".join(
        [
            *(
                "python" + r"hosted\.org",
                "pypi" + r"\.org",
                "registry" + r"\.npmjs",
                "proxy" + r"\.golang",
            ),
            *("--(extra-)?index" + "-url", "--find" + "-links", "--trusted" + "-host"),
            r"(?<![\w.}])/" + r"(root|home|Users|work)/\w",
        ]
    )
)


def test_nothing_names_a_package_registry_or_a_folder_of_one_machine() -> None:
    found = [
        f"{name_of(path)}:{number}: {line.strip()[:100]}"
        for path in our_files()
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
        )
        if PLACES_OF_ONE_MACHINE.search(line)
    ]
    assert found == []
