"""Applies by API calls what MiniStack leaves out when it creates a stack from a template.

It ignores the routes of an HTTP API that are given as an OpenAPI document (SAM writes them so), a function's reserved
concurrency and permission to run in a loop, and a table's time to live.
"""

import re
from typing import Any

from local.errors import LocalStackError
from local.gateway import Gateway

_INTEGRATION = "x-amazon-apigateway-integration"
_FUNCTION_IN_URI = re.compile(r"\$\{(\w+)\.Arn\}")


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
                case "AWS::Lambda::Function", "ReservedConcurrentExecutions":
                    functions.put_function_concurrency(
                        FunctionName=ids[name], ReservedConcurrentExecutions=_number(value, parameters)
                    )
                case "AWS::Lambda::Function", "RecursiveLoop":
                    functions.put_function_recursion_config(FunctionName=ids[name], RecursiveLoop=value)
                case "AWS::DynamoDB::Table", "TimeToLiveSpecification":
                    tables.update_time_to_live(TableName=ids[name], TimeToLiveSpecification=value)


def _create_routes(gateway: Gateway, api_id: str, paths: dict[str, Any], ids: dict[str, str]) -> None:
    api = gateway.client("apigatewayv2")
    functions = gateway.client("lambda")
    for path, operations in paths.items():
        for method, operation in operations.items():
            integration = operation[_INTEGRATION]
            function = _FUNCTION_IN_URI.search(str(integration["uri"]))
            if not function:
                raise LocalStackError(f"can't tell which function serves {method} {path}: {integration['uri']}")
            configuration = functions.get_function_configuration(FunctionName=ids[function[1]])
            created = api.create_integration(
                ApiId=api_id,
                IntegrationType="AWS_PROXY",
                IntegrationUri=configuration["FunctionArn"],
                PayloadFormatVersion=integration["payloadFormatVersion"],
            )
            api.create_route(
                ApiId=api_id, RouteKey=_route_key(method, path), Target=f"integrations/{created['IntegrationId']}"
            )


def _route_key(method: str, path: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == 'x-amazon-apigateway-any-method' else method.upper()} {path}"


def _number(value: Any, parameters: dict[str, str]) -> int:
    """A number of the template, written out or as a reference to a parameter."""
    return int(parameters[value["Ref"]] if isinstance(value, dict) else value)
