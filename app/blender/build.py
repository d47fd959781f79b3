"""Write the Blender extension's zip: `python -m app.blender.build dist/lumigraph_import.zip`. The same files give the same bytes."""

import sys
import zipfile
from pathlib import Path

SOURCE = Path(__file__).with_name("lumigraph_import")


def build(target: Path) -> Path:
    """The extension as Blender installs it: manifest and code at the zip's root."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(SOURCE.glob("*")):
            if path.suffix in (".py", ".toml"):
                package.writestr(zipfile.ZipInfo(path.name, (2026, 1, 1, 0, 0, 0)), path.read_bytes())
    partial.replace(target)
    return target


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
