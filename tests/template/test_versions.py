"""An update by new versions: what publishes one, what invokes it, and what takes it back.

The template is transformed as CloudFormation has it done. What the transform leaves to CloudFormation is resolved here,
by the parameters, as on AWS.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from graphlib import TopologicalSorter
from typing import Any

import boto3
import pytest
from order_engine.observability import count_by
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from tests.template.reading import ROOT, functions, template, variables

CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
# Nothing invokes their aliases: CloudFormation asks for the migration, an operator launches tokens.
WITHOUT_VERSIONS = {"MigrateFunction", "PreflightFunction", "LaunchFunction"}
VERSIONED = sorted(set(functions().values()) - WITHOUT_VERSIONS)
# Lambda keeps these beside the function's versions, or only when a version is made.
NOT_IN_A_VERSION = ("ReservedConcurrentExecutions", "RecursiveLoop", "Tags")
PARAMETERS: dict[str, dict[str, Any]] = template()["Parameters"]
LONGEST_DESCRIPTION = 256
SOME_LONG_VALUES = {
    "MarketLaunches": "NOVA=2027-01-01T12:00:00Z,ORBIT=2027-02-01T00:00:00Z",
    "VenueSeed": "a-seed-of-some-length",
    "Egress": "ipv6",
    "DatabaseStack.Outputs.ResourceId": "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "NetworkStack.Outputs.PrivateSubnets": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "NetworkStack.Outputs.FunctionsSecurityGroup": "sg-0123456789abcdef0",
}

Resource = dict[str, Any]


def built(**code: str) -> Resource:
    """The template as `sam build` and `sam package` leave it; `code` is what differs, by logical name."""
    document = deepcopy(template())
    for name, resource in document["Resources"].items():
        if kind := CODE.get(resource["Type"]):
            resource["Properties"][kind] = f"s3://bucket/{code.get(name, 'content')}-of-{name}"
    return document


@cache
def transformed(changed: tuple[str, str] = ("", ""), gradual: str = "true") -> dict[str, Resource]:
    """The resources after the transform, with the code of one function or layer changed."""
    document = built(**dict([changed]))
    values = {name: str(one["Default"]) for name, one in PARAMETERS.items()} | {"GradualDeployment": gradual}
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="eu-central-1"))
    after: dict[str, Resource] = translator.translate(document, values)["Resources"]
    return after


class Resolved:
    """What CloudFormation makes of intrinsic functions; of what it does not know before it has it, the name."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: str(one["Default"]) for name, one in PARAMETERS.items()} | {**values}

    def __call__(self, value: Any) -> Any:
        """The value with everything resolved; AWS::NoValue is None."""
        match value:
            case {"Ref": "AWS::NoValue"}:
                return None
            case {"Ref": str(name)}:
                return self._values.get(name, name)
            case {"Fn::GetAtt": [*path]}:
                return self._values.get(".".join(path), ".".join(path))
            case {"Fn::Sub": str(text)}:
                return self({"Fn::Sub": [text, {}]})
            case {"Fn::Sub": [text, given]}:
                known = self._values | {name: self(one) for name, one in given.items()}
                return re.sub(r"\$\{([^}]+)\}", lambda found: str(known.get(found[1], found[1])), text)
            case {"Fn::If": [condition, then, otherwise]}:
                return self(then if self._holds({"Condition": condition}) else otherwise)
            case {"Fn::Split": [by, text]}:
                return self(text).split(by)
            case {"Fn::Join": [by, parts]}:
                return by.join(map(self, self(parts)))
            case dict():
                return {key: self(part) for key, part in value.items()}
            case list():
                return [self(part) for part in value]
        return value

    def _holds(self, condition: Any) -> bool:
        match condition:
            case {"Condition": name}:
                return self._holds(template()["Conditions"][name])
            case {"Fn::Not": [one]}:
                return not self._holds(one)
            case {"Fn::And": parts}:
                return all(map(self._holds, parts))
            case {"Fn::Or": parts}:
                return any(map(self._holds, parts))
            case {"Fn::Equals": [one, other]}:
                return str(self(one)) == str(self(other))
        raise AssertionError(f"can't tell whether this holds: {condition}")


def version_of(function: str, values: Mapping[str, str] = {}, changed: tuple[str, str] = ("", "")) -> tuple[str, Any]:
    """What makes a function's version another one for CloudFormation: its logical name, and its properties, each of
    which needs a replacement (AWS::Lambda::Version in the template reference, "Update requires")."""
    (found,) = (
        (name, one["Properties"])
        for name, one in transformed(changed).items()
        if one["Type"] == "AWS::Lambda::Version" and one["Properties"]["FunctionName"] == {"Ref": function}
    )
    return found[0], Resolved(values)(found[1])


def settings_of(function: str, values: Mapping[str, str] = {}) -> Any:
    """What is in a function's version."""
    properties = transformed()[function]["Properties"]
    return Resolved(values)({name: one for name, one in properties.items() if name not in NOT_IN_A_VERSION})


def others(parameter: str) -> list[str]:
    """Values of a parameter that are not its default."""
    declared = PARAMETERS[parameter]
    default = str(declared["Default"])
    return [str(one) for one in declared.get("AllowedValues", ()) if str(one) != default] or [f"{default}7"]


def users_of(layer: str) -> set[str]:
    """The functions that have a layer."""
    return {name for name in VERSIONED if layer in str(settings_of(name)["Layers"])}


@pytest.mark.parametrize("function", VERSIONED)
def test_the_same_again_publishes_nothing(function: str) -> None:
    assert version_of(function) == version_of(function, changed=("another", "change"))


@pytest.mark.parametrize("layer", ["EngineLayer", "DocsLayer"])
def test_a_layers_new_content_publishes_a_version_of_each_function_that_has_it(layer: str) -> None:
    logical = next(name for name in transformed() if name.startswith(layer))

    published = {name for name in VERSIONED if version_of(name) != version_of(name, changed=(layer, "new"))}

    assert published
    assert published == users_of(logical)


@pytest.mark.parametrize("function", VERSIONED)
def test_new_code_publishes_a_version_of_that_function_alone(function: str) -> None:
    published = {name for name in VERSIONED if version_of(name) != version_of(name, changed=(function, "new"))}

    assert published == {function}


@pytest.mark.parametrize("parameter", sorted(set(PARAMETERS) - {"LocalGateway", "DatabaseUrl"}))
def test_a_parameter_publishes_a_version_of_the_functions_that_it_changes_and_no_other(parameter: str) -> None:
    """A version of a function that is the same is refused: "a version for this Lambda function exists"."""
    for value in others(parameter):
        given = {parameter: value}
        changed = {name for name in VERSIONED if settings_of(name) != settings_of(name, given)}
        published = {name for name in VERSIONED if version_of(name) != version_of(name, given)}

        assert published == changed, value


def test_there_are_parameters_that_change_functions() -> None:
    def changes(parameter: str, name: str) -> bool:
        return bool(settings_of(name) != settings_of(name, {parameter: others(parameter)[0]}))

    changed = {name: {parameter for parameter in PARAMETERS if changes(parameter, name)} for name in VERSIONED}

    assert {"Architecture", "LogLevel"} <= set.intersection(*changed.values())
    assert {"VenueSwapLatencyMs", "OrderMaxAgeSeconds"} <= changed["RouteExecuteFunction"]
    assert "OwnerStreams" in changed["WsConnectFunction"]


@pytest.mark.parametrize(
    "another_one",
    [
        {"DatabaseStack.Outputs.Host": "new", "DatabaseStack.Outputs.ResourceId": "db-NEW"},
        {"NetworkStack.Outputs.PrivateSubnets": "subnet-new"},
        {"NetworkStack.Outputs.FunctionsSecurityGroup": "sg-new"},
    ],
    ids=["database", "subnets", "security group"],
)
def test_another_database_or_network_publishes_a_version_of_the_functions_in_it(another_one: dict[str, str]) -> None:
    changed = {name for name in VERSIONED if settings_of(name) != settings_of(name, another_one)}
    published = {name for name in VERSIONED if version_of(name) != version_of(name, another_one)}

    assert published == changed == {"RouteExecuteFunction", "DeadLettersFunction", "OrdersFunction"}


@pytest.mark.parametrize("function", VERSIONED)
def test_a_description_is_as_long_as_lambda_allows(function: str) -> None:
    _, properties = version_of(function, SOME_LONG_VALUES)

    assert len(properties["Description"]) <= LONGEST_DESCRIPTION


def longest(parameter: dict[str, Any]) -> str:
    """The longest value that CloudFormation takes for a parameter; of a number, the longest bound."""
    if choices := parameter.get("AllowedValues"):
        return str(max(map(str, choices), key=len))
    if parameter["Type"] == "Number":
        return str(max(parameter["Default"], parameter.get("MaxValue", 0), key=lambda value: len(str(value))))
    return "x" * int(parameter.get("MaxLength", 0)) or str(parameter["Default"])


def test_no_values_of_parameters_make_a_description_longer_than_lambda_allows() -> None:
    """Otherwise a deploy is refused only when the version is made, after the database."""
    used = {name for name in PARAMETERS if f"${{{name}}}" in str(built()["Resources"]["RouteExecuteFunction"])}
    texts = {name for name in used if PARAMETERS[name]["Type"] == "String" and "AllowedValues" not in PARAMETERS[name]}

    _, properties = version_of(
        "RouteExecuteFunction", SOME_LONG_VALUES | {one: longest(PARAMETERS[one]) for one in used}
    )

    assert {one for one in texts if "MaxLength" not in PARAMETERS[one]} <= {"LocalGateway"}
    assert texts >= {"VenueSeed", "MarketLaunches"}
    assert len(properties["Description"]) <= LONGEST_DESCRIPTION


def invoked() -> Iterator[tuple[str, Any]]:
    """Each part of the template that has a function invoked or allows it, with what it names."""
    for name, resource in transformed().items():
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::Lambda::Permission" | "AWS::Lambda::EventSourceMapping":
                yield name, properties["FunctionName"]
            case "AWS::Scheduler::Schedule":
                yield name, properties["Target"]["Arn"]
            case "AWS::ApiGatewayV2::Integration":
                yield name, properties["IntegrationUri"]["Fn::Sub"][1]["FunctionArn"]
            case "AWS::ApiGatewayV2::Api" if "Body" in properties:
                for uri in re.findall(r"functions/\$\{([^}]+)\}/invocations", str(properties["Body"])):
                    yield name, {"Ref": uri}
            case "AWS::IAM::Role":
                for policy in properties.get("Policies", []):
                    for statement in policy["PolicyDocument"]["Statement"]:
                        if "lambda:InvokeFunction" in str(statement.get("Action")):
                            yield name, statement["Resource"]


def test_whatever_invokes_a_function_names_its_alias() -> None:
    named = list(invoked())
    aliases = {name for name, one in transformed().items() if one["Type"] == "AWS::Lambda::Alias"}

    assert {one["Ref"] for _, one in named} <= aliases
    assert {one["Ref"].removesuffix("Aliaslive") for _, one in named} == set(VERSIONED)
    for function in functions().values():
        if "NOTIFY_FUNCTION" in variables(function):
            assert transformed()[function]["Properties"]["Environment"]["Variables"]["NOTIFY_FUNCTION"] == {
                "Ref": "NotifyFunctionAliaslive"
            }


def watched_by(group: Resource) -> set[tuple[str, ...]]:
    """What the alarm of a deployment group watches of functions: whose errors, of which alias and version."""
    (alarm,) = Resolved({})(group["Properties"]["AlarmConfiguration"])["Alarms"]
    metrics = [part["MetricStat"]["Metric"] for part in transformed()[alarm["Name"]]["Properties"]["Metrics"][1:]]
    return {
        (metric["MetricName"], *(one["Value"] for one in Resolved({})(metric["Dimensions"])))
        for metric in metrics
        if metric["Namespace"] == "AWS/Lambda"
    }


def test_the_apis_and_the_workers_functions_go_back_when_their_new_versions_fail() -> None:
    reached = {name for name, one in template()["Resources"].items() if "DeploymentPreference" in str(one)}

    assert reached == set(VERSIONED) - {"DeadLettersFunction", "WatchMarketFunction"}
    for function in reached:
        group = transformed()[f"{function}DeploymentGroup"]
        version, _ = version_of(function)
        assert ("Errors", function, f"{function}:live", f"{version}.Version") in watched_by(group)
        assert "Canary10Percent5Minutes" in str(group["Properties"]["DeploymentConfigName"])
        assert transformed()[f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]


def test_the_workers_alarm_reads_the_metric_that_its_new_version_writes(capsys: pytest.CaptureFixture[str]) -> None:
    *_, part = transformed()["NewWorkerAlarm"]["Properties"]["Metrics"]
    watched = Resolved({})(part["MetricStat"]["Metric"])
    version, _ = version_of("RouteExecuteFunction")

    count_by(watched["MetricName"], "version", f"{version}.Version")

    written = json.loads(capsys.readouterr().out)
    (kind,) = written["_aws"]["CloudWatchMetrics"]
    assert kind["Namespace"] == watched["Namespace"]
    assert kind["Metrics"][0]["Name"] == "WorkerFaults"
    assert kind["Dimensions"] == [[one["Name"] for one in watched["Dimensions"]]]
    assert watched["Dimensions"][1]["Value"] == written["version"]


def test_a_stack_without_gradual_deployment_has_nothing_of_codedeploy() -> None:
    def types(gradual: str) -> set[str]:
        return {one["Type"] for one in transformed(gradual=gradual).values() if "CodeDeploy" in str(one)}

    assert "AWS::CodeDeploy::DeploymentGroup" in types("true")
    assert types("false") == set()


def needed_by(value: Any) -> Iterator[str]:
    """Every resource that a part of the template refers to."""
    match value:
        case {"Ref": str(name)}:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), _]}:
            yield from (name.partition(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text))
            yield from needed_by(value["Fn::Sub"][1:]) if isinstance(value["Fn::Sub"], list) else ()
        case dict():
            for part in value.values():
                yield from needed_by(part)
        case list():
            for part in value:
                yield from needed_by(part)


def test_nothing_waits_for_itself() -> None:
    resources = transformed()
    graph = {}
    for name, resource in resources.items():
        before = resource.get("DependsOn", [])
        graph[name] = ({*needed_by(resource)} | {*([before] if isinstance(before, str) else before)}) & set(resources)

    order = list(TopologicalSorter(graph).static_order())

    assert order.index("NewVersionAlarm") < order.index("SubmitFunctionAliaslive") < order.index("HttpApi")


def test_no_role_has_a_name_since_samconfig_gives_no_capability_for_that() -> None:
    roles = [one for one in transformed().values() if one["Type"] == "AWS::IAM::Role"]

    assert "CodeDeploy" in str(roles)
    assert not any("RoleName" in one["Properties"] for one in roles)
    assert "CAPABILITY_NAMED_IAM" not in (ROOT / "samconfig.toml").read_text()
