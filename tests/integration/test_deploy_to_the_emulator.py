"""What CloudFormation makes of the template's parameters, as far as MiniStack's goes."""

from collections.abc import Iterator

import pytest

from local.deploy import deploy
from local.errors import LocalStackError
from local.gateway import Gateway
from local.stack import ROOT

NOWHERE = "postgresql://nobody@127.0.0.1:9/nowhere"


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One without functions; its stack is the tests' to make."""
    folder = tmp_path_factory.mktemp("gateway")
    gateway = Gateway(0, folder / "state", folder / "log")
    gateway.start()
    try:
        gateway.wait_until_ready()
        yield gateway
    finally:
        gateway.stop()


def test_a_database_of_ones_own_is_refused_on_aws_before_anything_is_made(emulator: Gateway) -> None:
    with pytest.raises(LocalStackError, match="DatabaseUrl is for an emulator"):
        deploy(emulator, ROOT / "template.yaml", {"DatabaseUrl": NOWHERE, "GradualDeployment": "false"})

    assert emulator.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_the_number_of_workers_is_a_parameter(emulator: Gateway) -> None:
    given = {"LocalGateway": emulator.address, "DatabaseUrl": NOWHERE, "GradualDeployment": "false", "Workers": "4"}

    workers = deploy(emulator, ROOT / "template.yaml", given)["RouteExecuteFunctionName"]

    functions = emulator.client("lambda")
    (source,) = functions.list_event_source_mappings(FunctionName=workers)["EventSourceMappings"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": 4}
    assert functions.get_function_concurrency(FunctionName=workers)["ReservedConcurrentExecutions"] == 4
