"""What the APIs log of a request: nothing that a client wrote, for a stream's token stands in its query."""

import re

from tests.template.reading import on_aws, resources

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
