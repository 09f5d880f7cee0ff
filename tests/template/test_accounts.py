"""What a stack needs of its account: samconfig.toml's environments, and what is asked before the database is made."""

import re
import tomllib
from typing import Any

import pytest
from order_engine import limits, migrations
from order_engine.adapters import postgres
from order_engine.entrypoints import custom_resource

from functions.preflight import app as preflight_app
from local.stack import _WORKERS
from tests.template.reading import ROOT, as_list, functions, nested_stacks, referred, resources, template

SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())
ENVIRONMENTS = sorted(SAMCONFIG.keys() - {"version"})
GUIDE = (ROOT / "docs/deploy.md").read_text()
NEW_ACCOUNT = 10  # a new account's concurrent executions


def parameters(environment: str) -> dict[str, Any]:
    """The template's parameters as an environment sets them."""
    defaults = {name: parameter["Default"] for name, parameter in template()["Parameters"].items()}
    overrides = SAMCONFIG[environment]["deploy"]["parameters"].get("parameter_overrides", [])
    return defaults | dict(override.split("=", 1) for override in overrides)


def executions(value: Any, environment: str) -> list[int]:
    """A list of numbers of executions, or one of them, as an environment makes it."""
    given = parameters(environment)
    match value:
        case {"Fn::If": ["ReservesConcurrency", then, otherwise]}:
            return executions(then if given["ReserveConcurrency"] == "true" else otherwise, environment)
        case {"Ref": "AWS::NoValue"}:
            return []
        case {"Ref": name}:
            return [int(given[name])]
        case list():
            return [number for part in value for number in executions(part, environment)]
    return [int(value)]


def preflight() -> dict[str, Any]:
    """What CloudFormation asks the function of that name."""
    (custom,) = resources("Custom::Preflight").values()
    properties: dict[str, Any] = custom["Properties"]
    return properties


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_sets_parameters_that_there_are_to_what_they_may_be(environment: str) -> None:
    declared = template()["Parameters"]
    given = parameters(environment)

    assert given.keys() == declared.keys()
    for name, value in given.items():
        assert str(value) in map(str, declared[name].get("AllowedValues", [value])), name
        if declared[name]["Type"] == "Number":
            low, high = (declared[name].get(bound, value) for bound in ("MinValue", "MaxValue"))
            assert float(low) <= float(value) <= float(high), name


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_preflight_knows_every_reservation(environment: str) -> None:
    reserved = [
        number
        for function in resources("AWS::Serverless::Function").values()
        for number in executions(function["Properties"].get("ReservedConcurrentExecutions", []), environment)
    ]

    assert executions(preflight()["Reserved"], environment) == reserved
    assert bool(reserved) == (parameters(environment)["ReserveConcurrency"] == "true")


def test_the_preflight_knows_what_consumes_a_queue() -> None:
    """It counts as many of each as the queue's poller may invoke."""
    most = {
        name: executions(event["Properties"]["ScalingConfig"]["MaximumConcurrency"], "try")
        for name, function in resources("AWS::Serverless::Function").items()
        for event in function["Properties"].get("Events", {}).values()
        if event["Type"] == "SQS"
    }
    workers, dead_letters, *_ = executions(preflight()["Unreserved"], "try")

    assert most == {"RouteExecuteFunction": [workers], "DeadLettersFunction": [dead_letters]}


def test_a_new_account_has_room_for_a_trial_and_for_posts() -> None:
    unreserved = executions(preflight()["Unreserved"], "try")
    workers, _, watchers, *others = unreserved

    assert parameters("try")["ReserveConcurrency"] == "false"
    assert 2 <= workers <= 4
    assert watchers == 2  # a run takes over from the one before it
    assert len(others) >= 3  # a POST, a subscriber, notify
    assert sum(unreserved) <= NEW_ACCOUNT
    assert f"{' + '.join(map(str, unreserved))} = {sum(unreserved)}" in GUIDE


def test_the_free_plan_allows_the_database_of_a_trial() -> None:
    """One day of backups and a micro class (docs/deploy.md has the source)."""
    given = parameters("try")

    assert int(given["DatabaseBackupDays"]) == 1
    assert given["DatabaseClass"].endswith(".micro")
    assert given["DatabaseMultiAz"] == "false"


def test_the_database_waits_for_the_preflight_which_waits_for_nothing_slow() -> None:
    preflights = {name for name, one in template()["Resources"].items() if one["Type"] == "Custom::Preflight"}
    function = template()["Resources"][functions()["preflight"]]["Properties"]

    assert as_list(nested_stacks()["DatabaseStack"]["DependsOn"]) == [*preflights]
    assert referred(preflight()["ServiceToken"]) == functions()["preflight"]
    assert "VpcConfig" not in function
    assert "Environment" not in function


@pytest.mark.parametrize(
    ("folder", "longest"),
    [
        ("preflight", preflight_app._ASKING_SECONDS + limits.INVOKE),
        ("migrate", migrations._CONNECTING_SECONDS + migrations._SECRET_SECONDS + postgres._LIMITS["connect_timeout"]),
    ],
)
def test_a_custom_resource_gives_up_waiting_before_its_time_is_over(folder: str, longest: float) -> None:
    timeout = template()["Resources"][functions()[folder]]["Properties"]["Timeout"]

    assert longest < timeout - custom_resource._LAST_SECONDS


def test_the_local_stack_has_the_workers_of_the_template() -> None:
    assert _WORKERS["RouteExecuteFunction"] == template()["Parameters"]["Workers"]["Default"]


def test_the_role_for_logs_comes_after_another_resource_of_api_gateway() -> None:
    """The documentation of AWS::ApiGateway::Account names a REST API and an API key, and says nothing of others."""
    account = template()["Resources"]["ApiGatewayAccount"]
    (first,) = as_list(account["DependsOn"])

    assert template()["Resources"][first]["Type"] in ("AWS::ApiGateway::RestApi", "AWS::ApiGateway::ApiKey")
    assert template()["Resources"][first]["Condition"] == account["Condition"]


def test_the_guides_commands_name_parameters_and_environments_that_there_are() -> None:
    commands = "\n".join(re.findall(r"^ *```sh\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL))
    overridden = re.findall(r"\b([A-Z]\w+)=", " ".join(re.findall(r"--parameter-overrides ([^\\\n]*)", commands)))

    assert set(overridden) <= template()["Parameters"].keys()
    assert set(re.findall(r"--config-env (\w+)", GUIDE)) <= set(ENVIRONMENTS)


def computed(value: Any, version: str) -> Any:
    """A value as CloudFormation computes it, with this DatabaseEngineVersion."""
    match value:
        case {"Ref": "DatabaseEngineVersion"}:
            return version
        case {"Fn::Join": [between, parts]}:
            return between.join(computed(part, version) for part in parts)
        case {"Fn::Select": [index, items]}:
            return computed(items, version)[index]
        case {"Fn::Split": [between, text]}:
            return computed(text, version).split(between)
    return value


def test_a_major_upgrade_is_one_parameter() -> None:
    """The parameter group is always of the engine's version: RDS takes no other, and takes both in one call."""
    database = template(nested_stacks()["DatabaseStack"]["Properties"]["TemplateURL"])["Resources"]

    assert database["Database"]["Properties"]["AllowMajorVersionUpgrade"] is True
    assert referred(database["Database"]["Properties"]["DBParameterGroupName"]) == "DatabaseParameters"
    family = database["DatabaseParameters"]["Properties"]["Family"]
    assert {version: computed(family, version) for version in ("18", "18.2", "19.1")} == {
        "18": "postgres18",
        "18.2": "postgres18",
        "19.1": "postgres19",
    }
    assert "DBParameterGroupName" not in database["DatabaseParameters"]["Properties"]  # it would be taken already
    pattern = template()["Parameters"]["DatabaseEngineVersion"]["AllowedPattern"]
    for version, fits in {"18": True, "19.1": True, "postgres18": False, "18.": False, "9.6": False}.items():
        assert bool(re.fullmatch(pattern, version)) == fits
