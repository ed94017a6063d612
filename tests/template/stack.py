"""The template as CloudFormation would see it: read, translated by SAM, and resolved for given parameters."""

from __future__ import annotations

import copy
import itertools
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# The translator asks boto3 for a region, and nothing else.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

from samtranslator.translator.transform import transform  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
DR_REGION = ROOT / "infra" / "dr-region.yaml"
MACHINES = ROOT / "infra" / "statemachines"

# A stack with everything that can be switched on.
EVERYTHING = {
    "SourceTables": "arn:aws:dynamodb:eu-central-1:111122223333:table/orders",
    "SourceBuckets": "arn:aws:s3:::media,arn:aws:s3:::exports",
    "SourceKeys": "arn:aws:kms:eu-central-1:111122223333:key/source",
    "TargetTables": "arn:aws:dynamodb:eu-central-1:111122223333:table/restored-*",
    "TargetBuckets": "arn:aws:s3:::restored",
    "TargetKeys": "arn:aws:kms:eu-central-1:111122223333:key/target",
    "CapturedStream1": "arn:aws:dynamodb:eu-central-1:111122223333:table/orders/stream/2026",
    "ColdStorageDays": "90",
    "NotificationEmail": "ops@example.com",
    "DemoTable": "true",
    "BackupColdStorage": "true",
    "DrRegion": "eu-west-1",
    "DrVaultBucketArn": "arn:aws:s3:::replica",
    "DrKeyId": "replica-key",
    "DrBackupVaultArn": "arn:aws:backup:eu-west-1:111122223333:backup-vault:copies",
}

PSEUDO = {
    "AWS::AccountId": "111122223333",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-central-1",
    "AWS::StackName": "holdfast",
    "AWS::URLSuffix": "amazonaws.com",
}

ABSENT = object()


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms."""


def _short_form(loader: yaml.Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix in ("Ref", "Condition"):
        return {suffix: value}
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)


def read(path: Path = TEMPLATE) -> dict[str, Any]:
    """The template as it is written."""
    return copy.deepcopy(_read(path))


class _NoPolicies:
    """No role of the template asks SAM for a policy."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def _translated() -> dict[str, Any]:
    template = read()
    for resource in template["Resources"].values():
        for field in ("CodeUri", "DefinitionUri"):
            if field in resource.get("Properties", {}):
                resource["Properties"][field] = {"Bucket": "artifacts", "Key": resource["Properties"][field]}
    return transform(template, {}, _NoPolicies())


def translated() -> dict[str, Any]:
    """The template as SAM translates it."""
    return copy.deepcopy(_translated())


class Stack:
    """A template resolved for parameters. What only AWS knows stands as `<LogicalId>` and `<LogicalId.Attribute>`."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, str] | None = None) -> None:
        self._template = template
        declared = template["Parameters"]
        unknown = set(parameters or {}) - set(declared)
        if unknown:
            raise ValueError(f"the template has no parameters {sorted(unknown)}")
        self._values: dict[str, Any] = dict(PSEUDO)
        for name, parameter in declared.items():
            value = (parameters or {}).get(name, str(parameter.get("Default", "")))
            self._values[name] = value.split(",") if parameter["Type"] == "CommaDelimitedList" else value
        self.conditions = {name: self._condition(name) for name in template.get("Conditions", {})}
        self.resources: dict[str, dict[str, Any]] = {
            name: self._resolve(resource) for name, resource in template["Resources"].items() if self._there(resource)
        }
        self.outputs: dict[str, Any] = {
            name: self._resolve(output["Value"]) for name, output in template["Outputs"].items() if self._there(output)
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type."""
        return {
            name: resource.get("Properties", {}) for name, resource in self.resources.items() if resource["Type"] == kind
        }

    def properties(self, name: str) -> dict[str, Any]:
        return self.resources[name]["Properties"]

    def statements(self, role: str) -> list[dict[str, Any]]:
        """What a role grants: its own policies, and those of the stack that are attached to it."""
        properties = self.properties(role)
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        for attached in properties.get("ManagedPolicyArns", []):
            found = re.fullmatch(r"<(\w+)>", attached)
            if found:
                documents.append(self.properties(found[1])["PolicyDocument"])
        documents += [
            policy["PolicyDocument"]
            for policy in self.of_type("AWS::IAM::Policy").values()
            if f"<{role}>" in policy["Roles"]
        ]
        return [statement for document in documents for statement in document["Statement"]]

    def actions(self, role: str) -> set[str]:
        return set(itertools.chain.from_iterable(listed(statement["Action"]) for statement in self.statements(role)))

    def _there(self, part: dict[str, Any]) -> bool:
        return self.conditions[part["Condition"]] if "Condition" in part else True

    def _condition(self, name: str) -> bool:
        return self._holds(self._template["Conditions"][name])

    def _holds(self, expression: dict[str, Any]) -> bool:
        ((function, given),) = expression.items()
        match function:
            case "Condition":
                return self._condition(given)
            case "Fn::Equals":
                left, right = (self._resolve(side) for side in given)
                return str(left) == str(right)
            case "Fn::Not":
                return not self._holds(given[0])
            case "Fn::And":
                return all(self._holds(each) for each in given)
            case "Fn::Or":
                return any(self._holds(each) for each in given)
        raise ValueError(f"a condition uses {function}")

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [given for each in value if (given := self._resolve(each)) is not ABSENT]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, given),) = value.items()
            if name == "Ref" or name.startswith("Fn::"):
                return self._call(name, given)
        resolved = {name: self._resolve(each) for name, each in value.items()}
        return {name: each for name, each in resolved.items() if each is not ABSENT}

    def _call(self, function: str, given: Any) -> Any:
        match function:
            case "Ref":
                return ABSENT if given == "AWS::NoValue" else self._values.get(given, f"<{given}>")
            case "Fn::GetAtt":
                return f"<{'.'.join(given)}>"
            case "Fn::If":
                condition, when, otherwise = given
                return self._resolve(when if self.conditions[condition] else otherwise)
            case "Fn::Join":
                separator, parts = given
                return separator.join(str(part) for part in self._resolve(parts))
            case "Fn::Split":
                separator, text = given
                return self._resolve(text).split(separator)
            case "Fn::Select":
                index, parts = given
                return self._resolve(parts)[int(index)]
            case "Fn::Sub":
                return self._substitute(given)
        raise ValueError(f"the template uses {function}")

    def _substitute(self, given: Any) -> str:
        text, local = (given, {}) if isinstance(given, str) else given

        def put(found: re.Match[str]) -> str:
            name = found[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in local:
                return str(self._resolve(local[name]))
            return str(self._values.get(name, f"<{name}>"))

        return re.sub(r"\$\{([^}]+)\}", put, text)


def listed(value: Any) -> list[Any]:
    """A value that may stand alone, as a list."""
    return value if isinstance(value, list) else [value]


@cache
def stack(everything: bool = True) -> Stack:
    """The stack as it is by default, or with everything."""
    return Stack(translated(), EVERYTHING if everything else {})


def function_names() -> set[str]:
    """The functions of the workspace that are deployed: those with a main."""
    return {main.parents[1].name for main in ROOT.glob("functions/*/src/main.rs")}


def logical(name: str) -> str:
    """A name with hyphens as part of a logical id."""
    return "".join(part.capitalize() for part in name.split("-"))
