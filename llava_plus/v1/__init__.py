"""The gRPC interface: `platform.proto`, and the modules that are generated from it when the package is built."""
