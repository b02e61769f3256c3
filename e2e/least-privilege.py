#!/usr/bin/env python3
"""Compares what the services may do with what they did, by the API server's audit log.

usage: least-privilege.py AUDIT_LOG RULES_JSON

RULES_JSON is a list of ClusterRoles and Roles as the API server holds them. Fails for every request of a service that
was forbidden (the chart grants too little) and for every granted verb that no request used (it grants too much), but
for those of UNSEEN.
"""

import fnmatch
import json
import re
import sys

USER = re.compile(r"system:serviceaccount:orlop-system:(orlop-[a-z-]+)$")

# Granted, and rightly not in the log: (service, resource, verb) with the reason.
UNSEEN = {
    # Asked by the API server itself on behalf of whoever names an owner that blocks deletion.
    ("*", "*/finalizers", "update"),
    # An event that is told again is patched; whether one is depends on the day.
    ("*", "events", "patch"),
    # Every rule of the scheduler is compared with a run of its controllers in crates/scheduler/src/rbac_tests.rs.
    ("orlop-scheduler", "*", "*"),
    # Certificates are renewed after weeks.
    ("orlop-storage-initializer", "secrets", "update"),
    # The second component of a Repository adds its id to those on record.
    ("orlop-storage-initializer", "configmaps", "update"),
    # More sessions than the history keeps.
    ("orlop-session-controller", "backupsessions", "delete"),
    # Only where no RetentionPolicy is named.
    ("orlop-session-controller", "retentionpolicies", "list"),
}


def used(path):
    """(service, resource, verb) of what was allowed, and lines on what was forbidden."""
    allowed, forbidden = set(), []
    with open(path, encoding="utf-8") as log:
        for line in log:
            event = json.loads(line)
            service = USER.match(event["user"]["username"])
            reference = event.get("objectRef")
            if not service or not reference or "resource" not in reference:
                continue
            resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            # A list by name is what clients ask with a field selector; RBAC sees a list.
            request = (service[1], resource, event["verb"])
            if event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid":
                forbidden.append(f"{request[0]} may not {request[2]} {reference.get('namespace', '')}/{request[1]}")
            else:
                allowed.add(request)
    return allowed, sorted(set(forbidden))


def granted(path):
    """(service, resource, verb) of every rule; a role carries its service's name."""
    with open(path, encoding="utf-8") as file:
        roles = json.load(file)
    return {
        (role["metadata"]["name"], resource, verb)
        for role in roles
        for rule in role["rules"]
        for resource in rule.get("resources", [])
        for verb in rule["verbs"]
    }


def is_excused(grant):
    return any(all(fnmatch.fnmatchcase(*part) for part in zip(grant, unseen)) for unseen in UNSEEN)


def main():
    audit_log, rules = sys.argv[1:]
    allowed, forbidden = used(audit_log)
    if not allowed:
        sys.exit("error: the audit log holds no request of a service")
    needless = sorted(grant for grant in granted(rules) - allowed if not is_excused(grant))
    for line in forbidden:
        print(f"error: {line}: the chart grants too little", file=sys.stderr)
    for service, resource, verb in needless:
        print(f"error: {service} may {verb} {resource}, and no scenario made it do so: the chart grants too much", file=sys.stderr)
    if forbidden or needless:
        sys.exit(1)
    print(f"the services used each of {len(allowed)} granted verbs and asked for no other")


if __name__ == "__main__":
    main()
