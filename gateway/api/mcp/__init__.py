"""The platform over the Model Context Protocol: every skill a tool, every picture a resource."""
