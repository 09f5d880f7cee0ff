"""Deploys the template, with the code it names, to the gateway."""

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from samtranslator.yaml_helper import yaml_parse

from local.completion import complete
from local.errors import LocalStackError
from local.gateway import Gateway

STACK = "order-engine"
_BUCKET = "deployment"
_CODE_PROPERTY = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
_DEADLINE_SECONDS = 120
_POLL_SECONDS = 0.05

Outputs = dict[str, str]


def deploy(gateway: Gateway, template: Path, parameters: dict[str, str]) -> Outputs:
    """Create the stack from a SAM template, wait until it is complete, and return its outputs.

    Relative paths in the template start at its folder. Raises LocalStackError, with the reasons, if the stack can't be
    created.
    """
    s3 = gateway.client("s3")
    cloudformation = gateway.client("cloudformation")
    s3.create_bucket(Bucket=_BUCKET)
    document = yaml_parse(template.read_text())
    for name, resource in document["Resources"].items():
        code = _CODE_PROPERTY.get(resource["Type"])
        if code:
            key = f"{name}.zip"
            s3.put_object(Bucket=_BUCKET, Key=key, Body=_archive(template.parent, resource, code))
            resource["Properties"][code] = f"s3://{_BUCKET}/{key}"
    for name, value in parameters.items():
        if name in document["Parameters"]:
            document["Parameters"][name]["Default"] = value  # all that MiniStack's transform is told of parameters
    s3.put_object(Bucket=_BUCKET, Key="template.json", Body=json.dumps(document).encode())
    try:
        cloudformation.create_stack(
            StackName=STACK,
            TemplateURL=f"{gateway.url}/{_BUCKET}/template.json",
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        )
    except ClientError as error:
        raise LocalStackError(f"the template or its parameters are refused: {error}") from error
    outputs = _outputs(cloudformation)
    complete(gateway, STACK)
    return outputs


def function_folders(template: Path) -> dict[str, str]:
    """The folder of each function's code, by the function's logical name."""
    resources = yaml_parse(template.read_text())["Resources"].items()
    functions = (one for one in resources if one[1]["Type"] == "AWS::Serverless::Function")
    return {name: resource["Properties"]["CodeUri"] for name, resource in functions}


def _archive(root: Path, resource: dict[str, Any], code: str) -> bytes:
    """The zip of a function's or layer's folder.

    A layer with a BuildMethod goes below python/, as `sam build` puts it; the packages that it requires are not in
    it, because the functions run on our own interpreter, which has them.
    """
    folder = root / resource["Properties"][code]
    below = "python/" if code == "ContentUri" and "BuildMethod" in resource.get("Metadata", {}) else ""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, below + path.relative_to(folder).as_posix())
    return buffer.getvalue()


def _outputs(cloudformation: Any) -> Outputs:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        if status != "CREATE_IN_PROGRESS" or time.monotonic() > deadline:
            raise LocalStackError(f"the stack could not be created ({status}): {_reasons(cloudformation)}")
        time.sleep(_POLL_SECONDS)


def _reasons(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    return "; ".join(
        f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        for event in reversed(events)
        if event["ResourceStatus"].endswith("FAILED") and event.get("ResourceStatusReason")
    )
