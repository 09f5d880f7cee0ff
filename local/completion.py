"""Applies by API calls what MiniStack leaves out when it creates a stack from a template.

It ignores the routes of an HTTP API that are given as an OpenAPI document (SAM writes them so), and its CORS
configuration there, a function's reserved concurrency and permission to run in a loop, and a table's time to live. A
parameter as an event source's MaximumConcurrency stays a text, on which its poller fails. A published version would
have no reserved concurrency at all, and nothing of what is configured later: so every alias is of its function's
$LATEST here.
"""

import re
from typing import Any

from local.errors import LocalStackError
from local.gateway import Gateway

_CORS = "x-amazon-apigateway-cors"
_INTEGRATION = "x-amazon-apigateway-integration"
_ALIAS_IN_URI = re.compile(r"functions/\$\{(\w+)\}/invocations")


def complete(gateway: Gateway, stack: str) -> None:
    """Reads the template as the SAM transform left it, and completes every resource that the stack really has."""
    cloudformation = gateway.client("cloudformation")
    functions, tables = gateway.client("lambda"), gateway.client("dynamodb")
    ids = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    }
    parameters = {
        parameter["ParameterKey"]: parameter["ParameterValue"]
        for parameter in cloudformation.describe_stacks(StackName=stack)["Stacks"][0].get("Parameters", [])
    }
    template = cloudformation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    for name, resource in template["Resources"].items():
        if name not in ids:
            continue
        for attribute, value in resource.get("Properties", {}).items():
            match resource["Type"], attribute:
                case "AWS::ApiGatewayV2::Api", "Body":
                    _create_routes(gateway, ids[name], value["paths"], ids)
                    _allow_origins(gateway, ids[name], value[_CORS], parameters)
                case "AWS::Lambda::Function", "ReservedConcurrentExecutions":
                    functions.put_function_concurrency(
                        FunctionName=ids[name], ReservedConcurrentExecutions=_number(value, parameters)
                    )
                case "AWS::Lambda::EventSourceMapping", "ScalingConfig":
                    most = _number(value["MaximumConcurrency"], parameters)
                    functions.update_event_source_mapping(UUID=ids[name], ScalingConfig={"MaximumConcurrency": most})
                case "AWS::Lambda::Function", "RecursiveLoop":
                    functions.put_function_recursion_config(FunctionName=ids[name], RecursiveLoop=value)
                case "AWS::Lambda::Alias", "FunctionVersion":
                    functions.update_alias(
                        FunctionName=ids[name], Name=resource["Properties"]["Name"], FunctionVersion="$LATEST"
                    )
                case "AWS::DynamoDB::Table", "TimeToLiveSpecification":
                    tables.update_time_to_live(TableName=ids[name], TimeToLiveSpecification=value)


def _create_routes(gateway: Gateway, api_id: str, paths: dict[str, Any], ids: dict[str, str]) -> None:
    api = gateway.client("apigatewayv2")
    for path, operations in paths.items():
        for method, operation in operations.items():
            integration = operation[_INTEGRATION]
            alias = _ALIAS_IN_URI.search(str(integration["uri"]))
            if not alias:
                raise LocalStackError(f"can't tell which function serves {method} {path}: {integration['uri']}")
            created = api.create_integration(
                ApiId=api_id,
                IntegrationType="AWS_PROXY",
                IntegrationUri=ids[alias[1]],
                PayloadFormatVersion=integration["payloadFormatVersion"],
            )
            api.create_route(
                ApiId=api_id, RouteKey=_route_key(method, path), Target=f"integrations/{created['IntegrationId']}"
            )


def _allow_origins(gateway: Gateway, api_id: str, cors: dict[str, Any], parameters: dict[str, str]) -> None:
    """`cors` is the configuration if any origin is allowed: a reference to the parameter is among it."""
    origins = parameters.get("AllowedOrigins", "")
    if not origins:
        return
    _, configured, _ = cors["Fn::If"]
    settings = {name[0].upper() + name[1:]: value for name, value in configured.items()}
    api = gateway.client("apigatewayv2")
    api.update_api(ApiId=api_id, CorsConfiguration=settings | {"AllowOrigins": origins.split(",")})


def _route_key(method: str, path: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == 'x-amazon-apigateway-any-method' else method.upper()} {path}"


def _number(value: Any, parameters: dict[str, str]) -> int:
    """A number of the template, written out or as a reference to a parameter. Where a condition may leave it out, it is
    taken: one machine has executions enough."""
    match value:
        case {"Fn::If": [_, then, _]}:
            return _number(then, parameters)
        case {"Ref": name}:
            return int(parameters[name])
    return int(value)
