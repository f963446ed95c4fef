"""The platform over gRPC: `llava_plus/v1/platform.proto`, served inside the gateway's process."""
