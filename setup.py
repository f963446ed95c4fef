"""Generates the gRPC modules while the package is built; everything else is in pyproject.toml."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SOURCES = "llava_plus/v1/*.proto"


class BuildWithGrpc(build_py):
    """`build_py` that also writes `*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` beside every `.proto`.

    An editable install gets them in the source tree (git ignores them), a wheel gets them alone.
    """

    def run(self) -> None:
        super().run()
        generate(Path() if self.editable_mode else Path(self.build_lib))


def generate(target: Path) -> None:
    from grpc_tools import protoc

    sources = sorted(str(path) for path in Path().glob(SOURCES))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", "-I.", f"-I{files('grpc_tools') / '_proto'}", *outputs, *sources]) != 0:
        raise SystemExit(f"protoc refused {', '.join(sources)}")


setup(cmdclass={"build_py": BuildWithGrpc})
