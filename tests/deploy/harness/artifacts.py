"""What is deployed: the template with the functions' binaries, as `sam build` lays them out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILT = ROOT / ".aws-sam" / "build"
LOCAL_PATH = re.compile(r"^(?P<head>\s*(?:-\s+)?(?P<field>CodeUri|DefinitionUri|BodyS3Location):\s*)(?P<path>[^!{\s]\S*)\s*$")


def build(into: Path, template: Path = ROOT / "template.yaml") -> Path:
    """A template whose paths all lead to what is to be deployed.

    It is the one that `sam build` made, where HOLDFAST_SAM_BUILD names its directory; otherwise one of the same form, made of
    the binaries `holdfast-NAME` in HOLDFAST_FUNCTIONS_DIR.
    """
    built = os.environ.get("HOLDFAST_SAM_BUILD")
    if built:
        return Path(built) / "template.yaml"
    binaries = _binaries()

    def placed(line: str) -> str:
        found = LOCAL_PATH.match(line)
        if found is None:
            return line
        path = found["path"].strip("'\"").strip("/")
        if found["field"] == "CodeUri":
            return found["head"] + str(_code(binaries, Path(path).name, into))
        return found["head"] + str(template.parent / path)

    text = template.read_text(encoding="utf-8")
    made = into / "template.yaml"
    made.write_text("".join(placed(line.rstrip("\n")) + "\n" for line in text.splitlines()), encoding="utf-8")
    return made


def command() -> Path:
    """The command line."""
    return Path(os.environ.get("HOLDFAST_BIN") or _binaries() / "holdfast")


def _binaries() -> Path:
    return Path(os.environ.get("HOLDFAST_FUNCTIONS_DIR") or ROOT / "target" / "release")


def _code(binaries: Path, name: str, into: Path) -> Path:
    binary = binaries / f"holdfast-{name}"
    if not binary.is_file():
        raise FileNotFoundError(f"{binary} is not there: build it, or say with HOLDFAST_FUNCTIONS_DIR where the functions are")
    directory = into / name
    directory.mkdir()
    bootstrap = directory / "bootstrap"
    # Symbols are most of a native build's size, and sam build leaves none.
    if shutil.which("strip") is None or subprocess.run(["strip", "-o", bootstrap, binary], check=False).returncode:
        shutil.copyfile(binary, bootstrap)
    bootstrap.chmod(0o755)
    return directory
