"""Print docs/modules.md, the table of all modules, from their docstrings: ``make docs``."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("model", "service", "benchmarks")
HEAD = """# Modules

Every folder and module with the first sentence of its docstring. `make docs` prints this page; a test
compares it with the code.
"""


def purpose(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line; raises ValueError if there is none."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    if not text:
        raise ValueError(f"{path} has no docstring")
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def folders() -> Iterator[Path]:
    """The packages below the top folders, outer ones first."""
    for top in TOP:
        yield from (path.parent for path in sorted((ROOT / top).rglob("__init__.py")))


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for folder in folders():
        parts.append(f"## `{folder.relative_to(ROOT)}/`\n\n{purpose(folder / '__init__.py')}\n")
        modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        if modules:
            rows = [f"| `{path.name}` | {purpose(path)} |" for path in modules]
            parts.append("\n".join(["| module | its one reason to change |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
