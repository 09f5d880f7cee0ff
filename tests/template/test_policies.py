"""Each function may do what its code does, and nothing else."""

import pytest
from order_engine.adapters.journal.connections import BY_OWNER
from order_engine.adapters.journal.live import LIVE
from order_engine.adapters.journal.watchlist import BY_PRICE

from tests.template.calls import ADAPTERS, calls_of, classes_that_call_aws
from tests.template.reading import (
    allowed,
    as_list,
    denials,
    functions,
    on_aws,
    referred,
    resources,
    statements,
    template,
    variables,
)

LOGS = {("logs:CreateLogStream", "FunctionsLog"), ("logs:PutLogEvents", "FunctionsLog")}
SOCKETS = "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${WebSocketApi}/live"
INDEXES = {"BY_OWNER": BY_OWNER, "BY_PRICE": BY_PRICE, "LIVE": LIVE}  # by the constants that name them
DATABASE_ROLES = {"Migration.WorkerUser": "order_worker", "Migration.ReaderUser": "order_reader"}
# What Lambda does with network interfaces in the name of a function in a VPC, and the code of any function never does.
INTERFACES = {
    *("ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces"),
    *("ec2:DetachNetworkInterface", "ec2:DescribeSubnets"),
    *("ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"),
}
ANY_FUNCTION = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:*"
# Actions that AWS can't narrow to a resource (its Service Authorization Reference lists none for them).
OF_NO_RESOURCE = {"ec2:DescribeSubnets", "lambda:GetAccountSettings"}
DATABASE = "arn:${AWS::Partition}:rds-db:${AWS::Region}:${AWS::AccountId}:dbuser:${DatabaseStack.Outputs.ResourceId}"


def needed(folder: str) -> set[tuple[str, str]]:
    """What a function has to be allowed: its calls, what Lambda does in its name, and its way to the database."""
    name = functions()[folder]
    environment = variables(name)
    needs = set(LOGS)
    for call, setting in calls_of(folder):
        action, _, of = call.partition(" ")
        if action == "execute-api:ManageConnections":
            needs.add((action, f"{SOCKETS}/{of}/@connections/*"))
        elif of.startswith("index "):
            index = INDEXES[of.removeprefix("index ")]
            needs.add((action, f"${{{referred(environment[setting])}.Arn}}/index/{index}"))
        else:
            needs.add((action, referred(environment[setting])))
    for event in template()["Resources"][name]["Properties"].get("Events", {}).values():
        if event["Type"] == "SQS":
            queue = referred(event["Properties"]["Queue"])
            needs |= {(f"sqs:{call}", queue) for call in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
    if "DATABASE_USER" in environment:
        role = DATABASE_ROLES[".".join(on_aws(environment["DATABASE_USER"])["Fn::GetAtt"])]
        needs.add(("rds-db:connect", f"{DATABASE}/{role}"))
    if "DATABASE_SECRET" in environment:
        needs.add(("secretsmanager:GetSecretValue", "DatabaseStack"))
    if "VpcConfig" in template()["Resources"][name]["Properties"]:
        needs.add(("ec2:DescribeSubnets", "*"))
    if folder == "preflight":
        needs.add(("lambda:GetAccountSettings", "*"))
    return needs


def test_every_class_that_calls_aws_is_known_here() -> None:
    assert classes_that_call_aws() == set(ADAPTERS.values())


@pytest.mark.parametrize("folder", sorted(functions()))
def test_a_function_is_allowed_what_its_code_does(folder: str) -> None:
    missing = needed(folder) - allowed(functions()[folder])

    assert not missing


@pytest.mark.parametrize("folder", sorted(functions()))
def test_a_function_is_allowed_nothing_else(folder: str) -> None:
    unused = allowed(functions()[folder]) - needed(folder)

    assert not unused


@pytest.mark.parametrize("folder", sorted(functions()))
def test_no_policy_has_a_star_where_a_name_could_stand(folder: str) -> None:
    denied = denials(functions()[folder])
    for statement in (statement for statement in statements(functions()[folder]) if statement not in denied):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in as_list(statement["Action"]))
        if not set(as_list(statement["Action"])) <= OF_NO_RESOURCE:
            assert all(referred(resource) != "*" for resource in as_list(statement["Resource"]))


@pytest.mark.parametrize("folder", sorted(functions()))
def test_a_managed_policy_is_there_for_the_network_alone(folder: str) -> None:
    properties = template()["Resources"][functions()[folder]]["Properties"]
    role = template()["Resources"][referred(properties["Role"])]["Properties"]
    managed = [referred(policy) for policy in on_aws(role.get("ManagedPolicyArns", []))]

    in_vpc = "VpcConfig" in properties
    assert managed == (["arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaENIManagementAccess"] * in_vpc)


@pytest.mark.parametrize("folder", sorted(functions()))
def test_the_code_of_a_function_in_the_vpc_is_denied_what_lambda_may_do_there(folder: str) -> None:
    in_vpc = "VpcConfig" in template()["Resources"][functions()[folder]]["Properties"]
    denied = denials(functions()[folder])

    assert len(denied) == in_vpc
    for statement in denied:
        assert set(statement["Action"]) == INTERFACES
        assert statement["Resource"] == "*"
        assert statement["Condition"] == {"ArnLike": {"lambda:SourceFunctionArn": {"Fn::Sub": ANY_FUNCTION}}}


def test_no_function_has_a_role_of_another_or_one_that_sam_makes() -> None:
    roles = [referred(function["Properties"]["Role"]) for function in resources("AWS::Serverless::Function").values()]

    assert len(set(roles)) == len(roles)
