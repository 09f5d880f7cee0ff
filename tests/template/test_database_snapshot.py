"""A database from a snapshot: nothing is given with it that it brings itself."""

import re
from typing import Any

from tests.template.reading import ROOT, template

# By the documentation of AWS::RDS::DBInstance on DBSnapshotIdentifier (2026-11-23), as far as we give them.
BROUGHT = {"DBName", "MasterUsername", "StorageEncrypted", "DeleteAutomatedBackups"}
NONE = {"Ref": "AWS::NoValue"}


def properties(is_new: bool) -> dict[str, Any]:
    """The database's properties, with the condition decided."""

    def decided(value: Any) -> Any:
        if isinstance(value, dict) and "Fn::If" in value and value["Fn::If"][0] == "IsNew":
            return decided(value["Fn::If"][1 if is_new else 2])
        return value

    document = template("infrastructure/database.yaml")
    assert document["Conditions"]["IsNew"] == {"Fn::Equals": [{"Ref": "DatabaseSnapshot"}, ""]}
    given = {name: decided(value) for name, value in document["Resources"]["Database"]["Properties"].items()}
    return {name: value for name, value in given.items() if value != NONE}


def test_a_snapshot_is_given_without_what_it_brings() -> None:
    new, restored = properties(is_new=True), properties(is_new=False)

    assert restored["DBSnapshotIdentifier"] == {"Ref": "DatabaseSnapshot"}
    assert set(new) - set(restored) == BROUGHT
    assert set(restored) - set(new) == {"DBSnapshotIdentifier"}
    assert {name: new[name] for name in set(new) - BROUGHT} == {
        name: value for name, value in restored.items() if name != "DBSnapshotIdentifier"
    }


def test_a_stack_that_is_only_updated_keeps_its_new_database() -> None:
    assert template()["Parameters"]["DatabaseSnapshot"]["Default"] == ""
    assert properties(is_new=True)["DBName"] == {"Ref": "DatabaseName"}
    assert properties(is_new=True)["MasterUsername"] == "order_master"
    assert properties(is_new=True)["StorageEncrypted"] is True


def test_the_storage_stays_a_tenth_below_what_it_may_grow_to() -> None:
    """RDS refuses a MaxAllocatedStorage that is less above AllocatedStorage ("Managing capacity automatically")."""
    declared = template()["Parameters"]["DatabaseStorageGiB"]
    most = template("infrastructure/database.yaml")["Resources"]["Database"]["Properties"]["MaxAllocatedStorage"]

    assert declared["Default"] < declared["MaxValue"] <= most / 1.1


def test_the_runbook_tells_what_has_to_fit_a_snapshot() -> None:
    """RDS takes neither less storage than a snapshot has, nor another major version."""
    runbook = (
        (ROOT / "docs/recovery.md").read_text().partition("## The database from a snapshot")[2].partition("\n## ")[0]
    )

    for parameter in ("DatabaseStorageGiB", "DatabaseEngineVersion"):
        assert {"Ref": parameter} in properties(is_new=False).values()
        assert f"`{parameter}`" in runbook
    assert {"AllocatedStorage", "EngineVersion"} <= set(
        re.findall(r"\w+", runbook.partition("--query")[2].splitlines()[0])
    )
