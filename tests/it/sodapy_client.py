"""Reads, upserts and deletes against the stand-in portal with the well-known sodapy client.

Arguments: host:port. Prints `ok`, or fails with a traceback. Exit code 3: sodapy is missing.
"""

import sys

try:
    from sodapy import Socrata
except ImportError:
    sys.exit(3)

DATASET = "abcd-2345"


def main(domain):
    client = Socrata(
        domain, "sandbox-app-token", username="writer", password="writer-password"
    )
    client.uri_prefix = "http://"
    rows = [{"record_id": "k%d" % n, "volume": n} for n in range(5)]
    summary = client.upsert(DATASET, rows)
    assert summary["Rows Created"] == 5, summary
    assert summary["Errors"] == 0, summary
    found = client.get(DATASET, order="record_id", limit=3)
    assert [row["record_id"] for row in found] == ["k0", "k1", "k2"], found
    assert found[2]["volume"] == "2", found
    summary = client.upsert(
        DATASET, [{"record_id": "k1", "volume": 9}, {"record_id": "k2", ":deleted": True}]
    )
    assert (summary["Rows Updated"], summary["Rows Deleted"]) == (1, 1), summary
    client.delete(DATASET, row_id="k3")
    found = client.get(DATASET, select="record_id", where="volume >= 1", order="record_id")
    assert found == [{"record_id": "k1"}, {"record_id": "k4"}], found
    assert client.get_metadata(DATASET)["rowIdentifierColumnId"], "no row identifier"
    assert len(list(client.get_all(DATASET, order=":id"))) == 3
    try:
        client.delete(DATASET)
    except Exception as refusal:
        assert "403" in str(refusal), refusal
    else:
        raise AssertionError("deleting the dataset was not refused")
    client.close()
    print("ok")


main(sys.argv[1])
