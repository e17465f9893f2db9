"""Replies against the gateway's own OpenAPI document, more strictly than clients may be: the status must be documented
for the operation, and members that the schema does not name are faults."""
import copy
import re

import jsonschema

# What the router says before it knows the operation; all of them are problems.
EVERYWHERE = {400, 405, 411, 413, 500}


def strict(schema):
    """The same document with every object closed."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if "properties" in closed and isinstance(closed["properties"], dict):
        closed.setdefault("additionalProperties", False)
    return closed


class Checker:
    def __init__(self, spec):
        self.spec = copy.deepcopy(spec)
        self.spec["components"]["schemas"] = strict(self.spec["components"]["schemas"])
        self.resolver = jsonschema.RefResolver("", self.spec)

    def resolve(self, item):
        while "$ref" in item:
            item = self.resolver.resolve(item["$ref"])[1]
        return item

    def operation(self, method, path):
        """The operation, or None when nothing has this path and method."""
        method = "get" if method == "HEAD" else method.lower()
        for template, item in self.spec["paths"].items():
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path.split("?")[0]):
                return item.get(method)
        return None

    def validate(self, schema, body):
        jsonschema.Draft202012Validator(schema, resolver=self.resolver,
                                        format_checker=jsonschema.FormatChecker()).validate(body)

    def check(self, method, path, status, body):
        """Raises when the reply is not one that the document promises."""
        operation = self.operation(method, path)
        responses = operation["responses"] if operation else {}
        if str(status) not in responses:
            assert status in EVERYWHERE or (status == 404 and operation is None), f"{method} {path}: {status} is undocumented"
            self.validate({"$ref": "#/components/schemas/Problem"}, body)
            return
        content = self.resolve(responses[str(status)]).get("content", {})
        if not content or method == "HEAD":
            assert not body, f"{method} {path}: a body is not documented"
            return
        for kind in content.values():
            self.validate(kind["schema"], body)


def check(spec, method, path, status, body):
    Checker(spec).check(method, path, status, body)
