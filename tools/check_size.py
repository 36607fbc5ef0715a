"""Files up to 400 lines (importers 600), functions up to 60: what is longer is probably several things."""

import ast
import sys
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
LINES, IMPORTER_LINES, FUNCTION_LINES = 400, 600, 60


def main() -> int:
    """Print what is too long; the exit status."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text()
        limit = IMPORTER_LINES if "importers" in path.parts else LINES
        if text.count("\n") > limit:
            found.append(f"{path}: {text.count(chr(10))} lines, at most {limit}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(f"{path}:{node.lineno}: {node.name} has {length} lines, at most {FUNCTION_LINES}")
    for line in found:
        sys.stdout.write(line + "\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
