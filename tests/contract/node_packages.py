"""Packages from npm for tests, installed once into the user's cache; where that cannot be done a test skips."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest

INSTALL_S = 180


def installed(package: str, version: str) -> Path:
    """The folder whose `node_modules` has the package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js with npm")
    folder = Path(platformdirs.user_cache_dir("llava-plus")) / "npm" / f"{package.replace('/', '_')}-{version}"
    if (folder / "node_modules" / package / "package.json").exists():
        return folder
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    command = [npm, "install", f"{package}@{version}", "--prefix", str(building), "--ignore-scripts", "--no-audit"]
    try:
        subprocess.run([*command, "--no-fund", "--silent"], check=True, capture_output=True, timeout=INSTALL_S)
        if not folder.exists():
            building.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"npm could not install {package}@{version}: {error}")
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def run(script: Path, folder: Path, *arguments: str, timeout_s: float = 120) -> str:
    """What a script prints that imports packages from `folder`."""
    # Node looks for packages beside the script itself.
    beside = folder / script.name
    shutil.copyfile(script, beside)
    done = subprocess.run(
        ["node", str(beside), *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
