"""docs/api.md, made from the OpenAPI document and the SkillSpecs: `python -m gateway.document`."""
