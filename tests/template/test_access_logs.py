"""What the APIs log of a request: nothing that a client wrote, for a stream's token stands in its query."""

import re
import tomllib

import pytest

from tests.template.reading import ROOT, on_aws, resources, template

ENVIRONMENTS = sorted(tomllib.loads((ROOT / "samconfig.toml").read_text()).keys() - {"version"})
DAYS_FOR_ADDRESSES = 30

# Of API Gateway's `$context` variables, those that are the gateway's own words, or the caller's address.
HARMLESS = {
    *("requestId", "requestTime", "identity.sourceIp", "routeKey", "eventType", "connectionId", "status"),
    *("responseLength", "responseLatency", "error.message", "integrationErrorMessage"),
}


def test_no_log_format_has_a_query_a_path_or_a_header() -> None:
    apis = {**resources("AWS::Serverless::HttpApi"), **resources("AWS::Serverless::WebSocketApi")}
    formats = {name: on_aws(api["Properties"]["AccessLogSettings"])["Format"] for name, api in apis.items()}

    assert {*formats} == {"HttpApi", "WebSocketApi"}
    for text in formats.values():
        variables = set(re.findall(r"\$context\.([\w.]+)", text))
        assert variables
        assert variables <= HARMLESS
        assert text.count("$") == text.count("$context.")


def overrides(environment: str) -> dict[str, str]:
    """The parameters that an environment of samconfig.toml gives."""
    deploy = tomllib.loads((ROOT / "samconfig.toml").read_text())[environment]["deploy"]["parameters"]
    return dict(text.split("=", 1) for text in deploy.get("parameter_overrides", []))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_callers_addresses_are_forgotten_after_thirty_days(environment: str) -> None:
    parameters = {name: one.get("Default") for name, one in template()["Parameters"].items()} | overrides(environment)
    apis = {**resources("AWS::Serverless::HttpApi"), **resources("AWS::Serverless::WebSocketApi")}
    settings = [on_aws(api["Properties"]["AccessLogSettings"]) for api in apis.values()]
    logs = [log for one in settings for log in re.findall(r"log-group:\$\{(\w+)\}", one["DestinationArn"]["Fn::Sub"])]
    days = [resources("AWS::Logs::LogGroup")[log]["Properties"]["RetentionInDays"] for log in logs]

    assert len(days) == len(apis)
    assert max(int(parameters[one["Ref"]] if isinstance(one, dict) else one) for one in days) <= DAYS_FOR_ADDRESSES
