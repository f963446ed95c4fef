"""A gateway around fakes, for the process that runs it: `deploy.gateway_process` takes the factory's name."""

from __future__ import annotations

from fastapi import FastAPI

from gateway import app
from gateway.settings import GatewaySettings
from tests.gateway_fakes import fake_parts


def create_app() -> FastAPI:
    return app.create_app(fake_parts(settings=GatewaySettings()))
